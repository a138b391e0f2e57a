"""Taking charge: on what was read, or not at all."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
from convoy_controller.database.recorder import Recorder
from convoy_controller.errors import DatabaseBusyError
from convoy_controller.reign import Heard, Reign, begin
from database_samples import Fleet, open_fleet


def _begin(fleet: Fleet, read_before: bool, heard: Heard) -> Reign:
    state = fleet.recorder.load_state()
    if read_before:
        Recorder(fleet.database).raise_counters(generation=state.counters.generation + 1)
    nobody_asks = Mock()  # neither the catalogue nor keys are looked at where nothing is announced
    return begin(fleet.recorder, fleet.database, nobody_asks, nobody_asks, state, heard, False)


@pytest.mark.parametrize("heard", [Heard(), Heard(epoch=9, revision=1)], ids=["continuous", "not continuous"])
def test_who_has_read_before_another_wrote_has_to_read_again(tmp_path: Path, heard: Heard) -> None:
    fleet = open_fleet(tmp_path)
    fleet.recorder.raise_counters(epoch=3, revision=7)
    with pytest.raises(DatabaseBusyError, match="another controller has written"):
        _begin(fleet, True, heard)
    assert fleet.recorder.load_state().counters.epoch == 3, "no reign was opened"
    assert _begin(fleet, False, heard).epoch == max(3, heard.epoch) + 1


def test_of_two_that_read_the_same_one_opens_the_reign(tmp_path: Path) -> None:
    fleet = open_fleet(tmp_path)
    fleet.recorder.raise_counters(epoch=3)
    state = fleet.recorder.load_state()
    unasked = Mock()
    assert begin(fleet.recorder, fleet.database, unasked, unasked, state, Heard(), False).epoch == 4
    with pytest.raises(DatabaseBusyError):
        begin(Recorder(fleet.database), fleet.database, unasked, unasked, state, Heard(), False)

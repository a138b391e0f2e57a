"""A restart that its owner asks for: written down, then made, once."""

from __future__ import annotations

import pytest
from agent_bench import Bench, awake
from convoy_device import effects, events
from convoy_device.errors import StoreFullError
from convoy_schema.messages.boards import Presence
from convoy_schema.messages.desired import Desired


def asked(token: str, revision: int = 1) -> events.DesiredReceived:
    return events.DesiredReceived(Desired(1, revision, (), token))


def test_a_restart_that_is_asked_for_is_written_down_and_then_made_once() -> None:
    bench = awake()
    bench.send(asked("t-1"))
    assert bench.stopped is None  # not before it is on disk
    bench.settle()
    assert bench.stopped is not None
    assert bench.stopped.code == 5
    assert bench.states()[-1].presence is Presence.OFFLINE
    assert bench.disk.restarted == "t-1"
    again = Bench(disk=bench.disk)
    again.wake()
    again.connect()
    again.send(asked("t-1"))
    again.settle()
    assert again.stopped is None
    assert again.truth().restarted == "t-1"
    again.send(asked("t-2", 2))
    again.settle()
    assert again.stopped is not None


def test_the_session_that_is_to_end_does_not_say_that_it_has_restarted() -> None:
    bench = awake()
    bench.send(asked("t-1"))
    assert bench.truth().restarted == ""


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_a_crash_in_the_middle_of_a_restart_makes_no_second_one(is_on_disk: bool) -> None:
    bench = awake()
    bench.send(asked("t-1"))
    if is_on_disk:
        bench._do(effects.SaveRestart("t-1"))  # and the power goes before anyone hears of it
    stops = 0
    for _ in range(3):
        bench = Bench(disk=bench.disk)
        bench.wake()
        bench.connect()
        bench.send(asked("t-1"))
        bench.settle()
        stops += bench.stopped is not None
    assert stops == (0 if is_on_disk else 1)


def test_a_disk_that_cannot_keep_the_token_keeps_the_board_from_restarting_until_it_can() -> None:
    bench = awake()
    bench.send(asked("t-1"))
    (save,) = [effect for effect in bench.pending if isinstance(effect, effects.SaveRestart)]
    bench.pending.remove(save)
    bench.fail(save, StoreFullError("the disk is full"))
    bench.settle()
    assert bench.stopped is None
    bench.tick(6)
    bench.settle()
    assert bench.stopped is not None

"""Which boards have which model version and artifact, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from convoy_controller.database import pages, spread
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import ArtifactKind, BoardPresence, GenerationState, SavedGeneration
from convoy_controller.errors import NotFoundError
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation, digest_of
from database_samples import Fleet, assignment, intent, open_fleet, publish


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    made = open_fleet(tmp_path, database_url)
    digest = digest_of(publish(made.database, tmp_path).bundle)
    request_deployment(made.database, intent(model="tiny"))
    for board in ("a", "b", "c", "d"):
        made.online(board)
    for counter, state in ((1, GenerationState.RETIRED), (2, GenerationState.SERVING)):
        generation = Generation(1, counter)
        layers = {"a": "first", "b": "second", "c": "second", "d": "second"}
        told = {
            board: replace(assignment(0, 1, generation), bundle=digest, layers=(layer,))
            for board, layer in layers.items()
        }
        made.recorder.save_generation(SavedGeneration("digits", generation, state, told))
    yield made
    made.database.close()


def test_a_model_version_on_the_boards(fleet: Fleet):
    fleet.at("a", Phase.READY, 2)
    fleet.at("b", Phase.FETCHING, 2, done_bytes=100, total_bytes=400)
    fleet.at("c", Phase.FAILED, 2)
    fleet.recorder.record_presence("c", BoardPresence.OFFLINE, 1)
    found = spread.model_spread(fleet.database, "tiny", "1")
    assert (found.boards, found.verified, found.ready, found.fetching, found.waiting, found.failed) == (
        4,
        1,
        1,
        1,
        1,
        1,
    )
    assert (found.done_bytes, found.total_bytes, found.away) == (100, 400, 1)
    with pytest.raises(NotFoundError, match="no model"):
        spread.model_spread(fleet.database, "tiny", "9")


def test_an_artifact_and_who_needs_it(fleet: Fleet):
    (parameters,) = pages.artifacts(fleet.database, ArtifactKind.PARAMETERS, 10)
    found = spread.artifact_spread(fleet.database, parameters.digest)
    assert (found.kind, [(each.model, each.version, each.boards) for each in found.models]) == (
        ArtifactKind.PARAMETERS,
        [("tiny", "1", 4)],
    )
    lines = spread.holders(fleet.database, "tiny", "1", 10, artifact=parameters.digest)
    assert [(line.board, line.needs, str(line.generation)) for _, line in lines] == [
        ("a", True, "1-2"),
        ("b", False, "1-2"),
        ("c", False, "1-2"),
        ("d", False, "1-2"),
    ]
    golden = pages.artifacts(fleet.database, ArtifactKind.GOLDEN, 1)[0]
    assert {line.needs for _, line in spread.holders(fleet.database, "tiny", "1", 10, artifact=golden.digest)} == {None}
    with pytest.raises(NotFoundError, match="no artifact"):
        spread.artifact_spread(fleet.database, "00" * 32)


def test_holders_page_by_page(fleet: Fleet):
    whole = spread.holders(fleet.database, "tiny", "1", 10)
    found, after = [], None
    while page := spread.holders(fleet.database, "tiny", "1", 3, after):
        found += page
        after = (page[-1][0], page[-1][1].board)
    assert tuple(found) == whole
    with pytest.raises(NotFoundError):
        spread.holders(fleet.database, "none", "1", 3)

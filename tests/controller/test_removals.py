"""What owners remove: refused while it is needed, remembered for good, and never more than was named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from convoy_controller.blobs import BlobStore
from convoy_controller.cli import app
from convoy_controller.database import publications, queries, references, removals
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.models import ArtifactRow
from convoy_controller.database.records import (
    BoardPresence,
    DeploymentState,
    GenerationState,
    RemovalKind,
    SavedGeneration,
)
from convoy_controller.errors import InUseError, NotFoundError
from convoy_schema.names import Generation
from database_samples import Fleet, assignment, intent, open_catalogue, open_fleet, publish, reported
from patience import PATIENCE_S
from sqlalchemy import select
from typer.testing import CliRunner


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    """Two versions that differ in their parameters, one of them wanted by a deployment."""
    made = open_fleet(tmp_path, database_url)
    publish(made.database, tmp_path, version="1", seed=1)
    publish(made.database, tmp_path, version="2", seed=2)
    request_deployment(made.database, intent(model="tiny", version="2"))
    yield made
    made.database.close()


def place(fleet: Fleet, version: str, counter: int, state: GenerationState, board: str = "board-1") -> Generation:
    """A generation of that version on one board."""
    generation = Generation(1, counter)
    bundle = publications.find_model(fleet.database, "tiny", version).digest
    told = replace(assignment(0, 1, generation), bundle=bundle, intent=intent(model="tiny", version=version))
    fleet.recorder.save_generation(SavedGeneration("digits", generation, state, {board: told}))
    return generation


def digest(fleet: Fleet, version: str) -> str:
    return publications.find_model(fleet.database, "tiny", version).digest


def rows(fleet: Fleet) -> set[str]:
    with fleet.database.read() as db:
        return set(db.scalars(select(ArtifactRow.digest)))


def test_a_removed_version_leaves_the_catalogue_and_what_it_shares_stays(fleet: Fleet) -> None:
    before = rows(fleet)
    removed = removals.remove_model(fleet.database, "tiny", "1")
    assert (removed.kind, removed.name, removed.version) == (RemovalKind.MODEL, "tiny", "1")
    assert [line.version for line in queries.models(fleet.database)] == ["2"]
    (own,) = before - rows(fleet)
    assert own in removed.artifacts
    known = references.references(fleet.database)
    assert [model.version for model in known.catalogue] == ["2"]
    assert known.removed[0].artifacts == removed.artifacts
    assert known.intended == {("tiny", "2")}
    assert removals.removals_since(fleet.database, 0) == (removed,)
    assert removals.removals_since(fleet.database, removed.number) == ()
    with pytest.raises(NotFoundError, match="see `convoy models`"):
        removals.remove_model(fleet.database, "tiny", "1")
    with pytest.raises(NotFoundError):
        request_deployment(fleet.database, intent(model="tiny", version="1"))


def test_what_a_deployment_wants_stages_serves_or_drains_is_not_removed(fleet: Fleet) -> None:
    with pytest.raises(InUseError, match="deployment digits wants it: `convoy undeploy digits`"):
        removals.remove_model(fleet.database, "tiny", "2")
    for state in (GenerationState.QUEUED, GenerationState.STAGED, GenerationState.SERVING, GenerationState.DRAINING):
        place(fleet, "1", 1, state)
        with pytest.raises(InUseError, match=f"generation 1-1 of deployment digits is {state.value}"):
            removals.remove_model(fleet.database, "tiny", "1")
    place(fleet, "1", 1, GenerationState.RETIRED)
    # Its successor is not there yet: it may be returned to.
    fleet.recorder.save_deployment_state("digits", DeploymentState.PAUSED)
    place(fleet, "2", 2, GenerationState.STAGED)
    with pytest.raises(InUseError, match="is paused and may return to it"):
        removals.remove_model(fleet.database, "tiny", "1")
    fleet.recorder.save_deployment_state("digits", DeploymentState.SERVING)
    removals.remove_model(fleet.database, "tiny", "1")


def test_the_number_of_a_removed_version_is_never_given_again(fleet: Fleet, tmp_path: Path) -> None:
    withdraw_deployment(fleet.database, "digits")
    removals.remove_model(fleet.database, "tiny", "2")
    publish(fleet.database, tmp_path, version="3", seed=3)
    assert publications.find_model(fleet.database, "tiny", "3").serial == 3
    publish(fleet.database, tmp_path, version="2", seed=2)
    known = references.references(fleet.database)
    assert {model.version for model in known.catalogue} == {"1", "2", "3"}


def test_references_count_everyone_who_may_still_need_a_version(fleet: Fleet) -> None:
    one, two = digest(fleet, "1"), digest(fleet, "2")
    place(fleet, "1", 1, GenerationState.RETIRED)
    place(fleet, "2", 2, GenerationState.SERVING)
    known = references.references(fleet.database)
    assert (known.in_force, known.rollback, known.is_whole) == ({two}, {one}, True)
    # A board that went away with it in its hands.
    fleet.online("board-9")
    held = replace(assignment(0, 1, Generation(1, 1)), bundle=one)
    fleet.recorder.record_reported("board-9", replace(reported(), held=(held,)))
    fleet.recorder.record_presence("board-9", BoardPresence.OFFLINE, 1, "gone")
    assert references.references(fleet.database).in_force == {one, two}
    assert references.references(fleet.database, {"board-9"}).in_force == {two}


def test_a_row_that_cannot_be_read_says_that_not_everything_is_known(fleet: Fleet) -> None:
    from convoy_controller.database.models import AssignmentRow

    place(fleet, "2", 1, GenerationState.SERVING)
    with fleet.database.write() as db:
        db.scalars(select(AssignmentRow)).one().packed = b"\xc1"
    assert not references.references(fleet.database).is_whole


def test_a_board_that_is_gone_is_forgotten_with_its_past(fleet: Fleet) -> None:
    fleet.online("board-1")
    with pytest.raises(InUseError, match="is online"):
        removals.forget_board(fleet.database, "board-1")
    fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 1, "silent")
    place(fleet, "2", 1, GenerationState.SERVING)
    with pytest.raises(InUseError, match="generation 1-1 of deployment digits counts on it"):
        removals.forget_board(fleet.database, "board-1")
    place(fleet, "2", 1, GenerationState.RETIRED)
    assert removals.forget_board(fleet.database, "board-1") == fleet.clock()
    assert queries.fleet(fleet.database) == ()
    assert references.references(fleet.database).forgotten == {"board-1"}
    with pytest.raises(NotFoundError):
        removals.forget_board(fleet.database, "board-1")
    # Last words that were on their way make it no board again; it is one when it speaks.
    fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 1, "three pulses missed")
    fleet.recorder.forget_board("board-1")
    assert queries.fleet(fleet.database) == ()
    fleet.online("board-1", session=2)
    assert references.references(fleet.database).forgotten == frozenset()


def test_clearings_are_asked_for_done_once_and_forgotten_in_the_end(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = removals.request_collection(fleet.database, dry_run=True, orphans=False)
    (pending,) = removals.pending_collections(fleet.database)
    assert (pending.number, pending.dry_run, pending.orphans, pending.done_at) == (number, True, False, None)
    removals.finish_collection(fleet.database, number, [{"kind": "topic"}])
    assert removals.pending_collections(fleet.database) == ()
    assert removals.collection(fleet.database, number).findings == ({"kind": "topic"},)
    monkeypatch.setattr(removals, "MOST_COLLECTIONS", 3)
    for _ in range(3):
        removals.request_collection(fleet.database, dry_run=False, orphans=True)
    with pytest.raises(NotFoundError):
        removals.collection(fleet.database, number)


# Files ---------------------------------------------------------------------------------------------------------------


def test_files_that_a_published_model_names_are_not_discarded(fleet: Fleet, tmp_path: Path) -> None:
    catalogue = open_catalogue(fleet.database, tmp_path)
    removed = removals.remove_model(fleet.database, "tiny", "1")
    everything = catalogue.sizes()
    gone = catalogue.discard(removed.artifacts)
    assert len(gone) == 1
    assert set(catalogue.sizes()) == set(everything) - gone
    assert catalogue.manifests(publications.find_model(fleet.database, "tiny", "2"))
    publish(fleet.database, tmp_path, version="1", seed=1)
    assert set(catalogue.sizes()) == set(everything)


def test_nothing_is_discarded_while_a_model_is_being_published(tmp_path: Path) -> None:
    fleet = open_fleet(tmp_path)
    catalogue, store = open_catalogue(fleet.database, tmp_path), BlobStore(tmp_path / "blobs")
    stored = store.put(b"on its way").digest
    with store.publishing(), BlobStore(tmp_path / "blobs").publishing():
        assert catalogue.discard([stored]) == frozenset()
    assert catalogue.sizes() == {stored: store.size(stored)}
    assert catalogue.discard([stored]) == {stored}
    assert not store.has(stored)
    assert store.size(stored) == 0
    # And whoever publishes waits for a clearing, not beside it.
    entered = threading.Event()

    def publishes() -> None:
        with store.publishing():
            entered.set()

    with store.clearing() as is_free:
        assert is_free
        waiting = threading.Thread(target=publishes)
        waiting.start()
        assert not entered.wait(0.2)
    waiting.join(PATIENCE_S)
    assert entered.is_set()
    fleet.database.close()


# The command line ----------------------------------------------------------------------------------------------------


def convoy(folder: Path, *arguments: str) -> tuple[int, Any]:
    database = f"sqlite:///{folder / 'convoy.db'}"
    result = CliRunner().invoke(app, [*arguments, "--home", str(folder), "--database", database])
    text = result.output
    return result.exit_code, json.loads(text) if "--json" in arguments and result.exit_code == 0 else text


def test_the_command_line_removes_refuses_and_says_why(tmp_path: Path) -> None:
    fleet = open_fleet(tmp_path)
    publish(fleet.database, tmp_path, version="1", seed=1)
    publish(fleet.database, tmp_path, version="2", seed=2)
    request_deployment(fleet.database, intent(model="tiny", version="2"))
    assert convoy(tmp_path, "model", "remove", "tiny:2")[0] == 1
    code, text = convoy(tmp_path, "model", "remove", "tiny")
    assert code == 2
    assert "has versions" in text
    code, answer = convoy(tmp_path, "model", "remove", "tiny:1", "--json")
    assert (code, answer["model"], answer["version"]) == (0, "tiny", "1")
    assert answer["artifacts"] > 1
    assert convoy(tmp_path, "model", "remove", "tiny:1")[0] == 3
    withdraw_deployment(fleet.database, "digits")
    assert convoy(tmp_path, "model", "remove", "tiny")[0] == 0
    assert convoy(tmp_path, "model", "remove", "nobody")[0] == 3
    fleet.online("board-1")
    assert convoy(tmp_path, "board", "forget", "board-1")[0] == 1
    fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 1, "silent")
    code, text = convoy(tmp_path, "board", "forget", "board-1")
    assert code == 0
    assert "board-1 is forgotten; it was last seen" in text
    assert convoy(tmp_path, "board", "forget", "board-1", "--json")[0] == 3
    fleet.database.close()


def test_a_clearing_without_a_controller_is_left_to_the_one_that_comes(tmp_path: Path) -> None:
    fleet = open_fleet(tmp_path)
    code, text = convoy(tmp_path, "gc", "--wait", "0.1")
    assert code == 1
    assert "it is done when one is" in text
    (pending,) = removals.pending_collections(fleet.database)
    assert not pending.dry_run
    topic = {
        "kind": "topic",
        "name": "t",
        "size": 10,
        "verdict": "clear",
        "reason": "r",
        "due_in_s": 0,
        "cleared": True,
    }
    waits = {**topic, "kind": "blob", "verdict": "waits", "due_in_s": 5.0, "cleared": False}

    def controller() -> None:
        while not (asked := [c for c in removals.pending_collections(fleet.database) if c.number > pending.number]):
            pass
        removals.finish_collection(fleet.database, asked[0].number, [topic, waits])

    working = threading.Thread(target=controller)
    working.start()
    code, answer = convoy(tmp_path, "gc", "--json")
    working.join(PATIENCE_S)
    assert code == 0
    assert (answer["done"], answer["cleared_topics"], answer["cleared_topic_bytes"]) == (True, 1, 10)
    assert answer["cleared_files"] == 0
    assert [finding["cleared"] for finding in answer["findings"]] == [True, False]
    fleet.database.close()

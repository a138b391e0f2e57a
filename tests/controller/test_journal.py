"""What waits for the database: kept together when it can be, apart when it must be, and never published before."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from convoy_controller import journal as journal_module
from convoy_controller.database import engine, queries
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import DeploymentState, GenerationState, NewEvent
from convoy_controller.effects import DeploymentChanged, Effect, PublishDesired, Record, SaveGeneration
from convoy_controller.journal import Journal, Outcome
from convoy_controller.placement import Placement, StagePlacement
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Desired, Intent
from convoy_schema.names import Generation
from database_samples import Fleet, open_fleet, publish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GHOST = DeploymentChanged("nobody-asked", DeploymentState.SERVING, "")


def record(sentence: str) -> Record:
    return Record(NewEvent("test", sentence))


def note(sentence: str) -> Callable[[Recorder], object]:
    return lambda recorder: recorder.record_event(NewEvent("test", sentence))


def bad(recorder: Recorder) -> None:
    recorder.save_deployment_state("nobody-asked", DeploymentState.SERVING)


def buggy(recorder: Recorder) -> None:
    recorder.record_event(NewEvent("test", "of a transaction that is undone"))
    raise KeyError("a mistake")


def generation(deployment: str = "digits", counter: int = 1) -> SaveGeneration:
    stages = (StagePlacement(("conv",), ("board-1",), ((),)),)
    wanted = Intent(deployment, "tiny", "1", Method.ALLOCATE)
    return SaveGeneration(
        Placement(Generation(1, counter), wanted, "ab" * 32, stages, 8, 64, 0.1, GenerationState.STAGED)
    )


def ask(fleet: Fleet, deployment: str) -> None:
    request_deployment(fleet.database, Intent(deployment, "tiny", "1", Method.ALLOCATE))


def keep(journal: Journal, fleet: Fleet, now: float = 0.0) -> tuple[Effect, ...]:
    async def run(call: Callable[[], Outcome]) -> Outcome:
        return await asyncio.to_thread(call)

    return asyncio.run(journal.keep(fleet.recorder, run, now))


def sentences(fleet: Fleet) -> list[str]:
    return [event.sentence for event in queries.events(fleet.database)]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    opened = open_fleet(tmp_path)
    publish(opened.database, tmp_path)
    ask(opened, "digits")
    return opened


def test_telemetry_and_decisions_are_kept_in_order(fleet: Fleet) -> None:
    journal = Journal()
    journal.note(note("first"))
    journal.decide([record("second"), generation(), PublishDesired("board-1", Desired(1, 5, ()))])
    assert keep(journal, fleet) == (record("second"), generation(), PublishDesired("board-1", Desired(1, 5, ())))
    assert sentences(fleet) == ["first", "second"]
    assert fleet.recorder.load_state().counters.revision == 5
    assert journal.held == ()
    assert keep(journal, fleet) == ()


def test_what_is_not_due_waits_for_company(fleet: Fleet) -> None:
    journal = Journal()
    journal.note(note("a figure"), 11.0)
    journal.note(note("another"), 10.5)
    assert keep(journal, fleet, 10.4) == ()
    assert (sentences(fleet), journal.waiting) == ([], 2)
    keep(journal, fleet, 10.5)
    assert sentences(fleet) == ["a figure", "another"]
    journal.note(note("third"), 20.0)
    journal.decide([record("a decision")])
    assert keep(journal, fleet, 11.0) == (record("a decision"),)
    assert sentences(fleet) == ["a figure", "another", "third", "a decision"]
    journal.note(note("last"), 20.0)
    keep(journal, fleet, math.inf)
    assert sentences(fleet)[-1] == "last"


def test_a_decision_waits_for_a_part_of_the_telemetry_alone(fleet: Fleet) -> None:
    journal = Journal()
    for number in range(5):
        journal.note(note(str(number)))
    journal.decide([record("decided")])

    async def run(call: Callable[[], Outcome]) -> Outcome:
        return await asyncio.to_thread(call)

    assert asyncio.run(journal.keep(fleet.recorder, run, 0.0, 2)) == (record("decided"),)
    assert sentences(fleet) == ["0", "1", "decided"]
    assert journal.waiting == 3
    assert asyncio.run(journal.keep(fleet.recorder, run, 0.0, 2)) == ()
    assert asyncio.run(journal.keep(fleet.recorder, run, 0.0, 2)) == ()
    assert sentences(fleet) == ["0", "1", "decided", "2", "3", "4"]
    assert journal.waiting == 0


def test_the_newest_of_what_is_about_the_same_takes_the_place_of_the_older(fleet: Fleet) -> None:
    journal = Journal()
    journal.note(note("board 1, old"), about="1")
    journal.note(note("board 2"), about="2")
    journal.note(note("board 1, new"), about="1")
    journal.note(note("another thing"))
    assert journal.waiting == 3
    keep(journal, fleet)
    assert sentences(fleet) == ["board 1, new", "board 2", "another thing"]
    journal.note(note("board 1, newest"), about="1")
    keep(journal, fleet)
    assert sentences(fleet)[-1] == "board 1, newest"


def test_what_is_about_the_same_needs_no_room(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoy_controller.journal.MAX_RECORDS", 2)
    journal = Journal()
    for number in range(5):
        journal.note(note(f"a{number}"), about="a")
        journal.note(note(f"b{number}"), about="b")
    assert (journal.waiting, journal.dropped) == (2, 0)
    journal.note(note("c"), about="c")
    assert (journal.waiting, journal.dropped) == (2, 1)
    keep(journal, fleet)
    assert sentences(fleet) == ["a4", "b4"]


def test_what_is_tried_again_gives_way_to_what_came_meanwhile(fleet: Fleet) -> None:
    journal = Journal()
    journal.note(note("old"), about="a")
    journal.note(note("other"), about="b")

    async def fail(call: Callable[[], Outcome]) -> Outcome:
        journal.note(note("new"), about="a")
        return Outcome(0, [("a", note("old")), ("b", note("other"))], "the database is away")

    asyncio.run(journal.keep(fleet.recorder, fail, 0.0))
    assert journal.waiting == 2
    keep(journal, fleet)
    assert sentences(fleet) == ["new", "other"]


@pytest.mark.parametrize("broken", [bad, buggy])
def test_a_record_that_cannot_be_kept_takes_no_other_with_it(
    fleet: Fleet, broken: Callable[[Recorder], None], caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    for number in range(5):
        journal.note(note(f"before {number}"))
    journal.note(broken)
    journal.note(note("after"))
    journal.decide([generation()])
    assert keep(journal, fleet) == (generation(),)
    assert sentences(fleet) == [*(f"before {number}" for number in range(5)), "after"]
    assert journal.refused == 1
    assert "which is lost (1 so far)" in caplog.text
    assert [str(line.generation) for line in queries.generations(fleet.database, "digits")] == ["1-1"]


def test_a_state_of_a_deployment_that_nobody_asked_for_holds_nothing_up(fleet: Fleet) -> None:
    journal = Journal()
    journal.decide([record("one"), GHOST, generation(), record("two")])
    kept = keep(journal, fleet)
    assert [effect for effect in kept if effect != GHOST] == [record("one"), generation(), record("two")]
    assert sentences(fleet) == ["one", "two"]
    assert (journal.refused, journal.held) == (1, ())


def test_what_binds_the_fleet_and_cannot_be_kept_is_held_with_all_that_follows(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    told = PublishDesired("board-1", Desired(1, 1, ()))
    journal.decide([record("one"), generation("unknown"), told])
    assert keep(journal, fleet) == (record("one"),)
    assert journal.held == (generation("unknown"), told)
    assert keep(journal, fleet) == ()
    assert caplog.text.count("decisions wait") == 1, "said once, not at every attempt"
    ask(fleet, "unknown")
    assert keep(journal, fleet) == (generation("unknown"), told)
    assert "again" in caplog.text
    assert sentences(fleet) == ["one"]


def test_while_the_database_is_away_everything_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.05)
    fleet = open_fleet(tmp_path)
    publish(fleet.database, tmp_path)
    ask(fleet, "digits")
    other = sqlite3.connect(tmp_path / "convoy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal = Journal()
    journal.note(note("first"))
    journal.decide([generation()])
    for _ in range(3):
        assert keep(journal, fleet) == ()
    journal.note(note("second"))
    assert journal.held == (generation(),)
    assert (journal.failures, journal.writes.count, journal.waiting) == (3, 3, 2)
    other.execute("ROLLBACK")
    other.close()
    assert keep(journal, fleet) == (generation(),)
    assert sentences(fleet) == ["first", "second"]
    assert caplog.text.count("locked by another process") == 1
    assert journal.refused == journal.dropped == journal.waiting == 0
    assert (journal.failures, journal.writes.count) == (3, 4)


def test_decisions_of_a_reign_that_is_over_are_not_told(fleet: Fleet) -> None:
    journal = Journal()
    journal.decide([record("one"), generation("unknown")])
    journal.forget()
    assert keep(journal, fleet) == ()
    assert (journal.held, sentences(fleet)) == ((), [])
    journal.decide([record("two")])

    async def run(call: Callable[[], Outcome]) -> Outcome:
        journal.forget()  # while it is being written
        return await asyncio.to_thread(call)

    assert asyncio.run(journal.keep(fleet.recorder, run, 0.0)) == ()
    journal.decide([record("three")])
    assert keep(journal, fleet) == (record("three"),)
    assert journal.held == ()


def test_what_a_reign_decided_is_not_written_after_its_end_whatever_the_recorder_is_by_then(fleet: Fleet) -> None:
    """Seed 219 of `control`: another had taken charge and served; the generation stayed "probing" for good."""
    journal, other = Journal(), Recorder(fleet.database)
    fleet.recorder.reign = fleet.recorder.raise_counters(epoch=3).epoch
    journal.decide([record("of the old reign")])
    journal.note(note("told to the old reign"))

    async def run(call: Callable[[], Outcome]) -> Outcome:
        other.raise_counters(epoch=4)
        fleet.recorder.reign = 0  # as whoever steps down does, while a thread is about to write
        journal.forget()
        return await asyncio.to_thread(call)

    assert asyncio.run(journal.keep(fleet.recorder, run, 0.0)) == ()
    assert (sentences(fleet), journal.waiting, journal.held) == ([], 0, ())
    journal.note(note("as one that stands by"))
    assert keep(journal, fleet) == ()
    assert sentences(fleet) == ["as one that stands by"]


def test_telemetry_is_bounded_and_decisions_are_not(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_RECORDS", 3)
    journal = Journal()
    for number in range(5):
        journal.note(note(str(number)))
    journal.decide([record(f"decision {number}") for number in range(5)])
    assert len(keep(journal, fleet)) == 5
    assert journal.dropped == 2
    assert sentences(fleet) == ["0", "1", "2", *(f"decision {number}" for number in range(5))]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["good", "bad", "buggy"]), max_size=9), st.lists(st.booleans(), max_size=5))
def test_whatever_is_bad_the_rest_is_kept_once_and_in_order(
    fleet: Fleet, telemetry: list[str], decisions: list[bool]
) -> None:
    last = max((event.id for event in queries.events(fleet.database)), default=0)
    journal = Journal()
    for number, kind in enumerate(telemetry):
        journal.note({"good": note(f"t{number}"), "bad": bad, "buggy": buggy}[kind])
    journal.decide([record(f"d{number}") if is_good else GHOST for number, is_good in enumerate(decisions)])
    assert len(keep(journal, fleet)) == len(decisions)
    expected = [f"t{number}" for number, kind in enumerate(telemetry) if kind == "good"]
    expected += [f"d{number}" for number, is_good in enumerate(decisions) if is_good]
    assert [event.sentence for event in queries.events(fleet.database, after=last)] == expected
    assert journal.refused == len([kind for kind in telemetry if kind != "good"]) + decisions.count(False)

"""The named queries: what they answer, the sentence for every state of a board, and the index behind each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.database import audit, certificate_records, pages, queries
from convoy_controller.database.audit import AuditFilter
from convoy_controller.database.certificate_records import NewCertificate
from convoy_controller.database.explanations import explain
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import (
    BoardPresence,
    DeploymentState,
    GenerationState,
    NewEvent,
    SavedGeneration,
    Severity,
    SymptomKind,
)
from convoy_controller.database.retention import sweep
from convoy_controller.database.telemetry import fleet_telemetry
from convoy_controller.database.views import Assigned, BoardFacts, Condition
from convoy_controller.errors import NotFoundError
from convoy_controller.plain import plain
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation
from database_samples import START, Fleet, assignment, capability, intent, open_fleet, publish, pulse, reported
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.engine import Connection


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    """A fleet with a published model and a deployment `digits`."""
    made = open_fleet(tmp_path, database_url)
    publish(made.database, tmp_path)
    request_deployment(made.database, intent(model="tiny"))
    yield made
    made.database.close()


# Why a board is where it is ------------------------------------------------------------------------------------------


def test_never_seen(fleet: Fleet):
    answer = queries.why(fleet.database, "board-9")
    assert answer.condition is Condition.NEVER_SEEN
    assert answer.sentence == "board-9 was never seen: no message of a board of that name has come."
    assert "convoy-device run" in answer.action


def test_never_seen_but_planned_for(fleet: Fleet):
    fleet.place(("board-9",))
    answer = queries.why(fleet.database, "board-9")
    assert answer.condition is Condition.NEVER_SEEN
    assert answer.wanted == "stage 1 of 1 of digits (generation 1-1): layer-0"


def test_offline(fleet: Fleet):
    fleet.online("board-1", session=7)
    fleet.clock.advance(60)
    fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 7, "three pulses missed")
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.OFFLINE
    assert answer.since == START + timedelta(seconds=60)
    assert answer.blocked_by == "three pulses missed"
    assert answer.sentence == (
        "board-1 has been offline since 2030-01-01 12:01:00 UTC "
        "(session 7 began 2030-01-01 12:00:00 UTC and ended: three pulses missed)."
    )


def test_presence_unknown(fleet: Fleet):
    fleet.online("board-1")
    fleet.recorder.record_presence("board-1", BoardPresence.UNKNOWN, 1)
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.PRESENCE_UNKNOWN
    assert "last heard 2030-01-01 12:00:00 UTC" in answer.sentence


def test_undescribed(fleet: Fleet):
    fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 1)
    assert queries.why(fleet.database, "board-1").condition is Condition.UNDESCRIBED


def test_left_out_after_a_failure_until_something_happens_to_it(fleet: Fleet):
    fleet.online("board-1")
    sentence = "generation 1-1 of digits was given up: board board-1: shell-mismatch: it has none"
    fleet.recorder.record_event(NewEvent("abandoned", sentence, board="board-1"))
    fleet.recorder.record_event(NewEvent("abandoned", "of another", board="board-2"))
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.FAILED
    assert answer.sentence == f"board-1 is left out for now: {sentence}."
    assert answer.blocked_by == sentence
    fleet.place(("board-1",), 2)
    assert queries.why(fleet.database, "board-1").condition is not Condition.FAILED
    fleet.place(("board-1",), 2, GenerationState.RETIRED)
    assert queries.why(fleet.database, "board-1").condition is Condition.FAILED
    fleet.recorder.record_event(NewEvent("online", "board-1 is online: heard from", board="board-1"))
    assert queries.why(fleet.database, "board-1").condition is Condition.FAILED
    fleet.online("board-1", session=2)
    assert queries.why(fleet.database, "board-1").condition is Condition.UNASSIGNED


def test_unassigned(fleet: Fleet):
    fleet.online("board-1")
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.UNASSIGNED
    assert answer.sentence == "board-1 is online and free: no deployment has been placed on it."
    assert answer.wanted == "nothing"


def test_fetching(fleet: Fleet):
    fleet.online("board-1")
    fleet.place(("board-1", "board-2"))
    fleet.at("board-1", Phase.FETCHING, done_bytes=65536, total_bytes=200000, step="parameters of conv1")
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.PREPARING
    assert answer.sentence == (
        "board-1 is fetching (65536 of 200000 bytes) for stage 1 of 2 of digits (generation 1-1) "
        "since 2030-01-01 12:00:00 UTC, parameters of conv1."
    )


@pytest.mark.parametrize(("retryable", "words"), [(True, "tries again by itself"), (False, "a retry cannot help")])
def test_failed(fleet: Fleet, retryable: bool, words: str):
    fleet.online("board-1")
    fleet.place(("board-1",))
    fleet.at("board-1", Phase.FAILED, code="signature", message="the bundle is not signed", retryable=retryable)
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.FAILED
    assert "the bundle is not signed (code signature; " in answer.sentence
    assert words in answer.sentence
    assert ("trusted.pem" in answer.action) is not retryable


def test_degraded(fleet: Fleet):
    fleet.online("board-1")
    fleet.recorder.record_reported("board-1", reported(degraded=True))
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.DEGRADED
    assert "partition p0 of shell partitions failed to configure" in answer.sentence


def test_what_it_is_degraded_and_blocked_by_keeps_its_beginning_whatever_else_it_reports(fleet: Fleet):
    fleet.online("board-1")
    for _ in range(3):
        fleet.recorder.record_reported("board-1", reported(degraded=True, blocked="no shell"))
        fleet.clock.advance(60)
    facts = queries.board(fleet.database, "board-1").facts
    assert (facts.degraded_since, facts.blocked_since) == (START, START)
    fleet.recorder.record_reported("board-1", reported())
    fleet.recorder.record_reported("board-1", reported(degraded=True))
    facts = queries.board(fleet.database, "board-1").facts
    assert (facts.degraded_since, facts.blocked_since) == (fleet.clock.now, None)


def test_a_failure_keeps_its_beginning_and_its_words_while_the_board_tries_again(fleet: Fleet):
    fleet.online("board-1")
    fleet.place(("board-1",))
    for _ in range(3):
        fleet.at("board-1", Phase.FAILED, code="store-full", message="no room", retryable=True)
        fleet.clock.advance(10)
        fleet.at("board-1", Phase.FETCHING)
        answer = queries.why(fleet.database, "board-1")
        assert (answer.condition, answer.since, answer.blocked_by) == (Condition.STORE_FULL, START, "no room")
    fleet.at("board-1", Phase.READY)
    assert queries.why(fleet.database, "board-1").condition is Condition.READY


def test_what_was_given_up_is_forgiven_when_the_board_gets_ready_or_its_owner_asks_anew(fleet: Fleet):
    fleet.online("board-1")
    event = NewEvent("abandoned", "no room", board="board-1", deployment="digits", data={"code": "store-full"})

    def condition() -> Condition:
        return queries.why(fleet.database, "board-1").condition

    fleet.recorder.record_event(event)
    fleet.clock.advance(1)
    fleet.place(("board-1",), 2)
    fleet.at("board-1", Phase.FETCHING, 2)
    assert condition() is Condition.STORE_FULL
    fleet.clock.advance(1)
    fleet.at("board-1", Phase.READY, 2)
    assert condition() is Condition.READY
    fleet.recorder.record_event(event)
    assert condition() is Condition.STORE_FULL
    request_deployment(fleet.database, intent(model="tiny"))
    assert condition() is Condition.READY
    fleet.recorder.record_event(event)
    fleet.recorder.save_deployment_state("digits", DeploymentState.REMOVED)
    assert condition() is Condition.READY


def test_a_symptom_keeps_its_beginning_gets_new_figures_and_ends(fleet: Fleet):
    fleet.online("board-1")
    fleet.place(("board-1",))
    fleet.at("board-1", Phase.READY)
    figures = {"of": "uplink", "us": 200_000, "peers_us": 900}
    fleet.clock.advance(30)
    fleet.recorder.record_symptom("board-1", SymptomKind.SLOW_LINK, 20.0, figures)
    fleet.clock.advance(30)
    fleet.recorder.record_symptom("board-1", SymptomKind.SLOW_LINK, 99.0, {**figures, "us": 300_000})
    answer = queries.why(fleet.database, "board-1")
    assert (answer.condition, answer.since) == (Condition.SLOW_LINK, START + timedelta(seconds=10))
    assert "300 ms" in answer.sentence
    assert fleet.recorder.load_state().boards[0].symptoms == (SymptomKind.SLOW_LINK,)
    fleet.recorder.end_symptom("board-1", SymptomKind.SLOW_LINK)
    fleet.recorder.end_symptom("board-1", SymptomKind.SLOW_LINK)
    assert queries.why(fleet.database, "board-1").condition is Condition.READY


def test_a_board_whose_certificate_was_revoked(fleet: Fleet):
    fleet.online("board-1")
    fleet.online("board-2")
    made = NewCertificate("ab12", "board-1", START + timedelta(days=90), "PEM")
    certificate_records.add_service_certificate(fleet.database, made, START)
    fleet.clock.advance(60)
    certificate_records.revoke(fleet.database, "board-1", "stolen", fleet.clock.now)
    answer = queries.why(fleet.database, "board-1")
    assert (answer.condition, answer.since) == (Condition.REVOKED, fleet.clock.now)
    assert "for 'stolen'" in answer.sentence
    assert queries.why(fleet.database, "board-2").condition is Condition.UNASSIGNED


def test_blocked(fleet: Fleet):
    fleet.online("board-1")
    fleet.recorder.record_reported("board-1", reported(blocked="the store is full."))
    answer = queries.why(fleet.database, "board-1")
    assert (answer.condition, answer.sentence) == (Condition.BLOCKED, "board-1 cannot go on: the store is full.")


def test_stale_revision(fleet: Fleet):
    fleet.online("board-1")
    fleet.recorder.record_desired("board-1", 1, 5)
    fleet.recorder.record_reported("board-1", reported(revision=4))
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.STALE
    assert "is at revision 1-4, but was told 1-5" in answer.sentence
    fleet.recorder.record_reported("board-1", reported(revision=5))
    assert queries.why(fleet.database, "board-1").condition is Condition.UNASSIGNED


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (GenerationState.SERVING, "serves"),
        (GenerationState.STAGED, "waits for the others"),
        (GenerationState.DRAINING, "finishes what is in flight"),
    ],
)
def test_ready(fleet: Fleet, state: GenerationState, words: str):
    fleet.online("board-1")
    fleet.place(("board-1",), state=state)
    fleet.at("board-1", Phase.READY)
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.READY
    assert words in answer.sentence


def test_the_failing_assignment_is_told_before_the_one_that_serves(fleet: Fleet):
    fleet.online("board-1")
    fleet.place(("board-1",), 1, GenerationState.SERVING)
    fleet.at("board-1", Phase.READY, 1)
    fleet.place(("board-1",), 2, GenerationState.STAGED)
    assert queries.why(fleet.database, "board-1").condition is Condition.PREPARING
    fleet.at("board-1", Phase.FAILED, 2, code="store-full", message="no room")
    answer = queries.why(fleet.database, "board-1")
    assert answer.condition is Condition.STORE_FULL
    assert "generation 1-2" in answer.sentence
    fleet.recorder.save_generation_state("digits", Generation(1, 2), GenerationState.ABANDONED)
    assert queries.why(fleet.database, "board-1").condition is Condition.READY


def test_one_row_answers_why(fleet: Fleet):
    fleet.online("board-1")
    fleet.place(("board-1",))
    with statements(fleet) as seen:
        queries.why(fleet.database, "board-1")
    assert len(seen) == 1


dates = st.none() | st.just(START)
assigned = st.builds(
    Assigned,
    deployment=st.just("digits"),
    generation=st.just(Generation(1, 2)),
    generation_state=st.sampled_from(GenerationState),
    stage=st.integers(0, 3),
    stages=st.just(4),
    layers=st.just(("conv1",)),
    slots=st.just({}),
    phase=st.sampled_from(Phase),
    step=st.sampled_from(["", "conv1"]),
    done_bytes=st.integers(0, 10),
    total_bytes=st.integers(0, 10),
    code=st.sampled_from(["", "integrity", "unheard-of"]),
    message=st.sampled_from(["", "it broke"]),
    retryable=st.booleans(),
    since=st.just(START),
)
revisions = st.tuples(st.integers(0, 2), st.integers(0, 2))


@given(
    st.builds(
        BoardFacts,
        board=st.just("board-1"),
        presence=st.sampled_from(BoardPresence),
        presence_since=dates,
        first_seen=dates,
        last_seen=dates,
        session_started=dates,
        session_ended=dates,
        degraded=st.sampled_from([(), ("p0", "p1")]),
        blocked=st.sampled_from(["", "no room"]),
        desired=revisions,
        reported=revisions,
        desired_at=dates,
        reported_at=dates,
        assigned=st.none() | assigned,
        part=st.just(""),
        fabric=st.just(""),
        software=st.just(""),
        shell=st.just(""),
        presence_reason=st.just(""),
        session_reason=st.just(""),
    )
)
def test_every_board_is_explained_in_one_sentence_with_something_to_do(facts: BoardFacts):
    answer = explain(facts)
    assert answer.sentence.startswith("board-1 ")
    assert answer.sentence.endswith(".")
    assert "\n" not in answer.sentence
    assert answer.action
    assert answer.actual
    is_well = answer.condition in (Condition.READY, Condition.UNASSIGNED)
    if is_well:
        assert facts.presence is BoardPresence.ONLINE
        assert not facts.degraded
        assert not facts.blocked
        assert facts.reported >= facts.desired
    if facts.assigned is not None and facts.assigned.phase is Phase.FAILED:
        assert not is_well


# The lists -----------------------------------------------------------------------------------------------------------


def test_the_fleet_with_every_board_once(fleet: Fleet):
    for board in ("b", "a", "c"):
        fleet.online(board)
    fleet.place(("a", "b"), 1, GenerationState.DRAINING)
    fleet.place(("a", "b"), 2, GenerationState.SERVING)
    fleet.at("a", Phase.READY, 2)
    lines = queries.fleet(fleet.database)
    assert [(line.board, line.deployment, line.stage, line.phase) for line in lines] == [
        ("a", "digits", 0, Phase.READY),
        ("b", "digits", 1, Phase.IDLE),
        ("c", None, None, None),
    ]
    assert lines[0].generation == Generation(1, 2)
    assert lines[0].part == "xc7z020clg400-1"


def test_one_board_in_full(fleet: Fleet):
    fleet.online("board-1", session=3)
    fleet.place(("board-1",))
    fleet.recorder.record_pulse("board-1", pulse())
    fleet.recorder.record_reported("board-1", reported())
    detail = queries.board(fleet.database, "board-1")
    assert detail.capability == capability(3)
    assert detail.partitions == reported().partitions
    assert [(item.deployment, item.layers, item.slots) for item in detail.assignments] == [
        ("digits", ("layer-0",), {"p0": "conv2d"})
    ]
    assert detail.statistics is not None
    assert detail.statistics.activation_bytes == 30
    with pytest.raises(NotFoundError, match="board-9 was never seen"):
        queries.board(fleet.database, "board-9")


def test_deployments_count_the_boards_of_their_newest_generation(fleet: Fleet):
    (line,) = queries.deployments(fleet.database)
    assert (line.state, line.generation, line.assigned_boards) == (DeploymentState.PENDING, None, 0)
    fleet.place(("a",), 1, GenerationState.DRAINING)
    fleet.place(("a", "b", "c"), 2, GenerationState.SERVING)
    fleet.at("a", Phase.READY, 2)
    fleet.recorder.save_deployment_state("digits", DeploymentState.SERVING, "3 boards")
    (line,) = queries.deployments(fleet.database)
    assert (line.generation, line.assigned_boards, line.ready_boards) == (Generation(1, 2), 3, 1)
    assert (line.message, line.generation_state) == ("3 boards", GenerationState.SERVING)
    withdraw_deployment(fleet.database, "digits")
    fleet.recorder.save_deployment_state("digits", DeploymentState.REMOVED)
    assert queries.deployments(fleet.database) == ()
    assert [line.deployment for line in queries.deployments(fleet.database, removed=True)] == ["digits"]


def test_generations_come_newest_first_and_bounded(fleet: Fleet):
    for counter in range(1, 6):
        fleet.place(("a",), counter, GenerationState.RETIRED)
    lines = queries.generations(fleet.database, "digits", limit=2)
    assert [line.generation.counter for line in lines] == [5, 4]
    with pytest.raises(NotFoundError):
        queries.generations(fleet.database, "nowhere")


def test_a_plan_says_who_runs_which_layers(fleet: Fleet):
    with pytest.raises(NotFoundError, match="no placement yet"):
        queries.plan(fleet.database, "digits")
    fleet.online("a")
    generation = Generation(1, 1)
    stages = {"a": assignment(0, 2, generation), "b": assignment(1, 2, generation), "c": assignment(1, 2, generation)}
    fleet.recorder.save_generation(
        SavedGeneration("digits", generation, GenerationState.SERVING, stages, plan={"period_s": 0.5})
    )
    fleet.place(("z",), 2, GenerationState.STAGED)
    view = queries.plan(fleet.database, "digits")  # the one that serves, not the newest
    assert (view.generation, view.facts) == (generation, {"period_s": 0.5})
    assert [(stage.stage, stage.layers, [item.board for item in stage.replicas]) for stage in view.stages] == [
        (0, ("layer-0",), ["a"]),
        (1, ("layer-1",), ["b", "c"]),
    ]
    assert view.stages[0].replicas[0].presence is BoardPresence.ONLINE
    assert view.stages[1].replicas[0].presence is BoardPresence.UNKNOWN
    assert queries.plan(fleet.database, "digits", Generation(1, 2)).stages[0].replicas[0].board == "z"
    with pytest.raises(NotFoundError, match="generation 9-9"):
        queries.plan(fleet.database, "digits", Generation(9, 9))


def test_models_say_what_they_are(fleet: Fleet, tmp_path: Path):
    publish(fleet.database, tmp_path, version="2", seed=1)
    newest, first = queries.models(fleet.database)
    assert (newest.version, newest.serial, first.version, first.serial) == ("2", 2, "1", 1)
    assert (first.layers, first.input_shape, first.class_names) == (2, (4,), ("no", "yes"))
    assert {"allocate", "library"} <= set(first.methods)
    assert first.bytes > 100_000 > first.packed_bytes / 100 > 0
    assert first.artifacts >= 3


def test_events_newest_or_oldest_after_a_place(fleet: Fleet):
    numbers = [
        fleet.recorder.record_event(NewEvent("tick", f"{n}", board=f"board-{n % 2}", deployment="digits"))
        for n in range(10)
    ]
    shown = [line.id for line in queries.events(fleet.database, limit=3)]
    assert shown == numbers[-3:]
    after = [line.id for line in queries.events(fleet.database, limit=3, after=numbers[1], oldest_first=True)]
    assert after == numbers[2:5]
    assert [line.id for line in queries.events(fleet.database, board="board-1")] == numbers[1::2]
    assert len(queries.events(fleet.database, deployment="digits")) == 10
    assert queries.events(fleet.database, deployment="other") == ()


def test_all_of_it_has_a_json_form(fleet: Fleet):
    fleet.online("board-1")
    fleet.place(("board-1",))
    fleet.recorder.record_pulse("board-1", pulse())
    detail = plain(queries.board(fleet.database, "board-1"))
    assert detail["assignments"][0]["generation"] == "1-1"
    assert detail["assignments"][0]["since"] == "2030-01-01T12:00:00.000Z"
    assert detail["capability"]["partitions"] == [{"name": "p0", "kinds": ["conv2d"]}]
    assert plain((b"\x01", {1: 2})) == ["01", {"1": 2}]
    with pytest.raises(TypeError):
        plain(object())


# Indexes -------------------------------------------------------------------------------------------------------------

Statement = tuple[str, object]
#: Query plans are SQLite's; the indexes are the same in PostgreSQL.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextmanager
def statements(fleet: Fleet) -> Iterator[list[Statement]]:
    """Every statement executed in the block, with its parameters."""
    seen: list[Statement] = []

    def note(_connection: Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
            seen.append((statement, parameters))

    event.listen(fleet.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(fleet.database.engine, "before_cursor_execute", note)


def scans(fleet: Fleet, seen: list[Statement]) -> list[str]:
    """Steps of those statements' plans that read a growing table from end to end."""
    found = []
    with fleet.database.engine.connect() as connection:
        for statement, parameters in seen:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            aliases = {
                alias or table
                for table, alias in re.findall(
                    r"(?:FROM|JOIN|UPDATE) (events|sessions|assignments|generations|audit)(?: AS (\w+))?", statement
                )
            }
            for step in steps:
                scanned = re.match(r"SCAN (\w+)", step[3])
                if scanned and scanned[1] in aliases:
                    found.append(f"{step[3]} in {statement}")
    return found


@on_sqlite
@pytest.mark.parametrize(
    "ask",
    [
        lambda fleet: queries.fleet(fleet.database),
        lambda fleet: queries.why(fleet.database, "board-1"),
        lambda fleet: queries.board(fleet.database, "board-1"),
        lambda fleet: queries.deployments(fleet.database),
        lambda fleet: queries.deployment(fleet.database, "digits"),
        lambda fleet: queries.generations(fleet.database, "digits"),
        lambda fleet: queries.plan(fleet.database, "digits"),
        lambda fleet: queries.plan(fleet.database, "digits", Generation(1, 1)),
        lambda fleet: queries.models(fleet.database),
        lambda fleet: queries.gateways(fleet.database),
        lambda fleet: fleet_telemetry(fleet.database),
        lambda fleet: queries.events(fleet.database),
        lambda fleet: queries.events(fleet.database, after=3, oldest_first=True),
        lambda fleet: queries.events(fleet.database, board="board-1"),
        lambda fleet: queries.events(fleet.database, after=3, board="board-1", oldest_first=True),
        lambda fleet: queries.events(fleet.database, deployment="digits"),
        lambda fleet: pages.events(fleet.database, EventFilter(), 10),
        lambda fleet: pages.events(fleet.database, EventFilter("board-1", "digits", Severity.INFO, "tick"), 10, 3),
        lambda fleet: pages.events(fleet.database, EventFilter(severity=Severity.ERROR), 10),
        lambda fleet: pages.events(fleet.database, EventFilter(kind="tick"), 10),
        lambda fleet: pages.events(fleet.database, EventFilter(since=START, until=START), 10, 1, oldest_first=True),
        lambda fleet: audit.lines(fleet.database, AuditFilter("local", since=START, until=START), 10, 5),
        lambda fleet: audit.lines(fleet.database, AuditFilter(subject="/boards", operation="drain"), 10),
        lambda fleet: pages.sessions(fleet.database, "board-1", 10, 5),
        lambda fleet: queries.generations(fleet.database, "digits", 10, Generation(1, 1)),
        lambda fleet: fleet.recorder.load_state(),
        lambda fleet: fleet.recorder.intents_since(0),
        lambda fleet: fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 1),
        lambda fleet: fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 2),
        lambda fleet: fleet.at("board-1", Phase.READY),
        lambda fleet: fleet.place(("board-1", "board-2")),
        lambda fleet: sweep(fleet.database, START),
        lambda fleet: sweep(fleet.database, START + timedelta(days=100)),
    ],
)
def test_no_query_scans_a_table_that_grows(fleet: Fleet, ask: Callable[[Fleet], object]):
    for board in ("board-1", "board-2"):
        fleet.online(board)
        fleet.recorder.record_event(NewEvent("tick", "tick", board=board, deployment="digits"))
    fleet.place(("board-1", "board-2"))
    with statements(fleet) as seen:
        ask(fleet)
    assert seen
    assert scans(fleet, seen) == []


@on_sqlite
def test_a_scan_would_be_found(fleet: Fleet):
    with statements(fleet) as seen, fleet.database.read() as db:
        db.execute(text("SELECT kind FROM events WHERE sentence = 'x'")).all()
        db.execute(text("SELECT a.id FROM assignments AS a WHERE a.code = 'x'")).all()
    assert len(scans(fleet, seen)) == 2

"""The database as its callers see it: what is recorded comes back, in one transaction or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.database import audit, publications, queries
from convoy_controller.database.audit import Attempt, Outcome
from convoy_controller.database.engine import open_database
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import (
    BoardPresence,
    Counters,
    DeploymentState,
    GenerationState,
    NewEvent,
    Severity,
)
from convoy_controller.database.retention import DISTRUST_S, LEAP_S, ClockWatch, Swept, sweep
from convoy_controller.errors import (
    CatalogueError,
    DatabaseBusyError,
    DatabaseError,
    DatabaseFullError,
    DatabaseUnreachableError,
    DeposedError,
    NotFoundError,
)
from convoy_schema.errors import TopicError
from convoy_schema.messages.boards import AssignmentReport, Phase, Published
from convoy_schema.messages.gateways import GatewayReported
from convoy_schema.names import Generation
from database_samples import (
    START,
    Fleet,
    assignment,
    capability,
    intent,
    open_fleet,
    placement,
    publish,
    pulse,
    reported,
)
from patience import PATIENCE_S
from sqlalchemy import event, text

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def fleet(tmp_path: Path, database_url: str):
    made = open_fleet(tmp_path, database_url)
    yield made
    made.database.close()


@pytest.fixture
def wanted(fleet: Fleet, tmp_path: Path) -> Fleet:
    """A fleet with a published model and a deployment of it."""
    publish(fleet.database, tmp_path)
    request_deployment(fleet.database, intent(model="tiny"))
    return fleet


def test_sqlite_is_opened_safely(tmp_path: Path):
    fleet = open_fleet(tmp_path)
    with fleet.database.read() as db:
        assert db.scalar(text("PRAGMA journal_mode")) == "wal"
        assert db.scalar(text("PRAGMA foreign_keys")) == 1
        assert db.scalar(text("PRAGMA busy_timeout")) == 10_000
        assert db.scalar(text("PRAGMA synchronous")) == 2
    fleet.database.close()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "nosuchdatabase://host/name",
        "postgresql+nosuchdriver://host/name",
        "sqlite:////proc/nowhere/convoy.db",
        "sqlite:///a\0b",
        "sqlite:////tmp/none.db?timeout=x",
        "sqlite:////tmp/none.db?timeout=1&timeout=2",
        "sqlite:////tmp/none.db?check_same_thread=x",
        "postgresql://host:x/name",
    ],
)
def test_what_cannot_be_opened_is_unreachable(url: str):
    with pytest.raises(DatabaseUnreachableError):
        open_database(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "convoy.db"
    path.write_bytes(b"this is not a database, it is a letter" * 100)
    with pytest.raises(DatabaseUnreachableError, match="not a database"):
        open_database(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["postgresql+nosuchdriver://me:sesame@host/name", "postgresql://me:sesame@host:x/name"])
def test_a_password_is_never_shown(url: str):
    with pytest.raises(DatabaseUnreachableError) as caught:
        open_database(url)
    assert "sesame" not in str(caught.value)
    assert "me" in str(caught.value)


def test_a_new_fleet_is_empty_and_has_an_identity(tmp_path: Path):
    first, second = open_fleet(tmp_path / "a"), open_fleet(tmp_path / "b")
    state = first.recorder.load_state()
    assert state.counters == Counters(0, 0, 0, 0)
    assert (state.boards, state.gateways, state.deployments, state.generations, state.models) == ((),) * 5
    assert state.instance != second.recorder.load_state().instance
    first.database.close()
    assert open_fleet(tmp_path / "a").recorder.load_state().instance == state.instance


def test_counters_only_grow(fleet: Fleet):
    assert [fleet.recorder.next_revision() for _ in range(3)] == [1, 2, 3]
    assert fleet.recorder.next_generation_counter() == 1
    assert fleet.recorder.raise_counters(epoch=4, revision=10, generation=0) == Counters(4, 10, 1, 0)
    assert fleet.recorder.raise_counters(epoch=2, revision=5, generation=7) == Counters(4, 10, 7, 0)
    assert fleet.recorder.next_revision() == 11


def test_nothing_is_written_for_a_reign_that_another_has_ended(fleet: Fleet):
    fleet.recorder.raise_counters(epoch=3)
    fleet.recorder.reign = 3
    fleet.recorder.raise_counters(revision=1)
    Recorder(fleet.database).raise_counters(epoch=4)
    with pytest.raises(DeposedError, match="epoch 3, another one has opened epoch 4 here"):
        fleet.recorder.raise_counters(revision=9)
    fleet.recorder.reign = 0
    assert fleet.recorder.load_state().counters.revision == 1


def test_a_transaction_stands_or_falls_as_a_whole(fleet: Fleet):
    with pytest.raises(KeyError), fleet.recorder.transaction():  # noqa: PT012
        fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 7)
        fleet.recorder.next_revision()
        raise KeyError
    state = fleet.recorder.load_state()
    assert state.boards == ()
    assert state.counters.revision == 0
    with fleet.recorder.transaction():
        fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 7)
        assert fleet.recorder.next_revision() == 1
        assert fleet.recorder.load_state().boards == ()  # another view sees nothing of it yet
    assert [board.name for board in fleet.recorder.load_state().boards] == ["board-1"]


def test_what_a_board_says_comes_back(fleet: Fleet):
    fleet.online("board-1", session=7)
    fleet.recorder.record_desired("board-1", 1, 4)
    fleet.recorder.record_reported("board-1", reported(3, session=7))
    (board,) = fleet.recorder.load_state().boards
    assert (board.name, board.presence, board.session) == ("board-1", BoardPresence.ONLINE, 7)
    assert board.capability == capability(7)
    assert board.reported == reported(3, session=7)
    assert (board.desired_epoch, board.desired_revision) == (1, 4)


def test_sessions_begin_end_and_are_replaced(fleet: Fleet):
    fleet.online("board-1", session=1)
    fleet.clock.advance(10)
    fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 1, "three pulses missed")
    fleet.clock.advance(10)
    fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 2)
    fleet.clock.advance(10)
    fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 3)
    sessions = queries.board(fleet.database, "board-1").sessions
    seconds = timedelta(seconds=10)
    assert [(item.session, item.started_at, item.ended_at, item.reason) for item in sessions] == [
        (3, START + 3 * seconds, None, ""),
        (2, START + 2 * seconds, START + 3 * seconds, "replaced by session 3"),
        (1, START, START + seconds, "three pulses missed"),
    ]


def test_a_session_that_was_thought_dead_goes_on(fleet: Fleet):
    fleet.online("board-1", session=1)
    fleet.recorder.record_presence("board-1", BoardPresence.OFFLINE, 1, "connection lost")
    fleet.recorder.record_presence("board-1", BoardPresence.ONLINE, 1)
    (only,) = queries.board(fleet.database, "board-1").sessions
    assert (only.session, only.ended_at, only.reason) == (1, None, "")


def test_unknown_presence_ends_no_session(fleet: Fleet):
    fleet.online("board-1", session=1)
    fleet.recorder.record_presence("board-1", BoardPresence.UNKNOWN, 1, "controller connected")
    detail = queries.board(fleet.database, "board-1")
    assert detail.facts.presence is BoardPresence.UNKNOWN
    assert detail.sessions[0].ended_at is None


def test_the_newest_pulse_replaces_the_one_before(fleet: Fleet):
    fleet.recorder.record_pulse("board-1", pulse(frames=5))  # its first words may be a pulse
    fleet.clock.advance(1)
    fleet.recorder.record_pulse("board-1", pulse(frames=9))
    detail = queries.board(fleet.database, "board-1")
    assert detail.statistics is not None
    assert (detail.statistics.frames, detail.statistics.rows, detail.statistics.refused) == (9, 288, 3)
    assert detail.facts.last_seen == START + timedelta(seconds=1)


def test_gateways_are_recorded(fleet: Fleet):
    fleet.recorder.record_gateway_presence("gw", BoardPresence.ONLINE, 5)
    said = GatewayReported(5, 1, 3, "http://127.0.0.1:8080", (), Published())
    fleet.recorder.record_gateway_reported("gw", said)
    (line,) = queries.gateways(fleet.database)
    assert (line.gateway, line.presence, line.address, line.revision) == (
        "gw",
        BoardPresence.ONLINE,
        "http://127.0.0.1:8080",
        3,
    )
    (saved,) = fleet.recorder.load_state().gateways
    assert (saved.name, saved.session, saved.address) == ("gw", 5, "http://127.0.0.1:8080")


def test_a_saved_generation_comes_back_whole(wanted: Fleet):
    placed = placement(("board-1", "board-2"), 3, GenerationState.STAGED)
    wanted.recorder.save_generation(placed)
    (found,) = wanted.recorder.load_state().generations
    assert found.assignments == placed.assignments
    assert (found.deployment, found.generation, found.state) == ("digits", Generation(1, 3), GenerationState.STAGED)
    assert found.plan == {"period_s": 0.01}
    assert found.phases == {"board-1": Phase.IDLE, "board-2": Phase.IDLE}


def test_saving_again_keeps_phases_and_follows_the_assignments(wanted: Fleet):
    wanted.place(("board-1", "board-2"), 3, GenerationState.STAGED)
    wanted.at("board-1", Phase.READY, 3)
    wanted.recorder.save_generation(placement(("board-1",), 3, GenerationState.SERVING))
    (found,) = wanted.recorder.load_state().generations
    assert found.phases == {"board-1": Phase.READY}
    assert found.state is GenerationState.SERVING


def test_a_generation_that_ended_keeps_its_assignments_as_history(wanted: Fleet):
    wanted.place(("board-1",), 3)
    wanted.recorder.save_generation_state("digits", Generation(1, 3), GenerationState.RETIRED, "replaced")
    assert wanted.recorder.load_state().generations == ()
    (line,) = queries.generations(wanted.database, "digits")
    assert (line.state, line.reason, line.boards) == (GenerationState.RETIRED, "replaced", 1)


def test_a_phase_keeps_its_time_while_it_lasts(wanted: Fleet):
    wanted.place(("board-1",))
    wanted.clock.advance(5)
    wanted.at("board-1", Phase.FETCHING, done_bytes=10, total_bytes=100)
    wanted.clock.advance(5)
    wanted.at("board-1", Phase.FETCHING, done_bytes=90, total_bytes=100)
    assigned = queries.board(wanted.database, "board-1").facts.assigned
    assert assigned is not None
    assert (assigned.since, assigned.done_bytes) == (START + timedelta(seconds=5), 90)


def test_a_phase_of_something_never_saved_is_ignored(wanted: Fleet):
    report = AssignmentReport("digits", Generation(9, 9), Phase.READY)
    assert not wanted.recorder.save_phase("board-1", report)
    wanted.place(("board-1",))
    assert wanted.recorder.save_phase("board-1", AssignmentReport("digits", Generation(1, 1), Phase.READY))


def test_states_of_what_was_never_saved_are_refused(wanted: Fleet):
    with pytest.raises(NotFoundError, match="generation 1-9"):
        wanted.recorder.save_generation_state("digits", Generation(1, 9), GenerationState.SERVING)
    with pytest.raises(NotFoundError, match="nowhere"):
        wanted.recorder.save_deployment_state("nowhere", DeploymentState.SERVING)


def test_a_placement_needs_its_deployment(fleet: Fleet):
    with pytest.raises(DatabaseError, match=r"(?i)foreign key"):
        fleet.place(("board-1",))


def test_intents_are_seen_once_and_in_order(wanted: Fleet):
    first = wanted.recorder.intents_since(0)
    assert [(item.intent, item.wanted, item.state) for item in first] == [
        (intent(model="tiny"), True, DeploymentState.PENDING)
    ]
    seen = first[-1].intent_revision
    assert wanted.recorder.intents_since(seen) == ()
    request_deployment(wanted.database, intent("other", model="tiny"))
    withdraw_deployment(wanted.database, "digits")
    changed = wanted.recorder.intents_since(seen)
    assert [(item.intent.deployment, item.wanted) for item in changed] == [("other", True), ("digits", False)]


def test_a_change_of_what_serves_keeps_it_serving(wanted: Fleet):
    wanted.recorder.save_deployment_state("digits", DeploymentState.SERVING, "3 boards")
    request_deployment(wanted.database, intent(model="tiny"))
    assert queries.deployment(wanted.database, "digits").state is DeploymentState.SERVING
    withdraw_deployment(wanted.database, "digits")
    wanted.recorder.save_deployment_state("digits", DeploymentState.REMOVED)
    assert queries.deployments(wanted.database) == ()
    assert wanted.recorder.load_state().deployments == ()
    request_deployment(wanted.database, intent(model="tiny"))
    assert queries.deployment(wanted.database, "digits").state is DeploymentState.PENDING


def test_what_cannot_be_deployed_is_refused(wanted: Fleet):
    with pytest.raises(NotFoundError, match="there is tiny"):
        request_deployment(wanted.database, intent(model="nowhere"))
    with pytest.raises(NotFoundError, match="no version '9'; there is 1"):
        request_deployment(wanted.database, intent(model="tiny", version="9"))
    with pytest.raises(TopicError):
        request_deployment(wanted.database, intent("Not A Name", model="tiny"))
    with pytest.raises(NotFoundError, match="nowhere"):
        withdraw_deployment(wanted.database, "nowhere")
    withdraw_deployment(wanted.database, "digits")
    with pytest.raises(NotFoundError):
        withdraw_deployment(wanted.database, "digits")


def test_a_method_without_its_shell_is_refused(fleet: Fleet, tmp_path: Path):
    from dataclasses import replace

    from convoy_bitstreams import catalogue

    shipped = catalogue()
    layers_only = replace(shipped, shells=tuple(item for item in shipped.shells if item.shell == "layers"))
    publish(fleet.database, tmp_path, images=lambda: layers_only)
    with pytest.raises(CatalogueError, match=r"'partitions'.*with layers"):
        request_deployment(fleet.database, intent(model="tiny"))


def test_models_that_others_published_are_found(wanted: Fleet, tmp_path: Path):
    (known,) = wanted.recorder.load_state().models
    assert wanted.recorder.models_except({known.digest}) == ()
    publish(wanted.database, tmp_path, version="2", seed=1)
    (new,) = wanted.recorder.models_except({known.digest})
    assert (new.name, new.version, new.serial) == ("tiny", "2", 2)
    assert publications.find_model(wanted.database, "tiny") == new


def test_events_are_bounded_and_numbered(fleet: Fleet):
    first = fleet.recorder.record_event(NewEvent("board-gone", "x" * 5000, Severity.ERROR, "board-1", data={"a": [1]}))
    second = fleet.recorder.record_event(NewEvent("planned", "ok", deployment="digits", generation=Generation(1, 2)))
    assert second > first
    lines = queries.events(fleet.database)
    assert [line.id for line in lines] == [first, second]
    assert len(lines[0].sentence) == 2000
    assert (lines[0].severity, lines[0].data) == (Severity.ERROR, {"a": [1]})
    assert lines[1].generation == "1-2"


# A full disk ---------------------------------------------------------------------------------------------------------


@on_sqlite
def test_a_full_disk_says_so_and_passes(fleet: Fleet):
    limit = {"pages": 1}

    @event.listens_for(fleet.database.engine, "checkout")
    def bound(connection, record, proxy):
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")

    def tell_much() -> None:
        for number in range(1000):
            fleet.recorder.record_event(NewEvent("told", "x" * 2000, data={"number": number}))

    with pytest.raises(DatabaseFullError, match="is full: free some space there") as caught:
        tell_much()
    assert caught.value.retryable
    told = len(queries.events(fleet.database, 10_000))
    limit["pages"] = 2**30
    fleet.recorder.record_event(NewEvent("told", "there is room again"))
    assert len(queries.events(fleet.database, 10_000)) == told + 1


# Retention -----------------------------------------------------------------------------------------------------------


def test_old_events_go_in_batches_and_new_ones_stay(fleet: Fleet):
    for _ in range(25):
        fleet.recorder.record_event(NewEvent("old", "long ago"))
    fleet.clock.advance(31 * 86400)
    kept = fleet.recorder.record_event(NewEvent("new", "now"))
    assert sweep(fleet.database, fleet.clock(), batch_rows=10, most_batches=2, keep_rows=0).events == 20
    assert sweep(fleet.database, fleet.clock(), batch_rows=10, keep_rows=1).events == 5
    assert sweep(fleet.database, fleet.clock()).events == 0
    assert [line.id for line in queries.events(fleet.database)] == [kept]


def test_event_numbers_are_never_given_twice(fleet: Fleet):
    last = fleet.recorder.record_event(NewEvent("old", "long ago"))
    fleet.clock.advance(86400)
    assert sweep(fleet.database, fleet.clock(), keep_days=0.5, keep_rows=0).events == 1
    assert fleet.recorder.record_event(NewEvent("new", "now")) > last


def test_the_audit_stays_longer_than_events(fleet: Fleet):
    attempt, outcome = Attempt("ci", "admin", "", "drain_board", "/boards/board-1/drain"), Outcome(200)
    audit.record(fleet.database, fleet.clock(), attempt, outcome)
    fleet.clock.advance(364 * 86400)
    assert sweep(fleet.database, fleet.clock(), keep_rows=0).audit == 0
    fleet.clock.advance(2 * 86400)
    assert sweep(fleet.database, fleet.clock()).audit == 0  # the newest stay
    assert sweep(fleet.database, fleet.clock(), keep_rows=0).audit == 1


def test_past_sessions_and_generations_go_but_the_present_stays(wanted: Fleet):
    for session in (1, 2):
        wanted.online("board-1", session)
    wanted.recorder.record_presence("board-1", BoardPresence.OFFLINE, 2, "gone")
    wanted.place(("board-1",), 1, GenerationState.RETIRED)
    wanted.place(("board-1",), 2, GenerationState.SERVING)
    wanted.clock.advance(31 * 86400)
    swept = sweep(wanted.database, wanted.clock(), keep_rows=0)
    assert (swept.sessions, swept.generations) == (1, 1)
    assert [item.session for item in queries.board(wanted.database, "board-1").sessions] == [2]
    assert [item.generation.counter for item in queries.generations(wanted.database, "digits")] == [2]


def test_the_newest_rows_stay_however_old_the_clock_makes_them(wanted: Fleet):
    for session in range(1, 4):
        wanted.online("board-1", session)
    for counter in range(1, 4):
        wanted.place(("board-1",), counter, GenerationState.RETIRED)
    numbers = [wanted.recorder.record_event(NewEvent("told", "one")) for _ in range(8)]
    wanted.clock.advance(73 * 365 * 86400)
    assert sweep(wanted.database, wanted.clock()) == Swept(0, 0, 0)
    swept = sweep(wanted.database, wanted.clock(), keep_rows=2)
    assert (swept.sessions, swept.generations) == (1, 1)
    assert [line.id for line in queries.events(wanted.database)] == numbers[-2:]


def test_a_date_that_leaps_is_not_believed_for_a_day():
    date = START
    watch = ClockWatch(date, 0.0)
    hour = timedelta(hours=1)
    assert watch.is_trusted(date + hour, 3600.0)
    # As far as clocks drift, or are set at a time.
    assert watch.is_trusted(date + 2 * hour + timedelta(seconds=LEAP_S - 1), 7200.0)
    ahead = START + timedelta(days=73 * 365)
    assert not watch.is_trusted(ahead, 10_800.0)
    assert not watch.is_trusted(ahead + hour, 14_400.0)
    # Put right, which is another leap.
    assert not watch.is_trusted(date + 5 * hour, 18_000.0)
    assert not watch.is_trusted(date + 24 * hour, 86_400.0)
    assert watch.is_trusted(date + 5 * hour + timedelta(seconds=DISTRUST_S), 18_000.0 + DISTRUST_S)


def test_nonsense_retention_is_refused(fleet: Fleet):
    with pytest.raises(ValueError, match="keep_days"):
        sweep(fleet.database, START, keep_days=-1)


# Several at once -----------------------------------------------------------------------------------------------------

_WRITER = """
import sys
from convoy_controller.database.engine import open_database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import NewEvent
recorder = Recorder(open_database(sys.argv[1]))
for number in range(int(sys.argv[3])):
    with recorder.transaction():
        recorder.next_revision()
        recorder.record_event(NewEvent("written", f"{sys.argv[2]} {number}"))
"""


def test_processes_write_at_once_and_nothing_is_lost(database_url: str):
    """They open it at once too, before it has tables: one of them makes them, the others wait."""
    url = database_url
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, url, name, "50"], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=2 * PATIENCE_S)
        assert writer.returncode == 0, errors
    database = open_database(url)
    sentences = [line.sentence for line in queries.events(database, limit=1000)]
    assert Recorder(database).load_state().counters.revision == 150
    database.close()
    assert sorted(sentences) == sorted(f"{name} {number}" for name in "abc" for number in range(50))
    for name in "abc":  # each in its own order
        mine = [sentence for sentence in sentences if sentence.startswith(name)]
        assert mine == [f"{name} {number}" for number in range(50)]


def test_a_writer_waits_for_another_and_readers_for_nobody(fleet: Fleet):
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with fleet.database.write() as db:
            db.execute(text("UPDATE fleet_facts SET revision = revision + 10"))
            holding.set()
            let_go.wait(PATIENCE_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(PATIENCE_S)
    assert fleet.recorder.load_state().counters.revision == 0  # a reader is not kept waiting
    timer = threading.Timer(0.2, let_go.set)
    begun = time.monotonic()
    timer.start()
    assert fleet.recorder.next_revision() == 11
    assert time.monotonic() - begun > 0.1
    thread.join()
    timer.join()


def test_a_lock_held_for_ever_is_a_clear_error(fleet: Fleet, database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("convoy_controller.database.engine.BUSY_S", 0.1)
    impatient = open_database(database_url)
    with fleet.database.write(), pytest.raises(DatabaseBusyError, match="locked by another process"):
        Recorder(impatient).next_revision()
    impatient.close()


def test_a_writer_killed_half_way_leaves_nothing(fleet: Fleet, database_url: str):
    script = (
        "import os, sys\n"
        "from convoy_controller.database.engine import open_database\n"
        "from convoy_controller.database.recorder import Recorder\n"
        "recorder = Recorder(open_database(sys.argv[1]))\n"
        "recorder.next_revision()\n"
        "with recorder.transaction():\n"
        "    recorder.next_revision()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, database_url], timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == -9
    assert fleet.recorder.load_state().counters.revision == 1
    assert fleet.recorder.next_revision() == 2


def test_an_assignment_of_another_version_is_named(wanted: Fleet):
    wanted.place(("board-1",))
    with wanted.database.write() as db:
        db.execute(text("UPDATE assignments SET packed = :torn"), {"torn": b"\x80"})
    with pytest.raises(DatabaseError, match="1-1 of digits was saved by a version"):
        wanted.recorder.load_state()


def test_a_board_that_spoke_another_version_is_known_without_its_words(fleet: Fleet):
    fleet.online("board-1")
    with fleet.database.write() as db:
        db.execute(text("UPDATE boards SET capability = :torn"), {"torn": b"\x80"})
    (board,) = fleet.recorder.load_state().boards
    assert board.capability is None
    assert assignment(0, 1, Generation(1, 1)).key == ("digits", Generation(1, 1))

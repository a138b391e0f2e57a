"""PostgreSQL by URL: what it says when it cannot be had, one writer at a time, restarts, and databases replaced.

What both kinds of database do alike is in test_database, test_migrations and test_queries.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from convoy_controller.cli import app
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.database import engine, postgresql, queries
from convoy_controller.database.engine import open_database
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.postgresql import Mark
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import DeploymentState, NewEvent
from convoy_controller.effects import DeploymentChanged, Effect, PublishDesired
from convoy_controller.errors import DatabaseBusyError, DatabaseError, DatabaseReplacedError, DatabaseUnreachableError
from convoy_controller.journal import Journal, Outcome
from convoy_schema.messages.desired import Desired
from database_samples import Fleet, intent, publish, reported
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S
from postgresql_server import PostgresqlServer
from sqlalchemy import text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

Server = PostgresqlServer


@pytest.fixture
def url(shared_postgresql: Server) -> str:
    return shared_postgresql.new_database()


@pytest.fixture
def fleet(url: str) -> Iterator[Fleet]:
    made = Fleet(open_database(url))
    yield made
    made.database.close()


def name_in(url: str) -> str:
    return url.rpartition("/")[2]


# Opening -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_any_usual_scheme_will_do_and_the_driver_is_not_the_owners_business(url: str, scheme: str) -> None:
    database = open_database(url.replace("postgresql", scheme))
    assert database.name.startswith("postgresql://convoy:***@127.0.0.1:")
    assert Recorder(database).next_revision() == 1
    database.close()


@pytest.mark.parametrize("url", ["mysql://me:sesame@host/name", "postgresql+psycopg2://me:sesame@host/name"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(
        DatabaseUnreachableError, match=r"give a URL that begins with sqlite:/// or postgresql://"
    ) as caught:
        open_database(url)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda server: server.url("nowhere"), r'database "nowhere" does not exist; create it \(createdb\)'),
        (lambda server: server.url("postgres", password="wrong"), "password authentication failed.*give the right"),
        (lambda server: server.url("postgres", password=""), "no password supplied; give the right password"),
        (lambda server: server.url("postgres", user="nobody-at-all"), "authentication failed.*give the right"),
        (lambda _: "postgresql://me@127.0.0.1:1/convoy", "Connection refused.*; start the server, or mend host and po"),
        (lambda _: "postgresql://me@/convoy?host=/nowhere", "No such file.*; start the server"),
        (lambda _: "postgresql://me@no.host.invalid/convoy", "mend the host in the URL"),
    ],
)
def test_what_cannot_be_opened_says_why_and_what_to_do(
    shared_postgresql: Server, spoil: Callable[[Server], str], words: str
) -> None:
    with pytest.raises(DatabaseUnreachableError, match=words) as caught:
        open_database(spoil(shared_postgresql))
    assert "wrong" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.retryable


def test_a_user_who_may_not_make_tables_is_told_so(shared_postgresql: Server, url: str) -> None:
    name, user = name_in(url), f"plain_{name_in(url)}"
    shared_postgresql.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'x'")
    shared_postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=name)
    with pytest.raises(DatabaseUnreachableError, match=r"permission denied.*make its user the owner of the database"):
        open_database(shared_postgresql.url(name, user, "x"))
    shared_postgresql.execute(f"ALTER DATABASE {name} OWNER TO {user}")
    shared_postgresql.execute(f"ALTER SCHEMA public OWNER TO {user}", database=name)
    open_database(shared_postgresql.url(name, user, "x")).close()


def test_without_a_driver_it_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "from convoy_controller.database.engine import open_database\n"
        "open_database('postgresql://me:sesame@127.0.0.1/convoy')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("convoy_controller.errors.DatabaseUnreachableError: database postgresql://me:***@127.0.0.1")
    assert last.endswith("pip install 'convoy-fleet[postgresql]'")


def test_the_command_line_takes_the_url(url: str, tmp_path: Path) -> None:
    def run(given: str, *arguments: str) -> tuple[int, str]:
        environment = {"CONVOY_HOME": str(tmp_path), "CONVOY_DATABASE": given, "COLUMNS": "300"}
        result = CliRunner().invoke(app, [*arguments], env=environment)
        return result.exit_code, result.output

    database = open_database(url)
    Fleet(database).online("board-1")
    database.close()
    code, output = run(url, "boards", "--json")
    assert code == 0, output
    assert '"board-1"' in output
    code, output = run("postgresql://me@127.0.0.1:1/convoy", "boards")
    assert code == ExitCode.UNREACHABLE
    assert "start the server" in output


# Transactions --------------------------------------------------------------------------------------------------------


def test_a_reader_sees_one_moment_and_cannot_write(fleet: Fleet) -> None:
    with fleet.database.read() as db:
        before = db.scalar(text("SELECT revision FROM fleet_facts"))
        fleet.recorder.next_revision()
        assert db.scalar(text("SELECT revision FROM fleet_facts")) == before == 0
    with pytest.raises(DatabaseError, match="read-only"), fleet.database.read() as db:
        db.execute(text("UPDATE fleet_facts SET revision = 9"))
    assert fleet.recorder.load_state().counters.revision == 1


def test_a_writer_that_waited_sees_what_the_one_before_it_wrote(fleet: Fleet, url: str) -> None:
    other = Recorder(open_database(url))
    numbers: list[int] = []
    holding = threading.Event()

    def count() -> None:
        holding.wait(PATIENCE_S)
        numbers.append(other.next_revision())

    thread = threading.Thread(target=count)
    thread.start()
    with fleet.recorder.transaction():
        assert fleet.recorder.next_revision() == 1
        holding.set()
        thread.join(0.3)
        assert numbers == []  # it waits
    thread.join(PATIENCE_S)
    assert numbers == [2]
    other._database.close()


def test_a_writer_that_falls_silent_holds_nobody_up(fleet: Fleet, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "SILENT_WRITER_S", 0.2)
    silent = open_database(url)

    def fall_silent(db: Session) -> None:
        db.execute(text("UPDATE fleet_facts SET revision = 50"))
        assert fleet.recorder.next_revision() == 1  # waits until the server has ended the other one
        db.execute(text("UPDATE fleet_facts SET revision = 60"))

    with pytest.raises(DatabaseUnreachableError) as caught, silent.write() as db:
        fall_silent(db)
    assert caught.value.retryable
    assert fleet.recorder.next_revision() == 2
    silent.close()


def test_what_is_written_survives_a_power_cut_whatever_the_server_is_set_to(
    fleet: Fleet, shared_postgresql: Server, url: str
) -> None:
    asked = text("SHOW synchronous_commit")
    with fleet.database.write() as db:
        assert db.scalar(asked) == "on"
    shared_postgresql.execute(f"ALTER DATABASE {name_in(url)} SET synchronous_commit = off")
    relaxed = open_database(url)
    with relaxed.read() as db:
        assert db.scalar(asked) == "off"
    with relaxed.write() as db:
        assert db.scalar(asked) == "local"
    relaxed.close()


def test_an_upgrade_waits_for_another_and_says_when_that_takes_too_long(
    url: str, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet.database.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    monkeypatch.setattr(engine, "UPGRADE_WAIT_S", 0.1)
    with fleet.database.write(), pytest.raises(DatabaseBusyError, match="locked by another process"):
        open_database(url)


def test_text_may_hold_what_postgresql_cannot(fleet: Fleet) -> None:
    fleet.online("board-1")
    fleet.recorder.record_reported("board-1", reported(blocked="no\0room \N{SNOWMAN} 100 % 'full'; --"))
    fleet.recorder.record_event(NewEvent("odd", "a\0b", data={"text": "c\0d"}))
    assert queries.board(fleet.database, "board-1").facts.blocked == "no\ufffdroom \N{SNOWMAN} 100 % 'full'; --"
    assert [(line.sentence, line.data) for line in queries.events(fleet.database)] == [("a\ufffdb", {"text": "c\0d"})]


# Restarts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGQUIT])
def test_a_restarted_server_is_found_again(postgresql: Server, way: signal.Signals) -> None:
    fleet = Fleet(open_database(postgresql.new_database()))
    assert fleet.recorder.next_revision() == 1
    with pytest.raises(DatabaseUnreachableError) as caught, fleet.recorder.transaction():  # noqa: PT012
        fleet.recorder.next_revision()
        postgresql.stop(way)
        fleet.recorder.next_generation_counter()
    assert caught.value.retryable
    for attempt in (fleet.recorder.next_revision, fleet.recorder.load_state, fleet.database.check_in_place):
        with pytest.raises(DatabaseUnreachableError, match="start the server"):
            attempt()
    postgresql.start()
    fleet.database.check_in_place()
    assert fleet.recorder.load_state().counters.revision == 1  # nothing of the transaction that was cut
    assert fleet.recorder.next_revision() == 2
    postgresql.stop(way)
    postgresql.start()
    assert fleet.recorder.next_revision() == 3  # the connection that died meanwhile is not noticed
    fleet.database.close()


def test_decisions_wait_for_the_server_and_none_is_lost(
    postgresql: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(open_database(postgresql.new_database()))
    publish(fleet.database, tmp_path)
    request_deployment(fleet.database, intent(model="tiny"))
    journal = Journal()

    def keep() -> tuple[Effect, ...]:
        async def run(call: Callable[[], Outcome]) -> Outcome:
            return await asyncio.to_thread(call)

        return asyncio.run(journal.keep(fleet.recorder, run, 0.0))

    decisions: tuple[Effect, ...] = (
        DeploymentChanged("digits", DeploymentState.SERVING, "2 boards"),
        PublishDesired("board-1", Desired(1, 7, ())),
    )
    postgresql.stop(signal.SIGQUIT)
    journal.note(lambda recorder: recorder.record_event(NewEvent("online", "while it was away", board="board-1")))
    journal.decide(decisions)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert keep() == ()
        assert journal.held == decisions
        postgresql.start()
        assert keep() == decisions
    assert sum("decisions wait" in record.message for record in caplog.records) == 1
    assert (journal.dropped, journal.refused, journal.held) == (0, 0, ())
    state = fleet.recorder.load_state()
    assert state.counters.revision == 7
    assert [(board.name, board.desired_revision) for board in state.boards] == [("board-1", 7)]
    assert queries.deployment(fleet.database, "digits").state is DeploymentState.SERVING
    assert [line.sentence for line in queries.events(fleet.database)] == ["while it was away"]
    withdraw_deployment(fleet.database, "digits")
    fleet.database.close()


# Replaced under the process ------------------------------------------------------------------------------------------


def test_looking_whether_it_is_in_place_disturbs_nobody(fleet: Fleet) -> None:
    fleet.database.check_in_place()
    with fleet.recorder.transaction():
        fleet.recorder.next_revision()
        fleet.database.check_in_place()  # another's transaction is under way, and is not waited for
    fleet.database.check_in_place()
    for _ in range(3):
        fleet.recorder.next_generation_counter()
        fleet.database.check_in_place()


def refuses_to_go_on(fleet: Fleet) -> None:
    with pytest.raises(DatabaseReplacedError, match="deleted or restored") as caught:
        fleet.database.check_in_place()
    assert not caught.value.retryable
    with pytest.raises(DatabaseReplacedError):
        fleet.recorder.raise_counters(revision=100)


def test_a_database_that_was_dropped_and_made_anew_is_noticed(
    fleet: Fleet, shared_postgresql: Server, url: str
) -> None:
    name = name_in(url)
    fleet.recorder.next_revision()
    shared_postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")
    with pytest.raises(DatabaseUnreachableError, match="does not exist"):
        fleet.database.check_in_place()  # it may come back
    shared_postgresql.execute(f"CREATE DATABASE {name}")
    refuses_to_go_on(fleet)
    anew = Fleet(open_database(url))
    assert anew.recorder.next_revision() == 1
    refuses_to_go_on(fleet)
    assert anew.recorder.load_state().counters.revision == 1
    anew.database.close()


def test_a_backup_put_back_is_noticed(fleet: Fleet, shared_postgresql: Server, url: str) -> None:
    fleet.recorder.next_revision()
    backup = shared_postgresql.program("pg_dump", name_in(url))
    fleet.database.check_in_place()
    # `pg_dump --clean` cannot take partitioned tables away again: "cannot drop inherited constraint".
    shared_postgresql.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database=name_in(url))
    shared_postgresql.program("psql", "-q", "-v", "ON_ERROR_STOP=1", name_in(url), given=backup)
    refuses_to_go_on(fleet)


def test_an_earlier_state_of_the_same_tables_is_noticed_by_a_writer_too(
    fleet: Fleet, shared_postgresql: Server, url: str
) -> None:
    fleet.recorder.next_revision()
    fleet.recorder.next_revision()
    fleet.recorder.next_revision()
    shared_postgresql.execute("UPDATE fleet_facts SET revision = 1", database=name_in(url))
    with pytest.raises(DatabaseReplacedError):
        fleet.recorder.raise_counters(revision=100)
    shared_postgresql.execute("DELETE FROM fleet_facts", database=name_in(url))
    refuses_to_go_on(fleet)


counters = st.tuples(*[st.integers(0, 5)] * 4)


@given(counters, counters)
def test_a_mark_tells_growth_from_a_fall(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    grew = all(later >= earlier for earlier, later in zip(old, new, strict=True))
    assert Mark(1, "x", old).was_replaced_by(Mark(1, "x", new)) is not grew
    assert Mark(1, "x", old).was_replaced_by(Mark(2, "x", old))
    assert Mark(1, "x", old).was_replaced_by(Mark(1, "y", old))

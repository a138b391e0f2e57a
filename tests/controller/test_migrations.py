"""The migrations make the very tables that the code describes, once, whoever opens first."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from convoy_controller.database import engine, queries
from convoy_controller.database.engine import connect, open_database
from convoy_controller.database.migrations import configuration
from convoy_controller.database.partitions import is_partition
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import NewEvent
from convoy_controller.database.telemetry_tables import TABLES, AbsenceRow
from convoy_controller.errors import DatabaseVersionError
from database_samples import START
from sqlalchemy import Connection, Engine, MetaData, Table, insert, inspect, select, text


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True, "include_name": _is_described}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), TABLES))


def _is_described(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not is_partition(name or "")


@pytest.fixture
def url(empty_database_url: str) -> str:
    return empty_database_url


def test_models_and_migrations_agree(url: str):
    database = open_database(url)
    with database.engine.connect() as connection:
        assert differences(connection) == []
    database.close()


def test_a_difference_would_be_found(url: str):
    database = open_database(url)
    with database.write() as db:
        db.execute(text("ALTER TABLE boards ADD COLUMN surplus TEXT"))
        db.execute(text("DROP INDEX ix_events_at"))
    with database.engine.connect() as connection:
        assert len(differences(connection)) == 2
    database.close()


def test_head_is_the_newest_migration():
    script = ScriptDirectory.from_config(configuration())
    assert script.get_heads() == [engine.HEAD]


def test_opening_again_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch):
    open_database(url).close()

    def never(*_: object) -> None:
        raise AssertionError("an up-to-date database was migrated")

    monkeypatch.setattr(engine, "_run_migrations", never)
    open_database(url).close()


def test_it_can_be_taken_back_and_made_again(url: str):
    open_database(url).close()
    made = connect(url)
    config = configuration()
    with made.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    made.dispose()
    database = open_database(url)
    with database.engine.connect() as connection:
        assert differences(connection) == []
    database.close()


def test_a_newer_database_is_refused(url: str):
    database = open_database(url)
    with database.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseVersionError, match=r"9999.*update this convoy"):
        open_database(url)


def test_a_failed_upgrade_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch):
    def broken(connection: Connection) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "_introduce", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            open_database(url)
    made = connect(url)
    with made.connect() as connection:
        assert inspect(connection).get_table_names() == []
    made.dispose()
    open_database(url).close()


def test_every_index_is_named_after_its_table_and_columns():
    for table in TABLES.tables.values():
        for index in table.indexes:
            columns = "_".join(column.name for column in index.columns)
            assert index.name == f"ix_{table.name}_{columns}"


def upgraded(url: str, revision: str) -> Engine:
    """An engine over a database at that revision."""
    made = connect(url)
    with made.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return made


def before_telemetry(connection: Connection) -> None:
    """Rows as they were before the ninth migration: events of the past, of now and of a clock gone wrong."""
    boards = Table("boards", MetaData(), autoload_with=connection)
    texts = ("presence_reason", "part", "fabric", "software", "shell", "blocked", "degraded")
    numbers = ("session", "desired_epoch", "desired_revision", "reported_epoch", "reported_revision")
    values = {**dict.fromkeys(texts, ""), **dict.fromkeys((*numbers, "store_bytes", "store_quota"), 0)}
    for name, presence in (("a", "offline"), ("b", "online")):
        connection.execute(insert(boards).values(name=name, presence=presence, **values))
    sessions = Table("sessions", MetaData(), autoload_with=connection)
    for board, session, begin, end in (("a", 1, 0, 10), ("a", 2, 15, 20), ("b", 1, 0, 10), ("b", 2, 10, None)):
        dates = {"started_at": START + timedelta(minutes=begin), "ended_at": end and START + timedelta(minutes=end)}
        connection.execute(insert(sessions).values(board=board, session=session, reason="gone", **dates))
    events = Table("events", MetaData(), autoload_with=connection)
    for number, at in enumerate((1970, 2020, 2026, 2999)):
        date = datetime(at, 3, 4, tzinfo=timezone.utc)
        said = {"severity": "info", "kind": "tick", "sentence": f"tick {number}", "data": {"at": at}}
        connection.execute(insert(events).values(at=date, board="a", **said))


def test_what_there_was_is_there_after_the_upgrade(url: str):
    made = upgraded(url, "0008")
    with made.begin() as connection:
        before_telemetry(connection)
    made.dispose()
    database = open_database(url)
    found = queries.events(database)
    assert [(line.id, line.sentence, line.data["at"]) for line in found] == [
        (number + 1, f"tick {number}", at) for number, at in enumerate((1970, 2020, 2026, 2999))
    ]
    recorder = Recorder(database)
    assert recorder.record_event(NewEvent("tick", "one more")) == 5
    assert queries.events(database)[-1].sentence == "one more"
    with database.engine.connect() as connection:
        assert differences(connection) == []
    # A board was away between its runs, and is when the last one ended.
    with database.read() as db:
        rows = db.scalars(select(AbsenceRow).order_by(AbsenceRow.board, AbsenceRow.began_at)).all()
        minutes = [(row.board, *((d and (d - START) / timedelta(minutes=1)) for d in dates(row))) for row in rows]
    assert minutes == [("a", 10, 15), ("a", 20, None)]
    database.close()


def dates(absence: AbsenceRow) -> tuple[datetime, datetime | None]:
    return absence.began_at, absence.ended_at


def test_what_there_is_stays_when_the_telemetry_is_taken_back(url: str):
    database = open_database(url)
    recorder = Recorder(database)
    numbers = [recorder.record_event(NewEvent("tick", "tick", board="a")) for _ in range(3)]
    database.close()
    made = connect(url)
    with made.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, "0008")
        assert list(connection.scalars(text("SELECT id FROM events ORDER BY id"))) == numbers
    made.dispose()
    database = open_database(url)
    assert [line.id for line in queries.events(database)] == numbers
    assert Recorder(database).record_event(NewEvent("tick", "tick")) == 4
    database.close()

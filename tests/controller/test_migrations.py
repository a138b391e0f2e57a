"""The migrations make the very tables that the code describes, once, whoever opens first."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from convoy_controller.database import engine
from convoy_controller.database.engine import connect, open_database
from convoy_controller.database.migrations import configuration
from convoy_controller.database.models import Base
from convoy_controller.errors import DatabaseVersionError
from sqlalchemy import Connection, inspect, text


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, Base.metadata))


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


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
    for table in Base.metadata.tables.values():
        for index in table.indexes:
            columns = "_".join(column.name for column in index.columns)
            assert index.name == f"ix_{table.name}_{columns}"

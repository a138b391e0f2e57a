"""How much room the database takes, and how many rows of history there are; for benches. May raise `DatabaseError`."""

from __future__ import annotations

from sqlalchemy import func, select, text

from convoy_controller.database.engine import Database
from convoy_controller.database.spans import PARTITIONED
from convoy_controller.database.telemetry_tables import TABLES


def size_bytes(database: Database) -> int:
    """Tables and indexes with the holes in them: what the file or the database takes on the disk, but for its log."""
    with database.read() as db:
        if database.engine.dialect.name == "postgresql":
            return int(db.scalar(text("SELECT pg_database_size(current_database())")) or 0)
        pages = db.scalar(text("PRAGMA page_count"))
        return int(pages or 0) * int(db.scalar(text("PRAGMA page_size")) or 0)


def history_rows(database: Database) -> dict[str, int]:
    """Rows of each table of history; counts every one, so it takes its time."""
    with database.read() as db:
        tables = [TABLES.tables[kept.table] for kept in PARTITIONED]
        return {table.name: db.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def vacuum(database: Database) -> None:
    """Have PostgreSQL do at once what its autovacuum would do by and by: room of rows that are gone is used again."""
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM")

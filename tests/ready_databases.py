"""Databases that have their tables already: copies of one that was made the first time somebody asked.

To make the tables takes longer than most tests that need them. A copy is a database of its own, with an instance of its
own. What is to be seen of a first opening needs an empty one.
"""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from convoy_controller.database.engine import open_database

if TYPE_CHECKING:
    from postgresql_server import PostgresqlServer

_ANOTHER_INSTANCE = "UPDATE fleet_facts SET instance = '{}'"


@lru_cache(maxsize=1)
def _sqlite_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="convoy-ready-") as folder:
        path = Path(folder) / "convoy.db"
        open_database(f"sqlite:///{path}").close()
        return path.read_bytes()


def ready_sqlite(path: Path) -> str:
    """A database at `path`, unless there is one; its URL."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_sqlite_file())
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_ANOTHER_INSTANCE.format(uuid.uuid4()))
    return f"sqlite:///{path}"


@lru_cache(maxsize=1)
def _template(server: PostgresqlServer) -> str:
    name = server.new_name()
    server.execute(f"CREATE DATABASE {name}")
    open_database(server.url(name)).close()
    return name


def ready_postgresql(server: PostgresqlServer) -> str:
    """A new database on that server; its URL."""
    name = server.new_name()
    server.execute(f"CREATE DATABASE {name} TEMPLATE {_template(server)}")
    server.execute(_ANOTHER_INSTANCE.format(uuid.uuid4()), database=name)
    return server.url(name)

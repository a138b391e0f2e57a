"""Write a migration from the difference between the tables and a database: for developers, see the package."""

from __future__ import annotations

import sys

from alembic import command

from convoy_controller.database.engine import connect
from convoy_controller.database.migrations import configuration


def main() -> None:
    """`python -m convoy_controller.database.migrations REVISION MESSAGE URL`."""
    if len(sys.argv) != 4:
        sys.exit("usage: python -m convoy_controller.database.migrations REVISION MESSAGE URL")
    revision, message, url = sys.argv[1:]
    config = configuration()
    with connect(url).connect() as connection:
        config.attributes["connection"] = connection
        command.revision(config, message, autogenerate=True, rev_id=revision)


main()

"""Partitions of history by time, in PostgreSQL.

A partition is a table of its own, named after its parent; the rows of a span lie in it, and go with it.
"""

from __future__ import annotations

import re

#: Tables that are partitioned.
PARTITIONED = (
    "events",
    *(f"{noun}_{span}" for noun in ("board", "stage", "feed") for span in ("samples", "minutes", "hours")),
)
_NAME = re.compile(rf"({'|'.join(PARTITIONED)})_(p\d+|default)")


def is_partition(table: str) -> bool:
    """Whether a table of that name is one partition of another."""
    return _NAME.fullmatch(table) is not None

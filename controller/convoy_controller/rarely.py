"""What goes on and on is told or tried ever more rarely: the first time, the second, the fourth, the eighth."""

from __future__ import annotations


def is_doubled(count: int) -> bool:
    """Whether the time that makes it `count` (from 1) is one of those."""
    return count & (count - 1) == 0

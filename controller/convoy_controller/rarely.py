"""What goes on and on is told or tried ever more rarely: the first time, the second, the fourth, the eighth."""

from __future__ import annotations

#: Seconds between two words of somebody from which on the first one that is behind is no accident: it would have to
#: cross another on its way just then, and to wait for the next would take too long.
SELDOM_S = 5.0


def is_doubled(count: int) -> bool:
    """Whether the time that makes it `count` (from 1) is one of those."""
    return count & (count - 1) == 0


def is_to_be_repeated(behind: int, interval_s: float) -> bool:
    """Whether to say again what somebody seems to have missed, by the words in a row that were `behind` (from 1).

    Words come each `interval_s`. The first may have crossed on its way what was said, and only counts where the next
    is far; the second, fourth, eighth and so on do.
    """
    return is_doubled(behind) and (behind > 1 or interval_s >= SELDOM_S)

"""Whether the fleet could have answered: reckoned from the faults alone, without asking the fleet.

It can while the broker, a gateway and a board are there, and, where a board is away, also a controller with its
database, since somebody must place its work anew. To recover it needs a while in which nothing else is struck: each
blow may undo what was just put right. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convoy_simulator.real.faults import Role

#: Seconds without another blow within which a fleet that has what it needs answers again.
RECOVERY_S = 15.0


class Capacity:
    """The spans in which something was missing. The thread that strikes writes, others may read."""

    def __init__(self, boards: Sequence[str], gateways: Sequence[str]) -> None:
        self._names = {Role.BOARD: frozenset(boards), Role.GATEWAY: frozenset(gateways)}
        #: (role, name) to how many faults keep it away.
        self._away: Counter[tuple[Role, str]] = Counter()
        self._missing: list[tuple[float, float]] = []
        self._missing_since: float | None = None

    def away(self, role: Role, name: str, now: float) -> None:
        """A part is struck."""
        self._away[role, name] += 1
        self._settle(now)
        if self._missing_since is None:
            self._missing.append((now, now))

    def back(self, role: Role, name: str, now: float) -> None:
        """A part is there again; one that was struck twice is so when both faults are over."""
        self._away[role, name] -= 1
        self._settle(now)

    def was_there(self, since: float, until: float) -> bool:
        """Whether between these two times there was enough for long enough: `RECOVERY_S`, or all of that time."""
        open_since = self._missing_since
        spans = [*self._missing, *([] if open_since is None else [(open_since, until)])]
        free_from, longest_s = since, 0.0
        for begin, end in spans:
            if end > since and begin < until:
                longest_s = max(longest_s, begin - free_from)
                free_from = max(free_from, end)
        longest_s = max(longest_s, until - free_from)
        return longest_s >= min(RECOVERY_S, until - since)

    def _settle(self, now: float) -> None:
        if self._is_there():
            if self._missing_since is not None:
                self._missing.append((self._missing_since, now))
                self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now

    def _is_there(self) -> bool:
        gone = {role: {name for (each, name), count in self._away.items() if each is role and count} for role in Role}
        if gone[Role.BROKER] or gone[Role.GATEWAY] >= self._names[Role.GATEWAY]:
            return False
        boards = gone[Role.BOARD]
        if boards >= self._names[Role.BOARD]:
            return False
        return not (boards and (gone[Role.CONTROLLER] or gone[Role.DATABASE]))

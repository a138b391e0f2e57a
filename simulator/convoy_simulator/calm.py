"""When the fleet was able to answer: outside of faults, and of the time that it may take to get over each."""

from __future__ import annotations

#: Seconds of calm within a request's time in which it must be answered.
ENOUGH_S = 6.0


class Calm:
    """Disturbances as intervals; `recovery_s` seconds after each still belong to it."""

    def __init__(self, recovery_s: float) -> None:
        self.recovery_s = recovery_s
        self._disturbed: list[tuple[float, float]] = []

    def disturb(self, since: float, until: float) -> None:
        """Something is wrong from `since` to `until`."""
        self._disturbed.append((since, until + self.recovery_s))

    def was_able(self, since: float, until: float) -> bool:
        """Whether there was calm for long enough between the two."""
        at, longest = since, 0.0
        for begin, end in sorted(self._disturbed):
            if begin >= until:
                break
            longest = max(longest, begin - at)
            at = max(at, end)
        return max(longest, until - at) >= ENOUGH_S

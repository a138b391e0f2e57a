"""What the reconciler did, counted: plans by cause, generations given up, and how long losses lasted.

Plain counters, of the whole process and not of one reign. `now` is the caller's; nothing is decided here.
"""

from __future__ import annotations

import enum
from collections import Counter

from convoy_controller.histogram import SLOW_S, Histogram


class Cause(enum.Enum):
    """Why a deployment gets another generation."""

    INITIAL = "initial"
    CHANGED = "changed"
    LOST = "lost"
    LEAVING = "leaving"
    BETTER = "better"


class Tallies:
    """Of all deployments, by name."""

    def __init__(self) -> None:
        #: Generations made, by deployment and cause.
        self.plans: Counter[tuple[str, Cause]] = Counter()
        #: Generations given up before they served.
        self.abandoned: Counter[str] = Counter()
        #: Times that no plan was found.
        self.failed: Counter[str] = Counter()
        #: Seconds from the loss of a board to the whole deployment's serving again.
        self.recoveries: dict[str, Histogram] = {}
        self._lost_since: dict[str, float] = {}

    def planned(self, deployment: str, cause: Cause) -> None:
        """A generation was made."""
        self.plans[deployment, cause] += 1

    def lost(self, deployment: str, since: float) -> None:
        """Its serving generation lacks a board, whose last words came at `since`; the first loss counts."""
        self._lost_since.setdefault(deployment, since)

    def whole(self, deployment: str, now: float) -> None:
        """It serves, and every board of it is ready."""
        since = self._lost_since.pop(deployment, None)
        if since is not None:
            self.recoveries.setdefault(deployment, Histogram(SLOW_S)).add(max(0.0, now - since))

    def recovering(self, deployment: str) -> float | None:
        """Since when it lacks a board; None when it does not."""
        return self._lost_since.get(deployment)

    def removed(self, deployment: str) -> None:
        """It is gone, and its counters with it."""
        self._lost_since.pop(deployment, None)
        self.recoveries.pop(deployment, None)
        del self.abandoned[deployment], self.failed[deployment]
        for cause in Cause:
            del self.plans[deployment, cause]

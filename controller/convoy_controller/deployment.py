"""One deployment as the reconciler sees it: what is wanted, which generations there are, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field

from convoy_schema.messages.desired import Intent

from convoy_controller.candidate import PlanAnswer, PlanRequest
from convoy_controller.database.records import DeploymentState
from convoy_controller.placement import Placement

#: Plans in a row that may come too late.
MOST_DROPPED = 4


@dataclass(frozen=True)
class Exclusion:
    """Why a board is left out, until when (monotonic seconds), and in which of its sessions."""

    session: int
    until: float
    reason: str
    #: Whether what failed may succeed when it is tried again.
    may_pass: bool


@dataclass
class DeploymentRecord:
    """A deployment in the making, serving, or on its way out."""

    intent: Intent
    removed: bool = False
    serving: Placement | None = None
    next: Placement | None = None
    draining: list[Placement] = field(default_factory=list)
    #: What served before a pause, to return to when its successor fails.
    fallback: Intent | None = None
    next_since: float = 0.0
    drain_since: float = 0.0
    progress: tuple[object, ...] = ()
    progress_at: float = 0.0
    better_since: float | None = None
    retry_at: float = 0.0
    failures: int = 0
    #: The plan that is being made, the one that came, and how many came too late in a row.
    asked: PlanRequest | None = None
    answer: PlanAnswer | None = None
    dropped: int = 0
    #: What no plan was found for, and what would not be better than what serves: they are not asked for again.
    refused: PlanRequest | None = None
    declined: PlanRequest | None = None
    excluded: dict[str, Exclusion] = field(default_factory=dict)
    said: tuple[DeploymentState, str] | None = None

    def placements(self) -> list[Placement]:
        """Every generation of which boards hold something."""
        found = [*self.draining, self.serving, self.next]
        return [placement for placement in found if placement is not None and placement.state.is_live]


def is_better(placement: Placement, serving: Placement) -> bool:
    """Whether traffic should move to it: it is quicker by one in a hundred, or on more of the boards asked for."""
    if placement.period_s < serving.period_s * 0.99:
        return True
    return bool(placement.intent.boards) and len(placement.boards) > len(serving.boards)


def is_stale(record: DeploymentRecord, answer: PlanAnswer, request: PlanRequest) -> bool:
    """Whether `answer` is to be dropped because `request` is what would be asked now.

    In a fleet that does not come to rest, the `MOST_DROPPED`th is taken if nothing has changed for its own boards.
    """
    if answer.request == request:
        return False
    record.dropped += 1
    return record.dropped < MOST_DROPPED or not answer.still_holds(request)

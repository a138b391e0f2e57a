"""What the status queries answer: plain data, as `views` is, whose field names are the documented keys of `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation

from convoy_controller.database.records import (
    ArtifactKind,
    BoardPresence,
    CountScope,
    DeploymentState,
    GenerationState,
    Severity,
)
from convoy_controller.database.views import Condition


@dataclass(frozen=True)
class StateCounts:
    """How many boards of the fleet, of a site or of a group are in which condition; `name` is '' for the fleet.

    `conditions` has those that any board is in, the worst first. A board of two groups counts in both.
    """

    scope: CountScope
    name: str
    boards: int
    problems: int
    conditions: dict[str, int]


@dataclass(frozen=True)
class Problem:
    """A board that is not what it should be, and why. `changed_at` is when this condition began as seen from here."""

    board: str
    condition: Condition
    wanted: str
    actual: str
    since: datetime | None
    blocked_by: str
    sentence: str
    action: str
    deployment: str | None
    changed_at: datetime


@dataclass(frozen=True)
class ChangedDeployment:
    """A deployment that is further, or back, since then."""

    deployment: str
    state: DeploymentState
    message: str
    changed_at: datetime


@dataclass(frozen=True)
class NewGeneration:
    """A placement made since then."""

    deployment: str
    generation: Generation
    state: GenerationState
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class NewModel:
    """A model version imported since then."""

    model: str
    version: str
    imported_at: datetime


@dataclass(frozen=True)
class EventCount:
    """Events of one kind and severity since then."""

    severity: Severity
    kind: str
    events: int


@dataclass(frozen=True)
class Changed:
    """What is not as it was at `since`, which is before event `after` + 1; the newest event now is `newest`.

    Boards are those whose condition changed, the latest first; of each list at most so many, and `boards_more`,
    `events_more` say when there are further ones. `events` are counted over the first 10,000.
    """

    since: datetime
    after: int
    newest: int
    boards: tuple[Problem, ...]
    boards_more: bool
    deployments: tuple[ChangedDeployment, ...]
    generations: tuple[NewGeneration, ...]
    models: tuple[NewModel, ...]
    events: tuple[EventCount, ...]
    events_more: bool


@dataclass(frozen=True)
class PresenceHour:
    """One hour, or what has passed of it: how many boards were online, offline or neither for certain, on average."""

    at: datetime
    online: float
    offline: float
    unknown: float
    share: float | None


@dataclass(frozen=True)
class FleetAvailability:
    """How long the fleet's boards were online, offline, or not known to be either, in board-seconds, hour by hour.

    `share` is online / (online + offline), None where there is neither.
    """

    since: datetime
    until: datetime
    online_s: float
    offline_s: float
    unknown_s: float
    share: float | None
    hours: tuple[PresenceHour, ...]


@dataclass(frozen=True)
class Spread:
    """How far a model version is on the boards that are to have it, over all generations that have not ended.

    `verified` boards hold all that their part needs, and have checked it; `fetching` are at `done_bytes` of
    `total_bytes`; `waiting` have not begun; `failed` gave up. `away` of all these are not online: theirs is what they
    said last. Not known: what a board keeps in its store beyond its assignments, and which blocks of an artifact.
    """

    model: str
    version: str
    bundle: str
    boards: int
    verified: int
    ready: int
    fetching: int
    waiting: int
    failed: int
    away: int
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Holder:
    """A board that is to have a bundle, and how far it is; `since` is when it entered `phase`.

    `needs` says whether its part of the bundle needs the artifact that was asked for; None where that is not known
    here: images and golden rows are chosen by the board itself.
    """

    board: str
    presence: BoardPresence
    model: str
    version: str
    deployment: str
    generation: Generation
    stage: int
    phase: Phase
    done_bytes: int
    total_bytes: int
    since: datetime
    needs: bool | None


@dataclass(frozen=True)
class ArtifactSpread:
    """The model versions that name an artifact, and how far each is on the boards."""

    digest: str
    kind: ArtifactKind
    size: int
    models: tuple[Spread, ...]


@dataclass(frozen=True)
class HopLine:
    """One stage of a deployment and the way out of it, over the last minute.

    `capacity_rows_per_s` is what its boards would do if they computed all the time. `residence_us` is how long a frame
    was there, `transit_us` about what its way from there to the next stage takes, from the slowest of its boards; None
    where nothing was measured. What all hops take together is measured: see `DeploymentHops.hop_us`.
    """

    stage: int
    layers: tuple[str, ...]
    boards: int
    frames_per_s: float
    rows_per_s: float
    busy: float
    capacity_rows_per_s: float | None
    queued: float
    residence_us: float | None
    transit_us: float | None


@dataclass(frozen=True)
class DeploymentHops:
    """Where a deployment's frames spend their time: every hop of the generation that serves, beside what was planned.

    `bottleneck` is the stage with the least capacity, which bounds the rate; `slowest` the one in which, and on the way
    out of which, a frame spends the longest. `predicted_rows_per_s` is the planner's bound. `hop_us` is the mean over
    gateways of what a frame spends between two stages, all hops taken together.
    """

    deployment: str
    generation: Generation
    state: GenerationState
    since: datetime
    until: datetime
    answered_per_s: float
    latency_p50_us: float | None
    latency_p99_us: int | None
    hop_us: float | None
    predicted_rows_per_s: float | None
    measured_rows_per_s: float
    bottleneck: int | None
    slowest: int | None
    hops: tuple[HopLine, ...]

"""What the queries answer: plain data, whose field names are the documented keys of every `--json` output.

In JSON a generation is "EPOCH-COUNTER", a date ISO 8601 in UTC, an enum its value. Keys are only ever added.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Capability, PartitionReport, Phase
from convoy_schema.messages.desired import Cut, Objective
from convoy_schema.messages.logs import LogLevel
from convoy_schema.names import Generation

from convoy_controller.database.records import (
    ArtifactKind,
    BoardPresence,
    DeploymentState,
    GenerationState,
    LogOutcome,
    OperationState,
    Severity,
    Symptom,
    TokenRole,
)


class Condition(enum.Enum):
    """What stands out about a board, the worst first; everything but the last five is a problem."""

    NEVER_SEEN = "never-seen"
    REVOKED = "revoked"
    VERSION_OUT_OF_RANGE = "version-out-of-range"
    FLAPPING = "flapping"
    OFFLINE = "offline"
    PRESENCE_UNKNOWN = "presence-unknown"
    UNDESCRIBED = "undescribed"
    WRONG_SHELL = "wrong-shell"
    STORE_FULL = "store-full"
    FAILED = "failed"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    STUCK = "stuck"
    STALE = "stale"
    SLOW_LINK = "slow-link"
    OVERLOADED = "overloaded"
    RESTARTING = "restarting"
    DRAINED = "drained"
    PREPARING = "preparing"
    UNASSIGNED = "unassigned"
    READY = "ready"

    @property
    def is_problem(self) -> bool:
        """Whether somebody should look at the board."""
        return self not in _IN_ORDER


_IN_ORDER = (Condition.RESTARTING, Condition.DRAINED, Condition.PREPARING, Condition.UNASSIGNED, Condition.READY)


#: Which condition is told first.
CONDITION_RANKS = {condition: rank for rank, condition in enumerate(Condition)}
#: What somebody should look at, and where a board is what it should be.
PROBLEMS = frozenset(list(Condition)[:-5])
AT_TARGET = frozenset({Condition.UNASSIGNED, Condition.READY})


@dataclass(frozen=True)
class Assigned:
    """One live assignment of a board and where the board is with it; `since` is when it entered `phase`.

    `failing_since`: it failed then, with `code` and `message`, and has not been ready since, whatever it tries now.
    """

    deployment: str
    generation: Generation
    generation_state: GenerationState
    stage: int
    stages: int
    layers: tuple[str, ...]
    slots: dict[str, str]
    phase: Phase
    step: str
    done_bytes: int
    total_bytes: int
    code: str
    message: str
    retryable: bool
    since: datetime
    failing_since: datetime | None = None


@dataclass(frozen=True)
class BoardFacts:
    """All that explains a board, read in one row. `assigned` is the live assignment that matters most now.

    `given_up` is why it was left out of a generation, until it gets ready for that deployment or begins anew; else ''.
    `drained_at` and `restart_at` are when its owner asked for it, None where he did not or it is done. `symptoms` are
    what the controller sees by watching it. `revoked_at`: its certificate was, for `revoked_reason`.
    """

    board: str
    presence: BoardPresence
    presence_since: datetime | None
    presence_reason: str
    first_seen: datetime | None
    last_seen: datetime | None
    session: int
    session_started: datetime | None
    session_ended: datetime | None
    session_reason: str
    part: str
    fabric: str
    software: str
    is_described: bool
    shell: str
    blocked: str
    degraded: tuple[str, ...]
    desired: tuple[int, int]
    desired_at: datetime | None
    reported: tuple[int, int]
    reported_at: datetime | None
    assigned: Assigned | None
    given_up: str = ""
    given_up_at: datetime | None = None
    drained_at: datetime | None = None
    restart_at: datetime | None = None
    given_up_code: str = ""
    blocked_since: datetime | None = None
    degraded_since: datetime | None = None
    revoked_at: datetime | None = None
    revoked_reason: str = ""
    symptoms: tuple[Symptom, ...] = ()


@dataclass(frozen=True)
class Why:
    """Why a board is where it is: what it should hold, where it is, since when, what blocks it, and what to do."""

    board: str
    condition: Condition
    wanted: str
    actual: str
    since: datetime | None
    blocked_by: str
    sentence: str
    action: str


@dataclass(frozen=True)
class FleetLine:
    """One board in the list of all. Fields of the assignment are None, and `phase` too, while it has none."""

    board: str
    presence: BoardPresence
    condition: Condition
    sentence: str
    since: datetime | None
    last_seen: datetime | None
    part: str
    fabric: str
    shell: str
    deployment: str | None
    generation: Generation | None
    stage: int | None
    stages: int | None
    phase: Phase | None


@dataclass(frozen=True)
class SessionLine:
    """One run of a board's daemon; `ended_at` is None while it lasts."""

    session: int
    started_at: datetime
    ended_at: datetime | None
    reason: str


@dataclass(frozen=True)
class BoardWishes:
    """What owners want of one board beside what it runs; `restart_pending`: it has yet to restart."""

    board: str
    drained: bool = False
    drained_at: datetime | None = None
    restart_token: str = ""
    restart_at: datetime | None = None
    restart_forced: bool = False
    restart_pending: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    revision: int = 0


@dataclass(frozen=True)
class GroupLine:
    """A named set of boards. It means those boards when a request names it, and follows no later change."""

    group: str
    site: str
    boards: tuple[str, ...]
    note: str
    revision: int
    changed_at: datetime


@dataclass(frozen=True)
class BoardStatistics:
    """A board's latest pulse. `refused` counts frames refused since the daemon started."""

    session: int
    at: datetime
    uptime_ms: int
    rss_bytes: int
    frames: int
    rows: int
    queued: int
    refused: int
    control_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class BoardActivity:
    """A board's counters as of its latest pulse, at `at`; they begin anew with each session."""

    board: str
    session: int
    at: datetime
    frames: int
    rows: int
    queued: int
    refused: int
    temperature_c: float | None


@dataclass(frozen=True)
class FeedActivity:
    """What a gateway does for one deployment: rows since its session began, and what waits and is under way now."""

    gateway: str
    session: int
    at: datetime
    deployment: str
    serving: Generation | None
    in_flight: int
    waiting_rows: int
    accepted: int
    answered: int
    failed: int
    latency_p50_us: int
    latency_p99_us: int


@dataclass(frozen=True)
class Activity:
    """Every board's and every feed's latest counters; two of them make rates."""

    at: datetime
    boards: tuple[BoardActivity, ...]
    feeds: tuple[FeedActivity, ...]


@dataclass(frozen=True)
class BoardDetail:
    """Everything known of one board."""

    why: Why
    facts: BoardFacts
    capability: Capability | None
    partitions: tuple[PartitionReport, ...]
    store_bytes: int
    store_quota: int
    assignments: tuple[Assigned, ...]
    sessions: tuple[SessionLine, ...]
    statistics: BoardStatistics | None


@dataclass(frozen=True)
class DeploymentLine:
    """A deployment: what was asked for, how far it is, its newest live generation, and that one's boards.

    `is_current` says whether that generation was made for what is wanted now.
    """

    deployment: str
    model: str
    version: str
    method: Method
    boards: int
    objective: Objective
    cut: Cut
    batch: int
    wanted: bool
    state: DeploymentState
    message: str
    generation: Generation | None
    generation_state: GenerationState | None
    is_current: bool
    assigned_boards: int
    ready_boards: int
    created_at: datetime
    changed_at: datetime
    board_names: tuple[str, ...] = ()
    replicas: int = 0
    spare: int = 0
    intent_revision: int = 0


@dataclass(frozen=True)
class GenerationLine:
    """A placement in the history of its deployment."""

    deployment: str
    generation: Generation
    state: GenerationState
    reason: str
    boards: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class ReplicaLine:
    """A board that runs a stage; `slots` maps partitions to the modules they should hold.

    `done_bytes` of `total_bytes` are fetched; both are 0 while nothing is.
    """

    board: str
    presence: BoardPresence
    phase: Phase
    slots: dict[str, str]
    step: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class StageLine:
    """A stage of a plan: its layers, the boards that run it, and those of the layers left to their processors."""

    stage: int
    layers: tuple[str, ...]
    replicas: tuple[ReplicaLine, ...]
    processor: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanView:
    """Who runs which layers in one generation; `facts` is what the planner said of it."""

    deployment: str
    generation: Generation
    state: GenerationState
    stages: tuple[StageLine, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelLine:
    """A published model version; `methods` are those it can be deployed by, `bytes` what its artifacts unpack to."""

    model: str
    version: str
    serial: int
    digest: str
    methods: tuple[str, ...]
    layers: int
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    artifacts: int
    bytes: int
    packed_bytes: int
    imported_at: datetime


@dataclass(frozen=True)
class ArtifactLine:
    """A blob of the store; `size` in bytes, `packed_size` as it travels. `models` are NAME:VERSION of those it is for.

    In a list `models` is empty.
    """

    digest: str
    kind: ArtifactKind
    size: int
    packed_size: int
    created_at: datetime
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class GatewayLine:
    """A gateway: where requests enter."""

    gateway: str
    presence: BoardPresence
    address: str
    session: int
    epoch: int
    revision: int
    last_seen: datetime


@dataclass(frozen=True)
class TokenLine:
    """A token of the API, without its secret. `expires_at` None: it does not; `last_used_at` is right to a minute."""

    name: str
    role: TokenRole
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class AuditLine:
    """A write that came over the API, done or refused.

    `actor` is the token's name, `local`, or `unknown`; `operation` the OpenAPI's operation id; `subject` the path below
    the API's prefix. `before` and `after` are revisions of what is wanted. `status` None: under way, or never ended.
    """

    id: int
    at: datetime
    actor: str
    role: str
    peer: str
    operation: str
    subject: str
    before: int | None
    after: int | None
    status: int | None
    code: str


@dataclass(frozen=True)
class OperationLine:
    """Long work that was asked for over the API. `done` of `total`, 0 while not known; `result` once it is done.

    `code` and `message` say why it failed.
    """

    id: int
    kind: str
    subject: str
    actor: str
    state: OperationState
    step: str
    done: int
    total: int
    result: dict[str, Any]
    code: str
    message: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class LogLine:
    """A line of a board's log; `id` only grows and is what `after` takes, `number` is the board's own in `session`."""

    id: int
    board: str
    at: datetime
    level: LogLevel
    logger: str
    sentence: str
    deployment: str | None
    generation: str | None
    step: str | None
    session: int
    number: int


@dataclass(frozen=True)
class LogState:
    """How far a board's log has come here: requests so far and the last one that was answered, how; `lost` records
    had gone from the board by then.
    """

    board: str
    is_online: bool
    asked: int
    answered: int
    outcome: LogOutcome | None
    lost: int


@dataclass(frozen=True)
class EventLine:
    """A line of history; `id` only grows, and is what `after` takes."""

    id: int
    at: datetime
    severity: Severity
    kind: str
    board: str | None
    deployment: str | None
    generation: str | None
    sentence: str
    data: dict[str, Any]

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
from convoy_schema.names import Generation

from convoy_controller.database.records import (
    ArtifactKind,
    BoardPresence,
    DeploymentState,
    GenerationState,
    OperationState,
    Severity,
    TokenRole,
)


class Condition(enum.Enum):
    """What stands out about a board, the worst first; everything but the last five is a problem."""

    NEVER_SEEN = "never-seen"
    OFFLINE = "offline"
    PRESENCE_UNKNOWN = "presence-unknown"
    UNDESCRIBED = "undescribed"
    FAILED = "failed"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    STALE = "stale"
    RESTARTING = "restarting"
    DRAINED = "drained"
    PREPARING = "preparing"
    UNASSIGNED = "unassigned"
    READY = "ready"


@dataclass(frozen=True)
class Assigned:
    """One live assignment of a board and where the board is with it; `since` is when it entered `phase`."""

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


@dataclass(frozen=True)
class BoardFacts:
    """All that explains a board, read in one row. `assigned` is the live assignment that matters most now.

    `given_up` is why it was left out of a generation, while nothing has happened to it since; else ''. `drained_at` and
    `restart_at` are when its owner asked for it, None where he did not or it is done.
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

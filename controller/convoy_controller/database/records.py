"""Plain data that the database takes and gives back: what the controller records, and what it finds after a restart.

No SQL and no I/O; callers of the database know these and never see a row.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.messages.boards import Capability, Phase, Reported
from convoy_schema.messages.desired import Assignment, Intent
from convoy_schema.names import Generation


def _machine_date() -> datetime:
    return datetime.now(timezone.utc)


_date: Callable[[], datetime] = _machine_date


def utc_now() -> datetime:
    """The date, for humans only: nothing in the fleet is decided by it."""
    return _date()


def tell_date_by(calendar: Callable[[], datetime] | None) -> None:
    """Take the date from there from now on; None: from the machine. For a process that runs in a time of its own."""
    global _date  # noqa: PLW0603  # one process, one date
    _date = calendar or _machine_date


class BoardPresence(enum.Enum):
    """What the controller makes of a peer's silence or speech; unknown after every connect until something fresh."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    OFFLINE = "offline"


class DeploymentState(enum.Enum):
    """How far a deployment is, as a whole."""

    PENDING = "pending"
    STAGING = "staging"
    SERVING = "serving"
    PAUSED = "paused"
    FAILED = "failed"
    REMOVING = "removing"
    REMOVED = "removed"


class CertificateWay(enum.Enum):
    """On what ground a certificate was issued: to a service by its owner, to a board by a claim or by its last one."""

    SERVICE = "service"
    CLAIM = "claim"
    RENEWAL = "renewal"


class GenerationState(enum.Enum):
    """The life of a placement: `retired` served and ended in order, `abandoned` never served or was given up.

    `queued` waits for an older generation to leave boards that the two cannot share.
    """

    QUEUED = "queued"
    STAGED = "staged"
    PROBING = "probing"
    SERVING = "serving"
    DRAINING = "draining"
    RETIRED = "retired"
    ABANDONED = "abandoned"

    @property
    def is_live(self) -> bool:
        """Whether boards hold assignments of it."""
        return self in LIVE_STATES


#: States in which boards hold a generation's assignments.
LIVE_STATES = (
    GenerationState.STAGED,
    GenerationState.PROBING,
    GenerationState.SERVING,
    GenerationState.DRAINING,
)


class CountScope(enum.Enum):
    """What boards are counted of, by condition."""

    FLEET = "fleet"
    SITE = "site"
    GROUP = "group"


class Severity(enum.Enum):
    """Whether someone should look at an event."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SymptomKind(enum.Enum):
    """What the controller finds wrong with a board by watching it for a while; no single message says it."""

    UNREADABLE = "unreadable"
    FLAPPING = "flapping"
    STALLED = "stalled"
    SLOW_LINK = "slow-link"
    OVERLOADED = "overloaded"
    GIVEN_UP = "given-up"


@dataclass(frozen=True)
class Symptom:
    """What has been wrong with a board since then; `figures` is JSON, and what it holds depends on the kind."""

    kind: SymptomKind
    since: datetime
    figures: dict[str, Any] = field(default_factory=dict)


class ArtifactKind(enum.Enum):
    """What an artifact is for."""

    PARAMETERS = "parameters"
    GOLDEN = "golden"
    SHELL = "shell"
    MODULE = "module"


class TokenRole(enum.Enum):
    """What the bearer of a token may do: look; run the fleet; also remove for good, and say who else may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: TokenRole) -> bool:
        """Whether everything that `other` may do is allowed to this role."""
        order = list(TokenRole)
        return order.index(self) >= order.index(other)


class OperationState(enum.Enum):
    """How far long work is; `lost`: nobody has been at it for a minute."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class LogOutcome(enum.Enum):
    """What came of asking a board for its log."""

    COLLECTED = "collected"
    OFFLINE = "offline"
    SILENT = "silent"


@dataclass(frozen=True)
class LogRequest:
    """Somebody waits for a board's log; everything up to record `newest` of `session` is here already."""

    board: str
    number: int
    session: int
    newest: int


class RemovalKind(enum.Enum):
    """What an owner removes by name."""

    MODEL = "model"
    BOARD = "board"


@dataclass(frozen=True)
class NewEvent:
    """Something worth a line of history. `kind` is kebab-case and stable, `sentence` is for people, `data` is JSON."""

    kind: str
    sentence: str
    severity: Severity = Severity.INFO
    board: str | None = None
    deployment: str | None = None
    generation: Generation | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArtifactRecord:
    """An artifact that lies in the blob store; `manifest` is the encoded `Manifest` message."""

    digest: str
    size: int
    packed_size: int
    kind: ArtifactKind
    manifest: bytes


@dataclass(frozen=True)
class SavedModel:
    """A published model version; `digest` is the bundle's."""

    name: str
    version: str
    serial: int
    digest: str
    announcement: ModelAnnouncement


@dataclass(frozen=True)
class SavedBoard:
    """What was last known of a board. `capability` and `reported` are None until it has spoken intelligibly."""

    name: str
    presence: BoardPresence
    session: int
    capability: Capability | None
    reported: Reported | None
    desired_epoch: int
    desired_revision: int
    symptoms: tuple[SymptomKind, ...] = ()


@dataclass(frozen=True)
class SavedDeployment:
    """A deployment as its owner wants it (`wanted` False: to be removed) and how far it is."""

    intent: Intent
    wanted: bool
    intent_revision: int
    state: DeploymentState
    message: str


@dataclass(frozen=True)
class SavedGeneration:
    """A placement: which board got which assignment. `plan` is what the planner said of it, as JSON."""

    deployment: str
    generation: Generation
    state: GenerationState
    assignments: dict[str, Assignment]
    phases: dict[str, Phase] = field(default_factory=dict)
    reason: str = ""
    plan: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SavedGateway:
    """What was last known of a gateway."""

    name: str
    presence: BoardPresence
    session: int
    address: str


@dataclass(frozen=True)
class BoardWish:
    """What an owner wants of one board: to be out of service, or to restart by a token ('': not).

    `forced` restarts it although it serves; else it is taken out of service first.
    """

    board: str
    drained: bool = False
    restart_token: str = ""
    forced: bool = False
    revision: int = 0


@dataclass(frozen=True)
class Asked:
    """Counts up with what owners ask for: intents for deployments and boards, and removals."""

    intent: int
    removal: int


@dataclass(frozen=True)
class Counters:
    """The fleet's counters: they only grow. `epoch` 0 says that no controller has ever been in charge."""

    epoch: int
    revision: int
    generation: int
    intent: int


@dataclass(frozen=True)
class FleetState:
    """Everything a restarting controller needs; `instance` names this database, a restored copy included."""

    instance: str
    counters: Counters
    boards: tuple[SavedBoard, ...]
    gateways: tuple[SavedGateway, ...]
    deployments: tuple[SavedDeployment, ...]
    generations: tuple[SavedGeneration, ...]
    models: tuple[SavedModel, ...]
    wishes: tuple[BoardWish, ...] = ()


@dataclass(frozen=True)
class Removal:
    """What an owner removed; numbers grow. `version`, `digest` and `artifacts` are a model's, and empty for a board."""

    number: int
    kind: RemovalKind
    name: str
    version: str = ""
    digest: str = ""
    artifacts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ModelUse:
    """A model version by digest, and every artifact that its bundle names."""

    name: str
    version: str
    digest: str
    artifacts: frozenset[str]


@dataclass(frozen=True)
class References:
    """Which models there are and were, and what may still need them; one consistent view of the database.

    `in_force` are bundles of generations that have not ended and of what boards said they hold; `rollback` those that
    served before the present ones; `intended` (model, version) of every deployment that is wanted or still ending.
    `is_whole` is False where a row cannot be read, so that what it refers to is not known.
    """

    catalogue: tuple[ModelUse, ...] = ()
    removed: tuple[ModelUse, ...] = ()
    in_force: frozenset[str] = frozenset()
    rollback: frozenset[str] = frozenset()
    intended: frozenset[tuple[str, str]] = frozenset()
    forgotten: frozenset[str] = frozenset()
    is_whole: bool = True


@dataclass(frozen=True)
class SavedCollection:
    """A clearing that an owner asked for; `findings` as JSON, once it is done."""

    number: int
    dry_run: bool
    orphans: bool
    done_at: datetime | None
    findings: tuple[dict[str, Any], ...] = ()

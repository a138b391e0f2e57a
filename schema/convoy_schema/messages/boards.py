"""What a board says and is told, except for its assignments, which are in `desired`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from convoy_schema.bounds import Range, Size
from convoy_schema.messages.desired import Assignment
from convoy_schema.names import Count, Digest, Generation, Name
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind

Text = Annotated[str, Size(500)]


class Presence(enum.Enum):
    """Whether a peer says that it is there."""

    ONLINE = "online"
    OFFLINE = "offline"


class Phase(enum.Enum):
    """How far a board is with one assignment."""

    IDLE = "idle"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    CONFIGURING = "configuring"
    LOADING = "loading"
    TESTING = "testing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class BoardState:
    """board -> everyone, retained, and as the will: here, or gone, in this session."""

    MAX_BYTES: ClassVar[int] = 1024

    presence: Presence
    session: Count
    reason: Text = ""


@dataclass(frozen=True)
class Partition:
    """A region of the shell that can be reconfigured."""

    name: Name
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class Capability:
    """board -> controller, retained: what the board is, for the planner.

    `processor` None: no layer may be left to the board's processor.
    """

    MAX_BYTES: ClassVar[int] = 64 * 1024

    session: Count
    part: Annotated[str, Size(40)]
    fabric: Name
    shells: Annotated[tuple[Name, ...], Size(16)]
    partitions: Annotated[tuple[Partition, ...], Size(64)]
    clock_hz: Annotated[int, Range(1, 10**10)]
    memory_bytes: Count
    queue_frames: Annotated[int, Range(1, 4096)]
    software: Annotated[str, Size(60)]
    python: Annotated[str, Size(60)] = ""
    labels: Annotated[dict[str, str], Size(32)] = field(default_factory=dict)
    processor: ProcessorRate | None = None


@dataclass(frozen=True)
class StagePulse:
    """How one stage does. `refused` counts frames by reason; residence is the median of the last second."""

    deployment: Name
    generation: Generation
    frames: Count
    rows: Count
    queued: Count
    credits: Count
    busy_us: Count
    residence_us: Count
    refused: Annotated[dict[str, int], Size(32)] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """Payload bytes this process has published since it started, by what they were for."""

    control: Count = 0
    artifacts: Count = 0
    activations: Count = 0


@dataclass(frozen=True)
class Pulse:
    """board -> controller: every second with a live stage, else every 30 s (`interval_ms` says which).

    `temperature_c` is the chip's, in degrees Celsius; None where it has no sensor. `uplink_us` is what a frame waited
    for the board's way out, the median since the last pulse; `round_trip_us` what the kernel takes the round trip to
    the broker to be. 0: nothing was measured.
    """

    MAX_BYTES: ClassVar[int] = 32 * 1024

    session: Count
    epoch: Count
    revision: Count
    interval_ms: Annotated[int, Range(1, 3_600_000)]
    uptime_ms: Count
    rss_bytes: Count
    stages: Annotated[tuple[StagePulse, ...], Size(64)]
    published: Published
    refused: Annotated[dict[str, int], Size(64)] = field(default_factory=dict)
    temperature_c: Annotated[float, Range(-100, 200)] | None = None
    uplink_us: Count = 0
    round_trip_us: Count = 0


@dataclass(frozen=True)
class AssignmentReport:
    """Where the board is with one assignment; `code` and `retryable` speak when `phase` is failed."""

    deployment: Name
    generation: Generation
    phase: Phase
    step: Text = ""
    done_bytes: Count = 0
    total_bytes: Count = 0
    code: Annotated[str, Size(60)] = ""
    message: Text = ""
    retryable: bool = False


@dataclass(frozen=True)
class PartitionReport:
    """What a partition holds, as read back from the fabric."""

    partition: Name
    module: Kind | None
    coupled: bool
    degraded: bool = False


@dataclass(frozen=True)
class Reported:
    """board -> controller, retained: what is true on the board now, and what keeps it from more.

    `held` repeats the assignments whole, so that a controller that lost its database can rebuild it from the fleet.
    `restarted` is the restart token that this session began by, or one before it did.
    """

    MAX_BYTES: ClassVar[int] = 320 * 1024

    session: Count
    epoch: Count
    revision: Count
    shell: Annotated[str, Size(63)]
    assignments: Annotated[tuple[AssignmentReport, ...], Size(64)]
    partitions: Annotated[tuple[PartitionReport, ...], Size(64)]
    store_bytes: Count
    store_quota: Count
    blocked: Text = ""
    held: Annotated[tuple[Assignment, ...], Size(64)] = ()
    restarted: Annotated[str, Size(63)] = ""


@dataclass(frozen=True)
class Want:
    """board -> controller: the blocks asked for now; none of them yet when the manifest itself is missing."""

    MAX_BYTES: ClassVar[int] = 1024

    session: Count
    digest: Digest
    blocks: Annotated[tuple[Annotated[int, Range(0, 99_999)], ...], Size(8)]


class Order(enum.Enum):
    """Harmless when lost or repeated."""

    REBIRTH = "rebirth"
    COLLECT_LOG = "collect-log"


@dataclass(frozen=True)
class Command:
    """controller -> board: restate everything, within `within_ms`; or send the log, of which the records up to number
    `log_after` are known already if `log_session` is the log's own session, and else none.
    """

    MAX_BYTES: ClassVar[int] = 1024

    order: Order
    within_ms: Annotated[int, Range(0, 600_000)] = 0
    log_session: Count = 0
    log_after: Count = 0

"""What gateways are told and say, and who is in charge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from convoy_schema.bounds import Range, Size
from convoy_schema.messages.boards import Presence, Published, Text
from convoy_schema.messages.desired import Hop, Intent
from convoy_schema.names import Count, Digest, Generation, Name


@dataclass(frozen=True)
class ModelRef:
    """A model version, and the digest of the bundle that is meant by it."""

    model: Name
    version: Name
    bundle: Digest


@dataclass(frozen=True)
class Route:
    """How to feed one generation. `window` is this gateway's share of the frames the generation may have in flight."""

    generation: Generation
    model: ModelRef
    entry: Annotated[tuple[Hop, ...], Size(1024)]
    stages: Annotated[int, Range(1, 2048)]
    window: Annotated[int, Range(1, 4096)]
    batch_rows: Annotated[int, Range(1, 4096)]


@dataclass(frozen=True)
class Feed:
    """One deployment. `serving` takes requests, `probing` only golden vectors; without `serving` requests wait.

    `model` is what requests are prepared for: the serving generation's, or what is wanted while none serves.
    """

    intent: Intent
    model: ModelRef
    serving: Route | None
    probing: Route | None = None


#: Deployments that a gateway can be told of.
MOST_FEEDS = 256


@dataclass(frozen=True)
class GatewayDesired:
    """controller -> gateway, retained: what to feed. A generation no longer named here is drained and reported.

    It names each board that a frame may enter by, with 40 bytes or so: 20,000 of them fit.
    """

    MAX_BYTES: ClassVar[int] = 900 * 1024

    epoch: Count
    revision: Count
    feeds: Annotated[tuple[Feed, ...], Size(MOST_FEEDS)]


@dataclass(frozen=True)
class ProbeReport:
    """The golden vector's way through a generation: `passed`, or what came instead."""

    generation: Generation
    passed: bool
    message: Text = ""


@dataclass(frozen=True)
class InFlight:
    """Frames of a generation whose answer is still awaited."""

    generation: Generation
    frames: Count


@dataclass(frozen=True)
class FeedReport:
    """How a gateway does with one deployment; counters since the gateway started.

    `hop_us` is what a recent frame spent between two stages, or a stage and the gateway: the median. 0: none measured.
    """

    deployment: Name
    serving: Generation | None
    in_flight: Annotated[tuple[InFlight, ...], Size(64)]
    probes: Annotated[tuple[ProbeReport, ...], Size(64)]
    waiting_rows: Count = 0
    accepted: Count = 0
    answered: Count = 0
    failed: Count = 0
    retried_frames: Count = 0
    late_frames: Count = 0
    refused: Annotated[dict[str, int], Size(32)] = field(default_factory=dict)
    latency_p50_us: Count = 0
    latency_p99_us: Count = 0
    hop_us: Count = 0


@dataclass(frozen=True)
class GatewayReported:
    """gateway -> controller, retained, on every change and each second."""

    MAX_BYTES: ClassVar[int] = 64 * 1024

    session: Count
    epoch: Count
    revision: Count
    address: Annotated[str, Size(200)]
    feeds: Annotated[tuple[FeedReport, ...], Size(MOST_FEEDS)]
    published: Published
    rss_bytes: Count = 0


@dataclass(frozen=True)
class GatewayState:
    """gateway -> everyone, retained, and as the will. `session` is the incarnation that its request ids begin with."""

    MAX_BYTES: ClassVar[int] = 1024

    presence: Presence
    session: Count


@dataclass(frozen=True)
class ControllerState:
    """controller -> everyone, retained, each second, and as the will: who is in charge, and of which epoch."""

    MAX_BYTES: ClassVar[int] = 1024

    presence: Presence
    session: Count
    epoch: Count
    published: Published = field(default_factory=Published)
    rss_bytes: Count = 0

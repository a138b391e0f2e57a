"""What happens to a board's agent. Everything from outside is decoded and bounded before it becomes an event."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from convoy_schema.artifacts import Manifest
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.boards import BoardState, Command, PartitionReport
from convoy_schema.messages.desired import Desired
from convoy_schema.signing import Statements

from convoy_device.store import Partial

if TYPE_CHECKING:
    from convoy_device.effects import Effect


class Role(enum.Enum):
    """The two connections of a board: bulk must never delay control or activations."""

    CONTROL = "control"
    BULK = "bulk"


@dataclass(frozen=True)
class Restored:
    """First of all events: what an earlier process left on disk."""

    desired: Desired | None
    epoch: int
    models: tuple[ModelAnnouncement, ...]
    artifacts: frozenset[str]
    partials: tuple[Partial, ...]
    statements: Statements = field(default_factory=Statements)
    restarted: str = ""


@dataclass(frozen=True)
class FabricSeen:
    """What the fabric holds, read back: at the start and after every effect that touches it."""

    shell: str
    partitions: tuple[PartitionReport, ...]


@dataclass(frozen=True)
class StoreSeen:
    """Bytes that the store holds now, and the artifacts that made room for others since it was last seen."""

    used_bytes: int
    evicted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Connected:
    """A link has a new, empty session at the broker."""

    role: Role


@dataclass(frozen=True)
class Disconnected:
    """A link is gone, and with it its subscriptions."""

    role: Role


@dataclass(frozen=True)
class DesiredReceived:
    """The controller's word."""

    desired: Desired


@dataclass(frozen=True)
class ModelReceived:
    """An announcement of that topic, not verified yet."""

    model: str
    version: str
    announcement: ModelAnnouncement


@dataclass(frozen=True)
class TrustReceived:
    """Which keys may sign and which bundles were revoked, not verified yet."""

    statements: Statements


@dataclass(frozen=True)
class ManifestReceived:
    """How an artifact is cut into blocks."""

    manifest: Manifest


@dataclass(frozen=True)
class BlockReceived:
    """A block, asked for or overheard, not checked yet."""

    digest: str
    block: int
    content: bytes


@dataclass(frozen=True)
class CommandReceived:
    """An order, harmless when lost or repeated."""

    command: Command


@dataclass(frozen=True)
class StateSeen:
    """A message on the board's own state topic: its own, or another daemon's of the same name."""

    state: BoardState
    retained: bool


@dataclass(frozen=True)
class Refused:
    """A message that could not be read; `leaf` says of what sort it should have been."""

    leaf: str
    message: str


@dataclass(frozen=True)
class Done:
    """An effect was carried out."""

    effect: Effect


@dataclass(frozen=True)
class Failed:
    """An effect could not be carried out."""

    effect: Effect
    error: ConvoyError


@dataclass(frozen=True)
class Stopping:
    """The daemon was asked to end."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """Time has passed; due when `Agent.due` said."""


Event = (
    Restored
    | FabricSeen
    | StoreSeen
    | Connected
    | Disconnected
    | DesiredReceived
    | ModelReceived
    | TrustReceived
    | ManifestReceived
    | BlockReceived
    | CommandReceived
    | StateSeen
    | Refused
    | Done
    | Failed
    | Stopping
    | Tick
)

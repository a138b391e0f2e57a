"""Every channel of the contract in one table: its topic, quality, who writes, who reads, and what a message is.

`topics` builds and parses the topics themselves. From this table the AsyncAPI document is made and the conformance kit
judges; it holds no behaviour.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from convoy_schema.artifacts import BLOCK_BYTES, Manifest
from convoy_schema.bundle import Bundle, ModelAnnouncement
from convoy_schema.frames import Frame
from convoy_schema.messages.boards import BoardState, Capability, Command, Pulse, Reported, Want
from convoy_schema.messages.desired import Desired
from convoy_schema.messages.gateways import ControllerState, GatewayDesired, GatewayReported, GatewayState
from convoy_schema.messages.logs import BoardLog
from convoy_schema.signing import Delegation, Floor, SignedDelegation, SignedFloor, Statements
from convoy_schema.topics import (
    ROOT,
    BlockTopic,
    BoardTopic,
    ControllerTopic,
    FrameTopic,
    GatewayTopic,
    ManifestTopic,
    ModelTopic,
    Topic,
    TrustTopic,
)
from convoy_schema.topology import Topology


class Party(enum.Enum):
    """Who speaks on the broker."""

    BOARD = "board"
    CONTROLLER = "controller"
    GATEWAY = "gateway"


@dataclass(frozen=True)
class Channel:
    """One topic, with its parameters in braces, below `convoy/1/{site}/`.

    `message` is what travels, None for a raw block. `is_will`: the writer leaves it with the broker as its will, too.
    """

    name: str
    topic: str
    message: type[Any] | None
    qos: int
    retained: bool
    writers: tuple[Party, ...]
    readers: tuple[Party, ...]
    what: str
    is_will: bool = False

    @property
    def address(self) -> str:
        """The whole topic, site included."""
        return f"{ROOT}/{{site}}/{self.topic}"

    @property
    def max_bytes(self) -> int:
        """Payload bytes of a message, at most."""
        return BLOCK_BYTES if self.message is None else int(self.message.MAX_BYTES)


_BOARD, _CONTROLLER, _GATEWAY = (Party.BOARD,), (Party.CONTROLLER,), (Party.GATEWAY,)
_EVERYONE = (Party.BOARD, Party.CONTROLLER, Party.GATEWAY)

CHANNELS = (
    Channel(
        "boardState",
        "boards/{board}/state",
        BoardState,
        1,
        True,
        _BOARD,
        (Party.BOARD, Party.CONTROLLER),
        "Here, or gone, with the session. A board hears its own, to notice another of its name.",
        is_will=True,
    ),
    Channel(
        "boardPulse",
        "boards/{board}/pulse",
        Pulse,
        0,
        False,
        _BOARD,
        _CONTROLLER,
        "A sign of life with rates, credits and refusals: each second with a live stage, else every 30 s.",
    ),
    Channel(
        "boardCapability",
        "boards/{board}/capability",
        Capability,
        1,
        True,
        _BOARD,
        _CONTROLLER,
        "What the board is, for the planner.",
    ),
    Channel(
        "boardDesired",
        "boards/{board}/desired",
        Desired,
        1,
        True,
        _CONTROLLER,
        _BOARD,
        "Everything the board must hold, restated whole. An empty payload clears what is retained and orders nothing.",
    ),
    Channel(
        "boardReported",
        "boards/{board}/reported",
        Reported,
        1,
        True,
        _BOARD,
        _CONTROLLER,
        "What is true on the board, and what keeps it from more.",
    ),
    Channel(
        "boardWant",
        "boards/{board}/want",
        Want,
        1,
        False,
        _BOARD,
        _CONTROLLER,
        "The blocks of one artifact that the board asks for now; none asks for the manifest.",
    ),
    Channel(
        "boardCommand",
        "boards/{board}/command",
        Command,
        0,
        False,
        _CONTROLLER,
        _BOARD,
        "An order that is harmless when lost or repeated.",
    ),
    Channel(
        "boardLog",
        "boards/{board}/log",
        BoardLog,
        0,
        False,
        _BOARD,
        _CONTROLLER,
        "What the board's daemon logged, when it is asked; a board that keeps no log may leave the order unanswered.",
    ),
    Channel(
        "controllerState",
        "controller/state",
        ControllerState,
        1,
        True,
        _CONTROLLER,
        (Party.CONTROLLER, Party.BOARD),
        "Who is in charge, of which epoch; each second. The will names epoch 0.",
        is_will=True,
    ),
    Channel(
        "gatewayState",
        "gateways/{gateway}/state",
        GatewayState,
        1,
        True,
        _GATEWAY,
        (Party.GATEWAY, Party.CONTROLLER),
        "Here, or gone, with the session that its request ids begin with.",
        is_will=True,
    ),
    Channel(
        "gatewayDesired",
        "gateways/{gateway}/desired",
        GatewayDesired,
        1,
        True,
        _CONTROLLER,
        _GATEWAY,
        "Which generations to feed, and which to test.",
    ),
    Channel(
        "gatewayReported",
        "gateways/{gateway}/reported",
        GatewayReported,
        1,
        True,
        _GATEWAY,
        _CONTROLLER,
        "What is in flight, test results, counters; on every change and each second.",
    ),
    Channel(
        "model",
        "models/{model}/{version}",
        ModelAnnouncement,
        1,
        True,
        _CONTROLLER,
        _EVERYONE,
        "Topology, signed bundle, golden rows, and the signing key's delegation.",
    ),
    Channel(
        "trust",
        "models/trust",
        Statements,
        1,
        True,
        _CONTROLLER,
        _EVERYONE,
        "The delegations in force, and every floor. Two levels, so that no model's name can be meant.",
    ),
    Channel(
        "manifest",
        "artifacts/{digest}",
        Manifest,
        1,
        True,
        _CONTROLLER,
        _BOARD,
        "How an artifact is packed, and the hash of each block.",
    ),
    Channel(
        "block",
        "artifacts/{digest}/{block}",
        None,
        0,
        False,
        _CONTROLLER,
        _BOARD,
        "One block of a packed artifact, for everyone who wants it.",
    ),
    Channel(
        "frame",
        "from/{sender}/to/{receiver}/{deployment}/{generation}/{stage}",
        Frame,
        0,
        False,
        (Party.BOARD, Party.GATEWAY),
        (Party.BOARD, Party.GATEWAY),
        "One batch of activations on its way to the holder of the next stage, or back to its gateway.",
    ),
)

#: Byte fields that hold a packed record (a MessagePack map without a version), by message and field.
PACKED: dict[tuple[type[Any], str], type[Any]] = {
    (ModelAnnouncement, "topology"): Topology,
    (ModelAnnouncement, "bundle"): Bundle,
    (SignedDelegation, "content"): Delegation,
    (SignedFloor, "content"): Floor,
}


def channel(name: str) -> Channel:
    """The channel of that name; `KeyError` for one that is not there."""
    return _BY_NAME[name]


def channel_of(topic: Topic) -> Channel:
    """The channel that a parsed topic belongs to."""
    if isinstance(topic, (BoardTopic, GatewayTopic)):
        side = "board" if isinstance(topic, BoardTopic) else "gateway"
        return _BY_NAME[side + topic.leaf.title()]
    return _BY_NAME[_OF_TOPIC[type(topic)]]


_OF_TOPIC: dict[type[Any], str] = {
    ControllerTopic: "controllerState",
    ModelTopic: "model",
    TrustTopic: "trust",
    ManifestTopic: "manifest",
    BlockTopic: "block",
    FrameTopic: "frame",
}
_BY_NAME = {each.name: each for each in CHANNELS}

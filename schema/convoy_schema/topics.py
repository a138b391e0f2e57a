"""Every topic of the contract, built and parsed in this one place.

All live under `convoy/1/{site}/`; the number is that of the topic tree, the messages carry their own version pair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from convoy_schema.errors import TopicError
from convoy_schema.names import Generation, check_name

ROOT = "convoy/1"

#: Parsed topics remembered, since the same few come with every frame.
MOST_KNOWN = 2048

BOARD_LEAVES = ("state", "pulse", "capability", "desired", "reported", "want", "command", "log")
GATEWAY_LEAVES = ("state", "desired", "reported")


@dataclass(frozen=True)
class BoardTopic:
    """`boards/{board}/{leaf}`."""

    board: str
    leaf: str


@dataclass(frozen=True)
class GatewayTopic:
    """`gateways/{gateway}/{leaf}`."""

    gateway: str
    leaf: str


@dataclass(frozen=True)
class ControllerTopic:
    """`controller/state`."""


@dataclass(frozen=True)
class ModelTopic:
    """`models/{model}/{version}`."""

    model: str
    version: str


@dataclass(frozen=True)
class TrustTopic:
    """`models/trust`: two levels, so that no model's name can be meant."""


@dataclass(frozen=True)
class ManifestTopic:
    """`artifacts/{digest}`."""

    digest: str


@dataclass(frozen=True)
class BlockTopic:
    """`artifacts/{digest}/{block}`."""

    digest: str
    block: int


@dataclass(frozen=True)
class FrameTopic:
    """`from/{sender}/to/{receiver}/{deployment}/{generation}/{stage}`."""

    sender: str
    receiver: str
    deployment: str
    generation: Generation
    stage: int


_decimal = re.compile("0|[1-9][0-9]{0,8}")

Topic = BoardTopic | GatewayTopic | ControllerTopic | ModelTopic | TrustTopic | ManifestTopic | BlockTopic | FrameTopic


class Topics:
    """The topics of one site."""

    def __init__(self, site: str) -> None:
        self.site = check_name(site, "site")
        self.prefix = f"{ROOT}/{site}/"
        self._known: dict[str, Topic] = {}

    def board(self, board: str, leaf: str) -> str:
        """`leaf` is one of BOARD_LEAVES; `board` may be '+'."""
        if leaf not in BOARD_LEAVES:
            raise TopicError(f"a board has no leaf {leaf!r}", leaf=leaf)
        return f"{self.prefix}boards/{_level(board, 'board')}/{leaf}"

    def gateway(self, gateway: str, leaf: str) -> str:
        """`leaf` is one of GATEWAY_LEAVES; `gateway` may be '+'."""
        if leaf not in GATEWAY_LEAVES:
            raise TopicError(f"a gateway has no leaf {leaf!r}", leaf=leaf)
        return f"{self.prefix}gateways/{_level(gateway, 'gateway')}/{leaf}"

    def controller_state(self) -> str:
        """Who is in charge."""
        return f"{self.prefix}controller/state"

    def model(self, model: str, version: str) -> str:
        """A model version's topology and signed bundle."""
        return f"{self.prefix}models/{_level(model, 'model')}/{_level(version, 'version')}"

    def trust(self) -> str:
        """Which keys may sign, and which bundles were revoked."""
        return f"{self.prefix}models/trust"

    def manifest(self, digest: str) -> str:
        """An artifact's manifest."""
        return f"{self.prefix}artifacts/{digest}"

    def block(self, digest: str, block: int | str) -> str:
        """One block of an artifact; '+' for all of them."""
        return f"{self.prefix}artifacts/{digest}/{block}"

    def frame(self, sender: str, receiver: str, deployment: str, generation: Generation, stage: int) -> str:
        """Activations from one holder to the next."""
        return f"{self.prefix}from/{sender}/to/{receiver}/{deployment}/{generation}/{stage}"

    def frames_to(self, receiver: str) -> str:
        """Filter for every frame addressed to `receiver`."""
        return f"{self.prefix}from/+/to/{check_name(receiver, 'receiver')}/#"

    def parse(self, topic: str) -> Topic:
        """What `topic` addresses; raises `TopicError` for a topic that is not of this site or contract."""
        known = self._known.get(topic)
        if known is not None:
            return known
        if not topic.startswith(self.prefix):
            raise TopicError(f"topic {topic[:100]!r} is not below {self.prefix}", topic=topic[:200])
        levels = topic[len(self.prefix) :].split("/")
        try:
            found = _parse(levels)
        except ValueError as error:
            raise TopicError(f"topic {topic[:100]!r}: {error}", topic=topic[:200]) from error
        if found is None:
            raise TopicError(f"topic {topic[:100]!r} is not of the contract", topic=topic[:200])
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[topic] = found
        return found


def _level(text: str, what: str) -> str:
    return text if text == "+" else check_name(text, what)


def _parse(levels: list[str]) -> Topic | None:
    match levels:
        case ["from", sender, "to", receiver, deployment, generation, stage]:
            return FrameTopic(
                check_name(sender, "sender"),
                check_name(receiver, "receiver"),
                check_name(deployment, "deployment"),
                Generation.parse(generation),
                _number(stage),
            )
        case ["boards", board, leaf] if leaf in BOARD_LEAVES:
            return BoardTopic(check_name(board, "board"), leaf)
        case ["artifacts", digest, block]:
            return BlockTopic(_digest(digest), _number(block))
        case ["artifacts", digest]:
            return ManifestTopic(_digest(digest))
        case ["gateways", gateway, leaf] if leaf in GATEWAY_LEAVES:
            return GatewayTopic(check_name(gateway, "gateway"), leaf)
        case ["models", model, version]:
            return ModelTopic(check_name(model, "model"), check_name(version, "version"))
        case ["models", "trust"]:
            return TrustTopic()
        case ["controller", "state"]:
            return ControllerTopic()
    return None


def _number(text: str) -> int:
    if not _decimal.fullmatch(text):
        raise ValueError(f"{text[:40]!r} must be a number of at most 9 digits")
    return int(text)


def _digest(text: str) -> str:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ValueError(f"{text[:80]!r} is not a SHA-256 digest")
    return text

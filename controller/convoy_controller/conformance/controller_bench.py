"""The fleet that a controller under trial meets: three boards and a gateway, and everything it says to them, judged."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement, verify
from convoy_schema.channels import Party
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.boards import Command, Order, Phase, Presence, Want
from convoy_schema.messages.desired import Assignment, Desired, Role
from convoy_schema.messages.gateways import ControllerState, GatewayDesired, Route
from convoy_schema.names import Generation
from convoy_schema.topics import (
    BlockTopic,
    BoardTopic,
    ControllerTopic,
    GatewayTopic,
    ManifestTopic,
    ModelTopic,
    Topics,
)
from convoy_schema.trust import Trust

from convoy_controller.conformance import placements
from convoy_controller.conformance.played_board import PULSE_S, Library, PlayedBoard
from convoy_controller.conformance.played_gateway import PlayedGateway
from convoy_controller.conformance.tap import Tap
from convoy_controller.conformance.verdicts import Ledger
from convoy_controller.conformance.wire import Heard, Wire

Key = tuple[str, Generation]

#: Seconds for which a block that was asked for may be under way.
ASKED_S = 30.0


@dataclass
class ControllerBench:
    """One controller under trial. `trust` is what its signatures are judged by, if that is known."""

    wire: Wire
    ledger: Ledger
    trust: Trust | None = None
    tap: Tap | None = None
    library: Library = field(default_factory=Library)
    boards: dict[str, PlayedBoard] = field(default_factory=dict)
    own: set[tuple[str, bytes]] = field(default_factory=set)
    #: What was heard, with when, in order.
    states: list[tuple[float, ControllerState]] = field(default_factory=list)
    orders: list[tuple[float, str, Desired]] = field(default_factory=list)
    commands: list[tuple[float, str]] = field(default_factory=list)
    manifests: list[tuple[float, str]] = field(default_factory=list)
    blocks: list[tuple[float, str, int]] = field(default_factory=list)
    wanted: dict[tuple[str, int], float] = field(default_factory=dict)
    session: int = field(default_factory=lambda: secrets.randbits(62) + 1)

    def __post_init__(self) -> None:
        for number in (1, 2, 3):
            name = f"trial-{number}"
            self.boards[name] = PlayedBoard(name, self.wire, self.library, self.ledger)
        self.gateway = PlayedGateway("trial-gateway", self.wire)
        self.wire.listeners.append(self._take)

    @property
    def topics(self) -> Topics:
        """Of the site."""
        return self.wire.topics

    def now(self) -> float:
        """The loop's monotonic time, in seconds."""
        return asyncio.get_running_loop().time()

    def say(self, topic: str, message: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish as somebody else than the fleet: known again when it comes back to us."""
        payload = message if isinstance(message, bytes) else codec.encode(message)
        self.own.add((topic, payload))
        self.wire.say(topic, payload, qos=qos, retain=retain)

    def come(self, board: PlayedBoard) -> None:
        """A new life of a board, which finds what is retained for it."""
        board.come()
        if told := self.orders_since(0.0, board.name):
            board.obey(told[-1][1])

    async def beat(self) -> None:
        """What a fleet says each second, for as long as the trial lasts."""
        while True:
            for board in self.boards.values():
                board.pulse()
            self.gateway.report()
            await asyncio.sleep(PULSE_S)

    # What is true ----------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """That of the last word of being in charge, 0 before the first."""
        return next((state.epoch for _, state in reversed(self.states) if is_online(state)), 0)

    def states_since(self, at: float) -> list[ControllerState]:
        """What it said of itself."""
        return [state for when, state in self.states if when >= at]

    def orders_since(self, at: float, board: str = "") -> list[tuple[str, Desired]]:
        """What boards were told, or one of them."""
        return [(name, desired) for when, name, desired in self.orders if when >= at and board in ("", name)]

    def assigned(self, key: Key) -> dict[str, Assignment]:
        """Who holds a generation by the newest orders."""
        found = {}
        for name, board in self.boards.items():
            for each in board.desired.assignments if board.desired is not None else ():
                if each.key == key:
                    found[name] = each
        return found

    @property
    def serving(self) -> Key | None:
        """The generation that the gateway is told to feed."""
        for feed in self.gateway.desired.feeds if self.gateway.desired is not None else ():
            if feed.serving is not None:
                return feed.intent.deployment, feed.serving.generation
        return None

    async def serves_without(self, board: str, seconds: float) -> bool:
        """Whether the gateway comes to feed a generation in which that board has no part."""

        def does() -> bool:
            key = self.serving
            return key is not None and bool(self.assigned(key)) and board not in self.assigned(key)

        return await self.wire.until(does, seconds)

    # What comes ------------------------------------------------------------------------------------------------------

    def _take(self, heard: Heard) -> None:
        if (heard.topic, heard.payload) in self.own or not heard.payload:
            return
        channel = heard.channel
        if channel is None or channel.writers != (Party.CONTROLLER,):
            self._from_fleet(heard)
            return
        self.ledger.check("C2", not heard.fault, "a message that decodes", f"{heard.topic}: {heard.fault}")
        if not heard.retained:
            is_so = heard.qos == channel.qos
            self.ledger.check("C3", is_so, f"QoS {channel.qos} on {heard.topic}", f"QoS {heard.qos}")
        if heard.fault:
            return
        take: Callable[[Heard], None] | None = {
            BoardTopic: self._to_board,
            ControllerTopic: self._state,
            GatewayTopic: self._to_gateway,
            ModelTopic: self._announced,
            ManifestTopic: self._manifest,
            BlockTopic: self._block,
        }.get(type(heard.address))
        if take is not None:
            take(heard)

    def _from_fleet(self, heard: Heard) -> None:
        if isinstance(heard.message, Want):
            for block in heard.message.blocks:
                self.wanted[heard.message.digest, block] = heard.at

    def _state(self, heard: Heard) -> None:
        if not heard.retained:
            self.states.append((heard.at, heard.message))

    def _to_board(self, heard: Heard) -> None:
        assert isinstance(heard.address, BoardTopic)
        board, message = self.boards.get(heard.address.board), heard.message
        if isinstance(message, Command):
            self.commands.append((heard.at, heard.address.board))
            if board is not None and message.order is Order.REBIRTH:
                board.restate()
        elif isinstance(message, Desired) and not heard.retained:
            self._judge_order(heard.address.board, message)
            self.orders.append((heard.at, heard.address.board, message))
            if board is not None and not board.is_silent:
                board.obey(message)

    def _judge_order(self, name: str, desired: Desired) -> None:
        check = self.ledger.check
        number = (desired.epoch, desired.revision)
        check("C5", desired.epoch == self.epoch, f"its own epoch {self.epoch} in an order", number)
        earlier = self.orders_since(0.0, name)
        if earlier:
            last = earlier[-1][1]
            before = (last.epoch, last.revision)
            check("C5", number >= before, f"a number of {name} from {before} on", number)
            check("C5", number != before or desired == last, f"one order of number {before}", f"another for {name}")
        for each in desired.assignments:
            for _, told in earlier:
                same = next((other for other in told.assignments if other.key == each.key), None)
                unchanged = same is None or replace(same, role=each.role) == each
                check(
                    "C6", unchanged, f"generation {each.generation} as it was but for its role", f"another for {name}"
                )
            self._judge_role(name, each, [told for _, told in earlier])

    def _judge_role(self, name: str, each: Assignment, earlier: list[Desired]) -> None:
        known = any(other.key == each.key for told in earlier for other in told.assignments)
        if not known:
            is_staged = each.role is Role.STAGED
            self.ledger.check(
                "C14", is_staged, f"generation {each.generation} staged first", f"{each.role.value} on {name}"
            )
        elif each.role is Role.SERVING:
            tested = self.gateway.probes.get(each.key, False)
            self.ledger.check("C14", tested, "serving only after the gateway's test passed", f"{name} serving before")

    def _to_gateway(self, heard: Heard) -> None:
        assert isinstance(heard.address, GatewayTopic)
        if heard.address.gateway != self.gateway.name or heard.retained:
            return
        desired: GatewayDesired = heard.message
        for feed in desired.feeds:
            deployment = feed.intent.deployment
            if feed.probing is not None:
                self._judge_probing((deployment, feed.probing.generation), feed.probing)
            if feed.serving is not None:
                key = (deployment, feed.serving.generation)
                passed = self.gateway.probes.get(key)
                self.ledger.check("C16", passed is True, f"{key[1]} fed after its test passed", f"its test: {passed}")
        self.gateway.obey(desired)

    def _judge_probing(self, key: Key, route: Route) -> None:
        if key in self.gateway.probes:
            return
        assigned = self.assigned(key)
        phases = {name: self.boards[name].phases.get(key) for name in assigned}
        ready = bool(phases) and all(phase is Phase.READY for phase in phases.values())
        self.ledger.check("C15", ready, f"{key[1]} tested once all its boards are ready", phases)
        for found in placements.faults(key, assigned, route, self.library):
            self.ledger.check("C7", False, "stages that cover the network and name each other", found)
        self.ledger.check("C7", bool(assigned), "a generation that boards were told of", f"{key[1]}")

    def _announced(self, heard: Heard) -> None:
        announcement: ModelAnnouncement = heard.message
        self.library.announcements[announcement.digest] = announcement
        fault = placements.digest_fault(announcement)
        self.ledger.check("C8", not fault, "topology and golden rows of the bundle's digests", fault)
        if self.trust is not None:
            try:
                trust = self.trust
                if announcement.delegation is not None:
                    trust = trust.with_delegation(announcement.delegation)
                verify(announcement, trust)
            except ConvoyError as error:
                self.ledger.check("C9", False, "a signature by the fleet's root or its delegate", error)
            else:
                self.ledger.check("C9", True, "", "")

    def _manifest(self, heard: Heard) -> None:
        assert isinstance(heard.address, ManifestTopic)
        if not heard.retained:
            self.manifests.append((heard.at, heard.address.digest))
        is_own = heard.message.digest == heard.address.digest
        if self.ledger.check("C11", is_own, "a manifest of its topic's digest", heard.message.digest[:12]):
            self.library.manifests[heard.address.digest] = heard.message

    def _block(self, heard: Heard) -> None:
        assert isinstance(heard.address, BlockTopic)
        digest, block = heard.address.digest, heard.address.block
        self.ledger.check("C3", not heard.retained, "no block retained", heard.topic)
        self.blocks.append((heard.at, digest, block))
        asked = self.wanted.get((digest, block), float("-inf"))
        self.ledger.check("C13", heard.at - asked < ASKED_S, "blocks that somebody asked for", f"block {block} unasked")
        manifest = self.library.manifests.get(digest)
        if manifest is not None:
            fits = manifest.accepts(block, heard.payload)
            if self.ledger.check(
                "C11", fits, f"block {block} of {digest[:12]} as its manifest says", "another content"
            ):
                self.library.blocks[digest, block] = heard.payload


def is_online(state: ControllerState) -> bool:
    """Whether it says that it is in charge."""
    return state.presence is Presence.ONLINE

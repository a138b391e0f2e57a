"""Boards and a gateway that are nothing but their answers, over a real broker: what tests the controller's shell.

Whatever a board is told it reports as ready, and every probe passes, unless a test says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from convoy_schema import codec
from convoy_schema.bitstream import EMULATED_XC7Z020
from convoy_schema.link import Link
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Command,
    Partition,
    Phase,
    Presence,
    Published,
    Pulse,
    Reported,
)
from convoy_schema.messages.desired import Desired
from convoy_schema.messages.gateways import (
    ControllerState,
    FeedReport,
    GatewayDesired,
    GatewayReported,
    GatewayState,
    ProbeReport,
)
from convoy_schema.topics import BoardTopic, ControllerTopic, GatewayTopic, Topics
from patience import PATIENCE_S

SITE = "test"
GATEWAY = "gate"


async def until(happened: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait for a condition; fails the test when it does not come true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not happened():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.01)


class Voices:
    """One connection that speaks for `boards` and a gateway, and keeps what they were told."""

    def __init__(self, url: str, boards: tuple[str, ...], epoch: int = 0, revision: int = 0) -> None:
        self.topics = Topics(SITE)
        self.boards = boards
        self.silent: set[str] = set()
        self.desired: dict[str, list[Desired]] = {board: [] for board in boards}
        self.fed: list[GatewayDesired] = []
        self.controllers: list[ControllerState] = []
        self.commands: list[tuple[str, Command]] = []
        #: The number that boards say they follow before they are told anything, and in every pulse.
        self.epoch, self.revision = epoch, revision
        self.link = Link(url, "voices", on_message=self._message, on_connect=self._connected)

    async def run(self) -> None:
        """Speak until cancelled."""
        pulsing = asyncio.create_task(self._pulse())
        try:
            await self.link.run()
        finally:
            pulsing.cancel()

    def _connected(self) -> None:
        for board in self.boards:
            self.link.subscribe(self.topics.board(board, "desired"), 1)
            self.link.subscribe(self.topics.board(board, "command"))
        self.link.subscribe(self.topics.gateway(GATEWAY, "desired"), 1)
        self.link.subscribe(self.topics.controller_state())
        for board in self.boards:
            self.say_hello(board)
        self.publish(self.topics.gateway(GATEWAY, "state"), GatewayState(Presence.ONLINE, 900))
        self._report_gateway()

    def say_hello(self, board: str) -> None:
        """State, capability and report of a board."""
        capability = Capability(
            self.session(board),
            EMULATED_XC7Z020.name,
            "emulated",
            ("layers", "partitions"),
            (Partition("west"), Partition("centre"), Partition("east")),
            100_000_000 + 5_000_000 * (self.boards.index(board) % 6),  # boards differ, as in a fleet that has grown
            2**28,
            64,
            "0",
        )
        self.publish(self.topics.board(board, "state"), BoardState(Presence.ONLINE, self.session(board)))
        self.publish(self.topics.board(board, "capability"), capability)
        self.report(board)

    def die(self, board: str) -> None:
        """What the broker says of a board that is gone."""
        self.silent.add(board)
        gone = BoardState(Presence.OFFLINE, self.session(board), "the connection was lost")
        self.publish(self.topics.board(board, "state"), gone)

    def session(self, board: str) -> int:
        """One for each board."""
        return 100 + self.boards.index(board)

    def report(self, board: str) -> None:
        """Every assignment is ready."""
        told = self.desired[board][-1] if self.desired[board] else Desired(self.epoch, self.revision, ())
        reports = tuple(
            AssignmentReport(assignment.intent.deployment, assignment.generation, Phase.READY)
            for assignment in told.assignments
        )
        reported = Reported(self.session(board), told.epoch, told.revision, "layers", reports, (), 0, 1)
        self.publish(self.topics.board(board, "reported"), reported)

    def _report_gateway(self) -> None:
        told = self.fed[-1] if self.fed else GatewayDesired(self.epoch, self.revision, ())
        feeds = tuple(
            FeedReport(
                feed.intent.deployment,
                feed.serving.generation if feed.serving else None,
                (),
                (ProbeReport(feed.probing.generation, True),) if feed.probing else (),
            )
            for feed in told.feeds
        )
        reported = GatewayReported(900, told.epoch, told.revision, "http://gate", feeds, Published())
        self.publish(self.topics.gateway(GATEWAY, "reported"), reported)

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            for board in self.boards:
                if board not in self.silent and self.link.connected:
                    follows = max([(self.epoch, self.revision), *((d.epoch, d.revision) for d in self.desired[board])])
                    pulse = Pulse(self.session(board), *follows, 1000, 1, 1, (), Published())
                    self.publish(self.topics.board(board, "pulse"), pulse, retain=False)
            if self.link.connected and GATEWAY not in self.silent:
                self._report_gateway()

    def publish(self, topic: str, message: codec.Message, *, retain: bool = True) -> None:
        """As its writer would."""
        self.link.publish(topic, codec.encode(message), qos=1, retain=retain)

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        if not payload:
            return  # cleared
        match self.topics.parse(topic):
            case BoardTopic(board, "desired"):
                self.desired[board].append(codec.decode(Desired, payload))
                if board not in self.silent:
                    self.report(board)
            case BoardTopic(board, "command"):
                self.commands.append((board, codec.decode(Command, payload)))
            case GatewayTopic(_, "desired"):
                self.fed.append(codec.decode(GatewayDesired, payload))
                self._report_gateway()
            case ControllerTopic():
                self.controllers.append(codec.decode(ControllerState, payload))

    def serving(self) -> str | None:
        """The generation that the gateway feeds now."""
        feeds = self.fed[-1].feeds if self.fed else ()
        route = feeds[0].serving if feeds else None
        return str(route.generation) if route else None

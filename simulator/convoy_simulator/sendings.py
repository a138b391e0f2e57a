"""What must hold of each message at the moment at which a machine sends it: of frames, and of a controller's orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from convoy_device.errors import ArtifactDamagedError
from convoy_schema import codec, framing
from convoy_schema.errors import TopicError
from convoy_schema.frames import Frame
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Desired
from convoy_schema.messages.gateways import GatewayDesired
from convoy_schema.names import Generation
from convoy_schema.topics import BoardTopic, FrameTopic, GatewayTopic, Topics

from convoy_simulator.controller import engine_of
from convoy_simulator.fleet import SITE, Fleet
from convoy_simulator.mqtt_packets import Packet, Publish

_DAMAGED = ArtifactDamagedError.code.encode()
_COUNTERS = "SELECT epoch, revision FROM fleet_facts"

Key = tuple[str, Generation]


class Sendings:
    """Looks at what leaves a fleet's machines; `fault` is told of what must never be."""

    def __init__(self, fleet: Fleet, fault: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._fault = fault
        self._topics = Topics(SITE)
        self._boards = {board.name: board for board in fleet.boards}
        self._gateways = {gateway.name: gateway for gateway in fleet.gateways}
        #: What each board was told last, and the newest window that gateways were given for a generation.
        self._told: dict[str, frozenset[Key]] = {}
        self._windows: dict[Key, int] = {}

    def sends(self, name: str, packet: Packet) -> None:
        """`name` is about to send it."""
        if not isinstance(packet, Publish) or not packet.payload:
            return
        try:
            topic = self._topics.parse(packet.topic)
        except TopicError as error:
            self._fault(f"{name} speaks on a topic that nobody knows: {error}")
            return
        if isinstance(topic, FrameTopic):
            self._frame(name, topic, framing.decode(packet.payload))
        elif isinstance(topic, BoardTopic) and topic.leaf == "desired":
            self._board_order(topic.board, codec.decode(Desired, packet.payload))
        elif isinstance(topic, GatewayTopic) and topic.leaf == "desired":
            self._gateway_order(topic.gateway, codec.decode(GatewayDesired, packet.payload))
        elif isinstance(topic, BoardTopic) and topic.leaf == "reported" and _DAMAGED in packet.payload:
            # Blocks are hashed as they come and when they are found again, and disks of a fleet do not rot.
            self._fault(f"{name}: what it had of an artifact was not what it took it for")

    # Frames ----------------------------------------------------------------------------------------------------------

    def _frame(self, name: str, topic: FrameTopic, frame: Frame) -> None:
        if topic.sender != name:
            self._fault(f"{name} speaks as {topic.sender}")
        if (topic.deployment, topic.generation) != (frame.deployment, frame.generation):
            self._fault(f"{name}: a frame of {frame.generation} is computed under {topic.generation}")
        if name in self._gateways:
            self._check_window(name, (frame.deployment, frame.generation))
        elif name in self._boards:
            self._check_held(name, (frame.deployment, frame.generation))

    def _check_held(self, name: str, key: Key) -> None:
        daemon = self._boards[name].daemon
        held = daemon.condition().held if daemon is not None else ()
        ready = {(each.deployment, each.generation) for each in held if each.phase == Phase.READY.value}
        if (key[0], str(key[1])) not in ready:
            self._fault(f"{name}: a frame of {key[1]} leaves, and it does not hold that generation ready")

    def _check_window(self, name: str, key: Key) -> None:
        service, window = self._gateways[name].service, self._windows.get(key)
        if service is None or window is None:
            return
        for feed in service.session.report():
            flying = [flight.frames for flight in feed.in_flight if (feed.deployment, flight.generation) == key]
            if sum(flying) > window:
                self._fault(f"{name}: {sum(flying)} frames of {key[1]} are in flight, and {window} may be")

    # Orders ----------------------------------------------------------------------------------------------------------

    def _board_order(self, board: str, desired: Desired) -> None:
        self._check_kept(board, desired.epoch, desired.revision)
        told = frozenset(assignment.key for assignment in desired.assignments)
        if asyncio.get_running_loop().time() > self._fleet.shaken_until:
            for dropped in self._told.get(board, frozenset()) - told:
                self._check_left(board, dropped)
        self._told[board] = told

    def _check_left(self, board: str, dropped: Key) -> None:
        for gateway in self._fleet.gateways:
            feeds = gateway.service.session.report() if gateway.service is not None and gateway.is_up else ()
            if any((feed.deployment, feed.serving) == dropped for feed in feeds):
                self._fault(f"{board} is told to drop {dropped[1]}, which {gateway.name} still feeds")

    def _gateway_order(self, gateway: str, desired: GatewayDesired) -> None:
        self._check_kept(gateway, desired.epoch, desired.revision)
        for feed in desired.feeds:
            for route in (feed.serving, feed.probing):
                if route is not None:
                    key = feed.intent.deployment, route.generation
                    self._windows[key] = max(route.window, self._windows.get(key, 0))

    def _check_kept(self, peer: str, epoch: int, revision: int) -> None:
        """Numbers are in the database before they go out, so that none is ever given twice."""
        with engine_of(self._fleet.storage.url).connect() as connection:
            kept = tuple(connection.exec_driver_sql(_COUNTERS).one())
        if (epoch, revision) > kept:
            self._fault(f"{peer} is told revision {epoch}.{revision}, and the database knows of {kept[0]}.{kept[1]}")

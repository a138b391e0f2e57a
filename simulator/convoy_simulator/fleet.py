"""A whole fleet in virtual time: broker, lines, boards, gateways, a controller, and its owner."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import convoy_bitstreams
from convoy_controller.database import records
from convoy_controller.database.engine import Database
from convoy_controller.database.intents import request_deployment
from convoy_controller.errors import DatabaseError
from convoy_controller.keys import load_trust
from convoy_schema.bitstream import EMULATED_XC7Z020
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.names import digest_of

from convoy_simulator.board import Board, Watching
from convoy_simulator.broker import Broker
from convoy_simulator.broker_limits import MOSQUITTO, Limits
from convoy_simulator.controller import ControllerHost, Storage, engine_of
from convoy_simulator.fabric_memory import States
from convoy_simulator.gateway import GatewayHost
from convoy_simulator.network import Conditions, Line, Network
from convoy_simulator.template import Template

SITE = "site"
DEPLOYMENT = "shop"
#: Seconds until a controller has taken up a database that was restored.
TAKEN_UP_S = 15.0
_BEGINNING = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: The lines of those that are where the broker is.
LOCAL = Conditions()


@dataclass(frozen=True)
class Shape:
    """How large a fleet is, and how it is used."""

    boards: int = 4
    gateways: int = 2
    method: Method = Method.ALLOCATE
    #: Boards of the deployment, and spare ones; replicas at most.
    used: int = 3
    spare: int = 1
    replicas: int = 0
    #: The first to come is in charge, others stand by.
    controllers: int = 1
    #: Partitions that boards offer (None: all that the shell has), and frames that wait on each at most.
    partitions: int | None = None
    queue_frames: int = 64


class Fleet:
    """Constructed in a virtual loop. `fault` is told of what must never happen."""

    def __init__(
        self,
        template: Template,
        shape: Shape,
        conditions: Conditions,
        seed: int,
        folder: Path,
        fault: Callable[[str], None],
        limits: Limits = MOSQUITTO,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.template = template
        self.shape = shape
        self.conditions = conditions
        self.chance = random.Random(seed)
        self.broker = Broker(limits)
        self.network = Network(loop, self.broker, self._branch())
        self.network.was_punctual = not conditions.loss  # what is sent again holds up all that comes behind it
        self.storage = Storage(template.copy_of_database(folder, "fleet"))
        self._images = _images_of(template)
        records.tell_date_by(lambda: _BEGINNING + timedelta(seconds=loop.time()))
        home, trust = template.home, load_trust(template.home.keys, SITE)
        self.controllers = [
            ControllerHost(
                name, SITE, self.network, self._line(name, LOCAL), fault, self._seed(), home=home, storage=self.storage
            )
            for name in ("controller", "controller-2", "controller-3")[: shape.controllers]
        ]
        self.gateways = [
            GatewayHost(name, SITE, self.network, self._line(name, LOCAL), fault, self._seed(), trust=trust)
            for name in (f"gateway-{number}" for number in range(1, shape.gateways + 1))
        ]
        _states().begin_anew()
        watching = Watching(fault, self._may_load)
        self.boards = [
            Board(
                name,
                SITE,
                self.network,
                self._line(name, conditions),
                watching,
                self._seed(),
                key=home.trusted_key,
                states=_states(),
                settings={"partitions": shape.partitions, "queue_frames": shape.queue_frames},
            )
            for name in (f"board-{number}" for number in range(1, shape.boards + 1))
        ]
        self._owner: Database | None = None
        #: What the owner asked for last; what may be served in the end, since a restored database may not know of it.
        self.version = "1"
        self._restored_at = float("-inf")
        self.wanted = frozenset({"1"})
        #: Until when something outside controllers and database is, or has just been, disturbed.
        self.shaken_until = 0.0

    def _branch(self) -> random.Random:
        return random.Random(self._seed())

    def _seed(self) -> int:
        return self.chance.getrandbits(64)

    def _line(self, name: str, conditions: Conditions) -> Line:
        return Line(name, conditions, self._branch())

    @property
    def controller(self) -> ControllerHost:
        """The only one, or the first."""
        return self.controllers[0]

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self, within_s: float = 0.5) -> None:
        """Everything, at some moment within so many seconds."""
        loop = asyncio.get_running_loop()
        for host in (*self.controllers, *self.gateways, *self.boards):
            loop.call_later(self.chance.uniform(0, within_s), host.start)

    def close(self) -> None:
        """Remove what lies on the machine's disk."""
        self._close_owner()
        for host in self.controllers:
            host.is_retired = True
            host.kill()
            host.cleared()
        for path in self.storage.path.parent.glob(self.storage.path.stem + ".*"):
            path.unlink(missing_ok=True)
        records.tell_date_by(None)

    # The owner -------------------------------------------------------------------------------------------------------

    def request(self, version: str) -> bool:
        """Ask for the deployment with that version of the model; False while the database is away."""
        if self.storage.is_away:
            return False
        shape = self.shape
        intent = Intent(
            DEPLOYMENT,
            self.template.model,
            version,
            shape.method,
            shape.used,
            cut=Cut.PIPELINE,
            batch=8,
            replicas=shape.replicas,
            spare=shape.spare,
        )
        try:
            request_deployment(self.owner, intent)
        except DatabaseError:
            return False
        # What is asked before a controller has taken up a restored database may lose against what runs.
        is_open = asyncio.get_running_loop().time() < self._restored_at + TAKEN_UP_S
        self.version, self.wanted = version, frozenset({version}) | (self.wanted if is_open else frozenset())
        return True

    @property
    def owner(self) -> Database:
        """The database as `convoy` on the command line opens it."""
        if self._owner is None:
            self._owner = Database(engine_of(self.storage.url))
        return self._owner

    def _close_owner(self) -> None:
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def back_up_database(self) -> None:
        """Keep it as it is now."""
        self.storage.back_up()

    def restore_database(self) -> bool:
        """Put what was kept in place; False when nothing was. What was asked since then is lost, unless it runs.

        What runs is adopted, whichever version that is.
        """
        self._close_owner()
        for host in self.controllers:
            host.kill()
            host.cleared()
        if not self.storage.restore():
            return False
        self._restored_at = asyncio.get_running_loop().time()
        self.wanted = frozenset(self.template.answers)
        return True

    # What is known independently -------------------------------------------------------------------------------------

    def _may_load(self, image: bytes, partition: str) -> bool:
        return _digest_of(image) in self._images


@functools.lru_cache(maxsize=1)
def _states() -> States:
    """Of every fleet of this process: what boards load is the same in all of them."""
    return States(EMULATED_XC7Z020.geometry.memory_frames)


@functools.lru_cache(maxsize=64)
def _digest_of(image: bytes) -> str:
    """Boards load the very same few images."""
    return digest_of(image)


def _images_of(template: Template) -> frozenset[str]:
    """Digests of the images that came with Convoy: all that a bundle of the template may name."""
    found = convoy_bitstreams.catalogue()
    shells = {image.digest for image in found.shells}
    return frozenset(shells | {image.digest for image in found.modules})

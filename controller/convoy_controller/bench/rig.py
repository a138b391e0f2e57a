"""A local fleet for a bench, fed by a gateway inside the bench's own process, so that HTTP is not what is measured."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import convoy_bitstreams
import numpy as np
from convoy_schema.bundle import InputSpec, Method, load_public_key
from convoy_schema.ending import Ending
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Intent
from convoy_schema.resident import settle_memory
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from convoy_schema.trust import Trust
from numpy.typing import NDArray

from convoy_controller import planner
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue, ModelContents
from convoy_controller.database import queries
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.records import BoardPresence, DeploymentState
from convoy_controller.errors import DemoError, NotFoundError
from convoy_controller.gateway.service import GatewayService
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import LocalFleet, remove

#: Seconds for everything to come up and serve.
SERVE_S = 60.0


@dataclass(frozen=True)
class Described:
    """A network that needs no import: as `catalogue` takes it."""

    topology: Topology
    parameters: dict[str, bytes] = field(default_factory=dict)
    golden: dict[str, bytes] = field(default_factory=dict)
    golden_rows: int = 1
    ending: Ending = field(default_factory=Ending)


def identity_chain(name: str, size: int, layers: int = 3) -> Described:
    """`layers` layers that pass `size` bytes on as they are."""
    tensors = tuple(Tensor(f"t{n}", (size,), 1.0, 0) for n in range(layers + 1))
    chain = tuple(Layer(f"pass{n + 1}", Kind.IDENTITY, (f"t{n}",), f"t{n + 1}") for n in range(layers))
    topology = Topology(name, tensors, chain, "t0", f"t{layers}")
    row = np.arange(size).astype(np.int8).tobytes()
    return Described(topology, golden={tensor.name: row for tensor in tensors})


def paced(slowdown: float) -> dict[str, float]:
    """What makes an emulated board as slow as the planner's model of it, times `slowdown`; its outgoing link as well.

    What a gateway sends into the first stage is not slowed: no plan counts it.
    """
    return {
        "pace": slowdown,
        "link_bytes_per_s": planner.LINK_BYTES_PER_S / slowdown,
        "link_frame_s": planner.HOP_S * slowdown,
    }


@dataclass
class Stocked:
    """A fleet's processes and its database, with models in the catalogue."""

    fleet: LocalFleet
    database: Database

    async def deploy(self, models: Sequence[tuple[str, Method, int]]) -> None:
        """Deploy each (model, method, batch) over all boards and wait until it serves; raises `DemoError`."""
        boards = len(self.fleet.boards)
        await self.deploy_intents(
            [Intent(name, name, "1", method, boards, batch=batch) for name, method, batch in models]
        )

    async def capabilities(self) -> list[Capability]:
        """What every board says of itself, once all of them are there; raises `DemoError`."""
        deadline = time.monotonic() + SERVE_S
        while True:
            found = [await asyncio.to_thread(self._capability, name) for name in self.fleet.boards]
            there = [each for each in found if each is not None]
            if len(there) == len(found):
                return there
            if time.monotonic() > deadline:
                raise DemoError(f"{len(there)} of {len(found)} boards came within {SERVE_S:g} s")
            await asyncio.sleep(0.05)

    def _capability(self, name: str) -> Capability | None:
        try:
            board = queries.board(self.database, name)
        except NotFoundError:
            return None
        return board.capability if board.facts.presence is BoardPresence.ONLINE else None

    async def deploy_intents(self, intents: Sequence[Intent]) -> None:
        """Deploy what these ask for and wait until it serves; raises `DemoError`."""
        for intent in intents:
            await self.request(intent)
        for intent in intents:
            await self.until_serving(intent.deployment)

    async def request(self, intent: Intent) -> None:
        """Ask for a deployment, and wait for nothing."""
        await asyncio.to_thread(request_deployment, self.database, intent)

    async def until_serving(self, deployment: str) -> None:
        """Wait until it serves, by asking the database 20 times a second; raises `DemoError`."""
        await self._until(deployment, DeploymentState.SERVING)

    async def remove(self, deployment: str) -> None:
        """Withdraw a deployment and wait until it has gone; raises `DemoError`."""
        await asyncio.to_thread(withdraw_deployment, self.database, deployment)
        await self._until(deployment, DeploymentState.REMOVED)

    async def _until(self, name: str, state: DeploymentState) -> None:
        deadline = time.monotonic() + SERVE_S
        while not await asyncio.to_thread(self._is_in, name, state):
            if time.monotonic() > deadline:
                whys = [queries.why(self.database, board).sentence for board in self.fleet.boards]
                raise DemoError("\n".join([f"{name} is not {state.value}", *whys]))
            await asyncio.sleep(0.05)

    def _is_in(self, name: str, state: DeploymentState) -> bool:
        for death in self.fleet.processes.poll(time.monotonic()):
            raise DemoError(str(death))
        return queries.deployment(self.database, name).state is state


@dataclass
class Rig(Stocked):
    """The same with a gateway in this process."""

    gateway: GatewayService


@contextmanager
def stocked(
    boards: int, models: Sequence[tuple[str, ModelContents, InputSpec]], broker: str, **settings: str | float
) -> Iterator[Stocked]:
    """Broker, controller and `boards` boards, with `models` in the catalogue.

    `settings` are keys of every board's configuration.
    """
    directory = Path(tempfile.mkdtemp(prefix="convoy-bench-"))
    home = Home.locate(directory, f"sqlite:///{directory / 'convoy.db'}")
    database = open_database(home.database_url)
    try:
        with LocalFleet(home, directory) as fleet:
            catalogue = Catalogue(database, BlobStore(home.blobs))
            for name, network, spec in models:
                images, key = convoy_bitstreams.catalogue(), signing_key(home.keys)
                catalogue.publish_model(network, name, "1", spec, (), images, key)
            fleet.start_broker(broker)
            fleet.start_controller()
            for number in range(1, boards + 1):
                fleet.start_board(f"board-{number}", **settings)
            yield Stocked(fleet, database)
    finally:
        database.close()
        remove(directory)


@asynccontextmanager
async def rig(
    boards: int, models: Sequence[tuple[str, ModelContents, InputSpec]], broker: str, **settings: str | float
) -> AsyncIterator[Rig]:
    """What `stocked` makes, and a gateway in this loop."""
    settle_memory()  # as a gateway's process does
    with stocked(boards, models, broker, **settings) as made:
        fleet = made.fleet
        trust = Trust(load_public_key(fleet.home.trusted_key), fleet.site)
        gateway = GatewayService("bench", fleet.site, fleet.url, trust, secrets.randbits(62))
        running = asyncio.create_task(gateway.run())
        try:
            yield Rig(fleet, made.database, gateway)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def frames_per_second(
    gateway: GatewayService, model: str, batch: NDArray[np.int8], in_flight: int, seconds: float
) -> float:
    """Requests of `batch` answered a second, `in_flight` of them at once."""
    answered = 0
    until = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal answered
        while time.perf_counter() < until:
            await gateway.infer(batch, model)
            answered += 1

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return answered / (time.perf_counter() - started)


async def seconds_each(gateway: GatewayService, model: str, batch: NDArray[np.int8], count: int) -> list[float]:
    """Seconds of each of `count` requests, one at a time."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        await gateway.infer(batch, model)
        took.append(time.perf_counter() - started)
    return took

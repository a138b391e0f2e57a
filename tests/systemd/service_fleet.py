"""A controller outside, the fleet of the daemon's own tests, and the board's service inside the machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import board_models as models
from convoy_bitstreams import catalogue
from convoy_schema.bundle import Method
from convoy_schema.layers import fixed_point
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Assignment, Slot
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from fleet_bench import SITE, Fleet, fleet_on
from machine import PATIENCE_S, UNIT, Machine

BOARD = "board-1"
_KINDS = (Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE)
_PLACES = ("west", "east")
_batches = itertools.count(1)


def network() -> models.Model:
    """conv2d, max-pool, dense with a megabyte of parameters, on modules; three kinds for two partitions."""
    blobs = {}

    def store(shape: tuple[int, ...], scale: float, seed: int) -> str:
        content = models.parameters(shape, scale, seed)
        blobs[digest_of(content)] = content
        return digest_of(content)

    assert fixed_point(0.001)
    tensors = (
        Tensor("image", (1, 28, 28), 1 / 255, -128),
        Tensor("c1", (16, 24, 24), 0.05, -128),
        Tensor("p1", (16, 12, 12), 0.05, -128),
        Tensor("logits", (400,), 0.125, 3),
    )
    layers = (
        Layer("conv-1", Kind.CONV2D, ("image",), "c1", Window((5, 5)), parameters=store((16, 1, 5, 5), 0.001, 1)),
        Layer("pool-1", Kind.MAX_POOL, ("c1",), "p1", Window((2, 2), (2, 2))),
        Layer("dense-1", Kind.DENSE, ("p1",), "logits", parameters=store((400, 2304), 0.0005, 3)),
    )
    return models.make(Topology("crashing", tensors, layers, "image", "logits"), blobs)


def with_modules(model: models.Model) -> models.Model:
    """The model with the images that it needs on the emulated part."""
    images, part = catalogue(), catalogue().shells[0].part
    digests = [images.shell("partitions", part).digest]
    digests += [images.module("partitions", part, place, kind).digest for place in _PLACES for kind in _KINDS]
    return models.with_images(model, digests)


MODEL = with_modules(network())
SLOTS = (Slot("west", Kind.CONV2D), Slot("east", Kind.MAX_POOL))
ASSIGNMENT = models.alone(MODEL, BOARD, method=Method.LIBRARY, slots=SLOTS)


class ServiceFleet:
    """The board's service and its controller, for one test."""

    def __init__(self, machine: Machine, fleet: Fleet) -> None:
        self.machine = machine
        self.fleet = fleet

    async def inside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Blocking work, while the controller goes on."""
        return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)

    async def start(self) -> None:
        """Start the service, without waiting for it."""
        await self.inside(self.machine.run, "systemctl", "start", "--no-block", UNIT)

    def place(self, assignment: Assignment = ASSIGNMENT, revision: int = 1) -> None:
        """Tell the board what to run."""
        self.fleet.publish(MODEL)
        self.fleet.desire({BOARD: (assignment,)}, revision)

    def forget(self) -> None:
        """Let the broker keep nothing that the board should run."""
        self.fleet.reported.pop(BOARD, None)
        self.fleet.sent_blocks.clear()
        self.fleet.link.publish(self.fleet.topics.board(BOARD, "desired"), b"", qos=1, retain=True)

    async def until(self, happened: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
        """Until it has; what people would look at if not."""
        try:
            await self.fleet.until(happened, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.inside(self.machine.complaint)}") from error

    async def until_active(self) -> None:
        """Until systemd says that it is ready."""
        await self.inside(self.machine.wait, self.machine.is_active, "the service is ready")

    async def until_serving(self, session: int = 0) -> int:
        """Until a session other than `session` is ready to serve, and answers as it should; that session."""

        def serves() -> bool:
            reported = self.fleet.reported.get(BOARD)
            report = self.fleet.report(BOARD)
            is_other = reported is not None and reported.session != session
            return is_other and report is not None and report.phase is Phase.READY

        await self.until(serves, "the assignment is ready")
        first = next(_batches) * 1000
        await self.fleet.infer(ASSIGNMENT, BOARD, MODEL, 3, first=first)
        return self.fleet.reported[BOARD].session

    def check_whole(self) -> None:
        """No artifact is damaged, and the fabric holds what was asked for, coupled and not degraded."""
        folder = self.machine.path("/var/lib/convoy/artifacts")
        files = [path for path in folder.iterdir() if not path.name.endswith(".tmp")]
        assert files
        damaged = [path.name for path in files if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]
        assert damaged == []
        reported = self.fleet.reported[BOARD]
        assert reported.shell == "partitions"
        kinds = set(_KINDS)
        for part in reported.partitions:
            if part.partition in _PLACES:
                assert part.module in kinds, part
                assert part.coupled, part
            assert not part.degraded, part


@contextlib.asynccontextmanager
async def service_fleet(machine: Machine, url: str, **settings: object) -> AsyncIterator[ServiceFleet]:
    """A controller at the broker, and a configuration in the machine that leads there."""
    values: dict[str, object] = {
        "name": BOARD,
        "site": SITE,
        "broker": url,
        "state_dir": "/var/lib/convoy",
        "trusted_key": "/etc/convoy/trusted.pem",
        "fabric": "emulated",
        **settings,
    }
    machine.write("/etc/convoy/board.toml", "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    async with fleet_on(url) as fleet:
        yield ServiceFleet(machine, fleet)


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())

"""A controller and gateway in one, made of `Link` and the contract; boards as daemons in the loop, or processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import board_models as models
import msgpack
from convoy_device.config import Config
from convoy_device.daemon import Daemon
from convoy_device.fabric import Fabric
from convoy_schema import codec
from convoy_schema.artifacts import Manifest, cut
from convoy_schema.bundle import public_pem
from convoy_schema.errors import ConvoyError
from convoy_schema.frames import Frame
from convoy_schema.link import Link
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Phase,
    Pulse,
    Reported,
    Want,
)
from convoy_schema.messages.desired import Assignment, Desired
from convoy_schema.names import Generation
from convoy_schema.topics import BoardTopic, FrameTopic, Topics
from patience import PATIENCE_S

SITE = "main"
GATEWAY = "gateway-1"


class Fleet:
    """What the controller and the gateway of these tests know; `blobs` are served to whoever wants them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.topics = Topics(SITE)
        self.states: dict[str, list[BoardState]] = {}
        self.reported: dict[str, Reported] = {}
        self.pulses: dict[str, Pulse] = {}
        self.capabilities: dict[str, Capability] = {}
        self.wanted: list[tuple[str, str, tuple[int, ...]]] = []
        self.sent_blocks: Counter[tuple[str, int]] = Counter()
        self.results: dict[int, Frame] = {}
        self.packed: dict[str, tuple[Manifest, bytes]] = {}
        #: Lets a test hold a block back, or change it.
        self.tamper: Callable[[str, int, bytes], bytes | None] = lambda digest, block, content: content
        self._connected = asyncio.Event()
        self.link = Link(url, "controller", on_message=self._message, on_connect=self._on_connect)

    def _on_connect(self) -> None:
        for leaf in ("state", "reported", "pulse", "capability", "want"):
            self.link.subscribe(self.topics.board("+", leaf), 1)
        self.link.subscribe(self.topics.frames_to(GATEWAY), 0)
        self._connected.set()

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        if not payload:
            return
        match self.topics.parse(topic):
            case BoardTopic(board, "state"):
                with contextlib.suppress(ConvoyError):  # tests send garbage there too
                    self.states.setdefault(board, []).append(codec.decode(BoardState, payload))
            case BoardTopic(board, "reported"):
                self.reported[board] = codec.decode(Reported, payload)
            case BoardTopic(board, "pulse"):
                self.pulses[board] = codec.decode(Pulse, payload)
            case BoardTopic(board, "capability"):
                self.capabilities[board] = codec.decode(Capability, payload)
            case BoardTopic(board, "want"):
                self._serve(board, codec.decode(Want, payload))
            case FrameTopic():
                frame = codec.decode(Frame, payload)
                assert frame.batch[1] not in self.results, "answered twice"
                self.results[frame.batch[1]] = frame

    def _serve(self, board: str, want: Want) -> None:
        self.wanted.append((board, want.digest, want.blocks))
        if want.digest not in self.packed:
            return
        manifest, content = self.packed[want.digest]
        # A board may ask for the first blocks before it knows how many there are.
        for block in (block for block in want.blocks if block < manifest.blocks):
            sent = self.tamper(want.digest, block, cut(content, block))
            if sent is not None:
                self.sent_blocks[want.digest, block] += 1
                self.link.publish(self.topics.block(want.digest, block), sent)

    # What a controller does ------------------------------------------------------------------------------------------

    def publish(self, model: models.Model) -> None:
        """Announce a model and retain the manifests of what it names."""
        self.packed.update(model.packed())
        bundle = model.bundle
        self.link.publish(
            self.topics.model(bundle.model, bundle.version), codec.encode(model.announcement), qos=1, retain=True
        )
        for manifest, _ in model.packed().values():
            self.link.publish(self.topics.manifest(manifest.digest), codec.encode(manifest), qos=1, retain=True)

    def desire(self, placed: Mapping[str, tuple[Assignment, ...]], revision: int = 1, epoch: int = 1) -> None:
        """Tell each board what it must hold."""
        for board, assignments in placed.items():
            payload = codec.encode(Desired(epoch, revision, assignments))
            self.link.publish(self.topics.board(board, "desired"), payload, qos=1, retain=True)

    def report(self, board: str, generation: Generation = models.FIRST) -> AssignmentReport | None:
        """How far a board is."""
        reported = self.reported.get(board)
        found = (r for r in (reported.assignments if reported else ()) if r.generation == generation)
        return next(found, None)

    async def until(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
        """Wait for something to become true."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{what}: not within {seconds} s; reported: {self.reported}")
            await asyncio.sleep(0.01)

    async def until_phase(self, phase: Phase, *boards: str, generation: Generation = models.FIRST) -> None:
        """Wait for boards to reach a phase."""

        def reached() -> bool:
            reports = [self.report(board, generation) for board in boards]
            return all(report is not None and report.phase is phase for report in reports)

        await self.until(reached, f"{boards} {phase.value}")

    # What a gateway does ---------------------------------------------------------------------------------------------

    def feed(self, entry: Assignment, board: str, values: Mapping[str, models.Array], counter: int) -> None:
        """Send a batch into the first stage."""
        frame = models.frame(entry, values, counter=counter, gateway=GATEWAY, budget_ms=1000 * PATIENCE_S)
        topic = self.topics.frame(GATEWAY, board, frame.deployment, frame.generation, frame.stage)
        self.link.publish(topic, codec.encode(frame))

    async def infer(self, entry: Assignment, board: str, model: models.Model, count: int = 10, first: int = 1) -> None:
        """Send `count` batches through, and check every answer to the last bit."""
        inputs = {model.topology.input: model.values[model.topology.input]}
        expected = model.values[model.topology.output].tobytes()
        for counter in range(first, first + count):
            self.feed(entry, board, inputs, counter)
        await self.until(lambda: all(n in self.results for n in range(first, first + count)), "results")
        for counter in range(first, first + count):
            assert self.results[counter].tensors[0].data == expected
            assert len(self.results[counter].residence_us) == entry.stages


@contextlib.asynccontextmanager
async def fleet_on(url: str) -> AsyncIterator[Fleet]:
    """A connected controller."""
    fleet = Fleet(url)
    running = asyncio.create_task(fleet.link.run())
    try:
        await fleet._connected.wait()
        yield fleet
    finally:
        await fleet.link.stop()
        await running


def config_of(url: str, directory: Path, name: str = "board-1", fabric: str = "processor", **more: object) -> Config:
    """A board's configuration, with the tests' key trusted."""
    key = directory / "trusted.pem"
    if not key.exists():
        key.write_bytes(public_pem(models.KEY))
    return Config(name, SITE, url, directory / name, key, fabric, **more)  # type: ignore[arg-type]


class InLoop:
    """A daemon in the test's own loop."""

    def __init__(self, config: Config, fabric: Fabric | None = None) -> None:
        self.pool = ThreadPoolExecutor(2)
        self.daemon = Daemon(config, self.pool, fabric=fabric)
        self.task = asyncio.create_task(self.daemon.run())

    async def stop(self) -> int:
        """Stop it; its exit code."""
        self.daemon.stop("the test is over")
        code = await asyncio.wait_for(self.task, PATIENCE_S)
        self.pool.shutdown()
        return code


@contextlib.asynccontextmanager
async def boards_on(*configs: Config, fabric: Fabric | None = None) -> AsyncIterator[list[InLoop]]:
    """Daemons that end with the block."""
    boards = [InLoop(config, fabric) for config in configs]
    try:
        yield boards
    finally:
        for board in boards:
            if not board.task.done():
                await board.stop()
            board.pool.shutdown()


class Process:
    """`convoy-device run` as a process of its own."""

    def __init__(self, config: Config, directory: Path, *more: str) -> None:
        path = directory / f"{config.name}.toml"
        path.write_text(
            f'name = "{config.name}"\nsite = "{config.site}"\nbroker = "{config.broker}"\n'
            f'state_dir = "{config.state_dir}"\ntrusted_key = "{config.trusted_key}"\nfabric = "{config.fabric}"\n'
        )
        self.log = directory / f"{config.name}.log"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "convoy_device", "run", "--config", str(path), *more],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def kill(self) -> None:
        """As a power loss would."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """Ask it to stop; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Its exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def garbage() -> list[bytes]:
    """Payloads that are no message of the contract, one of each sort."""
    good = codec.encode(Desired(1, 1, ()))
    return [
        b"",
        b"\x00",
        b"\xff" * 100,
        b"not messagepack at all",
        good[:-1],
        msgpack.packb([1, 2, 3]),
        msgpack.packb({"v": [1, 1]}),
        msgpack.packb({"v": [99, 98], "epoch": 1, "revision": 1, "assignments": []}),
        msgpack.packb({"v": "1", "epoch": 1}),
        msgpack.packb({"v": [1, 1], "epoch": "one", "revision": [], "assignments": 7, "order": 3, "digest": 1}),
        b"\x91" * 5000,
        bytes(300_000),
        bytes(950_000),
    ]

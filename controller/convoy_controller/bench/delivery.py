"""What it takes to bring artifacts to boards, and what a blob on its way costs everyone else.

What the controller sends is counted by a subscriber of the bench, payload by payload, not by the controller: models,
manifests and blocks. Boards are the real daemon with the processor fabric. Lost blocks are lost between broker and
board (`lossy_relay`), a long line is `slow_line`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from convoy_schema import codec
from convoy_schema.artifacts import pack
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.link import Link, parse_url
from convoy_schema.messages.boards import Command, Order, Phase, Reported, Want
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.topics import BlockTopic, BoardTopic, ManifestTopic, ModelTopic, Topics

from convoy_controller.bench import slow_line
from convoy_controller.bench.figures import Figure, Result
from convoy_controller.bench.lossy_relay import LossyRelay
from convoy_controller.bench.networks import dense_layer, incompressible, mostly_zero
from convoy_controller.bench.rig import Described, Rig, identity_chain, rig
from convoy_controller.database import queries
from convoy_controller.database.records import BoardPresence
from convoy_controller.errors import DemoError

MANY = 32
EGRESS_BAR, LOSSY_BAR = 1.1, 3.0
LOSS = 0.02
#: The long line: seconds one way, and bytes a second (20 Mb/s).
DELAY_S, LINE_BYTES_PER_S = 0.05, 2.5e6
LINE_BAR_S = 0.5
QUIET_BAR = 1.5
ROUNDS = 6
#: Weights a side of the blob that flows while latencies are taken: 4 MB, two seconds at the distributor's rate.
BLOB_SIDE = 2000
#: Seconds without a blob before each flow, so that both sides of the ratio have as many samples.
QUIET_S = 3.0
HEARTBEAT_EVERY_S = 0.02
READY_S = 60.0
BIG = "big"


@dataclass
class Observer:
    """What the bench sees at the broker. `bytes_sent` by kind of topic; times are monotonic seconds."""

    url: str
    topics: Topics
    sees_blocks: bool = True
    bytes_sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    first_want: dict[str, float] = field(default_factory=dict)
    last_block: dict[str, float] = field(default_factory=dict)
    #: When each board was first seen in a phase of a deployment.
    phases: dict[tuple[str, str, Phase], float] = field(default_factory=dict)
    on_pulse: Callable[[str], None] = lambda board: None

    def __post_init__(self) -> None:
        self.link = Link(self.url, "bench-observer", on_message=self._message, on_connect=self._connected)

    def _connected(self) -> None:
        leaves = [self.topics.board("+", leaf) for leaf in ("want", "reported", "pulse")]
        stores = [self.topics.prefix + "artifacts/#", self.topics.model("+", "+")] if self.sees_blocks else []
        for topic in [*leaves, *stores]:
            self.link.subscribe(topic)

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        now = time.monotonic()
        match self.topics.parse(topic):
            case BlockTopic(digest, _):
                self.bytes_sent["blocks"] += len(payload)
                self.last_block[digest] = now
            case ManifestTopic() if not retained:
                self.bytes_sent["manifests"] += len(payload)
            case ModelTopic() if not retained:
                self.bytes_sent["models"] += len(payload)
            case BoardTopic(_, "want"):
                self.first_want.setdefault(codec.decode(Want, payload).digest, now)
            case BoardTopic(board, "reported"):
                for report in codec.decode(Reported, payload).assignments:
                    self.phases.setdefault((board, report.deployment, report.phase), now)
            case BoardTopic(board, "pulse"):
                self.on_pulse(board)

    @property
    def sent(self) -> int:
        """All that the controller has published, but for what it says of and to boards."""
        return sum(self.bytes_sent.values())

    def left_fetching(self, board: str, deployment: str) -> float | None:
        """When `board` was first seen past fetching for `deployment`."""
        past = (Phase.VERIFYING, Phase.CONFIGURING, Phase.LOADING, Phase.TESTING, Phase.READY)
        found = [self.phases[board, deployment, phase] for phase in past if (board, deployment, phase) in self.phases]
        return min(found, default=None)


def run(broker: str) -> Result:
    """Every case, each with a fleet of its own."""
    return asyncio.run(_run(broker))


async def _run(broker: str) -> Result:
    notes: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 2), "loss": LOSS}
    figures: list[Figure] = []
    transfer_s = 0.0
    for boards, is_hard, bar in ((1, False, EGRESS_BAR), (MANY, False, EGRESS_BAR), (MANY, True, LOSSY_BAR)):
        sent, packed, took_s, detail = await _egress(broker, boards, transfer_s if is_hard else None)
        transfer_s = transfer_s or took_s
        label = f"1 MB to {boards}" + (", late starts and loss" if is_hard else "")
        figures.append(Figure(label, "bytes", sent, bar, at_least=False, peer_name="packed", peer=packed))
        notes[label] = {**detail, "transfer_s": round(took_s, 3)}
    if obstacle := slow_line.obstacle():
        notes["long line"] = f"skipped: {obstacle}"
    else:
        took_s, notes["long line"] = await _long_line(broker)
        figures.append(Figure("4 MB that packs to 90 kB, 100 ms and 20 Mb/s", "s", took_s, LINE_BAR_S, at_least=False))
    quiet, notes["latencies"] = await _latencies(broker)
    return Result("delivery", (*figures, *quiet), notes)


# What the controller sends -------------------------------------------------------------------------------------------


async def _egress(broker: str, boards: int, spread_s: float | None) -> tuple[int, int, float, dict[str, Any]]:
    """Bytes sent, bytes packed, seconds from the first want to the last block, and what they were, for `boards`.

    `spread_s`: boards hear of their assignment over so many seconds, and lose blocks; None: all at once, over a link
    that loses nothing.
    """
    network = dense_layer(BIG, incompressible(1000, 1000))
    digest, packed = _artifact(network)
    async with rig(0, [(BIG, network, InputSpec("t0"))], broker) as bench, _observed(bench) as seen:
        _, port = parse_url(bench.fleet.url)
        relay = None
        url = bench.fleet.url
        if spread_s is not None:
            relay = LossyRelay(port, LOSS, functools.partial(start_delay, boards=boards, spread_s=spread_s))
            url = f"mqtt://127.0.0.1:{await relay.start()}"
        bench.fleet.start_boards("board", boards, {"fabric": "processor", "broker": url})
        try:
            await _until_online(bench, boards)
            intent = Intent(BIG, BIG, "1", Method.ALLOCATE, boards, cut=Cut.REPLICATED, batch=1)
            await bench.deploy_intents([intent])
        finally:
            if relay is not None:
                relay.close()
        await asyncio.sleep(1.0)  # what is still asked for
        took_s = seen.last_block[digest] - seen.first_want[digest]
        detail: dict[str, Any] = dict(seen.bytes_sent)
        if relay is not None:
            detail |= {"blocks_lost": relay.lost, "blocks_passed": relay.passed, "spread_s": round(spread_s or 0.0, 3)}
        return seen.sent, packed, took_s, detail


async def _until_online(bench: Rig, boards: int) -> None:
    """Else a first plan has fewer boards, and those that come later start later."""
    deadline = time.monotonic() + READY_S
    while True:
        lines = await asyncio.to_thread(queries.fleet, bench.database)
        if sum(line.presence is BoardPresence.ONLINE for line in lines) == boards:
            return
        if time.monotonic() > deadline:
            raise DemoError(f"{boards} boards were not online within {READY_S:.0f} s")
        await asyncio.sleep(0.1)


def start_delay(board: str, *, boards: int, spread_s: float) -> float:
    """Seconds after the first at which `board-N` begins: evenly over `spread_s`."""
    return (int(board.rpartition("-")[2]) - 1) * spread_s / max(1, boards - 1)


def _artifact(network: Described) -> tuple[str, int]:
    """Digest and packed size of the network's one large artifact."""
    [(digest, content)] = network.parameters.items()
    return digest, pack(content)[0].packed_size


@asynccontextmanager
async def _observed(bench: Rig, *, sees_blocks: bool = True) -> AsyncIterator[Observer]:
    seen = Observer(bench.fleet.url, Topics(bench.fleet.site), sees_blocks)
    running = asyncio.create_task(seen.link.run())
    try:
        while not seen.link.connected:
            await asyncio.sleep(0.01)
        yield seen
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# A long line ---------------------------------------------------------------------------------------------------------


async def _long_line(broker: str) -> tuple[float, dict[str, Any]]:
    """Seconds from the board's first want to its having everything, unpacked; both as the board says."""
    network = dense_layer(BIG, mostly_zero(2000, 2000, filled=86_000))
    digest, packed = _artifact(network)
    async with rig(0, [(BIG, network, InputSpec("t0"))], broker) as bench, _observed(bench) as seen:
        namespace = f"convoy-{os.getpid()}-{secrets.token_hex(2)}"
        log_file = bench.fleet.directory / "logs" / "line.log"
        command = [sys.executable, "-m", slow_line.__name__, namespace, str(DELAY_S), str(LINE_BYTES_PER_S)]
        bench.fleet.processes.start("line", command, log_file)
        while "ready" not in bench.fleet.processes["line"].tail():
            if not bench.fleet.processes["line"].alive:
                raise DemoError(f"the long line was not made:\n{bench.fleet.processes['line'].tail()}")
            await asyncio.sleep(0.05)
        _, port = parse_url(bench.fleet.url)
        relay = LossyRelay(port)
        url = f"mqtt://{slow_line.NEAR}:{await relay.start(slow_line.NEAR)}"
        prefix = ("ip", "netns", "exec", namespace)
        bench.fleet.start_boards("far", 1, {"fabric": "processor", "broker": url}, prefix=prefix)
        try:
            await bench.deploy_intents([Intent(BIG, BIG, "1", Method.ALLOCATE, 1, batch=1)])
            done = seen.left_fetching("far", BIG)
            if done is None:
                raise DemoError("the far board was never seen to have everything")
            fetching = seen.phases.get(("far", BIG, Phase.FETCHING), done)
            detail = {
                "packed_bytes": packed,
                "sent": dict(seen.bytes_sent),
                "with_announcement_s": round(done - fetching, 3),
            }
            return done - seen.first_want[digest], detail
        finally:
            relay.close()
            bench.fleet.processes.stop_one("far")
            bench.fleet.processes.stop_one("line")


# What a blob costs others --------------------------------------------------------------------------------------------


async def _latencies(broker: str) -> tuple[list[Figure], dict[str, Any]]:
    """p99 of activations and heartbeats while a blob flows to the same board, beside those without."""
    blobs = [f"blob-{number}" for number in range(ROUNDS)]
    models = [
        (name, dense_layer(name, incompressible(BLOB_SIDE, BLOB_SIDE, seed)), InputSpec("t0"))
        for seed, name in enumerate(blobs)
    ]
    ping = ("ping", identity_chain("ping", 1024, 1), InputSpec("t0"))
    async with rig(0, [ping, *models], broker) as bench, _observed(bench, sees_blocks=False) as seen:
        bench.fleet.start_board("board-1", fabric="processor")
        await bench.deploy_intents([Intent("ping", "ping", "1", Method.ALLOCATE, 1, batch=1)])
        probe = _Probe(bench, seen)
        windows: list[tuple[float, float]] = []
        async with probe.running():
            for name in blobs:
                await asyncio.sleep(QUIET_S)
                await bench.request(Intent(name, name, "1", Method.ALLOCATE, 1, batch=1))
                windows.append(await _flow(seen, "board-1", name))
                await bench.until_serving(name)
                await bench.remove(name)
        return probe.figures(windows)


async def _flow(seen: Observer, board: str, deployment: str) -> tuple[float, float]:
    """When `board` began and ended to fetch for `deployment`.

    Taken from what the board says and not from the database: this process measures, and what it asks meanwhile would
    weigh on one side of the ratio only.
    """
    deadline = time.monotonic() + READY_S
    while (ended := seen.left_fetching(board, deployment)) is None:
        if time.monotonic() > deadline:
            raise DemoError(f"{board} did not fetch {deployment} within {READY_S:.0f} s")
        await asyncio.sleep(0.05)
    return seen.phases[board, deployment, Phase.FETCHING], ended


class _Probe:
    """Sends an activation after the other, and asks for a heartbeat 50 times a second, and notes how long each takes.

    A heartbeat's way is the command to restate and the pulse that follows it: the same link and the same loop.
    """

    def __init__(self, bench: Rig, seen: Observer) -> None:
        self._bench = bench
        self._seen = seen
        self._asked_at: float | None = None
        #: (when it began, seconds) of each.
        self.activations: list[tuple[float, float]] = []
        self.heartbeats: list[tuple[float, float]] = []
        seen.on_pulse = self._pulse

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Measure in the background."""
        tasks = [asyncio.create_task(self._activate()), asyncio.create_task(self._ask())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _activate(self) -> None:
        batch = np.zeros((1, 1024), np.int8)
        while True:
            began = time.monotonic()
            await self._bench.gateway.infer(batch, "ping")
            self.activations.append((began, time.monotonic() - began))
            await asyncio.sleep(0.001)

    async def _ask(self) -> None:
        topic = self._seen.topics.board("board-1", "command")
        order = codec.encode(Command(Order.REBIRTH, 0))
        while True:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
                self._seen.link.publish(topic, order)
            await asyncio.sleep(HEARTBEAT_EVERY_S)

    def _pulse(self, board: str) -> None:
        if self._asked_at is not None:
            self.heartbeats.append((self._asked_at, time.monotonic() - self._asked_at))
            self._asked_at = None

    def figures(self, windows: list[tuple[float, float]]) -> tuple[list[Figure], dict[str, Any]]:
        """p99 of what began within `windows`, beside what began at least half a second from any of them."""
        found, notes = [], {"flows_s": [round(end - begin, 3) for begin, end in windows]}
        detail: dict[str, Any] = dict(notes)
        for name, samples in (("activation", self.activations), ("heartbeat", self.heartbeats)):
            during, without = split(samples, windows)
            busy, idle = (float(np.percentile(values, 99)) * 1000 for values in (during, without))
            label = f"{name} p99 while a blob flows"
            found.append(Figure(label, "ms", busy, QUIET_BAR, at_least=False, peer_name="without", peer=idle))
            detail[name] = {
                "samples": [len(during), len(without)],
                "median_ms": [round(float(np.median(values)) * 1000, 3) for values in (during, without)],
            }
        return found, detail


def split(
    samples: list[tuple[float, float]], windows: list[tuple[float, float]], apart_s: float = 0.5
) -> tuple[list[float], list[float]]:
    """Values of samples (when, value) taken within a window, and of those `apart_s` or more from every one."""
    during = [value for at, value in samples if any(begin <= at < end for begin, end in windows)]
    without = [
        value for at, value in samples if all(at < begin - apart_s or at >= end + apart_s for begin, end in windows)
    ]
    return during, without

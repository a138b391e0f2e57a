"""What a scrape of the fleet costs at 1,000 and 10,000 boards, beside prometheus_client, and what it costs the loop.

The boards are what the registry holds of them: a stage each, two pulses heard. The page is written as the controller
writes it, begun in a loop and finished in a thread; a metronome in the loop tells how late it comes to its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from convoy_schema.messages.boards import (
    AssignmentReport,
    Capability,
    PartitionReport,
    Phase,
    Published,
    Pulse,
    Reported,
    StagePulse,
)
from convoy_schema.messages.desired import Desired
from convoy_schema.names import Generation
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from convoy_controller.bench.figures import Figure, Paired, Result
from convoy_controller.gateway.encodings import pack
from convoy_controller.metrics.fleet import FleetPage, SeenFleet
from convoy_controller.metrics.page import Page
from convoy_controller.registry import Registry

SIZES = (1_000, 10_000)
ROUNDS = 5
#: Of prometheus_client's CPU at most, and seconds of CPU for the larger fleet.
BAR, BAR_S = 0.5, 1.0
#: Seconds between the metronome's beats.
BEAT_S = 0.005
PEER = "prometheus_client"
_SESSION, _GENERATION = 7, Generation(1, 1)


def run(broker: str) -> Result:
    """CPU seconds of a page as a ratio to prometheus_client's, and of the larger one alone; no broker is needed."""
    figures: list[Figure] = []
    notes: dict[str, object] = {"rounds": ROUNDS}
    for size in SIZES:
        fleet = fleet_of(size)
        page = written(fleet)
        rows, rounds = _samples(page), Paired([], [])
        for _ in range(ROUNDS):
            rounds.add(_cpu(lambda fleet=fleet: written(fleet)), _cpu(lambda rows=rows: _peer(rows)))  # type: ignore[misc]
        figures.append(rounds.figure(f"page of {size} boards", "CPU s", BAR, at_least=False, peer_name=PEER))
        found = asyncio.run(_in_a_loop(fleet))
        notes |= {
            f"series_{size}": len(rows),
            f"page_mb_{size}": round(len(page) / 1e6, 2),
            f"packed_mb_{size}": round(found.packed_bytes / 1e6, 2),
            f"wall_s_{size}": round(found.wall_s, 3),
            f"loop_late_ms_{size}": round(found.latest_s * 1e3, 1),
            f"loop_late_idle_ms_{size}": round(found.idle_latest_s * 1e3, 1),
        }
    largest = figures[-1].figure
    figures.append(Figure(f"page of {SIZES[-1]} boards, all in all", "CPU s", largest, BAR_S, at_least=False))
    return Result("metrics", tuple(figures), notes)


def fleet_of(count: int) -> SeenFleet:
    """So many boards that serve, as a controller sees them."""
    registry = Registry()
    registry.link_up(0.0)
    ready = (AssignmentReport("digits", _GENERATION, Phase.READY),)
    partitions = (PartitionReport("west", None, True), PartitionReport("east", None, True))
    for number in range(count):
        name = f"board-{number}"
        what = Capability(_SESSION, "xc7z020clg400-1", "emulated", ("layers",), (), 10**8, 2**29, 64, "0.1.0", "3.10.4")
        registry.capability(name, what, False, 1.0)
        for beat in (1, 2):
            registry.pulse(name, _pulse(beat), float(beat))
        report = Reported(_SESSION, 1, 1, "layers", ready, partitions, 10**6, 10**8)
        registry.board_reported(name, report, False, 2.0)
    told = {name: Desired(1, 1, ()) for name in registry.boards}
    return SeenFleet(10.0, tuple(registry.boards.values()), (), told, (), ())


def _pulse(beat: int) -> Pulse:
    stage = StagePulse("digits", _GENERATION, 1000 * beat, 8000 * beat, 3, 61, 10**6 * beat, 900, {"budget": beat})
    sent = Published(1000 * beat, 0, 10**6 * beat)
    return Pulse(_SESSION, 1, 1, 1000, 1000 * beat, 2**25, (stage,), sent, {"link": 1, "stale": 2}, 51.5, 120, 400)


def written(fleet: SeenFleet) -> bytes:
    """The page, without what the process says of itself."""
    page = Page()
    FleetPage().write(page, fleet)
    return page.text()


@dataclass
class _Run:
    """One page in a loop: seconds it took, bytes when packed, and the metronome's latest beat, meanwhile and before."""

    wall_s: float
    packed_bytes: int
    latest_s: float
    idle_latest_s: float


async def _in_a_loop(fleet: SeenFleet) -> _Run:
    loop, late = asyncio.get_running_loop(), [0.0]

    async def beat() -> None:
        while True:
            due = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            late[0] = max(late[0], loop.time() - due)

    metronome = asyncio.create_task(beat())
    await asyncio.sleep(0.5)
    idle, late[0] = late[0], 0.0
    with ThreadPoolExecutor(1) as thread:
        began = loop.time()
        page = await loop.run_in_executor(thread, written, fleet)
        packed = await loop.run_in_executor(thread, pack, page, "gzip")
        wall = loop.time() - began
    metronome.cancel()
    return _Run(wall, len(packed), late[0], idle)


class _Peer(Collector):
    """The same samples in prometheus_client's own objects, made anew for each scrape as its collectors are."""

    def __init__(self, rows: list[tuple[str, str, dict[str, str], float]]) -> None:
        self._rows = rows

    def collect(self) -> list[Metric]:
        made: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for name, kind, labels, value in self._rows:
            family = made.get(name)
            if family is None:
                build = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                family = made[name] = build(name, name, labels=list(labels))
            family.add_metric(list(labels.values()), value)
        return list(made.values())


def _samples(page: bytes) -> list[tuple[str, str, dict[str, str], float]]:
    return [
        (family.name, family.type, sample.labels, sample.value)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    ]


def _peer(rows: list[tuple[str, str, dict[str, str], float]]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Peer(rows))
    return generate_latest(registry)


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one `work`."""
    begun = time.process_time()
    work()
    return time.process_time() - begun

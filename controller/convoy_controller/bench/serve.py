"""Serving LeNet-5 over HTTP beside MLServer with the same quantised file, and five times more than the fleet can do.

One caller asks for one image at a time, 1, 8 and 64 of them at once; both servers get the same JSON. The gateway,
the broker, the controller and one board (the fabric is the processor, not paced) share the machine's cores with the
callers, as MLServer does with its own. MLServer runs in whichever way was quickest at that number of callers.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from convoy_schema.bundle import Method
from convoy_schema.layers import evaluate, quantise

from convoy_controller import lenet5
from convoy_controller.bench import peer
from convoy_controller.bench.figures import Figure, Paired, Result
from convoy_controller.bench.http_load import Counted, Spec, load
from convoy_controller.bench.rig import stocked
from convoy_controller.datasets import digits
from convoy_controller.processes import Processes

MODEL = "lenet5"
CALLERS = (1, 8, 64)
#: Rows of a frame, at most.
BATCH = 32
IMAGES = 512
ROUNDS, ROUND_S = 5, 2.0
#: Each way to run MLServer is tried so often, and counts as its best: a busy machine makes none of them quicker.
TRIES, TRIED_S = 2, 1.0
#: In overload a request has so many images: then boards are what there is too little of, not the reading of requests.
MANY = 32
OVERLOAD, OVERLOAD_ROUNDS, OVERLOAD_S, GOODPUT_BAR = 5.0, 3, 5.0, 0.9
#: More than a gateway holds requests of `MANY` images, so that refused ones find one free.
CONNECTIONS = 512
PEAK_CALLERS = (8, 16, 32)


@dataclass
class Ledger:
    """Every answer of every run: none may be wrong, refused or missing where nothing is asked for that is too much."""

    answered: int = 0
    bad: int = 0

    def take(self, found: Counted) -> Counted:
        """Count a run in."""
        self.answered += found.answered
        self.bad += found.wrong + found.failed + found.hung + found.refused
        return found


def run(broker: str) -> Result:
    """Requests a second at each number of callers as a ratio to MLServer's, and the goodput in overload to the peak."""
    program = peer.environment()
    with tempfile.TemporaryDirectory(prefix="convoy-serve-") as name, Processes() as processes:
        return asyncio.run(_run(broker, program, Path(name), processes))


async def _run(broker: str, program: Path, folder: Path, processes: Processes) -> Result:
    network, spec = lenet5.quantised()
    pixels = digits().images[:IMAGES]
    source = network.topology.tensor(network.topology.input)
    rows = quantise(pixels.astype(np.float32) * np.float32(spec.scale) + np.float32(spec.offset), source)
    outputs = evaluate(network.topology, network.parameters, rows)[network.topology.output]
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "classes.npy", outputs.reshape(len(pixels), -1).argmax(axis=1))
    files = str(folder / "pixels.npy"), str(folder / "classes.npy")
    base = Spec("", MODEL, network.topology.input, *files, rows=1, is_binary=False, seconds=ROUND_S)
    model = peer.Model(MODEL, network.quantised_onnx, spec.scale, spec.offset)
    ledger = Ledger()

    def ask(url: str, callers: int, **changes: Any) -> Counted:
        return ledger.take(load(replace(base, url=url, connections=callers, **changes), folder))

    @contextmanager
    def mlserver(way: peer.Way) -> Iterator[str]:
        with peer.running(program, model, way, folder, processes) as url:
            yield url

    tried: dict[peer.Way, dict[int, int]] = {}
    for _ in range(TRIES):
        for way in peer.WAYS:
            found, known = _tried(mlserver, way, ask), tried.setdefault(way, dict.fromkeys(CALLERS, 0))
            tried[way] = {callers: max(found[callers], known[callers]) for callers in CALLERS}
    best = {callers: max(tried, key=lambda way: tried[way][callers]) for callers in CALLERS}
    with stocked(1, [(MODEL, network, spec)], broker, fabric="processor") as made:
        url = made.fleet.start_gateway()
        await made.deploy([(MODEL, Method.ALLOCATE, BATCH)])
        figures: list[Figure] = []
        notes: dict[str, Any] = {}
        for callers in CALLERS:
            with mlserver(best[callers]) as other:
                figure, notes[f"{callers} at once"] = _beside(ask, url, other, callers)
                figures.append(figure)
        more, notes["overload"] = _overload(base, ask, url, folder)
        figures += more
        label = made.fleet.broker.label if made.fleet.broker else broker
    figures.append(Figure("wrong, refused or missing answers before", "requests", ledger.bad, 0, at_least=False))
    notes |= {
        "answers checked": ledger.answered + notes["overload"]["answered"],
        "MLServer, requests/s by callers": {str(way): rates for way, rates in tried.items()},
        "MLServer's best ways": {callers: str(way) for callers, way in best.items()},
        "shares the cores": "callers, and either MLServer or gateway, broker, controller and board",
        "cores": os.cpu_count(),
        "broker": label,
    }
    return Result("serve", tuple(figures), notes)


def _tried(mlserver: Callable[[peer.Way], Any], way: peer.Way, ask: Callable[..., Counted]) -> dict[int, int]:
    """Requests a second in one way, by callers."""
    with mlserver(way) as url:
        return {callers: round(ask(url, callers, seconds=TRIED_S).per_s) for callers in CALLERS}


def _beside(ask: Callable[..., Counted], ours: str, other: str, callers: int) -> tuple[Figure, dict[str, Any]]:
    """Both at one number of callers, in turn, and our binary tensors as well."""
    rates = Paired([], [])
    runs: dict[str, list[Counted]] = {"convoy": [], "MLServer": [], "convoy, binary tensors": []}
    for _ in range(ROUNDS):
        mine, theirs = ask(ours, callers), ask(other, callers)
        rates.add(mine.per_s, theirs.per_s)
        for name, found in zip(runs, (mine, theirs, ask(ours, callers, is_binary=True)), strict=True):
            runs[name].append(found)
    figure = rates.figure(f"{callers} at once", "requests/s", 1.0, at_least=True, peer_name="MLServer")
    return figure, {
        name: {
            "per_s": round(median(each.per_s for each in found)),
            "p50_ms": round(median(each.p50_ms for each in found), 2),
            "p99_ms": round(median(each.p99_ms for each in found), 2),
        }
        for name, found in runs.items()
    }


def _overload(base: Spec, ask: Callable[..., Counted], url: str, folder: Path) -> tuple[list[Figure], dict[str, Any]]:
    """Rounds of the peak, in a closed loop, and then of five times that, in an open one."""
    many: dict[str, Any] = {"rows": MANY, "is_binary": True}
    callers = max(PEAK_CALLERS, key=lambda callers: ask(url, callers, **many).per_s)
    rates, total, slowest_ms = Paired([], []), Counted(), 0.0
    for _ in range(OVERLOAD_ROUNDS):
        peak = ask(url, callers, **many).per_s
        spec = replace(base, url=url, connections=CONNECTIONS, seconds=OVERLOAD_S, warm_up_s=2.0, **many)
        found = load(replace(spec, rate=OVERLOAD * peak), folder)
        rates.add(found.per_s, peak)
        slowest_ms = max(slowest_ms, found.p99_ms)
        for name in ("sent", "answered", "refused", "blunt", "failed", "wrong", "hung"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
    name = f"goodput at {OVERLOAD:g} x capacity, {MANY} images each"
    lost = total.failed + total.blunt + total.wrong + total.hung
    figures = [
        rates.figure(name, "requests/s", GOODPUT_BAR, at_least=True, peer_name="peak"),
        Figure("in overload neither answered right nor 429", "requests", lost, 0, at_least=False),
    ]
    counts = {"offered": total.sent, "answered": total.answered, "429": total.refused}
    return figures, {**counts, "p99_ms of the answered": round(slowest_ms)}

"""Frames through three boards that compute nothing, beside three raw paho relays on the same broker."""

from __future__ import annotations

import asyncio
from statistics import median

import numpy as np
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.link import parse_url

from convoy_controller.bench.figures import Figure, Paired, Result
from convoy_controller.bench.raw_relay import RawChain
from convoy_controller.bench.rig import frames_per_second, identity_chain, rig, seconds_each

SIZES = {"1 KiB": (1024, 0.6), "32 KiB": (32 * 1024, 0.75)}
IN_FLIGHT = 64
LATENCY_BAR = 1.5
ROUNDS = 5
ROUND_S = 2.0
LATENCY_COUNT = 300
PEER = "raw paho relay"


def run(broker: str) -> Result:
    """Frames a second at each size, and the latency one at a time, each as a ratio to the raw relay's."""
    return asyncio.run(_run(broker))


async def _run(broker: str) -> Result:
    models = [(f"pass-{size}", identity_chain(f"pass-{size}", size), InputSpec("t0")) for size, _ in SIZES.values()]
    async with rig(3, models, broker) as bench:
        await bench.deploy([(name, Method.ALLOCATE, 1) for name, _, _ in models])
        _, port = parse_url(bench.fleet.url)
        raw = RawChain(bench.fleet.processes, port, bench.fleet.directory / "logs")
        try:
            await asyncio.to_thread(raw.wait_ready)
            figures: list[Figure] = []
            for label, (size, bar) in SIZES.items():
                batch = np.zeros((1, size), np.int8)
                rates, delays = Paired([], []), Paired([], [])
                for _ in range(ROUNDS):
                    ours = await frames_per_second(bench.gateway, f"pass-{size}", batch, IN_FLIGHT, ROUND_S)
                    peer = await asyncio.to_thread(raw.frames_per_second, bytes(size), IN_FLIGHT, ROUND_S)
                    rates.add(ours, peer)
                    mine = await seconds_each(bench.gateway, f"pass-{size}", batch, LATENCY_COUNT)
                    other = await asyncio.to_thread(raw.seconds_each, bytes(size), LATENCY_COUNT)
                    delays.add(median(mine) * 1000, median(other) * 1000)
                figures.append(rates.figure(f"{label} frames", "frames/s", bar, at_least=True, peer_name=PEER))
                name = f"{label} one at a time"
                figures.append(delays.figure(name, "ms", LATENCY_BAR, at_least=False, peer_name=PEER))
        finally:
            raw.stop()
        label = bench.fleet.broker.label if bench.fleet.broker else broker
        return Result("pipeline", tuple(figures), {"broker": label, "in_flight": IN_FLIGHT, "rounds": ROUNDS})

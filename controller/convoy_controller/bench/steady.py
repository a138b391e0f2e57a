"""The rate of a deployment in its steady state: asked by several callers at once, read off its answers' times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """Seconds that do not count at the beginning, then so many windows of so many seconds.

    The rate is the median of the windows: a host that was busy with something else for a second spoils one.
    """

    warm_up_s: float
    window_s: float
    windows: int = 3


async def steady_state(ask: Callable[[], Awaitable[None]], in_flight: int, schedule: Schedule) -> float:
    """Answers of `ask` a second, `in_flight` of them at once; neither filling the pipeline nor emptying it counts.

    Callers begin one after the other, so that the gateway learns how long answers take while queues grow.
    """
    answered: list[float] = []
    started = time.perf_counter()
    until = started + schedule.warm_up_s + schedule.windows * schedule.window_s

    async def caller(number: int) -> None:
        await asyncio.sleep(number * schedule.warm_up_s / (in_flight + 2))
        while time.perf_counter() < until:
            await ask()
            answered.append(time.perf_counter())

    await asyncio.gather(*(caller(number) for number in range(in_flight)))
    begins = [started + schedule.warm_up_s + number * schedule.window_s for number in range(schedule.windows)]
    return median(steady_rate(answered, begin, begin + schedule.window_s) for begin in begins)


def steady_rate(times: Sequence[float], since: float, until: float) -> float:
    """Events a second of those in [since, until), bursts of replicas counted whole; 0 of fewer than two.

    From one burst's end to another's: replicas answer at about the same moment, and a window that begins between two
    of them would count one more or less.
    """
    inside = sorted(moment for moment in times if since <= moment < until)
    if len(inside) < 2:
        return 0.0
    gaps = np.diff(inside)
    mean = (inside[-1] - inside[0]) / len(gaps)
    ends = [index for index, gap in enumerate(gaps) if gap > mean / 2]
    if len(ends) < 2:
        return float(1.0 / mean)
    first, last = ends[0], ends[-1]
    return (last - first) / (inside[last] - inside[first])

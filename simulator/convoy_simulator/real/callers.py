"""Callers that never stop: each asks one numbered request after the other by the product's own client, in one thread.

Every request carries the client's idempotency key and is repeated by the client until its time is up. What came back
goes to the ledger, which this thread alone touches; `look` gives others a copy of what they need.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import convoy
import numpy as np
import uvloop
from convoy_controller.histogram import Histogram
from numpy.typing import NDArray

from convoy_simulator.ledger import Account, Ledger

#: Callers that share a client, and with it the gateway that it prefers.
CALLERS_A_CLIENT = 8
#: Seconds of an answer, for the quantiles: finer than a table shows.
BOUNDS_S = tuple(0.001 * 1.15**power for power in range(80))


@dataclass
class Watch:
    """What callers felt from a strike on: until the first answer to somebody who asked later, and the longest pause."""

    since: float
    recovered_s: float | None = None
    longest_gap_s: float = 0.0


class Callers:
    """`callers` at once until `requests` are made; image n is case n of the ledger.

    The ledger's times are seconds from the start. Request n leaves n / `rate` seconds after it, or as soon after that
    as one of the callers is free; at once with a rate of 0. `was_capacity_there(since, until)` judges errors, in
    monotonic seconds.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        model: str,
        images: NDArray[np.uint8],
        ledger: Ledger,
        was_capacity_there: Callable[[float, float], bool],
        *,
        requests: int,
        rate: float,
        callers: int,
        timeout_s: float,
    ) -> None:
        self._addresses = list(addresses)
        self._model = model
        self._images = images
        self._ledger = ledger
        self._was_capacity_there = was_capacity_there
        self._requests, self._callers, self._timeout_s = requests, callers, timeout_s
        self._pause_s = 1 / rate if rate else 0.0
        self._next = 0
        self._began = 0.0
        self._stopping = False
        self._last_at = 0.0
        self._watches: list[Watch] = []
        self._latencies = Histogram(BOUNDS_S)
        self._lock = threading.Lock()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="callers", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._began = self._last_at = time.monotonic()
        self._thread.start()

    def finish(self) -> None:
        """Send no more."""
        self._stopping = True

    def stop(self) -> None:
        """Send no more; wait for what is under way, for as long as a request may take. Raises what went wrong here."""
        self.finish()
        self._thread.join(self._timeout_s + 15.0)
        if self._fault is not None:
            raise self._fault

    @property
    def is_done(self) -> bool:
        """Whether everything was asked and has come to an end."""
        return not self._thread.is_alive()

    def watch(self) -> Watch:
        """Watch what callers feel from now on; the one before ends here."""
        now = time.monotonic()
        with self._lock:
            self._pauses(now)
            self._watches = [watch for watch in self._watches if watch.recovered_s is None][-8:]
            self._watches.append(Watch(now))
            return self._watches[-1]

    def account(self) -> Account:
        """What has become of everything so far."""
        with self._lock:
            return self._ledger.account(time.monotonic() - self._began)

    def settled(self) -> int:
        """Requests that came to an end."""
        with self._lock:
            return self._ledger.settled

    def places(self, generation: str, network: str) -> None:
        """As the ledger's."""
        with self._lock:
            self._ledger.places(self._model, generation, network)

    def quantile_s(self, share: float) -> float:
        """Below it is that share of all latencies, within 15 %."""
        with self._lock:
            counted, total = 0, self._latencies.count
            for bound, count in zip((*BOUNDS_S, float("inf")), self._latencies.counts, strict=True):
                counted += count
                if counted >= share * total:
                    return bound
        return 0.0

    def _run(self) -> None:
        try:
            uvloop.run(self._call_all())
        except BaseException as error:  # told to whoever waits for it
            self._fault = error

    async def _call_all(self) -> None:
        clients = [
            convoy.AsyncClient(self._addresses, timeout_s=self._timeout_s)
            for _ in range(0, self._callers, CALLERS_A_CLIENT)
        ]
        try:
            await asyncio.gather(*(self._call(clients[number % len(clients)]) for number in range(self._callers)))
        finally:
            await asyncio.gather(*(client.aclose() for client in clients))

    async def _call(self, client: convoy.AsyncClient) -> None:
        while self._next < self._requests and not self._stopping:
            number = self._next
            self._next += 1
            image = self._images[self._ledger.case(number, self._model)]
            wait_s = self._began + number * self._pause_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            sent_at = time.monotonic()
            with self._lock:
                at_s = sent_at - self._began
                self._ledger.sends(number, self._model, at_s + self._timeout_s, at_s)
            try:
                result = await client.infer(image[np.newaxis], self._model)
            except convoy.ClientError as error:
                self._failed(number, f"{error.code}: {error}"[:200], sent_at)
            else:
                self._answered(number, result, sent_at)

    def _answered(self, number: int, result: convoy.Result, sent_at: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._ledger.comes(number, result.array, result.generation, now - self._began)
            self._latencies.add(now - sent_at)
            for watch in self._watches:
                if watch.recovered_s is None and sent_at > watch.since:
                    watch.recovered_s = now - watch.since
            self._pauses(now)
            self._last_at = now

    def _pauses(self, now: float) -> None:
        """The pause since the last answer counts for the latest strike, as far as it lies after it."""
        if self._watches:
            watch = self._watches[-1]
            watch.longest_gap_s = max(watch.longest_gap_s, now - max(self._last_at, watch.since))

    def _failed(self, number: int, code: str, sent_at: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._ledger.fails(number, code, self._was_capacity_there(sent_at, now), now - self._began)

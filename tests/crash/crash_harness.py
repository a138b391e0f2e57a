"""A fleet with two gateways, callers that never stop, and moments at which a part of it is killed.

`CrashFleet` is the system tests' fleet; `Callers` send numbered images through the Python client at a steady rate and
keep a `Timeline`; `Executioner` kills and restarts by a plan drawn from a seed.
"""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import convoy
import numpy as np
import pytest
from convoy_controller.broker import find_mosquitto
from convoy_controller.catalogue import ModelContents
from convoy_controller.database.engine import open_database
from convoy_controller.local_fleet import CONTROLLER, GATEWAY, wait_until
from convoy_schema.bundle import Method
from convoy_simulator.ledger import Account
from numpy.typing import NDArray
from system_fleet import PATIENCE_S, SHAPE, SPEC, SystemFleet, logits_of, small_network
from timeline import Timeline

SECOND_GATEWAY = "gateway-2"
BROKER = "broker"
BOARDS = ("board-1", "board-2", "board-3")
#: Whom a moment may strike, by target.
VICTIMS: dict[str, tuple[str, ...]] = {
    "board": BOARDS,
    "controller": (CONTROLLER,),
    "gateway": (GATEWAY, SECOND_GATEWAY),
    "broker": (BROKER,),
}
#: Seconds from a kill to the restart.
RESTART_AFTER_S = 1.0
#: Seconds that a request may take, all its retries included.
TIMEOUT_S = 30.0


class CrashFleet(SystemFleet):
    """Three boards in a pipeline behind two gateways."""

    def __enter__(self) -> CrashFleet:
        return self

    def serve_all(self, method: Method = Method.ALLOCATE, boards: int = 3) -> CrashFleet:
        """Start everything and wait until it serves through both gateways; skips without Mosquitto."""
        if not find_mosquitto():
            pytest.skip("Mosquitto is not installed")
        self.start(boards)
        self.local.start_gateway(SECOND_GATEWAY)
        self.deploy(method, boards)
        for address in self.local.gateways.values():
            with convoy.connect(address) as client:
                assert wait_until(client.is_ready, PATIENCE_S, 0.02), f"{address} never became ready"
        return self

    def strike(self, name: str) -> float:
        """SIGKILL; returns when."""
        self.local.processes.kill(name)
        return time.monotonic()

    def reopen_database(self) -> None:
        """Read the database that is at its path now, after another took its place."""
        self.database.close()
        self.database = open_database(self.home.database_url)

    def freeze(self, name: str) -> float:
        """SIGSTOP; returns when."""
        self.local.processes.kill(name, signal.SIGSTOP)
        return time.monotonic()

    def thaw(self, name: str) -> float:
        """SIGCONT; returns when."""
        self.local.processes.kill(name, signal.SIGCONT)
        return time.monotonic()

    @contextmanager
    def callers(
        self,
        requests: int = 100_000,
        rate: float = 60.0,
        callers: int = 6,
        networks: Mapping[str, ModelContents] | None = None,
    ) -> Iterator[Callers]:
        """Callers for the length of the block; afterwards no request may be lost, failed, doubled or wrong.

        Right is what one of `networks` gives, by name; the small one unless given.
        """
        flow = Callers(list(self.local.gateways.values()), requests, rate, callers, networks)
        flow.start()
        try:
            yield flow
        finally:
            flow.stop()
        account = flow.account()
        assert account.faults == (0, 0, 0, 0), account
        assert account.answered == account.sent > 0


def numbered_images(count: int) -> NDArray[np.uint8]:
    """`count` images of which no two are alike, uint8 (count, 1, 12, 12)."""
    images = np.random.default_rng(23).integers(0, 256, (count, *SHAPE), np.uint8)
    digits = np.frombuffer(np.arange(count, dtype="<u4").tobytes(), np.uint8).reshape(count, 4)
    images.reshape(count, -1)[:, :4] = digits
    return images


class Callers:
    """Threads with a client each and one queue of numbered images; image n leaves n / `rate` seconds after start.

    Clients choose the gateway to begin with by chance, so that the threads spread over all of them.
    """

    #: Images that are made ahead; beyond them they are met again, under numbers of their own.
    DISTINCT = 5000

    def __init__(
        self,
        addresses: Sequence[str],
        requests: int,
        rate: float,
        callers: int,
        networks: Mapping[str, ModelContents] | None = None,
    ) -> None:
        self._images = images = numbered_images(min(requests, self.DISTINCT))
        references = {
            name: logits_of(network, SPEC, images)[:, np.newaxis]
            for name, network in (networks or {"small": small_network()}).items()
        }
        self.timeline = Timeline("small", {"small": references})
        self._clients = [convoy.connect(list(addresses), timeout_s=TIMEOUT_S) for _ in range(callers)]
        self._requests, self._rate = requests, rate
        self._next = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(client,), daemon=True) for client in self._clients]
        self._began = 0.0

    def start(self) -> None:
        """Begin, and wait for the first answers."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        self.wait_answers(10)

    @property
    def is_done(self) -> bool:
        """Whether everything was sent and every caller has its answer."""
        return not any(thread.is_alive() for thread in self._threads)

    def wait_answers(self, count: int, seconds: float = PATIENCE_S) -> None:
        """Until `count` more requests have come to an end."""
        target = self.timeline.settled + count
        assert wait_until(lambda: self.timeline.settled >= target, seconds, 0.01), self.account()

    def wait_answered_by(self, generation: str) -> None:
        """Until one has been answered by that generation."""
        assert wait_until(lambda: generation in self.timeline.generations, PATIENCE_S, 0.05), self.account()

    def wait_recovered(self, since: float, before: str) -> float:
        """Seconds from `since` to the first answer of another generation than `before`, once it has come."""
        found: list[float] = []

        def recovered() -> bool:
            seconds = self.timeline.recovered_s(since, besides=before)
            found[:] = [] if seconds is None else [seconds]
            return bool(found)

        assert wait_until(recovered, PATIENCE_S, 0.02), self.account()
        return found[0]

    def stop(self) -> Account:
        """Send no more; wait for what is under way, for as long as a request may take."""
        self._stopping.set()
        until = time.monotonic() + TIMEOUT_S + 10.0
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for client in self._clients:
            client.close()
        return self.account()

    def account(self) -> Account:
        """What has become of everything so far; what is under way and overdue by now is lost."""
        return self.timeline.account(time.monotonic())

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= self._requests or self._stopping.is_set():
                return None
            self._next += 1
            return self._next - 1

    def _call(self, client: convoy.Client) -> None:
        while (number := self._take()) is not None:
            if self._stopping.wait(self._began + number / self._rate - time.monotonic()):
                return
            now = time.monotonic()
            self.timeline.sends(number, now + TIMEOUT_S, now)
            image = self._images[number % len(self._images)]
            try:
                result = client.infer(image[np.newaxis], "small")
            except convoy.ClientError as error:
                self.timeline.fails(number, f"{type(error).__name__}: {error}", time.monotonic())
            else:
                self.timeline.comes(number, result.array, result.generation, result.gateway, time.monotonic())


@dataclass(frozen=True)
class Moment:
    """At `at_s` seconds after the beginning `victim` is killed; it is restarted `RESTART_AFTER_S` later."""

    at_s: float
    victim: str


def draw_moments(seed: int, target: str, count: int, span_s: float) -> list[Moment]:
    """`count` random moments over `span_s` seconds, far enough apart that no victim dies before it was restarted."""
    chance = random.Random(f"{seed} {target}")
    slot_s = span_s / count
    free_s = slot_s - RESTART_AFTER_S - 0.25
    assert free_s > 0, f"{count} moments do not fit into {span_s} s"
    victims = VICTIMS[target]
    return [Moment(n * slot_s + chance.uniform(0, free_s), chance.choice(victims)) for n in range(count)]


@dataclass
class Outcome:
    """What came of a run: the account, and for each moment the seconds until somebody was served who asked later."""

    account: Account
    recoveries: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        lost, failed, duplicated, wrong = self.account.faults
        return (
            f"{self.account.sent} sent, {lost} lost, {failed} failed, {duplicated} duplicated, {wrong} wrong; "
            f"{len(self.recoveries)} moments, recovery max {max(self.recoveries):.2f} s, "
            f"median {statistics.median(self.recoveries):.2f} s; slowest answer {self.account.slowest_s:.2f} s"
        )


def execute(fleet: CrashFleet, moments: Sequence[Moment], requests: int, span_s: float) -> Outcome:
    """Send `requests` over `span_s` seconds while each of `moments` comes true; returns when all have ended."""
    flow = Callers(list(fleet.local.gateways.values()), requests, requests / span_s, 8)
    struck: list[float] = []
    flow.start()
    began = time.monotonic()
    try:
        for moment in moments:
            _sleep_until(began + moment.at_s)
            struck.append(fleet.strike(moment.victim))
            _sleep_until(struck[-1] + RESTART_AFTER_S)
            fleet.local.processes.restart(moment.victim)
        wait_until(lambda: flow.is_done, span_s + TIMEOUT_S, 0.05)
    finally:
        account = flow.stop()
    found = [flow.timeline.recovered_s(at) for at in struck]
    return Outcome(account, [seconds if seconds is not None else float("inf") for seconds in found])


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))

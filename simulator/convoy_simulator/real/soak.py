"""One run: the fleet starts, callers ask, a fault strikes every so many seconds, and at the end stands an account."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from convoy_controller.local_fleet import CONTROLLER, wait_until
from convoy_controller.processes import how_it_ended
from numpy.typing import NDArray

from convoy_simulator.ledger import Account, Ledger
from convoy_simulator.real.callers import Callers, Watch
from convoy_simulator.real.capacity import Capacity
from convoy_simulator.real.faults import Strike, draw
from convoy_simulator.real.fleet import BOARDS, DEPLOYMENT, GATEWAYS, RealFleet, State, Surroundings, references
from convoy_simulator.real.memory import EVERY_S, Memory
from convoy_simulator.real.slope import LEAST_S, WARM_UP_S, Slope
from convoy_simulator.real.strikes import Strikes
from convoy_simulator.real.verdict import WHOLE_S, Bar, bars
from convoy_simulator.small_network import SHAPE

#: Images of which no two are alike; beyond them they are met again.
IMAGES = 4999
#: Seconds for everything to come up.
SERVE_S = 180.0
#: Seconds between two looks at what is due, and at whether the fleet is whole.
TICK_S = 0.05
STATE_EVERY_S = 0.5
#: Seconds after its database came back within which a controller must end, and begin with that one.
AWAY_PATIENCE_S = 30.0
#: Seconds after its deadline in which an end still counts: on a busy machine the callers themselves come late to it.
GRACE_S = 2.0
#: Seconds at the end of a long run in which nobody is killed, so that lives are long enough to see what grows.
SPARED_S = WARM_UP_S + 3 * LEAST_S
#: Seconds for which a fleet must stay whole to count as it: tables that nobody has looked after yet may say so.
SETTLE_S = 3.0
#: The name of this process among those whose memory is looked at.
HERE = "callers"


@dataclass(frozen=True)
class Options:
    """What was asked for; `rate` is requests a second, 0 for as many as the callers can."""

    requests: int = 1_000_000
    seed: int = 1
    fault_every_s: float = 20.0
    rate: float = 320.0
    callers: int = 64
    minutes: float = 60.0
    timeout_s: float = 30.0

    @property
    def lethal_until_s(self) -> float:
        """Seconds from the beginning until which faults may end processes: in a long run the last part spares them."""
        seconds = self.requests / self.rate if self.rate else 0.0
        return seconds - SPARED_S if seconds >= 2 * SPARED_S else math.inf


@dataclass
class Struck:
    """A strike, and what it cost."""

    strike: Strike
    watch: Watch
    #: Seconds from the end of its last fault until all that was asked for served again; None: not yet.
    whole_s: float | None = None


@dataclass
class Outcome:
    """All that is known at the end."""

    options: Options
    surroundings: Surroundings
    account: Account
    seconds: float
    p50_s: float
    p99_s: float
    struck: list[Struck]
    slopes: dict[str, Slope]
    deaths: list[str]
    bars: list[Bar]

    @property
    def is_kept(self) -> bool:
        """Whether every bar is."""
        return all(bar.is_kept for bar in self.bars)


@dataclass(frozen=True)
class Glance:
    """How far a run is."""

    settled: int
    faults: tuple[int, int, int, int]
    strikes: int
    seconds: float


class Soak:
    """One run below `directory`; `say` gets a line for people now and then, `glance` how far it is."""

    def __init__(
        self, options: Options, directory: Path, say: Callable[[str], object], glance: Callable[[Glance], object]
    ) -> None:
        self.options = options
        self._directory = directory
        self._say = say
        self._glance = glance
        self._memory = Memory()
        self._struck: list[Struck] = []
        self._deaths: list[str] = []
        self._look_at = self._state_at = 0.0
        self._away_at = -math.inf
        self._whole_since: float | None = None

    def run(self) -> Outcome:
        """Everything; raises what keeps a fleet from starting (`BrokerError`, `TimeoutError`)."""
        options = self.options
        surroundings = Surroundings.find(self._directory)
        self._say(f"lines of boards: {surroundings.lines}")
        self._say(f"small disks: {surroundings.disk_obstacle or 'tmpfs'}")
        images = numbered_images()
        capacity = Capacity(BOARDS, GATEWAYS)
        ledger = Ledger({DEPLOYMENT: references(images)}, GRACE_S, options.requests)
        with RealFleet(self._directory, surroundings, options.seed) as fleet:
            if not wait_until(lambda: fleet.state().is_whole, SERVE_S, 0.2):
                raise TimeoutError(f"the fleet did not come to serve within {SERVE_S:g} s; see {self._directory}/logs")
            callers = Callers(
                list(fleet.local.gateways.values()),
                DEPLOYMENT,
                images,
                ledger,
                capacity.was_there,
                requests=options.requests,
                rate=options.rate,
                callers=options.callers,
                timeout_s=options.timeout_s,
            )
            callers.start()
            began = time.monotonic()
            try:
                whole_s = self._go_on(fleet, Strikes(fleet, capacity, began), callers, surroundings, began)
            finally:
                callers.stop()
            seconds = time.monotonic() - began
        account, slopes = callers.account(), self._memory.slopes()
        self._memory.write(self._directory / "memory.csv")
        return Outcome(
            options,
            surroundings,
            account,
            seconds,
            callers.quantile_s(0.5),
            callers.quantile_s(0.99),
            self._struck,
            slopes,
            self._deaths,
            bars(account, options.requests, whole_s, len(self._deaths), slopes),
        )

    def _go_on(
        self, fleet: RealFleet, strikes: Strikes, callers: Callers, surroundings: Surroundings, began: float
    ) -> float | None:
        """Until all was asked, or the time is up; then until the fleet is whole: the seconds that took, if it is."""
        until = began + self.options.minutes * 60
        options = self.options
        plan = draw(options.seed, options.fault_every_s, surroundings.victims, options.lethal_until_s)
        coming = next(plan)
        while not callers.is_done and (now := time.monotonic()) < until:
            if now >= began + coming.begins_s:
                self._say(f"{now - began:7.1f} s  {coming}")
                self._struck.append(Struck(coming, callers.watch()))
                strikes.plan(coming)
                coming = next(plan)
            self._turn(fleet, strikes, callers, began)
        callers.finish()
        while not strikes.is_calm:
            self._turn(fleet, strikes, callers, began)
        calm_at = time.monotonic()
        while time.monotonic() < calm_at + WHOLE_S:
            self._turn(fleet, strikes, callers, began)
            if (whole_at := self._whole_after(calm_at)) is not None:
                return whole_at - calm_at
        return None

    def _whole_after(self, moment: float) -> float | None:
        """When it was whole after that and stayed so for a while; None: not yet."""
        if self._whole_since is None:
            return None
        whole_at = max(moment, self._whole_since)
        return whole_at if time.monotonic() >= whole_at + SETTLE_S else None

    def _turn(self, fleet: RealFleet, strikes: Strikes, callers: Callers, began: float) -> None:
        """Once round: do what is due, look at what is there."""
        now = time.monotonic()
        strikes.carry_out(now)
        self._mourn(fleet, now)
        if now >= self._look_at:
            self._look_at = now + EVERY_S
            self._memory.look({**fleet.pids(), HERE: os.getpid()}, now)
            account = callers.account()
            self._glance(Glance(callers.settled(), account.faults, len(self._struck), now - began))
        if now >= self._state_at:
            self._state_at = now + STATE_EVERY_S
            self._see(fleet.state(), callers, began)
        time.sleep(TICK_S)

    def _see(self, state: State, callers: Callers, began: float) -> None:
        if not state.is_whole:
            self._whole_since = None
            return
        self._whole_since = self._whole_since or time.monotonic()
        callers.places(state.generation, state.network)
        for struck in self._struck:
            ended_at = began + struck.strike.ends_s
            if struck.whole_s is None and (whole_at := self._whole_after(ended_at)) is not None:
                struck.whole_s = whole_at - ended_at

    def _mourn(self, fleet: RealFleet, now: float) -> None:
        """Who ends by itself breaks a bar; but a controller must end whose database was taken from it."""
        if fleet.is_database_away:
            self._away_at = now
        for death in fleet.deaths(now):
            if death.name == CONTROLLER and now - self._away_at < AWAY_PATIENCE_S:
                continue
            self._deaths.append(f"{death.name} {how_it_ended(death.returncode)}: {death.tail[-400:]}")
            self._say(f"  {death}")


def numbered_images(count: int = IMAGES) -> NDArray[np.uint8]:
    """`count` images of noise of which no two are alike, uint8 (count, *SHAPE)."""
    images = np.random.default_rng(23).integers(0, 256, (count, *SHAPE), np.uint8)
    digits = np.frombuffer(np.arange(count, dtype="<u4").tobytes(), np.uint8).reshape(count, 4)
    images.reshape(count, -1)[:, :4] = digits
    return images

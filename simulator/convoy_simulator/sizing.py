"""How a fleet that nobody has yet would do: one scenario in virtual time, measured, and what it takes to carry it.

The fleet is stepped through until nothing but heartbeats passes any more; the rest of the time is reckoned from the
last seconds, since it would only be more of the same, unless all of it is asked for. What is written for people is not
written, but reckoned too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import math
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from convoy_controller.database.recorder import Recorder
from convoy_controller.gateway.readiness import SILENCE_S
from convoy_schema.bundle import Method

from convoy_simulator.broker import Traffic
from convoy_simulator.costs import Records, calibration
from convoy_simulator.cpu import Cpu, Process
from convoy_simulator.fleet import Shape
from convoy_simulator.meter import Meter, Second
from convoy_simulator.profiles import PROFILES
from convoy_simulator.recorders import CountingRecorder
from convoy_simulator.remembering import remember
from convoy_simulator.run import end_all, quiet
from convoy_simulator.sized_fleet import SizedFleet, template_of
from convoy_simulator.template import temporary_folder
from convoy_simulator.virtual_time import VirtualLoop

#: Seconds for boards to come up before the scenario begins, and for which the broker is away in an outage.
START_S, OUTAGE_S = 8.0, 60.0
#: Boards a second that are switched on before the scenario: about as many as a database on one disk can take note of.
STARTED_PER_S = 100
#: Share of some seconds' time that the database may need at the most before the scenario.
RESTED, REST_S = 0.5, 3
#: Seconds within which the controller must have written down who there is.
MOST_START_S = 3600.0
#: Seconds that a quiet fleet is looked at before the rest is reckoned from them: in so many a gateway asks each board
#: for its golden vector.
QUIET_S = math.ceil(SILENCE_S)
#: Seconds over which the database's work is looked at: it takes thousands of records in one transaction.
DATABASE_S = 10
#: What a part may be used at its busiest before another is needed.
MOST_USED = 0.7
#: Bytes a second of a broker's line.
LINE_BYTES_PER_S = 125e6


@dataclass(frozen=True)
class Question:
    """What is to be known. `per_deployment` boards serve each deployment; `hours` are virtual.

    With `whole` all of them are stepped through, heartbeats included.
    """

    boards: int
    model: str = "lenet5"
    profile: str = "calm"
    scenario: str = "deploy"
    method: Method = Method.ALLOCATE
    per_deployment: int = 100
    hours: float = 1.0
    seed: int = 1
    whole: bool = False


@dataclass(frozen=True)
class Arrangement:
    """How the processes lie on machines; None: each board has a machine of its own, and so has everything else.

    `cores` are shared by all of them, as when a fleet is tried on one machine; `board_slowness` is how many times as
    long a board's processor takes as the one that costs were measured on. `boards_per_process` that follow one another
    are in one process.
    """

    cores: int | None = None
    board_slowness: float = 12.0
    boards_per_process: int = 1


@dataclass(frozen=True)
class Use:
    """How much of a part is used in its busiest second, and how many of it that takes."""

    part: str
    peak: float
    unit: str
    capacity: float
    needed: int

    @property
    def share(self) -> float:
        """Of one such part."""
        return self.peak / self.capacity


@dataclass
class Estimate:
    """Seconds are virtual; `ready_s` of every board that became ready since the scenario began, in order."""

    question: Question
    ready_s: list[float] = field(default_factory=list)
    seconds: list[tuple[int, int, int]] = field(default_factory=list)
    stepped_s: float = 0.0
    messages: int = 0
    bytes: int = 0
    deploy_bytes: int = 0
    dropped: int = 0
    uses: list[Use] = field(default_factory=list)
    controller_bytes: int = 0
    broker_bytes: int = 0
    own_seconds: float = 0.0
    own_bytes: int = 0

    @property
    def bottleneck(self) -> Use:
        """The part that is used most."""
        return max(self.uses, key=lambda use: use.share)

    def quantile(self, share: float) -> float:
        """Seconds within which that share of all boards was ready; infinite if it never was."""
        place = math.ceil(share * self.question.boards) - 1
        return self.ready_s[place] if place < len(self.ready_s) else math.inf


Progress = Callable[[str, float, int], None]


def estimate(
    question: Question,
    arrangement: Arrangement | None = None,
    progress: Progress | None = None,
    recorder: type[Recorder] = CountingRecorder,
) -> Estimate:
    """Step through the scenario; `progress` is told what is done, the virtual seconds, and boards ready.

    `recorder`: what the controller's records are written by.
    """
    remember()
    loop = VirtualLoop()
    run = _Sizing(question, arrangement or Arrangement(), loop, progress or (lambda *_: None), recorder)
    began = time.monotonic()
    with quiet():
        try:
            with _rare_collections():
                loop.run_until_complete(run.go())
        finally:
            with contextlib.suppress(BaseException):
                loop.run_until_complete(end_all())
            loop.close()
    run.estimate.own_seconds = time.monotonic() - began
    run.estimate.own_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return run.estimate


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Ten thousand boards are millions of objects that stay: to look through them for garbage took half of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


class _Sizing:
    def __init__(
        self,
        question: Question,
        arrangement: Arrangement,
        loop: VirtualLoop,
        progress: Progress,
        recorder: type[Recorder],
    ) -> None:
        self._question = question
        self._recorder = recorder
        self._arrangement = arrangement
        self._loop = loop
        self._progress = progress
        self._costs = calibration().costs
        self.estimate = Estimate(question)
        loop.set_exception_handler(lambda loop, context: None)

    async def go(self) -> None:
        question = self._question
        self._progress(f"importing {question.model}", 0.0, 0)
        template = template_of(question.model)
        shape = Shape(question.boards, 1, question.method)
        conditions = PROFILES[question.profile].conditions
        fleet = SizedFleet(template, shape, conditions, question.seed, temporary_folder(), question.per_deployment)
        fleet.controller.recorder = self._recorder
        names = frozenset(board.name for board in fleet.boards)
        self._meter = meter = Meter(fleet.broker, names, self._loop.time)
        fleet.network.watch = meter.watch
        meter.time_controller(self._loop, fleet.controller.line)
        self._arrange(fleet)
        sampling = asyncio.ensure_future(meter.sample())
        try:
            fleet.start(max(0.5, self._question.boards / STARTED_PER_S))
            await self._pass("boards start", START_S + self._question.boards / STARTED_PER_S)
            await self._until_noted()
            fleet.introduce()
            gc.freeze()
            await self._scenario(fleet)
        finally:
            sampling.cancel()
            fleet.close()

    async def _scenario(self, fleet: SizedFleet) -> None:
        question, meter = self._question, self._meter
        most_s = question.hours * 3600
        if question.scenario != "deploy":
            fleet.request_all("1")
            await self._until_ready("deploying", most_s)
        since, before = self._loop.time(), fleet.broker.traffic()
        first = len(meter.seconds)
        meter.forget(next_generation=question.scenario == "replace")
        if question.scenario == "deploy":
            fleet.request_all("1")
        elif question.scenario == "replace":
            fleet.request_all("2")
        elif question.scenario == "outage":
            fleet.network.kill_broker()
            await self._pass("the broker is away", OUTAGE_S)
            fleet.network.start_broker(keep=False)
            since = self._loop.time()
        if question.scenario == "steady":
            meter.ready_at.update(dict.fromkeys(meter.boards, since))
        await self._until_ready(question.scenario, most_s)
        ready = fleet.broker.traffic()
        await self._pass("quiet", QUIET_S + 1)
        if question.whole:
            await self._pass("heartbeats", since + most_s - self._loop.time())
        self._conclude(fleet, since, first, before, ready, most_s)

    def _conclude(
        self, fleet: SizedFleet, since: float, first: int, before: Traffic, ready: Traffic, most_s: float
    ) -> None:
        meter, found = self._meter, self.estimate
        found.ready_s = sorted(at - since for at in meter.ready_at.values())
        seconds = meter.seconds[first:]
        found.seconds = [(each.packets, each.bytes, each.ready) for each in seconds]
        found.stepped_s = self._loop.time() - since
        rest_s = max(0.0, most_s - found.stepped_s)
        quiet_seconds = seconds[-QUIET_S:]
        found.messages = sum(each.packets for each in seconds)
        found.messages += int(rest_s * sum(each.packets for each in quiet_seconds) / len(quiet_seconds))
        found.bytes = sum(each.bytes for each in seconds)
        found.bytes += int(rest_s * sum(each.bytes for each in quiet_seconds) / len(quiet_seconds))
        found.deploy_bytes = _bytes(ready) - _bytes(before)
        found.dropped = fleet.broker.traffic().messages_dropped
        found.uses = self._uses(seconds)
        memory = calibration().memory
        boards = self._question.boards
        found.controller_bytes = memory.controller_bytes + boards * memory.controller_board_bytes
        found.broker_bytes = memory.broker_bytes + 2 * boards * memory.broker_client_bytes

    def _uses(self, seconds: list[Second]) -> list[Use]:
        costs = self._costs
        packets = max(each.packets for each in seconds)
        size = max(each.bytes for each in seconds)
        controller = max(each.controller_s for each in seconds)
        found = [
            ("broker's processor", packets * costs.broker_packet_s, "of a core", 1.0),
            ("broker's line", size / 1e6, "MB/s", LINE_BYTES_PER_S / 1e6),
            ("controller's processor", controller, "of a core here", 1.0),
            ("controller's database", _busiest([each.database_s for each in seconds]), "of a core", 1.0),
        ]
        return [
            Use(part, peak, unit, capacity, max(1, math.ceil(peak / capacity / MOST_USED)))
            for part, peak, unit, capacity in found
        ]

    # Time ------------------------------------------------------------------------------------------------------------

    async def _pass(self, what: str, seconds: float) -> None:
        for _ in range(int(seconds)):
            self._tell(what)
            await asyncio.sleep(1.0)

    async def _until_ready(self, what: str, most_s: float) -> None:
        until = self._loop.time() + most_s
        while len(self._meter.ready_at) < self._question.boards and self._loop.time() < until:
            self._tell(what)
            await asyncio.sleep(0.25 if self._question.boards <= 1000 else 1.0)

    async def _until_noted(self) -> None:
        """Let the controller hear of every board, and write it down: that is no part of what is asked."""
        until = self._loop.time() + MOST_START_S
        while self._loop.time() < until:
            if sum(each.database_s for each in self._meter.seconds[-REST_S:]) < RESTED * REST_S:
                return
            await self._pass("boards are noted", 1.0)

    def _tell(self, what: str) -> None:
        self._progress(what, self._loop.time(), len(self._meter.ready_at))

    # Machines --------------------------------------------------------------------------------------------------------

    def _arrange(self, fleet: SizedFleet) -> None:
        """Give every process the processor that it has, or shares."""
        costs, arrangement = self._costs, self._arrangement
        shared = Cpu(arrangement.cores, 1.0, costs.slice_s, costs.cold_s) if arrangement.cores else None
        fleet.network.broker_cpu = Process(shared or Cpu(1))
        fleet.network.packet_s = costs.broker_packet_s
        for at in range(0, len(fleet.boards), arrangement.boards_per_process):
            process = Process(shared or Cpu(2, arrangement.board_slowness))
            for board in fleet.boards[at : at + arrangement.boards_per_process]:
                board.cpu = board.line.cpu = process
                board.line.message_s = costs.board_message_s
        controller = Process(shared or Cpu(2))
        fleet.controller.line.cpu, fleet.controller.line.message_s = controller, costs.controller_message_s
        fleet.controller.line.turn_s = costs.controller_turn_s + costs.controller_turn_board_s * self._question.boards
        self._loop.thread_work = _Records(fleet, controller, calibration().records, self._loop.time, self._meter)
        for gateway in fleet.gateways:
            gateway.line.cpu, gateway.line.message_s = Process(shared or Cpu(1)), costs.gateway_message_s


class _Records:
    """How long the database's thread takes: for each record that a transaction brought."""

    def __init__(
        self, fleet: SizedFleet, cpu: Process, costs: Records, clock: Callable[[], float], meter: Meter
    ) -> None:
        self._fleet = fleet
        self._meter = meter
        self._cpu = cpu
        self._costs = costs
        self._clock = clock
        self._before: Counter[str] = Counter()

    def __call__(self) -> float:
        """Seconds of the work that was done just now."""
        counted = self._fleet.records_counted()
        new = counted - self._before
        self._before = counted.copy()
        seconds = self._costs.transaction + sum(getattr(self._costs, kind) * count for kind, count in new.items())
        now = self._clock()
        self._meter.database_s += seconds
        return self._cpu.share(now, seconds) - now


def _busiest(seconds: list[float]) -> float:
    """Of what may lie a while, and is counted when it is taken up: the mean of the busiest `DATABASE_S` seconds."""
    sums = list(itertools.accumulate(seconds, initial=0.0))
    last = max(DATABASE_S, len(seconds))
    return max(sums[min(at, len(seconds))] - sums[at - DATABASE_S] for at in range(DATABASE_S, last + 1)) / DATABASE_S


def _bytes(traffic: Traffic) -> int:
    return traffic.bytes_received + traffic.bytes_sent

"""One run: a fleet from a seed, its faults, and what the ledger and the tables say in the end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from convoy_schema.bundle import Method

from convoy_simulator import faults
from convoy_simulator.acting import Acting
from convoy_simulator.callers import Callers
from convoy_simulator.calm import Calm
from convoy_simulator.faults import Fault
from convoy_simulator.fleet import DEPLOYMENT, Fleet, Shape
from convoy_simulator.invariants import Invariants
from convoy_simulator.ledger import Account, Ledger
from convoy_simulator.mqtt_packets import Packet, Publish
from convoy_simulator.profiles import Profile
from convoy_simulator.remembering import remember
from convoy_simulator.sendings import Sendings
from convoy_simulator.template import small_template, temporary_folder
from convoy_simulator.virtual_time import VirtualLoop

#: Seconds until a fleet that nobody disturbs serves, at the most.
DEPLOY_S = 60.0
#: Seconds of requests after everything is as it should be.
AFTER_S = 2.0
REQUESTS_PER_S = 4.0
#: Seconds after a fault in which the fleet may still be getting over it.
RECOVERY_S = 15.0


@dataclass(frozen=True)
class Plan:
    """What a run is made of; replayed and shrunk as a value."""

    seed: int
    shape: Shape
    profile: Profile
    trouble_s: float
    faults: tuple[Fault, ...]


@dataclass
class Outcome:
    """What came of it. `seconds` of virtual time; `trace` tells two runs apart that differ in anything sent."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    account: Account | None = None
    seconds: float = 0.0
    settled_s: float = 0.0
    messages: int = 0
    trace: str = ""

    @property
    def is_right(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def plan_of(profile: Profile, seed: int, trouble_s: float | None = None) -> Plan:
    """What a seed stands for under a profile, for another time than the profile's if need be."""
    trouble_s = profile.trouble_s if trouble_s is None else trouble_s
    chance = random.Random(f"{profile.name} {seed}")
    boards = chance.choice((3, 4, 4, 5))
    spare = chance.choice((0, 1, 1))
    method = chance.choice((Method.ALLOCATE, Method.ALLOCATE, Method.LIBRARY))
    used, replicas = max(2, boards - spare - chance.choice((0, 1))), chance.choice((0, 1, 2))
    shape = Shape(
        boards,
        2,
        method,
        used,
        spare,
        replicas,
        controllers=chance.choice((1, 1, 2)),
        partitions=chance.choice((None, 2)) if method is Method.LIBRARY else None,
        queue_frames=8,
    )
    drawn = faults.draw(chance, profile.kinds, profile.every_s, 1.0, trouble_s, boards) if profile.kinds else ()
    if profile.is_torn:
        drawn += faults.torn(chance, boards)
    if profile.closed_s:
        drawn += faults.closings(profile.closed_s, trouble_s)
    return Plan(seed, shape, profile, trouble_s, drawn)


def run(plan: Plan, say: Callable[[str], object] | None = None) -> Outcome:
    """In virtual time, from the beginning to the end; `say` is given each line that the fleet logs."""
    remember()
    outcome = Outcome(plan)
    loop = VirtualLoop()
    with quiet() if say is None else _logging(say, loop):
        try:
            loop.run_until_complete(_Run(plan, outcome, loop).go())
        finally:
            with contextlib.suppress(BaseException):
                loop.run_until_complete(end_all())
            asyncio.set_event_loop(None)
            loop.close()
    return outcome


class _Run:
    def __init__(self, plan: Plan, outcome: Outcome, loop: VirtualLoop) -> None:
        self._plan = plan
        self._outcome = outcome
        self._loop = loop
        self._messages = 0
        self._trace = hashlib.blake2b(digest_size=8)
        loop.set_exception_handler(self._unhandled)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        # Whoever ended in the middle of something was meant to.
        if isinstance(error, Exception):
            self._fault(f"nobody handled {error!r}: {context.get('message')}")

    def _fault(self, what: str) -> None:
        if len(self._outcome.problems) < 20:
            self._outcome.problems.append(f"{self._loop.time():.2f}: {what}")

    async def go(self) -> None:
        plan, outcome, loop = self._plan, self._outcome, self._loop
        template = small_template()
        fleet = Fleet(template, plan.shape, plan.profile.conditions, plan.seed, _folder(), self._fault)
        calm = Calm(RECOVERY_S)
        ledger = Ledger({DEPLOYMENT: template.answers})
        invariants = Invariants(fleet, self._fault)
        fleet.network.watch = self._watch()
        fleet.network.watch_sending = Sendings(fleet, self._fault).sends
        try:
            fleet.start()
            fleet.request("1")
            if not await invariants.settles(DEPLOY_S):
                self._fault(f"undisturbed, it does not serve within {DEPLOY_S:g} s: {invariants.complaint()}")
                return
            fleet.back_up_database()
            callers = Callers(
                fleet.gateways, DEPLOYMENT, template.pictures, ledger, calm.was_able, fleet.chance, REQUESTS_PER_S
            )
            began = loop.time()
            asking = asyncio.ensure_future(callers.ask_until(began + plan.trouble_s))
            checking = asyncio.ensure_future(invariants.keep_checking())
            await Acting(fleet, calm).run(plan.faults)
            await asking
            ends = max((fault.at + fault.lasts_s for fault in plan.faults), default=0.0)
            await asyncio.sleep(max(0.0, began + ends - loop.time()))
            stopped = loop.time()
            if not await invariants.settles(plan.profile.bound_s):
                self._fault(
                    f"{plan.profile.bound_s:g} s after the last fault it is not as it should be: "
                    f"{invariants.complaint()}"
                )
            outcome.settled_s = loop.time() - stopped
            await callers.ask_until(loop.time() + AFTER_S)
            await callers.finish()
            checking.cancel()
        finally:
            outcome.account = ledger.account(loop.time())
            outcome.problems += outcome.account.incidents
            outcome.seconds, outcome.trace = loop.time(), self._trace.hexdigest()
            outcome.messages = self._messages
            fleet.close()

    def _watch(self) -> Callable[[str, Packet, bool], None]:
        def watch(name: str, packet: Packet, is_up: bool) -> None:
            if isinstance(packet, Publish):
                self._messages += 1
                self._trace.update(f"{self._loop.time():.6f}{name}{is_up}{packet.topic}{len(packet.payload)}".encode())

        return watch


async def end_all() -> None:
    """Cancel what is left, so that nothing outlives the loop."""
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@lru_cache(maxsize=1)
def _folder() -> Path:
    return temporary_folder()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nobody reads what hundreds of fleets log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Told(logging.Handler):
    def __init__(self, say: Callable[[str], object], loop: VirtualLoop) -> None:
        super().__init__(logging.INFO)
        self._say = say
        self._loop = loop
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"{self._loop.time():9.3f} {self.format(record)}")


@contextlib.contextmanager
def _logging(say: Callable[[str], object], loop: VirtualLoop) -> Iterator[None]:
    """What a fleet logs goes to `say`, with the virtual time."""
    told = _Told(say, loop)
    names = ("convoy_device", "convoy_controller", "convoy_schema", "convoy_simulator")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).addHandler(told)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).removeHandler(told)
            logging.getLogger(name).setLevel(level)

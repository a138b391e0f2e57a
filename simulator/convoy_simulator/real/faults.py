"""Which fault strikes whom, when, and for how long: drawn from a seed, before anything has started.

Times are seconds from the beginning of the load. A bag holds each kind of fault once, and one strike of several at
once; it is drawn empty in a random order, then filled again, so that a run of any length meets all kinds alike often.
"""

from __future__ import annotations

import enum
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from convoy_simulator.real.disturbance import CUT, Disturbance


class Kind(enum.Enum):
    """What a fault is; see `strikes` for what it does."""

    KILL = "kill -9"
    FREEZE = "SIGSTOP"
    REPLACE = "another network"
    LINE = "bad line"
    CUT = "cut line"
    LOCK = "database locked"
    AWAY = "database away"
    FULL = "disk full"
    TOGETHER = "together"


class Role(enum.Enum):
    """Whom it strikes."""

    BOARD = "board"
    CONTROLLER = "controller"
    GATEWAY = "gateway"
    BROKER = "broker"
    DATABASE = "database"
    DEPLOYMENT = "deployment"


#: What there is, and for how many seconds: (least, most).
SPANS_S: Mapping[tuple[Kind, Role], tuple[float, float]] = {
    (Kind.KILL, Role.BOARD): (0.5, 3.0),
    (Kind.KILL, Role.CONTROLLER): (0.5, 3.0),
    (Kind.KILL, Role.GATEWAY): (0.5, 3.0),
    (Kind.KILL, Role.BROKER): (0.5, 3.0),
    (Kind.FREEZE, Role.BOARD): (1.0, 10.0),
    (Kind.FREEZE, Role.CONTROLLER): (1.0, 10.0),
    (Kind.FREEZE, Role.BROKER): (1.0, 7.0),
    (Kind.REPLACE, Role.DEPLOYMENT): (0.0, 0.0),
    (Kind.LINE, Role.BOARD): (5.0, 15.0),
    (Kind.CUT, Role.BOARD): (5.0, 30.0),
    (Kind.LOCK, Role.DATABASE): (2.0, 10.0),
    (Kind.AWAY, Role.DATABASE): (2.0, 6.0),
    (Kind.FULL, Role.BOARD): (5.0, 15.0),
}
#: What ends a process: also a controller's, whose database is taken from it.
LETHAL = (Kind.KILL, Kind.AWAY)
#: Faults of one strike of several, and the seconds over which they are spread.
TOGETHER = (3, 5)
TOGETHER_S = 2.0
#: Seconds after one fault of a victim before another one strikes it.
REST_S = 3.0


@dataclass(frozen=True)
class Fault:
    """One fault: `victim` is a process's name, or its role where there is one only."""

    kind: Kind
    role: Role
    victim: str
    begins_s: float
    lasts_s: float
    disturbance: Disturbance | None = None

    @property
    def label(self) -> str:
        """Its sort, for a table."""
        return f"{self.kind.value}, {self.role.value}"

    def __str__(self) -> str:
        what = f": {self.disturbance}" if self.kind is Kind.LINE else ""
        span = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.kind.value}{what}, {self.victim}{span}"


@dataclass(frozen=True)
class Strike:
    """What happens at one time: one fault, or several."""

    number: int
    begins_s: float
    faults: tuple[Fault, ...]

    @property
    def label(self) -> str:
        """Its sort, for a table."""
        return self.faults[0].label if len(self.faults) == 1 else "several at once"

    @property
    def ends_s(self) -> float:
        """When the last of it is over."""
        return max(fault.begins_s + fault.lasts_s for fault in self.faults)

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults))


@dataclass(frozen=True)
class Victims:
    """Whom faults may strike: by role, and the boards that have a line or a small disk of their own."""

    boards: Sequence[str]
    gateways: Sequence[str]
    lined: Sequence[str] = ()
    small_disks: Sequence[str] = ()

    def of(self, kind: Kind, role: Role) -> Sequence[str]:
        """Names; none where such a fault cannot be had."""
        if role is Role.BOARD:
            return {Kind.LINE: self.lined, Kind.CUT: self.lined, Kind.FULL: self.small_disks}.get(kind, self.boards)
        return self.gateways if role is Role.GATEWAY else (role.value,)


def draw(seed: int, every_s: float, victims: Victims, lethal_until_s: float = math.inf) -> Iterator[Strike]:
    """Strikes without end, one in each `every_s` seconds; the same for the same arguments.

    None ends a process that begins after `lethal_until_s`.
    """
    chance = random.Random(f"faults {seed}")
    busy_until: dict[str, float] = {}
    bag: list[tuple[Kind, Role] | None] = []
    for number in itertools.count(1):
        begins_s = number * every_s - chance.uniform(0, every_s / 4)
        is_lethal = begins_s <= lethal_until_s
        possible = [sort for sort in SPANS_S if victims.of(*sort) and (is_lethal or sort[0] not in LETHAL)]
        bag = [sort for sort in bag if sort is None or sort in possible]
        if not bag:
            bag = [*possible, None]
            chance.shuffle(bag)
        sort = bag.pop()
        if sort is not None:
            sorts, spread_s = [sort], 0.0
        else:
            sorts, spread_s = chance.sample(possible, min(chance.randint(*TOGETHER), len(possible))), TOGETHER_S
        faults = []
        for kind, role in sorts:
            at_s = begins_s + chance.uniform(0, spread_s)
            free = [name for name in victims.of(kind, role) if busy_until.get(name, 0.0) <= at_s]
            if free:
                faults.append(_fault(chance, kind, role, chance.choice(free), at_s))
                busy_until[faults[-1].victim] = at_s + faults[-1].lasts_s + REST_S
        if faults:
            faults.sort(key=lambda fault: fault.begins_s)
            yield Strike(number, faults[0].begins_s, tuple(faults))


def _fault(chance: random.Random, kind: Kind, role: Role, victim: str, at_s: float) -> Fault:
    lasts_s = chance.uniform(*SPANS_S[kind, role])
    disturbance = {Kind.CUT: CUT, Kind.LINE: _bad_line(chance)}.get(kind)
    return Fault(kind, role, victim, at_s, lasts_s, disturbance)


def _bad_line(chance: random.Random) -> Disturbance:
    """A long one, one that loses, a thin one, or all of it."""
    which = chance.choice(("delay", "loss", "rate", "all"))
    delay_s = chance.uniform(0.02, 0.3) if which in ("delay", "all") else 0.0
    loss = chance.uniform(0.01, 0.2) if which in ("loss", "all") else 0.0
    bytes_per_s = chance.uniform(16e3, 256e3) if which in ("rate", "all") else None
    return Disturbance(delay_s, delay_s * chance.uniform(0, 0.5), loss, bytes_per_s)

"""What goes wrong in a run: plain data, drawn from a seed before anything runs, to be replayed and shrunk."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass


class Kind(enum.Enum):
    """A fault, or something that an owner does."""

    BOARD_KILL = "board-kill"
    BOARD_POWER = "board-power"
    BOARD_SLOW = "board-slow"
    BOARD_FABRIC = "board-fabric"
    BOARD_DISK = "board-disk-full"
    BOARD_CUT = "board-cut"
    BOARD_LINE = "board-bad-line"
    CONTROLLER_KILL = "controller-kill"
    CONTROLLER_CUT = "controller-cut"
    CONTROLLER_LATE = "controller-late"
    DATABASE_AWAY = "database-away"
    DATABASE_RESTORE = "database-restore"
    DATABASE_BACKUP = "database-backup"
    GATEWAY_KILL = "gateway-kill"
    GATEWAY_CUT = "gateway-cut"
    BROKER_KILL = "broker-kill"
    BROKER_UNFAITHFUL = "broker-unfaithful"
    STORM = "storm"
    REPLACE = "replace"


#: What leaves the fleet as able to answer as it was.
HARMLESS = frozenset({Kind.REPLACE, Kind.DATABASE_BACKUP})
#: What neither boards nor gateways notice.
UNSEEN = HARMLESS | {Kind.CONTROLLER_KILL, Kind.DATABASE_AWAY, Kind.DATABASE_RESTORE}
_BOARDS = frozenset(kind for kind in Kind if kind.value.startswith("board"))


@dataclass(frozen=True)
class Fault:
    """From `at` for `seconds` (virtual). `target` counts boards or gateways; `size` is what the kind makes of it."""

    at: float
    kind: Kind
    target: int = 0
    seconds: float = 0.0
    size: int = 0

    @property
    def lasts_s(self) -> float:
        """Seconds until it is over: power that fails within a time is away for as long."""
        return self.seconds * (2 if self.kind is Kind.BOARD_POWER and self.size else 1)

    @property
    def concerns_board(self) -> bool:
        """Whether `target` is a board's place."""
        return self.kind in _BOARDS

    def __str__(self) -> str:
        concerns = f" {self.target}" if self.concerns_board or self.kind.value.startswith("gateway") else ""
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:7.2f} {self.kind.value}{concerns}{lasts}" + (f" ({self.size})" if self.size else "")


#: The shortest and the longest time of each kind (seconds), and the largest size.
_LASTS: Mapping[Kind, tuple[float, float, int]] = {
    Kind.BOARD_KILL: (3, 3, 60),
    Kind.BOARD_POWER: (2, 15, 30),
    Kind.BOARD_SLOW: (2, 15, 30),
    Kind.BOARD_FABRIC: (0, 0, 3),
    Kind.BOARD_DISK: (2, 10, 0),
    Kind.BOARD_CUT: (0.2, 18, 0),
    Kind.BOARD_LINE: (2, 15, 20),
    Kind.CONTROLLER_KILL: (3, 3, 40),
    Kind.CONTROLLER_CUT: (0.2, 15, 0),
    Kind.CONTROLLER_LATE: (4, 15, 8),
    Kind.DATABASE_AWAY: (0.5, 8, 0),
    Kind.DATABASE_RESTORE: (0, 0, 0),
    Kind.DATABASE_BACKUP: (0, 0, 0),
    Kind.GATEWAY_KILL: (3, 3, 40),
    Kind.GATEWAY_CUT: (0.2, 15, 0),
    Kind.BROKER_KILL: (0.2, 6, 1),
    Kind.BROKER_UNFAITHFUL: (1, 10, 10),
    Kind.STORM: (0.5, 12, 0),
    Kind.REPLACE: (0, 0, 0),
}


def closings(closed_s: float, until: float) -> tuple[Fault, ...]:
    """Everybody is cut off for so long, and there for as long before and after."""
    times = range(1, int(until / closed_s) + 1, 2)
    return tuple(Fault(number * closed_s, Kind.STORM, seconds=closed_s) for number in times)


def torn(chance: random.Random, boards: int) -> tuple[Fault, ...]:
    """A new version is asked for, and power fails on each board about while it downloads it."""
    at = round(chance.uniform(0.2, 1.0), 2)
    strikes = (
        Fault(
            round(at + chance.uniform(0.5, 2.5), 2),
            Kind.BOARD_POWER,
            board,
            round(chance.uniform(2.0, 5.0), 2),
            2 * chance.randrange(30) + 1,
        )
        for board in range(boards)
    )
    return (Fault(at, Kind.REPLACE), *strikes)


def draw(
    chance: random.Random, weights: Mapping[Kind, float], every_s: float, since: float, until: float, boards: int
) -> tuple[Fault, ...]:
    """About one fault each `every_s` seconds, of kinds as likely as their weights say."""
    kinds = list(weights)
    found = []
    at = since + chance.expovariate(1 / every_s)
    while at < until:
        kind = chance.choices(kinds, [weights[each] for each in kinds])[0]
        shortest, longest, size = _LASTS[kind]
        target = chance.randrange(boards) if kind in _BOARDS else chance.randrange(2)
        seconds = round(chance.uniform(shortest, min(longest, max(shortest, until - at))), 2)
        found.append(Fault(round(at, 2), kind, target, seconds, chance.randint(0, size) if size else 0))
        at += chance.expovariate(1 / every_s)
    return tuple(found)

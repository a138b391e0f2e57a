"""What kinds of lines and of trouble a fleet lives with, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy_simulator.faults import Kind
from convoy_simulator.network import Conditions

_OWNER = {Kind.REPLACE: 1.0}
_EVERYTHING: Mapping[Kind, float] = dict.fromkeys(Kind, 1.0) | {Kind.REPLACE: 2.0, Kind.DATABASE_RESTORE: 0.5}


@dataclass(frozen=True)
class Profile:
    """`conditions` are those of boards' lines; faults come about each `every_s` seconds, of kinds weighed by `kinds`.

    They come for `trouble_s` seconds, and within `bound_s` after the last one the fleet is as it should be. `closed_s`:
    all boards' lines are cut for so long, and then there for as long, again and again. `is_torn`: besides, power fails
    on each board about while it downloads a version.
    """

    name: str
    about: str
    conditions: Conditions
    kinds: Mapping[Kind, float] = field(default_factory=dict)
    every_s: float = 8.0
    bound_s: float = 60.0
    trouble_s: float = 12.0
    closed_s: float = 0.0
    is_torn: bool = False


_OFFICE = Conditions(delay_s=0.0005, jitter_s=0.001)
_SLOW = Conditions(delay_s=0.002, jitter_s=0.001, down_bytes_per_s=120_000)
_3G = Conditions(delay_s=0.05, jitter_s=0.01, loss=0.005, up_bytes_per_s=48_000, down_bytes_per_s=250_000)
_SATELLITE = Conditions(delay_s=0.3, jitter_s=0.05, loss=0.02, up_bytes_per_s=500_000, down_bytes_per_s=3_000_000)

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("calm", "one switch, nothing goes wrong", Conditions(), _OWNER, 20.0),
        Profile(
            "office",
            "an office's network; now and then a line is cut or a board restarts",
            _OFFICE,
            _OWNER | {Kind.BOARD_CUT: 1.0, Kind.BOARD_KILL: 1.0},
            12.0,
        ),
        Profile(
            "3g",
            "each board on a cellular line: 100 ms there and back, 0.5 % of segments lost",
            _3G,
            _OWNER | {Kind.BOARD_CUT: 1.0, Kind.BOARD_LINE: 1.0},
            15.0,
            120.0,
        ),
        Profile(
            "satellite",
            "each board on a satellite: 600 ms there and back, 2 % lost",
            _SATELLITE,
            _OWNER | {Kind.BOARD_CUT: 1.0},
            20.0,
            120.0,
        ),
        Profile("storm", "everyone loses the broker and comes back at once", _OFFICE, _OWNER | {Kind.STORM: 3.0}, 15.0),
        Profile(
            "broker",
            "the broker is killed, with and without its memory",
            _OFFICE,
            _OWNER | {Kind.BROKER_KILL: 3.0},
            12.0,
        ),
        Profile(
            "control",
            "controllers die at any step, and their database is away or yesterday's",
            _OFFICE,
            _OWNER
            | {Kind.CONTROLLER_KILL: 2.0, Kind.CONTROLLER_CUT: 1.0, Kind.CONTROLLER_LATE: 1.0}
            | {Kind.DATABASE_AWAY: 1.0}
            | {Kind.DATABASE_BACKUP: 1.0, Kind.DATABASE_RESTORE: 1.0},
            3.0,
        ),
        Profile(
            "torn",
            "power fails while boards download",
            _SLOW,
            {Kind.REPLACE: 2.0, Kind.BOARD_POWER: 3.0, Kind.BOARD_KILL: 2.0, Kind.BOARD_DISK: 1.0},
            4.0,
            90.0,
            is_torn=True,
        ),
        Profile(
            "offices-closing",
            "five minutes off, five on",
            _OFFICE,
            {Kind.REPLACE: 1.0},
            150.0,
            120.0,
            trouble_s=900.0,
            closed_s=300.0,
        ),
        Profile("all", "everything together", _OFFICE, _EVERYTHING, 0.8, 90.0, trouble_s=5.0),
    )
}

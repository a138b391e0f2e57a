"""The boards that `convoy plan` plans for: so many of a profile, those of a file, or those that are online.

Of those online the figures are the model's, or the fleet's own where it has counted enough (`--boards fleet`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from convoy_schema.bundle import Method

if TYPE_CHECKING:
    from convoy_controller.database.engine import Database
    from convoy_controller.database.telemetry import FleetTelemetry, Key
    from convoy_controller.planning.costing import BoardModel
    from convoy_controller.planning.measuring import Speed
    from convoy_controller.planning.profiles import Profile

#: What `--boards` takes for the fleet with its measured figures.
FLEET = "fleet"
#: Speeds closer than this are one kind of board to the planner, so that noise makes no kinds.
ALIKE = 1.05


@dataclass(frozen=True)
class Kind:
    """Boards that are alike: what the planner takes them for, how many, and how fast they were measured to be.

    `is_stated`: the figures are those of a profile.
    """

    profile: Profile
    count: int
    speed: Speed | None = None
    is_stated: bool = False

    @property
    def figures(self) -> str:
        """Whether its compute times are "stated", "measured" or "modelled"."""
        return "stated" if self.is_stated else "modelled" if self.speed is None else "measured"


@dataclass(frozen=True)
class Boards:
    """All kinds. `processor` says that layers may run on theirs; `hop_s` is a measured hop, None: the model's."""

    kinds: tuple[Kind, ...]
    processor: bool
    hop_s: float | None = None

    def models(self, method: Method) -> list[tuple[str, BoardModel, int]]:
        """(name, model, count) of each, as the planner takes them."""
        return [
            (kind.profile.name, kind.profile.model(method, processor=self.processor), kind.count) for kind in self.kinds
        ]

    def figures(self, name: str) -> str:
        """`Kind.figures` of the kind of that name."""
        return next(kind.figures for kind in self.kinds if kind.profile.name == name)

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        from convoy_controller.planning.costing import HOP_S

        return {
            "figures": {
                kind.profile.name: {
                    "source": kind.figures,
                    "factor": None if kind.speed is None else kind.speed.factor,
                    "rows": 0 if kind.speed is None else kind.speed.rows,
                }
                for kind in self.kinds
            },
            "hop": {
                "source": "modelled" if self.hop_s is None else "measured",
                "seconds": HOP_S if self.hop_s is None else self.hop_s,
            },
        }

    def said(self) -> list[tuple[str, str]]:
        """Which figures of the fleet are measured, and which are not, for people; nothing of boards from a profile."""
        found = self.plain()
        return said_of(found["figures"], found["hop"])


def said_of(figures: Mapping[str, Any], hop: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As `Boards.said`, of what `Boards.plain` gave."""
    if any(each["source"] == "stated" for each in figures.values()):
        return []
    lines = [
        (
            each["source"],
            f"{name}: the cycle model's times, as nothing of it is measured yet"
            if each["factor"] is None
            else f"{name}: {each['factor']:.3g} times the model's, over {each['rows']:,} rows",
        )
        for name, each in figures.items()
    ]
    if hop["source"] == "measured":
        lines.append(("measured", f"a hop: {1e3 * hop['seconds']:.4g} ms beside what its bytes take"))
    else:
        lines.append(("modelled", "a hop"))
    return [*lines, ("modelled", "links, memory, and how long boards take to get ready")]


def boards_for(fleet: Database, wanted: str | None, profile: str, method: Method, processor: bool) -> Boards:
    """What `--boards` means: None the boards online by the model, `FLEET` by their own figures, a number, or a file."""
    from convoy_controller.errors import NotFoundError
    from convoy_controller.planning import profiles

    if wanted is None or wanted == FLEET:
        return _online(fleet, method, is_measured=wanted == FLEET)
    if not wanted.isdecimal():
        if not Path(wanted).is_file():
            raise typer.BadParameter(
                f"{wanted!r} is neither a number nor a file of boards, nor {FLEET!r}", param_hint="--boards"
            )
        listed = profiles.boards_of(Path(wanted))
        return Boards(tuple(Kind(each, count, is_stated=True) for each, count in listed), processor)
    if not 1 <= int(wanted) <= profiles.MOST_BOARDS:
        raise typer.BadParameter(f"{wanted} is not from 1 to {profiles.MOST_BOARDS}", param_hint="--boards")
    known = profiles.shipped()
    if profile not in known:
        raise NotFoundError(f"there is no profile {profile!r}; there is {', '.join(sorted(known))}", profile=profile)
    return Boards((Kind(known[profile], int(wanted), is_stated=True),), processor)


def _online(fleet: Database, method: Method, *, is_measured: bool) -> Boards:
    """Boards that are online and can load what the method needs, as many of each kind as there are."""
    from convoy_controller.database.telemetry import fleet_telemetry
    from convoy_controller.errors import NotFoundError
    from convoy_controller.planning.measuring import speed
    from convoy_controller.planning.profiles import Profile

    there = fleet_telemetry(fleet)
    alike: dict[Profile, list[tuple[str, Speed | None]]] = {}
    for each in there.boards:
        if each.capability.shells and method.shell not in each.capability.shells:
            continue
        profile, found = Profile.of("", each.capability), None
        if is_measured and each.works:
            # By the method under which the board was counted, which need not be the one that is planned for.
            counted = each.works[0][0].intent.method
            works = [work for work in each.works if work[0].intent.method is counted]
            found = speed(works, there.topologies, profile.model(counted, processor=True))
        slowed = profile if found is None else profile.slowed(_rounded(found.factor))
        alike.setdefault(slowed, []).append((each.board, found))
    if not alike:
        raise NotFoundError(
            f"no board is online that can load shell {method.shell}: say which boards to plan for, as --boards 3 or "
            "--boards FILE.toml"
        )
    kinds = tuple(
        Kind(replace(profile, name=_named([name for name, _ in members])), len(members), _mean(members))
        for profile, members in alike.items()
    )
    return Boards(kinds, processor=True, hop_s=_hop(there) if is_measured else None)


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}..."


def _rounded(factor: float) -> float:
    return float(ALIKE ** round(math.log(factor, ALIKE)))


def _mean(members: Sequence[tuple[str, Speed | None]]) -> Speed | None:
    """Over the rows of all of them."""
    from convoy_controller.planning.measuring import Speed

    speeds = [speed for _, speed in members if speed is not None]
    rows = sum(speed.rows for speed in speeds)
    return Speed(sum(speed.factor * speed.rows for speed in speeds) / rows, rows) if rows else None


def _hop(there: FleetTelemetry) -> float | None:
    """Seconds of a hop, over every generation of which hops and rows were counted."""
    from convoy_controller.planning.costing import LINK_BYTES_PER_S
    from convoy_controller.planning.measuring import hop_seconds

    found: dict[Key, float] = {}
    stages: dict[Key, set[int]] = {}
    for board in there.boards:
        for assignment, pulse in board.works:
            topology, hop_s = there.topologies.get(assignment.bundle), there.hops.get(assignment.key)
            if topology is None or hop_s is None or not pulse.frames:
                continue
            names = [layer.name for layer in topology.layers]
            cuts = stages.setdefault(assignment.key, {0})
            cuts.add(names.index(assignment.layers[-1]) + 1)
            rows = pulse.rows / pulse.frames
            found[assignment.key] = hop_seconds(hop_s, topology, sorted(cuts), rows, LINK_BYTES_PER_S)
    return sum(found.values()) / len(found) if found else None

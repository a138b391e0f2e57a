"""What a bench answers: figures, the peer's from the same run, the ratio, the bar, and whether it was met."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured thing. `bar` bounds `ratio` (or `figure`, where there is no peer) from below or above."""

    name: str
    unit: str
    figure: float
    bar: float
    at_least: bool
    peer_name: str = ""
    peer: float | None = None

    @property
    def ratio(self) -> float | None:
        """Figure over peer; None without one."""
        return self.figure / self.peer if self.peer else None

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        value = self.figure if self.ratio is None else self.ratio
        return value >= self.bar if self.at_least else value <= self.bar

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "figure": round(self.figure, 4),
            "peer_name": self.peer_name or None,
            "peer": None if self.peer is None else round(self.peer, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "bar": f"{'>=' if self.at_least else '<='} {self.bar:g}",
            "met": self.met,
        }


@dataclass(frozen=True)
class Result:
    """A bench's figures, and whatever else it observed."""

    bench: str
    figures: tuple[Figure, ...]
    notes: dict[str, Any]

    @property
    def met(self) -> bool:
        """Whether every bar is met."""
        return all(figure.met for figure in self.figures)

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "bench": self.bench,
            "met": self.met,
            "figures": [figure.plain() for figure in self.figures],
            "notes": self.notes,
        }


@dataclass
class Paired:
    """Rounds of a figure and its peer, taken in turn: the ratio is the median of the rounds' ratios.

    Machines are shared and noisy; two runs side by side meet the same noise, two runs an hour apart do not.
    """

    ours: list[float]
    peers: list[float]

    def add(self, ours: float, peer: float) -> None:
        """One round."""
        self.ours.append(ours)
        self.peers.append(peer)

    def figure(self, name: str, unit: str, bar: float, *, at_least: bool, peer_name: str) -> Figure:
        """The median round: our median figure, and the peer that gives the median ratio."""
        ratio = median(ours / peer for ours, peer in zip(self.ours, self.peers, strict=True))
        ours = median(self.ours)
        return Figure(name, unit, ours, bar, at_least, peer_name, ours / ratio)

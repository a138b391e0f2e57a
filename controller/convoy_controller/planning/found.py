"""What a search hands back: stages, a bound that no plan can beat, and how it was found."""

from __future__ import annotations

from dataclasses import dataclass

from convoy_controller.planning.multisets import Cut


@dataclass(frozen=True)
class Found:
    """`bound` is of the objective, in seconds; `exact` says that some plan reaches it."""

    cuts: tuple[Cut, ...]
    bound: float
    exact: bool
    method: str

"""What a board's stages have computed since this process first heard its pulse: counters that only ever grow.

A board counts anew with every generation and every session, and two generations of a deployment may be live at once;
a sum over what it says would fall, and be taken for a restart. Pure functions of one pulse after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convoy_schema.messages.boards import Pulse, StagePulse


@dataclass(frozen=True)
class StageTotals:
    """One deployment's on one board: frames, rows, microseconds of work, and frames refused by reason."""

    frames: int = 0
    rows: int = 0
    busy_us: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


NOTHING = StageTotals()


def advanced(totals: Mapping[str, StageTotals] | None, before: Pulse | None, pulse: Pulse) -> dict[str, StageTotals]:
    """Totals by deployment after `pulse`; `before` is the one before it in the same session, if there was one.

    `totals` None: the first pulse ever heard. What it counts happened before anybody here looked, so it is where
    counting begins. A deployment that is not in the pulse is let go of.
    """
    if totals is None:
        return {stage.deployment: NOTHING for stage in pulse.stages}
    known = {(stage.deployment, stage.generation): stage for stage in before.stages} if before is not None else {}
    grown: dict[str, StageTotals] = {}
    for stage in pulse.stages:
        so_far = grown.get(stage.deployment) or totals.get(stage.deployment, NOTHING)
        grown[stage.deployment] = _grown(so_far, known.get((stage.deployment, stage.generation)), stage)
    return grown


def _grown(totals: StageTotals, before: StagePulse | None, stage: StagePulse) -> StageTotals:
    if before is None or stage.frames < before.frames:  # it counts from nothing
        return StageTotals(
            totals.frames + stage.frames,
            totals.rows + stage.rows,
            totals.busy_us + stage.busy_us,
            _more(totals.refused, {}, stage.refused),
        )
    return StageTotals(
        totals.frames + stage.frames - before.frames,
        totals.rows + max(0, stage.rows - before.rows),
        totals.busy_us + max(0, stage.busy_us - before.busy_us),
        _more(totals.refused, before.refused, stage.refused),
    )


def _more(totals: Mapping[str, int], before: Mapping[str, int], now: Mapping[str, int]) -> Mapping[str, int]:
    if now == before:
        return totals
    grown = dict(totals)
    for reason, count in now.items():
        grown[reason] = grown.get(reason, 0) + max(0, count - before.get(reason, 0))
    return grown

"""Boards on their way to what they should hold, or stuck there."""

from __future__ import annotations

from convoy_schema.messages.boards import Phase

from convoy_controller.database.explanations.wording import answer, date, revision, stage, symptom
from convoy_controller.database.records import SymptomKind
from convoy_controller.database.views import BoardFacts, Condition, Why


def stuck(facts: BoardFacts) -> Why | None:
    """Nothing has moved for a while."""
    found, assigned = symptom(facts, SymptomKind.STALLED), facts.assigned
    if found is None or assigned is None or assigned.phase in (Phase.READY, Phase.FAILED):
        return None
    figures = found.figures
    phase = figures["phase"]
    progress, reason = "", figures["why"] or f"{figures['step'] or 'it says nothing new'}"
    if phase == Phase.FETCHING.value:
        progress = f" at {figures['done_bytes']} of {figures['total_bytes']} bytes"
    return answer(
        facts,
        Condition.STUCK,
        f"stuck in {phase}",
        found.since,
        reason,
        f"{facts.board} is stuck in {phase}{progress} for {stage(assigned)}: nothing has moved since "
        f"{date(found.since)}; {reason.rstrip('.')}.",
        "see that the controller can read the artifact and the board's bulk connection stands (`convoy logs "
        f"{facts.board}`); it is given up after a minute, and placed elsewhere if it can be"
        if phase == Phase.FETCHING.value
        else f"see `convoy logs {facts.board}`; if it lasts, restart the board's daemon, then power-cycle the board",
    )


def unfinished(facts: BoardFacts) -> Why | None:
    """It has not confirmed what it was told, or is not ready for it yet."""
    if facts.reported < facts.desired:
        return answer(
            facts,
            Condition.STALE,
            f"at revision {revision(facts.reported)}",
            facts.desired_at,
            "it has not confirmed the newest revision",
            f"{facts.board} is at revision {revision(facts.reported)}, but was told {revision(facts.desired)} at "
            f"{date(facts.desired_at)} and has not confirmed it.",
            "a moment is normal; if it lasts, see `convoy events --board "
            f"{facts.board}` for a refused message, and restart its daemon",
        )
    assigned = facts.assigned
    if assigned is None or assigned.phase is Phase.READY:
        return None
    progress = assigned.phase.value
    if assigned.phase is Phase.FETCHING:
        progress += f" ({assigned.done_bytes} of {assigned.total_bytes} bytes)"
    step = f", {assigned.step}" if assigned.step else ""
    return answer(
        facts,
        Condition.PREPARING,
        progress,
        assigned.since,
        "",
        f"{facts.board} is {progress} for {stage(assigned)} since {date(assigned.since)}{step}.",
        "wait; if nothing moves, see that the controller runs and the board reaches the broker",
    )

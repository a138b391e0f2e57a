"""How an answer is put together, and what its parts are called in it."""

from __future__ import annotations

from datetime import datetime

from convoy_controller.database.records import GenerationState, Symptom, SymptomKind
from convoy_controller.database.views import Assigned, BoardFacts, Condition, Why

_ACTIVITY = {GenerationState.SERVING: "serves", GenerationState.DRAINING: "finishes what is in flight of"}


def answer(
    facts: BoardFacts,
    condition: Condition,
    actual: str,
    since: datetime | None,
    blocked_by: str,
    sentence: str,
    action: str,
) -> Why:
    """The answer about that board."""
    return Why(facts.board, condition, wanted(facts), actual, since, blocked_by, sentence, action)


def wanted(facts: BoardFacts) -> str:
    """What it should hold."""
    if facts.assigned is None:
        return "nothing"
    return f"{stage(facts.assigned)}: {', '.join(facts.assigned.layers)}"


def stage(assigned: Assigned) -> str:
    """Which part of what."""
    return (
        f"stage {assigned.stage + 1} of {assigned.stages} of {assigned.deployment} (generation {assigned.generation})"
    )


def activity(assigned: Assigned, otherwise: str) -> str:
    """What a board does with it, as a verb; `otherwise` while it neither serves nor drains."""
    return _ACTIVITY.get(assigned.generation_state, otherwise)


def revision(pair: tuple[int, int]) -> str:
    """Of what a board is told."""
    return "none" if pair == (0, 0) else f"{pair[0]}-{pair[1]}"


def date(value: datetime | None) -> str:
    """For people."""
    return "an unknown time" if value is None else value.strftime("%Y-%m-%d %H:%M:%S UTC")


def milliseconds(us: int) -> str:
    """Microseconds, for people."""
    return f"{us / 1000:.1f} ms" if us < 10_000 else f"{us / 1000:.0f} ms"


def symptom(facts: BoardFacts, kind: SymptomKind) -> Symptom | None:
    """That symptom, if the board has it."""
    return next((each for each in facts.symptoms if each.kind is kind), None)

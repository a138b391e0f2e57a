"""The order in which truths about a board are told, and the last two of them, in which nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable

from convoy_controller.database.explanations import belonging, failures, presence, progress, strain, wishes
from convoy_controller.database.explanations.wording import activity, answer, date, stage
from convoy_controller.database.views import Assigned, BoardFacts, Condition, Why

#: The worst first. What keeps a board from the fleet stands before what keeps it from its work.
_ORDER: tuple[Callable[[BoardFacts], Why | None], ...] = (
    belonging.shut_out,
    belonging.unreadable,
    presence.spoken_of,
    presence.flapping,
    presence.unreachable,
    failures.failing,
    failures.degraded,
    failures.blocked,
    wishes.leaving,
    failures.left_out,
    progress.stuck,
    progress.unfinished,
    strain.slow_link,
    strain.overloaded,
)


def explain(facts: BoardFacts) -> Why:
    """What stands out about a board that the database knows."""
    for told in _ORDER:
        found = told(facts)
        if found is not None:
            return found
    return _settled(facts)


def _settled(facts: BoardFacts) -> Why:
    assigned = facts.assigned
    if assigned is None:
        return answer(
            facts,
            Condition.UNASSIGNED,
            "idle",
            facts.presence_since,
            "",
            f"{facts.board} is online and free: no deployment has been placed on it.",
            "`convoy deploy MODEL` uses it if the plan gains by it",
        )
    refused = _refused_since(facts, assigned)
    return answer(
        facts,
        Condition.READY,
        "ready",
        assigned.since,
        "",
        f"{facts.board} {activity(assigned, 'is ready and waits for the others with')} {stage(assigned)} "
        f"and has all it should, since {date(assigned.since)}."
        + (f" It was to take up something else: {refused}." if refused else ""),
        "remove the cause that the message names, then `convoy deploy` again" if refused else "nothing to do",
    )


def _refused_since(facts: BoardFacts, assigned: Assigned) -> str:
    """Why something that came after what it holds was given up on this board; '' if nothing was."""
    if facts.given_up_at is None or assigned.since is None or facts.given_up_at < assigned.since:
        return ""
    return facts.given_up.rstrip(".")

"""Boards that are out of service because their owner wants it, or on their way there."""

from __future__ import annotations

from convoy_controller.database.explanations.wording import activity, answer, date, stage
from convoy_controller.database.views import BoardFacts, Condition, Why


def leaving(facts: BoardFacts) -> Why | None:
    """Drained, or about to restart."""
    if facts.drained_at is None and facts.restart_at is None:
        return None
    drained, board, assigned = facts.drained_at is not None, facts.board, facts.assigned
    since = facts.drained_at if drained else facts.restart_at
    told = "is drained" if drained else "is to restart"
    if assigned is not None:
        return answer(
            facts,
            Condition.DRAINED if drained else Condition.RESTARTING,
            "leaving",
            since,
            "its part has to run elsewhere first",
            f"{board} {told}, asked for at {date(since)}, and still {activity(assigned, 'holds')} {stage(assigned)}: "
            "it leaves once that is served elsewhere.",
            f"wait; if it lasts, `convoy deployments {assigned.deployment}` says what no other board can take over",
        )
    if drained:
        return answer(
            facts,
            Condition.DRAINED,
            "drained",
            since,
            "",
            f"{board} is drained since {date(since)}: it holds nothing, and nothing is placed on it.",
            "give it back to the fleet when you are done with it",
        )
    return answer(
        facts,
        Condition.RESTARTING,
        "restarting",
        since,
        "",
        f"{board} holds nothing and is to restart, asked for at {date(since)}.",
        "a moment is normal; if it lasts, see that whoever runs its daemon starts it again",
    )

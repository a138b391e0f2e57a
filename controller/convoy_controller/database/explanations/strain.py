"""Boards that have all they should and do it badly: a slow link, or more to do than they can."""

from __future__ import annotations

from convoy_schema.messages.boards import Phase

from convoy_controller.database.explanations.wording import activity, answer, date, milliseconds, stage, symptom
from convoy_controller.database.records import SymptomKind
from convoy_controller.database.views import BoardFacts, Condition, Why


def slow_link(facts: BoardFacts) -> Why | None:
    """Frames take far longer to leave it than they take at its peers."""
    found, assigned = symptom(facts, SymptomKind.SLOW_LINK), facts.assigned
    if found is None or assigned is None or assigned.phase is not Phase.READY:
        return None
    us, peers_us = found.figures["us"], found.figures["peers_us"]
    is_uplink = found.figures["of"] == "uplink"
    takes = "its frames wait {} for their way out" if is_uplink else "the way to the broker and back takes {}"
    what = f"{takes.format(milliseconds(us))}, {milliseconds(peers_us)} at the boards it works with"
    return answer(
        facts,
        Condition.SLOW_LINK,
        "serves over a slow link",
        found.since,
        what,
        f"{facts.board} has a slow link since {date(found.since)}: {what}; it "
        f"{activity(assigned, 'is ready for')} {stage(assigned)}, and every frame waits for that hop.",
        "look at its cable, switch port and what else uses its uplink; until it is mended run its part elsewhere: "
        f"`convoy board drain {facts.board}`",
    )


def overloaded(facts: BoardFacts) -> Why | None:
    """It is asked for more than it can do."""
    found, assigned = symptom(facts, SymptomKind.OVERLOADED), facts.assigned
    if found is None or assigned is None or assigned.phase is not Phase.READY:
        return None
    figures = found.figures
    deployment = figures["deployment"] or assigned.deployment
    if figures["waiting_rows"]:
        what = (
            f"{figures['waiting_rows']} rows of {deployment} wait at the gateways, and {figures['queued']} of "
            f"{figures['room']} frames before this board"
        )
    else:
        what = f"it had no room for frames of {deployment} and refused {figures['refused']}"
    return answer(
        facts,
        Condition.OVERLOADED,
        "overloaded",
        found.since,
        what,
        f"{facts.board} is overloaded since {date(found.since)}: more is asked of {deployment} than it can do; {what}, "
        f"which {activity(assigned, 'is ready for')} the slowest: {stage(assigned)}.",
        f"give {deployment} more boards (`convoy scale {deployment} --boards N`; see `convoy plan`), or send less",
    )

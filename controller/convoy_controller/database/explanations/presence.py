"""Boards that are not there, or not for long."""

from __future__ import annotations

from convoy_controller.database.explanations.wording import answer, date, symptom, wanted
from convoy_controller.database.records import BoardPresence, SymptomKind
from convoy_controller.database.views import BoardFacts, Condition, Why


def never_seen(board: str) -> Why:
    """The answer for a name that nobody has heard of."""
    return Why(
        board,
        Condition.NEVER_SEEN,
        "nothing",
        "never seen",
        None,
        "it has never spoken to this controller",
        f"{board} was never seen: no message of a board of that name has come.",
        f"check the name with `convoy boards`; start it with `convoy-device run --config FILE`, with `{board}` as its "
        "name and this fleet's broker and site",
    )


def spoken_of(facts: BoardFacts) -> Why | None:
    """A board that is planned for and was never heard."""
    if facts.first_seen is not None:
        return None
    said = never_seen(facts.board)
    return Why(
        facts.board,
        said.condition,
        wanted(facts),
        said.actual,
        facts.desired_at,
        said.blocked_by,
        said.sentence,
        said.action,
    )


def flapping(facts: BoardFacts) -> Why | None:
    """It comes and goes: told whether it is there just now or not, which the next minute would change."""
    found = symptom(facts, SymptomKind.FLAPPING)
    if found is None:
        return None
    returns, sessions = found.figures["returns"], found.figures["sessions"]
    reason = facts.session_reason or facts.presence_reason or "no reason was given"
    if 2 * sessions >= returns:
        what, blocked = f"{sessions} of these times as a new session", "its daemon dies and is started again"
        action = (
            "find out what ends its daemon: `convoy logs "
            f"{facts.board}`, then `journalctl -u convoy-device` on the board; it is calm again after five minutes"
        )
    else:
        what, blocked = "each time in the same session", "its connection breaks and is made anew"
        action = "look at its network and its way to the broker; it is calm again after five minutes"
    return answer(
        facts,
        Condition.FLAPPING,
        "comes and goes",
        found.since,
        blocked,
        f"{facts.board} comes and goes since {date(found.since)}: it came back at least {returns} times within "
        f"minutes, {what}; {blocked} (last heard of it: {reason}).",
        action,
    )


def unreachable(facts: BoardFacts) -> Why | None:
    """It is gone, or nobody knows, or it has not said what it is."""
    if facts.presence is BoardPresence.OFFLINE:
        reason = facts.session_reason or facts.presence_reason or "it fell silent"
        return answer(
            facts,
            Condition.OFFLINE,
            "offline",
            facts.presence_since,
            reason,
            f"{facts.board} has been offline since {date(facts.presence_since)} "
            f"(session {facts.session} began {date(facts.session_started)} and ended: {reason}).",
            "see whether it has power and reaches the broker; then look at its log "
            "(`journalctl -u convoy-device` on the board)",
        )
    if facts.presence is BoardPresence.UNKNOWN:
        return answer(
            facts,
            Condition.PRESENCE_UNKNOWN,
            "not known to be there",
            facts.presence_since,
            "nothing fresh has come from it",
            f"{facts.board} was last heard {date(facts.last_seen)}; whether it is still there is not known: "
            "nothing has come from it since the controller last connected.",
            "wait for its next pulse (at most 30 s); if it stays so, see that controller and broker run",
        )
    if not facts.is_described:
        return answer(
            facts,
            Condition.UNDESCRIBED,
            "online, undescribed",
            facts.presence_since,
            "no capability has come from it",
            f"{facts.board} is online but has not said in a form this controller reads what it is.",
            "see `convoy events --board "
            f"{facts.board}` for refused messages; a board older than the controller must be updated",
        )
    return None

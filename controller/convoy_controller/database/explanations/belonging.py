"""Boards that are not, or cannot be, part of the fleet: shut out by their owner, or speaking another protocol."""

from __future__ import annotations

from convoy_schema import version

from convoy_controller.database.explanations.wording import answer, date, symptom
from convoy_controller.database.records import BoardPresence, SymptomKind
from convoy_controller.database.views import BoardFacts, Condition, Why


def shut_out(facts: BoardFacts) -> Why | None:
    """Its certificate was revoked."""
    if facts.revoked_at is None:
        return None
    reason = f", for {facts.revoked_reason!r}" if facts.revoked_reason else ""
    since = f" (since {date(facts.presence_since)})" if facts.presence is BoardPresence.OFFLINE else ""
    return answer(
        facts,
        Condition.REVOKED,
        "shut out",
        facts.revoked_at,
        "its certificate was revoked",
        f"{facts.board} is shut out: its certificate was revoked at {date(facts.revoked_at)}{reason}; the broker takes "
        f"nothing from it and it is {facts.presence.value}{since}.",
        "nothing, if that was meant; a revoked name never comes back: invite the board anew under another one "
        "(`convoy board invite`), and `convoy board forget` this one",
    )


def unreadable(facts: BoardFacts) -> Why | None:
    """What it says is of a version that is not spoken here; both sides refuse each other then."""
    found = symptom(facts, SymptomKind.UNREADABLE)
    if found is None:
        return None
    current, oldest = found.figures["current"], found.figures["oldest"]
    is_older = current < version.OLDEST
    blocked = (
        f"it speaks protocol {current}, {version.OLDEST} or newer is needed here"
        if is_older
        else f"it needs protocol {oldest} or newer, {version.CURRENT} is spoken here"
    )
    software = f" Its software was {facts.software} when it was understood last." if facts.software else ""
    return answer(
        facts,
        Condition.VERSION_OUT_OF_RANGE,
        f"speaks protocol {current}",
        found.since,
        blocked,
        f"{facts.board} speaks a version of the protocol that is out of range since {date(found.since)}: {blocked}; "
        f"neither side understands the other.{software}",
        f"update {'the board: `convoy-device upgrade`' if is_older else 'the controller and its gateways'} "
        "to the release that the other side runs",
    )

"""What a board tried and could not do, or was left out for; partitions that failed; what keeps it from going on.

A failure is told until the board is ready, whatever it is trying meanwhile, and as long as it is left out for it.
"""

from __future__ import annotations

from datetime import datetime

from convoy_schema.messages.boards import Phase

from convoy_controller.database.explanations.wording import activity, answer, date, stage
from convoy_controller.database.views import Assigned, BoardFacts, Condition, Why

#: What helps against a failure, by its code.
CURES = {
    "signature": "give the board this fleet's keys/trusted.pem, or import the model again with the key it trusts",
    "delegation": "sign with a key that this fleet's root delegated for this site (`convoy key rotate`)",
    "delegation-superseded": "sign anew with the newest key: `convoy key rotate`",
    "delegation-expired": "delegate a new key and sign anew: `convoy key rotate`",
    "below-floor": "deploy a version that was not revoked: `convoy key floor show` says which were",
    "bundle-mixed": "import the model again: what was announced is put together from several",
    "part-mismatch": "publish the model again with images for this board's part",
    "shell-mismatch": "publish the model again with an image of that shell for this board's part, deploy by a method "
    "whose shell the board has, or name other boards (`convoy scale NAME --boards`)",
    "module-missing": "publish the model again with that module for this board's part, shell and partition",
    "integrity": "look at the board's storage: content it had verified no longer matches its digest",
    "bitstream": "publish the model again with images made for this board's part and shell",
    "image-refused": "publish the model again with other images: `convoy bitstream check` says what is wrong with one",
    "protocol-version": "update the side that the message names",
    "topology": "import the model again; the board cannot compute this layer as described",
    "layer-refused": "name other boards (`convoy scale NAME --boards`): the layer exceeds this one's kernel",
    "self-test": "take the board out of service (`convoy board drain`) and run `convoy-device selftest`: it computes "
    "something else than it should",
    "store-full": "raise store_quota_mb in the board's configuration or free its disk, or remove a deployment "
    "(`convoy undeploy`) or what nothing needs (`convoy gc`); it is tried again by itself",
    "stalled": "see that the controller has the artifact and the board's bulk connection stands "
    "(`convoy logs BOARD`), then restart the board's daemon or `convoy deploy` again",
}
#: Failures that have a condition of their own, by code, and what a board is then.
_NAMED = {
    "below-floor": (Condition.REVOKED, "revoked"),
    "shell-mismatch": (Condition.WRONG_SHELL, "has the wrong shell"),
    "part-mismatch": (Condition.WRONG_SHELL, "has the wrong shell"),
    "module-missing": (Condition.WRONG_SHELL, "has the wrong shell"),
    "store-full": (Condition.STORE_FULL, "store full"),
    "stalled": (Condition.STUCK, "left out"),
}
#: Codes of what goes wrong when a partition is configured.
_OF_PARTITIONS = ("fabric",)


def failing(facts: BoardFacts) -> Why | None:
    """What it fails at now, or failed at and has not got ready since."""
    assigned = facts.assigned
    if assigned is None or (assigned.phase is not Phase.FAILED and assigned.failing_since is None):
        return None
    if facts.degraded and assigned.code in _OF_PARTITIONS:
        return None
    since = assigned.failing_since or assigned.since
    message = assigned.message.rstrip(".") or "no message"
    known = _named(facts, assigned.code, since, message, stage(assigned))
    if known is not None:
        return known
    retry = "the board tries again by itself" if assigned.retryable else "a retry cannot help"
    cure = CURES.get(assigned.code, "remove the cause that the message names, then `convoy deploy` again")
    return answer(
        facts,
        Condition.FAILED,
        f"failed ({assigned.code})",
        since,
        assigned.message or assigned.code,
        f"{facts.board} failed at {stage(assigned)}: {assigned.message or 'no message'} "
        f"(code {assigned.code or 'unknown'}; {retry}).",
        "wait; if it fails again, remove the cause that the message names" if assigned.retryable else cure,
    )


def left_out(facts: BoardFacts) -> Why | None:
    """What it was given was taken from it again, so that its own report no longer says why.

    Told while nothing else is placed on it, and while it is tried again; a few kinds of it also while it serves others.
    """
    if not facts.given_up:
        return None
    if facts.degraded and facts.given_up_code in _OF_PARTITIONS:
        return None
    assigned, reason = facts.assigned, facts.given_up.rstrip(".")
    known = _named(facts, facts.given_up_code, facts.given_up_at, reason, "")
    if known is not None:
        return known
    if assigned is not None:
        return None
    return answer(
        facts,
        Condition.FAILED,
        "left out",
        facts.given_up_at,
        facts.given_up,
        f"{facts.board} is left out for now: {reason}.",
        CURES.get(
            facts.given_up_code,
            "remove the cause that the message names, then restart the board's daemon or `convoy deploy` again",
        ),
    )


def _named(facts: BoardFacts, code: str, since: datetime | None, message: str, place: str) -> Why | None:
    """The failures that people tell apart; `place` is '' for one that is over for now."""
    if code not in _NAMED:
        return None
    condition, actual = _NAMED[code]
    where = place or "what it was given last, and is left out for now"
    start = {
        Condition.REVOKED: f"{facts.board} has stopped {place or 'what it ran'}, since the bundle was revoked",
        Condition.WRONG_SHELL: f"{facts.board} has the wrong shell for {where}",
        Condition.STORE_FULL: f"{facts.board} has no room in its store for {where}",
        Condition.STUCK: f"{facts.board} was stuck and is left out for now",
    }[condition]
    return answer(
        facts,
        condition,
        actual,
        since,
        message,
        f"{start}, since {date(since)}: {message} (code {code}).{_meanwhile(facts.assigned, facts.board)}",
        CURES[code].replace("BOARD", facts.board),
    )


def _meanwhile(assigned: Assigned | None, board: str) -> str:
    if assigned is None or assigned.phase is Phase.FAILED:
        return ""
    if assigned.phase is Phase.READY:
        return f" Meanwhile {board} {activity(assigned, 'is ready for')} {stage(assigned)}."
    return f" It is tried again: {assigned.phase.value} for {stage(assigned)}."


def degraded(facts: BoardFacts) -> Why | None:
    """A partition failed to configure, and stays cut off until a load goes well."""
    if not facts.degraded:
        return None
    names = ", ".join(facts.degraded)
    since = facts.degraded_since or facts.reported_at
    reason = ""
    if facts.assigned is not None and facts.assigned.code in _OF_PARTITIONS:
        reason = facts.assigned.message.rstrip(".")
    elif facts.given_up_code in _OF_PARTITIONS:
        reason = facts.given_up.rstrip(".")
    because = f" The last attempt: {reason}." if reason else ""
    return answer(
        facts,
        Condition.DEGRADED,
        "degraded",
        since,
        reason or f"partition {names} stays decoupled",
        f"{facts.board} is degraded since {date(since)}: partition {names} of shell {facts.shell or 'none'} failed to "
        f"configure and stays decoupled until a load of it goes well.{because}",
        "if one model alone does it, publish that again with other images (`convoy bitstream check`); else restart the "
        "daemon, then power-cycle the board; if the partition fails again, retire the board",
    )


def blocked(facts: BoardFacts) -> Why | None:
    """It says itself what keeps it from going on."""
    if not facts.blocked:
        return None
    return answer(
        facts,
        Condition.BLOCKED,
        "blocked",
        facts.blocked_since or facts.reported_at,
        facts.blocked,
        f"{facts.board} cannot go on: {facts.blocked.rstrip('.')}.",
        "remove what blocks it; the board goes on by itself",
    )

"""Why a board is where it is, in one sentence and with what to do about it.

A pure function of `BoardFacts`: no SQL, no clock. The worst truth is told first. Called by the queries.
"""

from __future__ import annotations

from datetime import datetime

from convoy_schema.messages.boards import Phase

from convoy_controller.database.records import BoardPresence, GenerationState
from convoy_controller.database.views import Assigned, BoardFacts, Condition, Why

#: What helps against a failure that a retry cannot cure, by its code.
CURES = {
    "signature": "give the board this fleet's keys/trusted.pem, or import the model again with the key it trusts",
    "delegation": "sign with a key that this fleet's root delegated for this site (`convoy key rotate`)",
    "delegation-superseded": "sign anew with the newest key: `convoy key rotate`",
    "delegation-expired": "delegate a new key and sign anew: `convoy key rotate`",
    "below-floor": "deploy a version that was not revoked: `convoy key floor show` says which were",
    "bundle-mixed": "import the model again: what was announced is put together from several",
    "part-mismatch": "publish the model again with images for this board's part",
    "integrity": "look at the board's storage: content it had verified no longer matches its digest",
    "bitstream": "publish the model again with images made for this board's part and shell",
    "image-refused": "publish the model again with other images: `convoy bitstream check` says what is wrong with one",
    "protocol-version": "update the side that the message names",
    "topology": "import the model again; the board cannot compute this layer as described",
}


_ACTIVITY = {GenerationState.SERVING: "serves", GenerationState.DRAINING: "finishes what is in flight of"}


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


def explain(facts: BoardFacts) -> Why:
    """What stands out about a board that the database knows."""
    if facts.first_seen is None:
        return _never_seen(facts)
    return (
        _unreachable(facts)
        or _unable(facts)
        or _leaving(facts)
        or _unfinished(facts)
        or _left_out(facts)
        or _settled(facts)
    )


def _never_seen(facts: BoardFacts) -> Why:
    answer = never_seen(facts.board)
    return Why(
        facts.board,
        answer.condition,
        _wanted(facts),
        answer.actual,
        facts.desired_at,
        answer.blocked_by,
        answer.sentence,
        answer.action,
    )


def _unreachable(facts: BoardFacts) -> Why | None:
    if facts.presence is BoardPresence.OFFLINE:
        reason = facts.session_reason or facts.presence_reason or "it fell silent"
        return _why(
            facts,
            Condition.OFFLINE,
            "offline",
            facts.presence_since,
            reason,
            f"{facts.board} has been offline since {_date(facts.presence_since)} "
            f"(session {facts.session} began {_date(facts.session_started)} and ended: {reason}).",
            "see whether it has power and reaches the broker; then look at its log "
            "(`journalctl -u convoy-device` on the board)",
        )
    if facts.presence is BoardPresence.UNKNOWN:
        return _why(
            facts,
            Condition.PRESENCE_UNKNOWN,
            "not known to be there",
            facts.presence_since,
            "nothing fresh has come from it",
            f"{facts.board} was last heard {_date(facts.last_seen)}; whether it is still there is not known: "
            "nothing has come from it since the controller last connected.",
            "wait for its next pulse (at most 30 s); if it stays so, see that controller and broker run",
        )
    if not facts.is_described:
        return _why(
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


def _unable(facts: BoardFacts) -> Why | None:
    assigned = facts.assigned
    if assigned is not None and assigned.phase is Phase.FAILED:
        retry = "the board tries again by itself" if assigned.retryable else "a retry cannot help"
        cure = CURES.get(assigned.code, "remove the cause that the message names, then `convoy deploy` again")
        return _why(
            facts,
            Condition.FAILED,
            f"failed ({assigned.code})",
            assigned.since,
            assigned.message or assigned.code,
            f"{facts.board} failed at {_stage(assigned)}: {assigned.message or 'no message'} "
            f"(code {assigned.code or 'unknown'}; {retry}).",
            "wait; if it fails again, remove the cause that the message names" if assigned.retryable else cure,
        )
    if facts.degraded:
        names = ", ".join(facts.degraded)
        return _why(
            facts,
            Condition.DEGRADED,
            "degraded",
            facts.reported_at,
            f"partition {names} stays decoupled",
            f"{facts.board} is degraded: partition {names} of shell {facts.shell or 'none'} failed to configure "
            "and stays decoupled; nothing will be placed in it.",
            "restart the daemon, then power-cycle the board; if the partition fails again, retire the board",
        )
    if facts.blocked:
        return _why(
            facts,
            Condition.BLOCKED,
            "blocked",
            facts.reported_at,
            facts.blocked,
            f"{facts.board} cannot go on: {facts.blocked.rstrip('.')}.",
            "remove what blocks it; the board goes on by itself",
        )
    return None


def _leaving(facts: BoardFacts) -> Why | None:
    """Out of service because its owner wants it, or on its way there."""
    if facts.drained_at is None and facts.restart_at is None:
        return None
    drained, board, assigned = facts.drained_at is not None, facts.board, facts.assigned
    since = facts.drained_at if drained else facts.restart_at
    wanted = "is drained" if drained else "is to restart"
    if assigned is not None:
        activity = _ACTIVITY.get(assigned.generation_state, "holds")
        return _why(
            facts,
            Condition.DRAINED if drained else Condition.RESTARTING,
            "leaving",
            since,
            "its part has to run elsewhere first",
            f"{board} {wanted}, asked for at {_date(since)}, and still {activity} {_stage(assigned)}: "
            "it leaves once that is served elsewhere.",
            f"wait; if it lasts, `convoy deployments {assigned.deployment}` says what no other board can take over",
        )
    if drained:
        return _why(
            facts,
            Condition.DRAINED,
            "drained",
            since,
            "",
            f"{board} is drained since {_date(since)}: it holds nothing, and nothing is placed on it.",
            "give it back to the fleet when you are done with it",
        )
    return _why(
        facts,
        Condition.RESTARTING,
        "restarting",
        since,
        "",
        f"{board} holds nothing and is to restart, asked for at {_date(since)}.",
        "a moment is normal; if it lasts, see that whoever runs its daemon starts it again",
    )


def _unfinished(facts: BoardFacts) -> Why | None:
    if facts.reported < facts.desired:
        return _why(
            facts,
            Condition.STALE,
            f"at revision {_revision(facts.reported)}",
            facts.desired_at,
            "it has not confirmed the newest revision",
            f"{facts.board} is at revision {_revision(facts.reported)}, but was told {_revision(facts.desired)} at "
            f"{_date(facts.desired_at)} and has not confirmed it.",
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
    return _why(
        facts,
        Condition.PREPARING,
        progress,
        assigned.since,
        "",
        f"{facts.board} is {progress} for {_stage(assigned)} since {_date(assigned.since)}{step}.",
        "wait; if nothing moves, see that the controller runs and the board reaches the broker",
    )


def _left_out(facts: BoardFacts) -> Why | None:
    """Free because it failed: what it was given was taken from it again, so its own report no longer says why."""
    if facts.assigned is not None or not facts.given_up:
        return None
    return _why(
        facts,
        Condition.FAILED,
        "left out",
        facts.given_up_at,
        facts.given_up,
        f"{facts.board} is left out for now: {facts.given_up.rstrip('.')}.",
        "remove the cause that the message names, then restart the board's daemon or `convoy deploy` again",
    )


def _settled(facts: BoardFacts) -> Why:
    assigned = facts.assigned
    if assigned is None:
        return _why(
            facts,
            Condition.UNASSIGNED,
            "idle",
            facts.presence_since,
            "",
            f"{facts.board} is online and free: no deployment has been placed on it.",
            "`convoy deploy MODEL` uses it if the plan gains by it",
        )
    activity = _ACTIVITY.get(assigned.generation_state, "is ready and waits for the others with")
    refused = _refused_since(facts, assigned)
    return _why(
        facts,
        Condition.READY,
        "ready",
        assigned.since,
        "",
        f"{facts.board} {activity} {_stage(assigned)} and has all it should, since {_date(assigned.since)}."
        + (f" It was to take up something else: {refused}." if refused else ""),
        "remove the cause that the message names, then `convoy deploy` again" if refused else "nothing to do",
    )


def _refused_since(facts: BoardFacts, assigned: Assigned) -> str:
    """Why something that came after what it holds was given up on this board; '' if nothing was."""
    if facts.given_up_at is None or assigned.since is None or facts.given_up_at < assigned.since:
        return ""
    return facts.given_up.rstrip(".")


def _why(
    facts: BoardFacts,
    condition: Condition,
    actual: str,
    since: datetime | None,
    blocked_by: str,
    sentence: str,
    action: str,
) -> Why:
    return Why(facts.board, condition, _wanted(facts), actual, since, blocked_by, sentence, action)


def _wanted(facts: BoardFacts) -> str:
    if facts.assigned is None:
        return "nothing"
    return f"{_stage(facts.assigned)}: {', '.join(facts.assigned.layers)}"


def _stage(assigned: Assigned) -> str:
    return (
        f"stage {assigned.stage + 1} of {assigned.stages} of {assigned.deployment} (generation {assigned.generation})"
    )


def _revision(pair: tuple[int, int]) -> str:
    return "none" if pair == (0, 0) else f"{pair[0]}-{pair[1]}"


def _date(value: datetime | None) -> str:
    return "an unknown time" if value is None else value.strftime("%Y-%m-%d %H:%M:%S UTC")

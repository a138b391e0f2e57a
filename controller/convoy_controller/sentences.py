"""What the reconciler says of its plans to people. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from convoy_schema.messages.desired import Intent

from convoy_controller.placement import Placement

#: Boards that a sentence says are left out, and why.
MOST_NAMED = 3


def what_is_missing(intent: Intent, left_out: Sequence[str], absent: Sequence[str] = ()) -> str:
    """Why nothing can be planned: no board; `left_out` are the reasons of those that are there and not taken.

    `absent` are the boards that were asked for by name, each with why it is not taken.
    """
    need = f"waits for a board that is online and can load shell {intent.method.shell} (method {intent.method.value})"
    if absent:
        need = f"waits for {listed(absent)}"
    if left_out:
        more = f"; and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        return f"{need}; left out for now: {'; '.join(left_out[:MOST_NAMED])}{more}"
    return need if absent else f"{need}; start one with: convoy-device run --config FILE"


def listed(parts: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(parts) - MOST_NAMED} more" if len(parts) > MOST_NAMED else ""
    return ", ".join(parts[:MOST_NAMED]) + more


def sentence_of(placement: Placement) -> str:
    """Who runs what."""
    parts = [f"{'+'.join(stage.layers)} on {' and '.join(stage.boards)}" for stage in placement.stages]
    return f"generation {placement.generation} of {placement.intent.deployment}: " + ", ".join(parts)

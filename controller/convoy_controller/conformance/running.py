"""What trials of boards and of controllers share: which rules are tried, and how a scenario ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from convoy_controller.conformance.rules import Rule
from convoy_controller.errors import NotFoundError

log = logging.getLogger(__name__)

#: Tells people how far a trial is.
Say = Callable[[str], None]


class StuckError(Exception):
    """The one that is tried did not come to where the rest of a scenario begins; the rules left are not tried."""


def chosen(rules: Sequence[Rule], numbers: Sequence[str]) -> tuple[Rule, ...]:
    """Those of that number, or all; raises `NotFoundError` for one that is not there."""
    known = {rule.number: rule for rule in rules}
    wanted = [number.upper() for number in numbers]
    for number in wanted:
        if number not in known:
            raise NotFoundError(
                f"there is no rule {number}: they are {rules[0].number} to {rules[-1].number} (docs/contract.md)",
                rule=number,
            )
    return tuple(rule for rule in rules if not wanted or rule.number in wanted)


async def in_time(scenario: Awaitable[None], seconds: float) -> str:
    """Run a scenario; why it ended before its end, or ''."""
    try:
        await asyncio.wait_for(scenario, seconds)
    except asyncio.TimeoutError:
        return f"it took more than {seconds:g} s"
    except StuckError as error:
        return str(error)
    except Exception as error:  # a mistake of ours must not pass for one of theirs
        log.exception("a scenario failed")
        return f"the kit itself failed: {type(error).__name__}: {error}"
    return ""

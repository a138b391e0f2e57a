"""A rule, and what it takes to try one; the rules themselves are in `board_rules` and `controller_rules`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Means(enum.Enum):
    """What the kit must be given to try a rule."""

    NOTHING = ""
    TAP = "tap"
    MAY_STOP = "may-stop"
    KEY = "trusted-key"


#: Why a rule is not tried without its means.
LACKING = {
    Means.TAP: "needs --tap HOST:PORT, and the one that is tried connected to it, so that its connection can be cut",
    Means.KEY: "needs the fleet's public root key: --trusted-key FILE",
    Means.MAY_STOP: "ends the one that is tried: allow it with --may-stop",
}


@dataclass(frozen=True)
class Rule:
    """One sentence that can be tested, and why it is there. `number` is B1... for boards, C1... for controllers."""

    number: str
    sentence: str
    reason: str
    means: Means = Means.NOTHING


def by_number(number: str) -> tuple[str, int]:
    """What rules are sorted by."""
    return number[:1], int(number[1:])

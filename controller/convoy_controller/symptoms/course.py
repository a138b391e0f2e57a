"""How a symptom of one board runs: it must last before it is told, and be gone for a while before it is over.

So that a sentence people read does not come and go with every sample. Pure, but for what it remembers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from convoy_controller.database.records import SymptomKind

#: Seconds between two tellings of a symptom that lasts, with new figures.
TELL_AGAIN_S = 30.0
#: Seconds after which nothing known for certain counts as over.
UNKNOWN_S = 30.0


@dataclass(frozen=True)
class Evidence:
    """What speaks for a symptom now; it began `ago_s` seconds ago."""

    figures: dict[str, Any] = field(default_factory=dict)
    ago_s: float = 0.0


class Lack(enum.Enum):
    """Nothing speaks for it: it is not so, or cannot be told now."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


ABSENT, UNKNOWN = Lack.ABSENT, Lack.UNKNOWN


@dataclass(frozen=True)
class Found:
    """A symptom that began `ago_s` ago, or one told before (`is_new` False) with its figures of now."""

    board: str
    kind: SymptomKind
    ago_s: float
    figures: dict[str, Any]
    is_new: bool = True


@dataclass(frozen=True)
class Over:
    """A symptom that is gone."""

    board: str
    kind: SymptomKind


#: Seconds for which there must be evidence before it is told, and none before it is over.
HOLD = {
    SymptomKind.UNREADABLE: (0.0, 0.0),
    SymptomKind.FLAPPING: (0.0, 0.0),
    SymptomKind.STALLED: (0.0, 0.0),
    SymptomKind.SLOW_LINK: (3.0, 5.0),
    SymptomKind.OVERLOADED: (3.0, 5.0),
}


class Course:
    """One kind of symptom on one board."""

    def __init__(self, board: str, kind: SymptomKind) -> None:
        self._board = board
        self._kind = kind
        self._begin_s, self._end_s = HOLD[kind]
        #: Since when there has been evidence, and since when there has been none.
        self._since: float | None = None
        self._lacking_since: float | None = None
        self._hold_s = 0.0
        self._told_at = 0.0
        self._figures: dict[str, Any] = {}
        self.is_told = False

    def restore(self, now: float, hold_s: float) -> None:
        """It was told before this process began: it is over when nothing has spoken for it for `hold_s`."""
        self.is_told, self._since, self._lacking_since, self._hold_s = True, now, now, hold_s

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.is_told and self._since is None

    def step(self, evidence: Evidence | Lack, now: float) -> Found | Over | None:
        """What is to be told, given what is seen at `now`."""
        if isinstance(evidence, Evidence):
            return self._seen(evidence, now)
        if self._lacking_since is None:
            self._lacking_since = now
        if not self.is_told:
            # Frames may be rare: what is not known for a moment speaks against nothing.
            if evidence is ABSENT or now - self._lacking_since >= UNKNOWN_S:
                self._since = self._lacking_since = None
            return None
        patience_s = UNKNOWN_S if evidence is UNKNOWN else self._end_s
        if now - self._lacking_since < max(patience_s, self._hold_s):
            return None
        self.is_told, self._since, self._lacking_since, self._hold_s = False, None, None, 0.0
        return Over(self._board, self._kind)

    def _seen(self, evidence: Evidence, now: float) -> Found | None:
        self._lacking_since, self._hold_s = None, 0.0
        if self._since is None:
            self._since = now - evidence.ago_s
        if not self.is_told:
            if now - self._since < self._begin_s:
                return None
            self.is_told = True
            return self._tell(evidence, now, is_new=True)
        if evidence.figures != self._figures and now - self._told_at >= TELL_AGAIN_S:
            return self._tell(evidence, now, is_new=False)
        return None

    def _tell(self, evidence: Evidence, now: float, *, is_new: bool) -> Found:
        self._told_at, self._figures = now, evidence.figures
        since = now if self._since is None else self._since
        return Found(self._board, self._kind, now - since, evidence.figures, is_new)

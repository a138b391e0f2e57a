"""Bounds that a message's fields carry in their annotations and the codec enforces."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """An integer or float in [low, high]."""

    low: float
    high: float


@dataclass(frozen=True)
class Size:
    """At most `most` bytes, characters, items or keys."""

    most: int


@dataclass(frozen=True)
class Pattern:
    """A string that the regular expression matches as a whole."""

    regex: str

    def compiled(self) -> re.Pattern[str]:
        """The compiled form."""
        return re.compile(self.regex)

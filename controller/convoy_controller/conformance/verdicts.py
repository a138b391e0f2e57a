"""What came of each rule: passed, failed with what was expected and what came, or not tried and why."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convoy_controller.conformance.rules import Rule


class Outcome(enum.Enum):
    """What came of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True)
class Verdict:
    """`expected` and `came` speak when the rule failed, `why` when it was not tried."""

    rule: str
    outcome: Outcome
    sentence: str
    expected: str = ""
    came: str = ""
    why: str = ""


@dataclass(frozen=True)
class Report:
    """Every rule's verdict, by number."""

    role: str
    subject: str
    seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether something was tried and nothing failed."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        return Outcome.PASSED in outcomes and Outcome.FAILED not in outcomes

    def count(self, outcome: Outcome) -> int:
        """How many came out so."""
        return sum(verdict.outcome is outcome for verdict in self.verdicts)


class Ledger:
    """Collects what scenarios find. A failure outweighs any number of passes, and the first is the one that is told."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.number: rule for rule in rules}
        self._passed: set[str] = set()
        self._failed: dict[str, tuple[str, str]] = {}
        self._untried: dict[str, str] = {}

    def check(self, rule: str, is_so: bool, expected: str, came: object) -> bool:
        """Note one finding of a rule; returns `is_so`."""
        if rule in self._rules:
            if is_so:
                self._passed.add(rule)
            else:
                self._failed.setdefault(rule, (expected, str(came)[:500]))
        return is_so

    def untried(self, rules: Iterable[str], why: str) -> None:
        """Say why rules were not tried, if they are not."""
        for rule in rules:
            if rule in self._rules:
                self._untried.setdefault(rule, why)

    def has_failed(self, rule: str) -> bool:
        """Whether it failed so far."""
        return rule in self._failed

    def verdicts(self) -> tuple[Verdict, ...]:
        """In the order of the rules."""
        return tuple(self._verdict(rule) for rule in self._rules.values())

    def _verdict(self, rule: Rule) -> Verdict:
        if rule.number in self._failed:
            expected, came = self._failed[rule.number]
            return Verdict(rule.number, Outcome.FAILED, rule.sentence, expected, came)
        if rule.number in self._passed:
            return Verdict(rule.number, Outcome.PASSED, rule.sentence)
        why = self._untried.get(rule.number, "nothing happened by which it could be judged")
        return Verdict(rule.number, Outcome.NOT_TRIED, rule.sentence, why=why)

"""The rules are numbered without gaps, are what the document says, and each one is judged somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_controller.conformance import board_trial, controller_trial
from convoy_controller.conformance.board_rules import BOARD_RULES
from convoy_controller.conformance.controller_rules import CONTROLLER_RULES
from convoy_controller.conformance.rules import Rule
from convoy_controller.conformance.rules_text import table
from convoy_controller.conformance.running import chosen
from convoy_controller.conformance.verdicts import Ledger, Outcome, Report
from convoy_controller.errors import NotFoundError

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "contract.md"


def test_the_document_has_every_rule_as_it_is() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for letter, rules in (("B", BOARD_RULES), ("C", CONTROLLER_RULES)):
        assert table(rules) in text
        assert [rule.number for rule in rules] == [f"{letter}{number}" for number in range(1, len(rules) + 1)]
    for rule in (*BOARD_RULES, *CONTROLLER_RULES):
        assert rule.sentence.endswith("."), rule
        assert rule.reason.endswith("."), rule


def test_every_rule_has_a_scenario() -> None:
    assert board_trial.scenario_rules() == {rule.number for rule in BOARD_RULES}
    assert controller_trial.scenario_rules() == {rule.number for rule in CONTROLLER_RULES}


def test_rules_are_chosen_by_number_and_an_unknown_one_is_refused() -> None:
    assert [rule.number for rule in chosen(BOARD_RULES, ["b7", "B3"])] == ["B3", "B7"]
    assert chosen(BOARD_RULES, []) == BOARD_RULES
    with pytest.raises(NotFoundError, match="B99"):
        chosen(BOARD_RULES, ["B99"])


def test_a_failure_outweighs_and_the_first_is_told() -> None:
    ledger = Ledger([Rule("B1", "It is.", "So."), Rule("B2", "It was.", "So."), Rule("B3", "It will be.", "So.")])
    assert ledger.check("B1", True, "a", "b")
    assert not ledger.check("B1", False, "expected", "came")
    assert not ledger.check("B1", False, "later", "later")
    ledger.check("B2", True, "", "")
    ledger.untried(["B2", "B3"], "no time")
    ledger.check("B9", False, "not one of these", "")
    report = Report("board", "board-1", 1.0, ledger.verdicts())
    assert [each.outcome for each in report.verdicts] == [Outcome.FAILED, Outcome.PASSED, Outcome.NOT_TRIED]
    assert (report.verdicts[0].expected, report.verdicts[0].came) == ("expected", "came")
    assert report.verdicts[2].why == "no time"
    assert not report.passed
    assert not Report("board", "board-1", 1.0, ()).passed, "nothing tried is nothing passed"

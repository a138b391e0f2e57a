"""The kit passes our own board, and fails every board that has a fault at the rule that this breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_boards import FAULTS
from convoy_controller.conformance.board_rules import BOARD_RULES
from convoy_controller.conformance.verdicts import Outcome, Report
from trial_rig import Candidate, failed, run_trials, told

#: Of the sort that costs little to try, one of each scenario.
QUICK = {
    "does-not-check-signatures": ("B20", "B21", "B22"),
    "obeys-an-older-epoch": ("B12", "B13"),
    "does-not-drain": ("B47", "B48"),
}


#: What our own board is tried by beside them: orders, bundles, frames. The whole trial takes half a minute.
HONEST = tuple(f"B{number}" for number in (*range(11, 18), *range(20, 28), *range(34, 46), 50))


def test_our_own_board_passes_and_broken_ones_fail_at_the_right_rule(broker: Any, tmp_path: Path) -> None:
    quick = {name: Candidate(name, rules=rules) for name, rules in QUICK.items()}
    reports = run_trials(broker.url, tmp_path, {"honest": Candidate(rules=HONEST), **quick}, at_once=len(quick) + 1)
    honest = reports.pop("honest")
    assert honest.count(Outcome.PASSED) == len(HONEST), told(honest)
    assert honest.passed
    for name, report in reports.items():
        assert failed(report) == FAULTS[name].rules, f"{name}:\n{told(report)}"
        assert not report.passed
        assert {verdict.rule for verdict in report.verdicts} == set(QUICK[name])


def test_at_least_fifteen_faults_are_planted_and_nearly_every_rule_is_broken_by_one() -> None:
    broken = {rule for fault in FAULTS.values() for rule in fault.rules}
    assert len(FAULTS) >= 15
    assert {rule.number for rule in BOARD_RULES} - broken == {"B1"}


@pytest.mark.long
def test_every_fault_is_found_at_its_rule_by_the_whole_trial(start_broker: Callable[[], Any], tmp_path: Path) -> None:
    candidates = {name: Candidate(name) for name in FAULTS}
    reports = run_trials(start_broker().url, tmp_path, candidates, at_once=6)
    missed: dict[str, tuple[set[str], str]] = {}
    for name, report in reports.items():
        if failed(report) - FAULTS[name].also != FAULTS[name].rules - FAULTS[name].also:
            missed[name] = failed(report), told(report)
    assert missed == {}, "\n".join(f"{name}: {found}\n{text}" for name, (found, text) in missed.items())


@pytest.mark.long
@pytest.mark.parametrize("fabric", ["processor", "emulated"])
def test_our_own_board_passes_on_each_fabric(broker: Any, tmp_path: Path, fabric: str) -> None:
    report: Report = run_trials(broker.url, tmp_path, {"honest": Candidate(fabric=fabric)}, 1)["honest"]
    assert report.count(Outcome.PASSED) == len(BOARD_RULES), told(report)

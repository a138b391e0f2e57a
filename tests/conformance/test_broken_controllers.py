"""The kit passes our own controller, and fails every controller that has a fault at the rule that this breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken_controllers import FAULTS
from controller_rig import run_controller_trials
from convoy_controller.conformance.controller_rules import CONTROLLER_RULES
from convoy_controller.conformance.verdicts import Outcome
from trial_rig import failed, told


def test_our_own_controller_brings_a_fleet_up_by_the_rules(broker: Any, tmp_path: Path) -> None:
    """Announcing, placing, testing, feeding, sending blocks; the rest of the trial takes a minute."""
    rules = ("C2", *(f"C{number}" for number in range(5, 18)))
    report = run_controller_trials(broker.url, tmp_path, {"honest": ""}, rules)["honest"]
    assert report.count(Outcome.PASSED) == len(rules), told(report)
    assert report.passed


@pytest.mark.long
def test_our_own_controller_passes_the_whole_trial(broker: Any, tmp_path: Path) -> None:
    report = run_controller_trials(broker.url, tmp_path, {"honest": ""})["honest"]
    assert report.count(Outcome.PASSED) == len(CONTROLLER_RULES), told(report)


@pytest.mark.long
def test_every_fault_of_a_controller_is_found_at_its_rule(broker: Any, tmp_path: Path) -> None:
    reports = run_controller_trials(broker.url, tmp_path, {name: name for name in FAULTS})
    missed = {}
    for name, report in reports.items():
        if failed(report) - FAULTS[name].also != FAULTS[name].rules:
            missed[name] = failed(report), told(report)
    assert missed == {}, "\n".join(f"{name}: {found}\n{text}" for name, (found, text) in missed.items())

"""The failure table has a row for whatever the fleet says of a board."""

import re
from pathlib import Path

import pytest
from convoy_controller.database.explanations import CURES
from convoy_controller.database.views import Condition

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "failures.md").read_text()
ROWS = set(re.findall(r"^\| `([a-z-]+)` \|", TEXT, re.MULTILINE))


@pytest.mark.parametrize("condition", [condition.value for condition in Condition])
def test_every_condition_has_its_row(condition: str) -> None:
    assert condition in ROWS, "docs/failures.md: What stands out about a board"


@pytest.mark.parametrize("code", sorted(CURES))
def test_every_code_with_a_cure_has_its_row(code: str) -> None:
    assert code in ROWS, "docs/failures.md: Codes of a board that failed"


def test_no_row_is_of_a_condition_that_is_no_more() -> None:
    section = TEXT.split("## What stands out about a board")[1].split("\n## ")[0]
    conditions = {condition.value for condition in Condition}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) - conditions == set()

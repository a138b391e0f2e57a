"""The failure table has a row for every code that has a cure of its own."""

import re
from pathlib import Path

import pytest
from convoy_controller.database.explanations import CURES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "failures.md").read_text()
ROWS = set(re.findall(r"^\| `([a-z-]+)` \|", TEXT, re.MULTILINE))


@pytest.mark.parametrize("code", sorted(CURES))
def test_every_code_with_a_cure_has_its_row(code: str) -> None:
    assert code in ROWS, "docs/failures.md: Codes of a board that failed"

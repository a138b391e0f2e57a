"""The REST API against its own OpenAPI: no call makes it fail, and every answer is as it is documented."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from api_client import copied_fleet
from convoy_controller.api import importing
from schema_cases import Trial

SEED = 20_300_101
#: Calls of the default tests, and of the long ones (CONVOY_API_CASES: so many).
FEW, MANY = 150, int(os.environ.get("CONVOY_API_CASES", "10000"))


def trial(folder: Path, cases: int, monkeypatch: pytest.MonkeyPatch) -> Trial:
    # Each import is a process that loads onnxruntime; what it makes of a file has tests of its own.
    monkeypatch.setattr(importing, "start", lambda *_: None)
    fleet = copied_fleet(folder)
    try:
        made = Trial(fleet, folder)
        made.run(cases, SEED)
    finally:
        fleet.database.close()
    assert made.cases >= cases
    assert {name for name, _ in made.statuses} == {each.definition.raw["operationId"] for each in made.operations}
    assert not [found for found in made.statuses if found[1] >= 500]
    return made


def test_a_hundred_calls_and_more_find_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial(tmp_path, FEW, monkeypatch)
    assert sum(count for (_, status), count in made.statuses.items() if status < 300) > FEW / 10


@pytest.mark.long
def test_ten_thousand_calls_find_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial(tmp_path, MANY, monkeypatch)
    print(f"{made.cases} calls: {sorted(made.statuses.items())}")

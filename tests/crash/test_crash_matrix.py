"""Requests flow while, at random moments, one part of the fleet dies and is restarted: nobody who asks may notice.

The seed is in the test's name; `CONVOY_CRASH_SEED` replays another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_harness import VICTIMS, CrashFleet, draw_moments, execute

#: The others die once in tests/system/test_restarts.py.
TWICE = [pytest.param(name, marks=[] if name in ("board", "gateway") else [pytest.mark.long]) for name in VICTIMS]
SEED = int(os.environ.get("CONVOY_CRASH_SEED", "3"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


def check(fleet: CrashFleet, target: str, requests: int, moments: int, span_s: float) -> None:
    fleet.serve_all()
    outcome = execute(fleet, draw_moments(SEED, target, moments, span_s), requests, span_s)
    print(f"{target}: {outcome}; generations {outcome.account.generations}")
    assert outcome.account.faults == (0, 0, 0, 0), outcome.account
    assert outcome.account.answered == outcome.account.sent == requests
    # Whatever died, the fleet comes back to what was asked for.
    fleet.wait_serving(3)


@pytest.mark.parametrize("target", TWICE)
def test_nobody_notices_two_deaths(fleet: CrashFleet, target: str) -> None:
    check(fleet, target, 600, 2, 6.0)


@pytest.mark.long
@pytest.mark.parametrize("target", VICTIMS)
def test_nobody_notices_twenty_deaths(fleet: CrashFleet, target: str) -> None:
    check(fleet, target, 5000, 20, 80.0)

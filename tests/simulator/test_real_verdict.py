"""The bars of a run: each one can be broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from convoy_simulator.ledger import Account, Ledger
from convoy_simulator.real.slope import LEAST_S, Slope
from convoy_simulator.real.verdict import MOST_GROWTH_BYTES_PER_H, bars

MB = 1e6

FLAT = Slope(0.0, 1 * MB, LEAST_S, 1, 50 * MB, 50 * MB)


def clean(count: int = 10) -> Account:
    ledger = Ledger({"m": {"n": np.arange(20, dtype=np.float32).reshape(20, 1, 1)}})
    for number in range(count):
        ledger.sends(number, "m", 30.0, 0.0)
        ledger.comes(number, np.full((1, 1), number, np.float32), "1-1", 1.0)
    return ledger.account()


def broken(
    account: Account, requests: int = 10, whole_s: float | None = 1.0, deaths: int = 0, slope: Slope = FLAT
) -> set[str]:
    return {bar.name for bar in bars(account, requests, whole_s, deaths, {"gateway": slope}) if not bar.is_kept}


def test_each_bar_can_be_broken() -> None:
    good = clean()
    assert broken(good) == set()
    assert broken(good, requests=11) == {"requests made"}
    assert broken(good, whole_s=None) == broken(good, whole_s=61.0) == {"whole after the last fault"}
    assert broken(good, deaths=1) == {"processes that ended by themselves"}
    assert broken(replace(good, lost=1)) == {"lost"}
    assert broken(replace(good, wrong=1)) == {"wrong"}
    assert broken(replace(good, duplicated=1)) == {"duplicated"}
    assert broken(replace(good, failed=1)) == {"failed while capacity was there"}
    assert broken(replace(good, excused=1)) == set()
    grown = replace(FLAT, bytes_per_h=MOST_GROWTH_BYTES_PER_H + 2 * MB)
    assert broken(good, slope=grown) == {"growth of gateway"}
    assert broken(good, slope=replace(grown, error_bytes_per_h=3 * MB)) == set()
    assert broken(good, slope=replace(grown, seen_s=LEAST_S - 1)) == set()

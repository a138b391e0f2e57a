"""What a run must keep to, and whether it did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convoy_simulator.ledger import Account
from convoy_simulator.real.slope import Slope

#: Bytes that a process may grow by in an hour: four for each of a million requests, which is half of what one
#: reference to anything takes. Whoever keeps something of each request, however small, is above it; and a daemon that
#: stayed below needs two days under full load, struck three times a minute, to fill what is free on a board (256 MB).
MOST_GROWTH_BYTES_PER_H = 4e6
#: Seconds after the last fault within which all that was asked for serves again.
WHOLE_S = 60.0


@dataclass(frozen=True)
class Bar:
    """One thing that a run must keep to."""

    name: str
    bound: str
    found: str
    is_kept: bool


def bars(account: Account, requests: int, whole_s: float | None, deaths: int, slopes: Mapping[str, Slope]) -> list[Bar]:
    """Every bar. `whole_s`: seconds from the last fault until the fleet was whole; None: it never was."""
    found = [
        Bar("requests made", f"{requests}", f"{account.sent}", account.sent == requests),
        *(
            Bar(name, "0", str(count), count == 0)
            for name, count in (
                ("lost", account.lost),
                ("wrong", account.wrong),
                ("duplicated", account.duplicated),
                ("failed while capacity was there", account.failed),
                ("still open", account.open),
                ("processes that ended by themselves", deaths),
            )
        ),
        Bar(
            "whole after the last fault",
            f"{WHOLE_S:g} s",
            "never" if whole_s is None else f"{whole_s:.1f} s",
            whole_s is not None and whole_s <= WHOLE_S,
        ),
    ]
    for name, slope in slopes.items():
        said = f"{slope.bytes_per_h / 1e6:+.2f} +- {slope.error_bytes_per_h / 1e6:.2f} MB/h"
        if not slope.is_sure:
            said = f"seen for {slope.seen_s:.0f} s beside warm-up, too short to say"
        bound = f"{MOST_GROWTH_BYTES_PER_H / 1e6:g} MB/h"
        found.append(Bar(f"growth of {name}", bound, said, not slope.exceeds(MOST_GROWTH_BYTES_PER_H)))
    return found

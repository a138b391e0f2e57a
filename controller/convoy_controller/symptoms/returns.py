"""Boards that come and go: several returns, each within minutes of the one before."""

from __future__ import annotations

from convoy_controller.registry import BoardRecord
from convoy_controller.symptoms.course import ABSENT, Evidence, Lack

#: Returns in a row that make a board flap.
FLAPS = 3
#: Seconds within which the next return belongs to the same row; a board that stays as long is calm again.
CALM_S = 300.0


def flapping(record: BoardRecord, now: float) -> Evidence | Lack:
    """Whether `record`'s board comes and goes; figures: returns, and how many of them were new sessions."""
    if not record.returns or now - record.returns[-1].at >= CALM_S:
        return ABSENT
    row = [record.returns[-1]]
    for earlier in reversed(list(record.returns)[:-1]):
        if row[-1].at - earlier.at >= CALM_S:
            break
        row.append(earlier)
    if len(row) < FLAPS:
        return ABSENT
    return Evidence(
        {"returns": len(row), "sessions": sum(each.is_new_session for each in row)},
        now - row[-1].at,
    )

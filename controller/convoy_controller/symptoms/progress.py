"""Assignments that do not get on: a board that is there, and has said nothing new of one for a while."""

from __future__ import annotations

from collections.abc import Callable

from convoy_schema.messages.boards import AssignmentReport, Phase
from convoy_schema.names import Generation

from convoy_controller.database.records import BoardPresence
from convoy_controller.registry import BoardRecord
from convoy_controller.symptoms.course import ABSENT, Evidence, Lack

#: Seconds without a byte after which a board is stuck in fetching: several blocks even of a slow line.
FETCHING_S = 15.0
#: Seconds without a step after which it is stuck in another phase: a large network takes some to verify or test.
WORKING_S = 30.0

#: (deployment, generation)
Key = tuple[str, Generation]


class Progress:
    """When each assignment of one board last got on."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[AssignmentReport, float]] = {}

    def stalled(self, record: BoardRecord, now: float, why_not_sent: Callable[[str], str]) -> Evidence | Lack:
        """Whether one of them stands still. `why_not_sent` says what is known of why a board's wants are not met.

        Figures: deployment, generation, phase, step, done_bytes, total_bytes, why.
        """
        reports = record.reported.assignments if record.reported is not None else ()
        if record.presence is not BoardPresence.ONLINE:
            self._seen.clear()
            return ABSENT
        under_way = [report for report in reports if report.phase not in (Phase.READY, Phase.FAILED)]
        before, self._seen = self._seen, {}
        for report in under_way:
            key = report.deployment, report.generation
            known = before.get(key)
            self._seen[key] = known if known is not None and known[0] == report else (report, now)
        for report, since in self._seen.values():
            if now - since >= (FETCHING_S if report.phase is Phase.FETCHING else WORKING_S):
                return Evidence(_figures(record.name, report, why_not_sent), now - since)
        return ABSENT


def _figures(board: str, report: AssignmentReport, why_not_sent: Callable[[str], str]) -> dict[str, object]:
    return {
        "deployment": report.deployment,
        "generation": str(report.generation),
        "phase": report.phase.value,
        "step": report.step,
        "done_bytes": report.done_bytes,
        "total_bytes": report.total_bytes,
        "why": why_not_sent(board) if report.phase is Phase.FETCHING else "",
    }

"""The symptoms of a whole fleet: looks at every board once a second, and says what began and what is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from convoy_controller.database.records import SymptomKind
from convoy_controller.registry import BoardRecord, Registry
from convoy_controller.symptoms import links, load, returns
from convoy_controller.symptoms.course import ABSENT, Course, Evidence, Found, Lack, Over
from convoy_controller.symptoms.progress import Progress

#: Seconds between two looks.
LOOK_S = 1.0
#: Seconds that a symptom told by an earlier process stays although nothing speaks for it yet.
RESTORED_S = 60.0


class Symptoms:
    """Of the boards in `registry`. `why_not_sent` says what is known of why a board's wants are not met, or ''."""

    def __init__(self, registry: Registry, why_not_sent: Callable[[str], str] = lambda board: "") -> None:
        self._registry = registry
        self._why_not_sent = why_not_sent
        self._courses: dict[tuple[str, SymptomKind], Course] = {}
        self._progress: dict[str, Progress] = {}
        self._ways, self._refusals = links.Ways(), load.Refusals()
        self._looked_at = float("-inf")

    def restore(self, board: str, kinds: Iterable[SymptomKind], now: float) -> None:
        """What an earlier process had told of a board."""
        for kind in kinds:
            if kind is not SymptomKind.GIVEN_UP:
                hold_s = returns.CALM_S if kind is SymptomKind.FLAPPING else RESTORED_S
                self._course(board, kind).restore(now, hold_s)

    def look(self, now: float) -> list[Found | Over]:
        """What began and what is over; at most once in `LOOK_S`."""
        if now - self._looked_at < LOOK_S:
            return []
        self._looked_at = now
        boards = self._registry.boards
        told: list[Found | Over] = []
        ways = self._ways.measured(boards)
        wanted = load.demands(boards, self._registry.online_gateways())
        for name, record in boards.items():
            refused = self._refusals.fresh(record)
            told += self._step(name, SymptomKind.UNREADABLE, _unreadable(record, now), now)
            told += self._step(name, SymptomKind.FLAPPING, returns.flapping(record, now), now)
            told += self._step(name, SymptomKind.STALLED, self._stalled(record, now), now)
            if record.pulse is not None or self._is_told(name, SymptomKind.SLOW_LINK):
                slow = links.slow(name, ways, self._is_told(name, SymptomKind.SLOW_LINK))
                told += self._step(name, SymptomKind.SLOW_LINK, slow, now)
            busy = load.overloaded(name, wanted, refused, self._is_told(name, SymptomKind.OVERLOADED))
            told += self._step(name, SymptomKind.OVERLOADED, busy, now)
        for board, kind in [key for key in self._courses if key[0] not in boards]:
            del self._courses[board, kind]  # its owner removed it
        return told

    def _stalled(self, record: BoardRecord, now: float) -> Evidence | Lack:
        reported = record.reported
        if reported is None or not reported.assignments:
            self._progress.pop(record.name, None)
            return ABSENT
        return self._progress.setdefault(record.name, Progress()).stalled(record, now, self._why_not_sent)

    def _step(self, board: str, kind: SymptomKind, evidence: Evidence | Lack, now: float) -> list[Found | Over]:
        if isinstance(evidence, Lack) and (board, kind) not in self._courses:
            return []
        course = self._course(board, kind)
        said = course.step(evidence, now)
        if course.is_idle:
            del self._courses[board, kind]
        return [] if said is None else [said]

    def _is_told(self, board: str, kind: SymptomKind) -> bool:
        course = self._courses.get((board, kind))
        return course is not None and course.is_told

    def _course(self, board: str, kind: SymptomKind) -> Course:
        return self._courses.setdefault((board, kind), Course(board, kind))


def _unreadable(record: BoardRecord, now: float) -> Evidence | Lack:
    foreign = record.foreign
    if foreign is None:
        return ABSENT
    return Evidence({"current": foreign.current, "oldest": foreign.oldest}, now - foreign.since)

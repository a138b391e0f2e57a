"""Looks at the fleet for what no single message says, and writes down what begins and what is over.

The shell round `convoy_controller.symptoms`: called by `service` in its loop, it publishes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from convoy_controller.database.records import Severity, SymptomKind
from convoy_controller.intake import Historian
from convoy_controller.journal import Writing
from convoy_controller.registry import Registry
from convoy_controller.symptoms import Found, Symptoms

#: What history says when a symptom begins, from its figures.
_BEGUN = {
    SymptomKind.UNREADABLE: "speaks protocol {current} (and none older than {oldest}), which is not spoken here",
    SymptomKind.FLAPPING: "comes and goes: back {returns} times, {sessions} of them in a new session",
    SymptomKind.STALLED: "is stuck in {phase} for {deployment} {generation} at {done_bytes} of {total_bytes} bytes",
    SymptomKind.SLOW_LINK: "has a slow link: frames take {us} us to leave it, {peers_us} us at its peers",
    SymptomKind.OVERLOADED: "is overloaded: {waiting_rows} rows of {deployment} wait, {queued} of {room} frames are "
    "queued there, {refused} were refused",
}
_OVER = {
    SymptomKind.UNREADABLE: "speaks a protocol that is spoken here",
    SymptomKind.FLAPPING: "stays",
    SymptomKind.STALLED: "is no longer stuck",
    SymptomKind.SLOW_LINK: "has a link like its peers' again",
    SymptomKind.OVERLOADED: "is no longer overloaded",
}


class Watch:
    """Of one controller. `why_not_sent` says what is known of why a board's wants are not met, or ''."""

    def __init__(
        self,
        registry: Registry,
        record: Callable[[Writing], None],
        event: Historian,
        why_not_sent: Callable[[str], str],
    ) -> None:
        self._registry = registry
        self._symptoms = Symptoms(registry, why_not_sent)
        self._record = record
        self._event = event
        #: What is told of boards just now.
        self.present: set[tuple[str, SymptomKind]] = set()

    def restore(self, board: str, kinds: Collection[SymptomKind], now: float) -> None:
        """What the database knew of a board when this controller began."""
        self._symptoms.restore(board, kinds, now)
        self.present |= {(board, kind) for kind in kinds if kind in _BEGUN}

    def look(self, now: float) -> None:
        """Look, if it is time."""
        self.present -= {found for found in self.present if found[0] not in self._registry.boards}
        for said in self._symptoms.look(now):
            board, kind = said.board, said.kind
            if isinstance(said, Found):
                self.present.add((board, kind))
                self._record(_begun(said))
                if said.is_new:
                    sentence = f"{board} {_BEGUN[kind].format(**said.figures)}"
                    self._event(kind.value, sentence, Severity.WARNING, board)
            else:
                self.present.discard((board, kind))
                self._record(lambda r, board=board, kind=kind: r.end_symptom(board, kind))  # type: ignore[misc]
                self._event(f"{kind.value}-over", f"{board} {_OVER[kind]}", Severity.INFO, board)


def _begun(found: Found) -> Writing:
    return lambda recorder: recorder.record_symptom(found.board, found.kind, found.ago_s, found.figures)

"""Recorders of controllers in virtual time that know what kind each record is of, as `costs.Records` names them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from convoy_controller.database.engine import Database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import SavedGeneration
from convoy_schema.names import Generation

#: The recorder's methods, and the kinds of what they record.
_KINDS = {
    "record_presence": "presence",
    "record_capability": "capability",
    "record_desired": "desired",
    "record_reported": "reported",
    "record_pulse": "pulse",
    "record_gateway_reported": "gateway",
    "record_symptom": "symptom",
    "end_symptom": "symptom",
    "record_event": "event",
}


class KindRecorder(Recorder):
    """Has each record written by `write`, with its kind; a placement counts for each of its boards."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._placed: set[tuple[str, Generation]] = set()
        for method, kind in _KINDS.items():
            setattr(self, method, functools.partial(self.write, kind, 1, getattr(self, method)))

    def save_generation(self, placement: SavedGeneration) -> None:
        """See `Recorder`."""
        key = placement.deployment, placement.generation
        kind = "placement_again" if key in self._placed else "placement"
        self._placed.add(key)
        self.write(kind, len(placement.assignments), super().save_generation, placement)

    def write(self, kind: str, count: int, record: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
        """So many records of a kind are to be written by `record`, called with the rest."""
        raise NotImplementedError


class CountingRecorder(KindRecorder):
    """Keeps counters and what becomes of deployments, and only counts the rest, which would take most of the time.

    So nobody can take over from its controller. `counted` is by kind.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.counted: Counter[str] = Counter()

    def write(self, kind: str, count: int, record: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
        """See `KindRecorder`."""
        self.counted[kind] += count
        return 0  # the number of an event; nobody looks at it

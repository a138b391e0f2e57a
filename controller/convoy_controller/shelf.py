"""The models that a controller knows, apart by whether boards would take them: judged when known, and again on news.

Holds and judges; reads no database and sends nothing. Called by `service`.
"""

from __future__ import annotations

from collections.abc import Callable

from convoy_schema.bundle import ModelAnnouncement, VerifiedModel
from convoy_schema.errors import ConvoyError

from convoy_controller.database.records import SavedModel
from convoy_controller.reconciler import Reconciler

#: Name and version.
Key = tuple[str, str]


class Shelf:
    """`models` may be deployed, `saved` is what is announced of them; `unfit` says why others may not be."""

    def __init__(self) -> None:
        self.models: dict[Key, VerifiedModel] = {}
        self.saved: dict[Key, SavedModel] = {}
        self.unfit: dict[Key, str] = {}

    def judge(self, model: SavedModel, verify: Callable[[ModelAnnouncement], VerifiedModel]) -> str:
        """Put a model where it belongs; why boards would refuse it, where that is news, else ''."""
        key = (model.name, model.version)
        try:
            self.models[key] = verify(model.announcement)
        except ConvoyError as error:
            self.models.pop(key, None)
            reason = f"{error} ({error.code})"
            before, self.unfit[key] = self.unfit.get(key), reason
            return "" if reason == before else reason
        self.saved[key] = model
        self.unfit.pop(key, None)
        return ""

    def tell(self, reconciler: Reconciler, key: Key) -> bool:
        """Say of a model whether it may be deployed; returns that, also False for one that is not known."""
        if key in self.models:
            reconciler.model_available(self.models[key])
            return True
        if key in self.unfit:
            reconciler.model_refused(*key, self.unfit[key])
        return False

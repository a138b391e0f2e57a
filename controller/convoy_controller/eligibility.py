"""Which boards a deployment may be placed upon now, and why others are left out.

A deterministic part of the reconciler: it reads the registry, the owners' wishes and what the deployment's boards have
failed at, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convoy_schema.bundle import VerifiedModel
from convoy_schema.messages.desired import Intent

from convoy_controller.candidate import PlanRequest, misfits, missing, occupied, request_of, spare, usable
from convoy_controller.deployment import DeploymentRecord
from convoy_controller.leaving import Leaving
from convoy_controller.placement import Placement
from convoy_controller.registry import Registry
from convoy_controller.sentences import what_is_missing

Models = Mapping[tuple[str, str], VerifiedModel]


class Eligibility:
    """Of every deployment. `live` are the placements of all deployments, its own included."""

    def __init__(self, registry: Registry, leaving: Leaving, models: Models) -> None:
        self._registry = registry
        self._leaving = leaving
        self._models = models

    def usable(self, record: DeploymentRecord, intent: Intent, live: Sequence[Placement], now: float) -> list[str]:
        """Boards that may run a part of `intent`, by name."""
        present = record.serving.boards if record.serving else ()
        taken = occupied(self._registry, intent, live)
        excluded = [*self._out(record, now), *taken]
        found = self._fitting(intent, usable(self._registry, intent, present, excluded))
        if not found and record.serving is None:
            # Nobody else is there: a board whose failure may pass is better than none.
            stays_out = {*taken, *self._leaving.boards()}
            for_good = [board for board in excluded if board in stays_out or not record.excluded[board].may_pass]
            return self._fitting(intent, usable(self._registry, intent, present, for_good))
        return found

    def absent(self, intent: Intent, names: Sequence[str]) -> list[str]:
        """Boards that the owner named for `intent` and that are not among the usable `names`."""
        return missing(self._registry, intent, names)

    def request(
        self,
        record: DeploymentRecord,
        intent: Intent,
        model: VerifiedModel,
        names: Sequence[str],
        live: Sequence[Placement],
        now: float,
    ) -> PlanRequest:
        """What a plan of `intent` over the boards `names` rests upon."""
        kept = spare(self._registry, intent, self._out(record, now))
        topologies = {each.digest: each.topology for each in self._models.values()}
        return request_of(self._registry, intent, model, names, live, topologies, kept)

    def why_none(
        self,
        record: DeploymentRecord,
        intent: Intent,
        model: VerifiedModel,
        live: Sequence[Placement],
        now: float,
    ) -> str:
        """Why no board is usable for `intent`, in words."""
        left_out = [record.excluded[board].reason for board in self._excluded(record, now)]
        left_out += [self._leaving.why(board) for board in self._leaving.boards()]
        left_out += occupied(self._registry, intent, live).values()
        others = usable(self._registry, intent, (), self._out(record, now))
        left_out += misfits(self._registry, model.bundle, others).values()
        return what_is_missing(intent, left_out, self.absent(intent, ()))

    def _fitting(self, intent: Intent, names: list[str]) -> list[str]:
        model = self._models.get((intent.model, intent.version))
        unfit = misfits(self._registry, model.bundle, names) if model is not None else {}
        return [name for name in names if name not in unfit]

    def _out(self, record: DeploymentRecord, now: float) -> list[str]:
        """Boards that are left out for what they failed at, or because their owner wants it."""
        leavers = self._leaving.boards()
        return leavers + [board for board in self._excluded(record, now) if board not in leavers]

    def _excluded(self, record: DeploymentRecord, now: float) -> list[str]:
        return [
            board
            for board, exclusion in record.excluded.items()
            if now < exclusion.until and self._registry.board(board).session == exclusion.session
        ]

"""What boards and gateways have been told, and the numbers it was told under.

A deterministic part of the reconciler: it compares what every deployment places now with what each peer was told last,
and only what differs gets a new revision. It publishes nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from convoy_schema.bundle import VerifiedModel
from convoy_schema.messages.desired import Assignment, Desired, Intent
from convoy_schema.messages.gateways import Feed, GatewayDesired, ModelRef, Route
from convoy_schema.names import Generation

from convoy_controller.conditions import has_dead_stage
from convoy_controller.database.records import BoardPresence, GenerationState, NewEvent
from convoy_controller.deployment import DeploymentRecord
from convoy_controller.effects import Decision, PublishDesired, PublishGatewayDesired, Record
from convoy_controller.fitting import Fitting
from convoy_controller.leaving import Leaving
from convoy_controller.placement import Placement
from convoy_controller.registry import Registry

#: Stands for the bundle of a model that is not in the catalogue.
UNKNOWN_BUNDLE = "0" * 64

Models = Mapping[tuple[str, str], VerifiedModel]
#: What names a generation: its deployment, and its number.
Key = tuple[str, Generation]


class Telling:
    """What each peer was told last. `revision` is the newest number given to any of it; it only grows."""

    def __init__(self, registry: Registry, leaving: Leaving, models: Models, *, epoch: int, revision: int) -> None:
        self._registry = registry
        self._leaving = leaving
        self._models = models
        self._epoch = epoch
        self.revision = revision
        self._desired: dict[str, Desired] = {}
        self._feeds: dict[str, GatewayDesired] = {}
        self._fitting = Fitting()
        #: What each board is to hold, by generation; the placements that this was made of; boards to be looked at.
        self._held: dict[str, dict[Key, Assignment]] = {}
        self._placed: dict[Key, Placement] = {}
        self._touched: set[str] = set()
        #: As gateways were told: what has not changed is the same object, and quickly seen to be.
        self._routes: dict[tuple[Key, int], Route] = {}

    @property
    def desired(self) -> Mapping[str, Desired]:
        """What each board was told last, by name, to be read only."""
        return self._desired

    @property
    def feeds(self) -> Mapping[str, GatewayDesired]:
        """What each gateway was told last, by name, to be read only."""
        return self._feeds

    def restore(self, holders: Iterable[str]) -> None:
        """Boards that an earlier controller may have told something: they are told anew, if only to hold nothing."""
        for board in holders:
            self._desired.setdefault(board, Desired(self._epoch, 0, ()))
            self._touched.add(board)

    def forget(self, name: str) -> None:
        """A board or gateway is gone for good: what it was told is void, and one that comes back is told anew."""
        self._desired.pop(name, None)
        self._feeds.pop(name, None)
        if name in self._held:
            self._touched.add(name)

    def restate(self) -> list[Decision]:
        """Everything retained, again."""
        effects: list[Decision] = [PublishDesired(b, d) for b, d in sorted(self._desired.items()) if d.revision]
        return effects + [PublishGatewayDesired(g, d) for g, d in sorted(self._feeds.items())]

    def tell(self, deployments: Mapping[str, DeploymentRecord]) -> list[Decision]:
        """What has to be said to whom, now that `deployments` are as they are."""
        return self._tell_boards(deployments) + self._tell_gateways(deployments)

    def _tell_boards(self, deployments: Mapping[str, DeploymentRecord]) -> list[Decision]:
        effects: list[Decision] = []
        self._take_placements(deployments.values())
        wished = [board for board in self._leaving.wished() if board in self._registry.boards or board in self._desired]
        touched, self._touched = sorted({*self._touched, *wished}), set()
        for board in touched:
            assignments = tuple(each for _, each in sorted(self._held.get(board, {}).items()))
            if not assignments and board not in self._desired and not self._leaving.restarts(board):
                continue
            told = self._desired.get(board) or Desired(self._epoch, 0, ())
            token = self._leaving.token(board, not assignments, told.restart_token)
            if (told.assignments, told.restart_token) != (assignments, token) or told.revision == 0:
                self.revision += 1
                self._desired[board] = Desired(self._epoch, self.revision, assignments, token)
                effects.append(PublishDesired(board, self._desired[board]))
                if told.assignments and not assignments and self._leaving.leaves(board):
                    effects.append(Record(NewEvent("board-free", f"{board} holds nothing any more", board=board)))
        return effects

    def _take_placements(self, records: Iterable[DeploymentRecord]) -> None:
        """Find the boards that are to hold something else than at the last look."""
        before = self._placed
        self._placed = {placement.key: placement for record in records for placement in record.placements()}
        for key, placement in before.items():
            if key not in self._placed:
                for board in placement.boards:
                    held = self._held[board]
                    del held[key]
                    if not held:
                        del self._held[board]
                self._touched.update(placement.boards)
        for key, placement in self._placed.items():
            if before.get(key) is not placement:
                for board, assignment in placement.assignments().items():
                    self._held.setdefault(board, {})[key] = assignment
                self._touched.update(placement.boards)

    def _tell_gateways(self, deployments: Mapping[str, DeploymentRecord]) -> list[Decision]:
        effects: list[Decision] = []
        known = self._registry.gateways
        names = sorted(name for name in known if known[name].presence is not BoardPresence.OFFLINE)
        records = [record for _, record in sorted(deployments.items()) if not record.removed]
        effects += map(Record, self._fitting.fit(tuple(self._feed(record, len(names)) for record in records)))
        feeds = self._fitting.feeds
        for name in names:
            told = self._feeds.get(name)
            if told is None or told.feeds != feeds:
                self.revision += 1
                self._feeds[name] = GatewayDesired(self._epoch, self.revision, feeds)
                effects.append(PublishGatewayDesired(name, self._feeds[name]))
        return effects

    def _feed(self, record: DeploymentRecord, gateways: int) -> Feed:
        serving, following = record.serving, record.next
        paused = following is not None and following.state is GenerationState.QUEUED
        feeds = serving is not None and not paused and not has_dead_stage(self._registry, serving)
        probing = following is not None and following.state is GenerationState.PROBING
        shown = serving or following
        return Feed(
            intent=record.intent,
            model=shown.model if shown is not None else self._wanted_model(record.intent),
            serving=self._route(serving, gateways) if feeds and serving is not None else None,
            probing=self._route(following, gateways) if probing and following is not None else None,
        )

    def _route(self, placement: Placement, gateways: int) -> Route:
        known = self._routes.get((placement.key, gateways))
        if known is None:
            self._routes = {key: route for key, route in self._routes.items() if key[0] in self._placed}
            known = self._routes[placement.key, gateways] = placement.route(gateways)
        return known

    def _wanted_model(self, intent: Intent) -> ModelRef:
        model = self._models.get((intent.model, intent.version))
        return ModelRef(intent.model, intent.version, model.digest if model is not None else UNKNOWN_BUNDLE)

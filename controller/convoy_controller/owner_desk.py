"""Where what owners ask for reaches the controller: deployments, boards' wishes, removals, models, keys and floors.

Owners write into the database and the key folder, in processes of their own; the desk looks there, and hands what is
new to the reconciler. What cannot be read now is read later. Called by `service`, in its loop.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from convoy_schema.errors import ConvoyError
from convoy_schema.signing import Statements

from convoy_controller.database import publications
from convoy_controller.database.engine import Database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import SavedDeployment, SavedModel, Severity
from convoy_controller.delivery import Delivery, is_worth_saying
from convoy_controller.errors import DatabaseError, DatabaseReplacedError, KeyFileError
from convoy_controller.housekeeping import Housekeeping
from convoy_controller.reconciler import Reconciler
from convoy_controller.shelf import Shelf
from convoy_controller.statements import StatementKeeper

log = logging.getLogger(__name__)


class Say(Protocol):
    """Records an event."""

    def __call__(self, kind: str, sentence: str, severity: Severity) -> None:
        """Of that kind, in that sentence."""


class OwnerDesk:
    """One controller's. `refuse` counts what was refused, by code; `publish` sends statements to the fleet."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        in_thread: Callable[..., Awaitable[Any]],
        shelf: Shelf,
        statements: StatementKeeper,
        delivery: Delivery,
        housekeeping: Housekeeping,
        *,
        say: Say,
        refuse: Callable[[str], int],
        publish: Callable[[Statements], bool],
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._in_thread = in_thread
        self._shelf = shelf
        self._statements = statements
        self._delivery = delivery
        self._housekeeping = housekeeping
        self._say = say
        self._refuse = refuse
        self._publish = publish
        self._intent_revision = self._wish_revision = 0
        #: The owners' counter when all that it counts had been taken up; it is never 0 once something was asked for.
        self._asked_intent = 0
        self._is_deaf = False

    def begin_anew(self) -> None:
        """A new reign has heard of nothing yet."""
        self._intent_revision = self._wish_revision = self._asked_intent = 0

    async def poll(self, reconciler: Reconciler) -> None:
        """Take up what is new since the last look. Raises `DatabaseReplacedError` alone."""
        try:
            await self._in_thread(self._database.check_in_place)
            await self._heed_statements(reconciler)
            asked = await self._in_thread(self._recorder.asked)
            await self._housekeeping.take_removals(asked.removal)
            if asked.intent != self._asked_intent:
                await self._take_intents(reconciler)
                self._asked_intent = asked.intent
            self._is_deaf = False
        except DatabaseReplacedError:
            raise  # the process ends, and its successor adopts what runs
        except DatabaseError as error:
            if not self._is_deaf:
                log.error("what owners ask for cannot be read, and is tried again: %s", error)
            self._is_deaf = True

    async def _take_intents(self, reconciler: Reconciler) -> None:
        for wanted in await self._in_thread(self._recorder.intents_since, self._intent_revision):
            await self._take_intent(reconciler, wanted)
            self._intent_revision = max(self._intent_revision, wanted.intent_revision)
        for wish in await self._in_thread(self._recorder.wishes_since, self._wish_revision):
            reconciler.heed(wish)
            self._wish_revision = max(self._wish_revision, wish.revision)

    async def _take_intent(self, reconciler: Reconciler, wanted: SavedDeployment) -> None:
        intent = wanted.intent
        if not wanted.wanted:
            reconciler.unwanted(intent.deployment)
            return
        key = (intent.model, intent.version)
        if key not in self._shelf.models:
            await self._load_model(*key)
        if self._shelf.tell(reconciler, key):
            self._delivery.announce(self._shelf.saved[key])
        reconciler.wanted(intent)

    async def _heed_statements(self, reconciler: Reconciler) -> None:
        """Act on new delegations and floors: models are judged again, those in use announced as they are signed now."""
        try:
            merged = await self._in_thread(self._statements.exchange, self._statements.trust.statements)
        except KeyFileError as error:
            if is_worth_saying(self._refuse(error.code)):
                self._say("keys", f"keys and floors cannot be kept, which is tried again: {error}", Severity.ERROR)
            return
        if merged is not None and self._statements.absorb(merged):
            state = await self._in_thread(self._recorder.load_state)
            for model in state.models:
                self._judge_again(reconciler, model)
        self._statements.tell(self._publish)

    def _judge_again(self, reconciler: Reconciler, model: SavedModel) -> None:
        before = self._shelf.saved.get((model.name, model.version))
        self.know(model)
        is_fit = self._shelf.tell(reconciler, (model.name, model.version))
        if is_fit and before != model and self._delivery.is_announced(model.digest):
            self._delivery.announce(model, anew=True)

    async def _load_model(self, name: str, version: str) -> None:
        try:
            self.know(await self._in_thread(publications.find_model, self._database, name, version))
        except DatabaseError:
            raise
        except ConvoyError as error:
            log.warning("model %s %s: %s", name, version, error)

    def know(self, model: SavedModel) -> None:
        """Judge a model; what boards would refuse is not known as one that may be deployed."""
        reason = self._shelf.judge(model, self._statements.verify)
        if reason:
            self._say("model-refused", f"model {model.name} {model.version}: {reason}", Severity.ERROR)

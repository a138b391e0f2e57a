"""Clears what nobody refers to any more: retained topics, files of removed models, and history that is too old.

A thin shell round `garbage`, run by the controller's process. It takes up what owners removed, reads the database in
the database's thread, and publishes and deletes what the core finds; a controller that is not in charge only listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from convoy_schema.bundle import VerifiedModel
from convoy_schema.errors import ConvoyError
from convoy_schema.topics import BoardTopic, GatewayTopic, ManifestTopic, ModelTopic, Topic, Topics

from convoy_controller.catalogue import Catalogue
from convoy_controller.database import condition_records, presence_hours, removals, upkeep
from convoy_controller.database.engine import Database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import (
    BoardPresence,
    NewEvent,
    References,
    Removal,
    RemovalKind,
    SavedCollection,
    utc_now,
)
from convoy_controller.database.references import references
from convoy_controller.database.retention import ClockWatch, sweep
from convoy_controller.database.spans import KEEP_HOURS
from convoy_controller.delivery import Delivery
from convoy_controller.garbage import Facts, Finding, FindingKind, Garbage, Patience, Verdict, is_retained
from convoy_controller.plain import plain
from convoy_controller.reconciler import Reconciler
from convoy_controller.registry import Registry

log = logging.getLogger(__name__)

#: How long what is not needed stays.
PATIENCE = Patience()
#: Seconds between looks for what owners ask for.
TICK_S = 1.0
#: Seconds between surveys when nobody asks for one, and at least.
SURVEY_S = 60.0
SOONEST_S = 1.0
#: Seconds between the retention's runs.
RETENTION_S = 3600.0
#: Seconds between two roll-ups of samples into minutes; and between two of everything else that history needs.
ROLL_UP_S = 60.0
UPKEEP_S = 600.0
#: Seconds between walks over all boards that put their conditions right where a former version left them otherwise.
SETTLE_S = 3600.0
#: Topics and files cleared in one go, and findings told of one clearing.
MOST_AT_ONCE = 2000


@dataclass
class Realm:
    """What housekeeping needs of the controller around it; calls are made from its loop."""

    topics: Topics
    registry: Registry
    #: The reconciler while this controller is in charge and heard, else None.
    reign: Callable[[], Reconciler | None]
    #: Runs a blocking call in the database's thread.
    in_thread: Callable[..., Awaitable[Any]]
    #: Writes telemetry, in order with what was noted before.
    record: Callable[[Callable[[Recorder], object]], None]
    #: Takes back what is retained on a topic of the control connection; False when it could not be sent.
    clear: Callable[[str], bool]
    #: Asks a board to say everything again, unless it is among those `asked`.
    ask_to_restate: Callable[[str], None]
    asked: set[str]
    #: What is remembered of models, by (name, version).
    models: MutableMapping[tuple[str, str], VerifiedModel]


class Housekeeping:
    """One controller's. `run` until cancelled; `heard` for every message that comes in."""

    def __init__(self, realm: Realm, database: Database, catalogue: Catalogue, delivery: Delivery) -> None:
        self._realm = realm
        self._database = database
        self._catalogue = catalogue
        self._delivery = delivery
        self._garbage = Garbage(PATIENCE)
        self._forgotten: set[str] = set()
        self._taken = 0
        self._survey_at = 0.0
        self._former: Reconciler | None = None

    async def load(self) -> None:
        """Learn what was removed before this process began; raises `DatabaseError`."""
        found: References = await self._realm.in_thread(references, self._database)
        self._forgotten = set(found.forgotten)
        for removal in await self._removals():
            self._taken = removal.number

    def filters(self) -> tuple[str, ...]:
        """What to subscribe to beside the controller's own: what else may be retained."""
        topics = self._realm.topics
        return topics.manifest("+"), topics.board("+", "desired"), topics.gateway("+", "desired")

    def lost(self) -> None:
        """The connection is gone."""
        self._garbage.lost()

    def heard(self, topic: str, parsed: Topic, payload: bytes, retained: bool) -> bool:
        """Note what the broker retains; True when the message concerns nobody else."""
        if isinstance(parsed, BoardTopic) and parsed.board in self._forgotten:
            if payload and not retained and parsed.leaf not in ("state", "desired"):
                self._returns(parsed.board)
            else:
                self._note(topic, parsed, payload)
                return True  # the last words of a board that was removed
        self._note(topic, parsed, payload)
        return isinstance(parsed, ManifestTopic) or getattr(parsed, "leaf", "") == "desired"

    def _note(self, topic: str, parsed: Topic, payload: bytes) -> None:
        if is_retained(parsed):
            self._garbage.heard(topic, parsed, len(payload))

    def _returns(self, board: str) -> None:
        """A removed board speaks: it is a board again, and may hold what nobody told it in this reign."""
        self._forgotten.discard(board)
        self._realm.ask_to_restate(board)
        reconciler = self._realm.reign()
        if reconciler is not None:
            reconciler.restore((), (board,), asyncio.get_running_loop().time())

    # What owners removed ---------------------------------------------------------------------------------------------

    async def _removals(self) -> tuple[Removal, ...]:
        found: tuple[Removal, ...] = await self._realm.in_thread(removals.removals_since, self._database, self._taken)
        return found

    async def take_removals(self, newest: int) -> None:
        """Act on what owners removed since the last look, up to `newest` and more; raises `DatabaseError`."""
        if newest <= self._taken:
            return
        for removal in await self._removals():
            self._taken = removal.number
            self._survey_at = 0.0
            if removal.kind is RemovalKind.MODEL:
                self._realm.models.pop((removal.name, removal.version), None)
                self._delivery.withdraw(removal.digest)
                self._event(f"model {removal.name} {removal.version} was removed by its owner")
            else:
                self._forget(removal.name)

    def _forget(self, board: str) -> None:
        known = self._realm.registry.boards.get(board)
        if known is not None and known.presence is BoardPresence.ONLINE:
            self._event(f"board {board} was removed, but it is back")
            return
        self._realm.registry.boards.pop(board, None)
        self._realm.asked.discard(board)
        reconciler = self._realm.reign()
        if reconciler is not None:
            reconciler.forget(board)
        self._forgotten.add(board)
        # After what is still on its way to the database, which would make it known again.
        self._realm.record(lambda r: r.forget_board(board))
        self._event(f"board {board} was removed by its owner")

    def _event(self, sentence: str) -> None:
        log.info("%s", sentence)
        self._realm.record(lambda r: r.record_event(NewEvent("cleared", sentence)))

    # The loop --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Survey now and then, and whenever an owner asks; look after history."""
        await asyncio.gather(self._survey(), self._keep_history(), self._keep_conditions())

    async def _survey(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._round(asyncio.get_running_loop().time())
            except ConvoyError as error:
                log.warning("what is not needed stays for now: %s", error)

    async def _keep_history(self) -> None:
        clock = asyncio.get_running_loop().time
        began = swept_at = rolled_at = clock()
        kept_at = float("-inf")  # partitions are needed at once
        watch = ClockWatch(utc_now(), began)
        while True:
            await asyncio.sleep(TICK_S)
            now = clock()
            try:
                if now - rolled_at >= ROLL_UP_S:
                    rolled_at = now
                    await self._step_through(upkeep.every_minute(self._database))
                if now - kept_at >= UPKEEP_S:
                    kept_at = now
                    is_trusted = watch.is_trusted(utc_now(), now) and now - began >= UPKEEP_S
                    await self._step_through(upkeep.now_and_then(self._database, utc_now(), is_date_trusted=is_trusted))
                    if is_trusted and now - swept_at >= RETENTION_S:
                        swept_at = now
                        await self._realm.in_thread(sweep, self._database, utc_now())
                        await self._realm.in_thread(presence_hours.fold_old, self._database, utc_now() - KEEP_HOURS)
            except ConvoyError as error:
                log.warning("history is not looked after for now: %s", error)

    async def _keep_conditions(self) -> None:
        """Explain every board now and then, some at a time; a controller that is not in charge leaves it to another."""
        clock = asyncio.get_running_loop().time
        settle_at, last = clock(), ""
        while True:
            await asyncio.sleep(TICK_S)
            if self._realm.reign() is None or clock() < settle_at:
                continue
            try:
                settled = condition_records.settle_after, self._database, utc_now(), last
                wrong, last = await self._realm.in_thread(*settled)
            except ConvoyError as error:
                log.warning("the conditions of boards stay as they are for now: %s", error)
                continue
            if wrong:
                log.info("put the conditions of %d boards right", wrong)
            if not last:
                settle_at = clock() + SETTLE_S

    async def _step_through(self, steps: Iterator[None]) -> None:
        """Each step by itself in the database's thread, so that what is decided gets between."""
        while await self._realm.in_thread(next, steps, steps) is not steps:
            pass

    async def _round(self, now: float) -> None:
        if self._settled(now) is None:
            return
        for asked in await self._realm.in_thread(removals.pending_collections, self._database):
            await self._collect(asked)
        if now >= self._survey_at:
            await self._collect(None)

    def _settled(self, now: float) -> Reconciler | None:
        """The reign, when it has lasted long enough to clear anything."""
        reign, former = self._realm.reign(), self._former
        self._former = reign
        if reign is not former:
            self._garbage.governs(False, now)  # another reign, and the waiting begins anew
        return reign if self._garbage.governs(reign is not None, now) else None

    async def _collect(self, asked: SavedCollection | None) -> None:
        orphans = asked is not None and asked.orphans
        heard = [name for name, board in self._realm.registry.boards.items() if board.reported is not None]
        known, blobs = await self._realm.in_thread(self._look, heard, orphans)
        now = asyncio.get_running_loop().time()
        reconciler = self._settled(now)
        if reconciler is None:
            return
        facts = self._facts(reconciler, known, blobs)
        findings = self._garbage.survey(facts, now, asked=asked is not None, orphans=orphans)
        waiting = [finding.due_in_s for finding in findings if finding.due_in_s]
        self._survey_at = now + max(SOONEST_S, min(SURVEY_S, *waiting) if waiting else SURVEY_S)
        due = [finding for finding in findings if finding.verdict is Verdict.CLEAR][:MOST_AT_ONCE]
        cleared: set[Finding] = set()
        if asked is None or not asked.dry_run:
            cleared |= {finding for finding in due if finding.kind is FindingKind.TOPIC and self._clear(finding, known)}
            digests = [finding.name for finding in due if finding.kind is FindingKind.BLOB]
            gone = await self._realm.in_thread(self._catalogue.discard, digests) if digests else frozenset()
            cleared |= {finding for finding in due if finding.kind is FindingKind.BLOB and finding.name in gone}
            self._say(cleared)
        if asked is not None:
            told = [{**plain(finding), "cleared": finding in cleared} for finding in findings[:MOST_AT_ONCE]]
            await self._realm.in_thread(removals.finish_collection, self._database, asked.number, told)

    def _say(self, cleared: Collection[Finding]) -> None:
        if not cleared:
            return
        topics = [finding for finding in cleared if finding.kind is FindingKind.TOPIC]
        files = [finding for finding in cleared if finding.kind is FindingKind.BLOB]
        reasons = sorted({finding.reason for finding in cleared})
        self._event(
            f"cleared {len(topics)} retained topics ({_bytes(topics)} bytes) and {len(files)} files "
            f"({_bytes(files)} bytes): {'; '.join(reasons[:5])}"
        )

    def _look(self, heard: Collection[str], orphans: bool) -> tuple[References, dict[str, int]]:
        """In the database's thread."""
        found = references(self._database, heard)
        removed = {artifact for model in found.removed for artifact in model.artifacts}
        return found, self._catalogue.sizes(None if orphans else removed)

    def _facts(self, reconciler: Reconciler, known: References, blobs: dict[str, int]) -> Facts:
        """With what is decided and heard but not written yet; no await may come between this and the clearing."""
        registry = self._realm.registry
        in_force: set[str] = set()
        intended: set[tuple[str, str]] = set()
        busy = {name for name, board in registry.boards.items() if board.presence is not BoardPresence.OFFLINE}
        for record in reconciler.deployments.values():
            for intent in (record.intent, record.fallback):
                if intent is not None:
                    intended.add((intent.model, intent.version))
            for placement in (record.serving, record.next, *record.draining):
                if placement is not None:
                    in_force.add(placement.bundle)
                    busy |= set(placement.boards)
        for board in registry.boards.values():
            if board.reported is not None:
                in_force |= {assignment.bundle for assignment in board.reported.held}
        gateways = {name for name, peer in registry.gateways.items() if peer.presence is not BoardPresence.OFFLINE}
        peers = (*registry.boards.values(), *registry.gateways.values())
        is_certain = all(peer.presence is not BoardPresence.UNKNOWN for peer in peers)
        return Facts(
            known, frozenset(in_force), frozenset(intended), frozenset(busy), frozenset(gateways), is_certain, blobs
        )

    def _clear(self, finding: Finding, known: References) -> bool:
        parsed = self._realm.topics.parse(finding.name)
        if isinstance(parsed, ModelTopic):
            for model in (*known.catalogue, *known.removed):
                if (model.name, model.version) == (parsed.model, parsed.version):
                    self._delivery.withdraw(model.digest)
        if isinstance(parsed, (ModelTopic, ManifestTopic)):
            return self._delivery.clear(finding.name)
        if isinstance(parsed, GatewayTopic):
            self._forget_gateway(parsed.gateway)
        return self._realm.clear(finding.name)

    def _forget_gateway(self, gateway: str) -> None:
        if self._realm.registry.gateways.pop(gateway, None) is None:
            return
        reconciler = self._realm.reign()
        if reconciler is not None:
            reconciler.forget(gateway)
        self._realm.record(lambda r: r.forget_gateway(gateway))


def _bytes(findings: Iterable[Finding]) -> int:
    return sum(finding.size for finding in findings)

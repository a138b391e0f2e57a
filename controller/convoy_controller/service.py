"""The controller's process: carries messages to the registry and the reconciler, and their effects to the broker.

A thin shell round deterministic cores. One loop owns all decisions; database and planner have a thread each, and what
must be persisted is so before anything that depends on it is published. Blobs travel on a connection of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from convoy_schema import codec
from convoy_schema.backoff import FEW_MOST_S
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.credentials import Credentials
from convoy_schema.errors import TooLargeError
from convoy_schema.link import MAX_OUTBOX
from convoy_schema.messages.boards import (
    Command,
    Order,
    Presence,
    Published,
)
from convoy_schema.messages.gateways import ControllerState
from convoy_schema.messages.logs import BoardLog
from convoy_schema.surroundings import REAL, Surroundings
from convoy_schema.topics import Topic, Topics

from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import (
    BoardPresence,
    FleetState,
    NewEvent,
    Severity,
)
from convoy_controller.delivery import Delivery
from convoy_controller.effects import Decision, PlanWanted, PublishDesired, PublishGatewayDesired, Record
from convoy_controller.errors import DatabaseError
from convoy_controller.home import Home
from convoy_controller.housekeeping import Housekeeping, Realm
from convoy_controller.intake import Intake, Listener
from convoy_controller.journal import MAX_RECORDS, Journal, Writing
from convoy_controller.laggards import Laggards
from convoy_controller.leadership import Leadership, Standing, Stands
from convoy_controller.listening import Listening
from convoy_controller.log_collecting import LogDesk
from convoy_controller.owner_desk import OwnerDesk
from convoy_controller.plan_desk import PlanDesk
from convoy_controller.reconciler import Reconciler
from convoy_controller.registry import Registry
from convoy_controller.reign import Heard, Reign, begin, contradiction, is_continuous
from convoy_controller.shelf import Shelf
from convoy_controller.statements import StatementKeeper
from convoy_controller.tallies import Tallies
from convoy_controller.watch import Watch

log = logging.getLogger(__name__)

#: Seconds between looks at the clock's consequences when nothing else happens.
TICK_S = 0.25
#: Seconds for a tick after which this process was stopped, or its machine: others have acted meanwhile.
SLEPT_S = 3.0
#: Seconds between looks for new intents in the database.
INTENT_POLL_S = 0.5
#: Seconds that a controller without continuity waits, at most, for every board it knows of to speak.
COLLECT_S = 3.0
#: Seconds between two beginnings made anew.
DOUBT_S = 10.0
#: Messages of QoS 1 that may wait in the control link before more is told: it takes no more than twice as many.
MOST_UNSENT = MAX_OUTBOX // 2
#: Milliseconds over which boards spread their answers to a call to restate everything: those of one, so much more for
#: each that is known, since 10,000 at once overflow the broker's queue, and at the most (`UNANSWERED_S` is longer).
REBIRTH_WITHIN_MS, REBIRTH_BOARD_MS, MOST_REBIRTH_MS = 500, 0.3, 3000

T = TypeVar("T")


class Controller:
    """One controller of one site. `run` returns when `stop` is called."""

    def __init__(
        self,
        home: Home,
        url: str,
        *,
        site: str = "site",
        name: str = "controller",
        credentials: Credentials | None = None,
        metrics: Listening | None = None,
        surroundings: Surroundings = REAL,
        database: Callable[[str], Database] = open_database,
        recorder: Callable[[Database], Recorder] = Recorder,
    ) -> None:
        self.home = home
        self.topics = Topics(site)
        self.session = surroundings.chance.getrandbits(62)
        self._heard = Heard()
        self._published_bytes = 0
        self._journal = Journal()
        self._laggards = Laggards()
        #: Decisions that are kept, in the order in which they are to be told.
        self._untold: deque[Decision] = deque()
        self._tallies = Tallies()
        self._metrics = metrics
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._registry = Registry()
        self._shelf = Shelf()
        self._leadership = Leadership(self.session)
        self._reconciler: Reconciler | None = None
        self._reign: Reign | None = None
        self._doubt = ""
        self._doubted_at = float("-inf")
        self._polled_at = 0.0
        self._running = False
        self._asked: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._plans = PlanDesk(self._news.set)
        self._url = url
        self._name = name
        self._credentials = credentials
        self._surroundings = surroundings
        self._open, self._record_in = database, recorder
        self._intake = Intake(self.topics, self._registry, self._listener(), lambda: asyncio.get_running_loop().time())
        self._control = surroundings.link(
            url,
            f"{name}:control",
            most_wait_s=FEW_MOST_S,
            on_message=self._intake.received,
            on_connect=self._connected,
            on_disconnect=self._disconnected,
            credentials=credentials,
            will=(self.topics.controller_state(), codec.encode(self._state(Presence.OFFLINE))),
        )

    def stop(self) -> None:
        """Ask `run` to return; safe to call from a signal handler of the loop."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`. Raises `DatabaseError` or `KeyFileError` when it cannot begin."""
        database = await self._in_thread(self._open, self.home.database_url)
        self._recorder = self._record_in(database)
        self._database = database
        self._catalogue = Catalogue(database, BlobStore(self.home.blobs))
        self._statements = await self._in_thread(StatementKeeper, self.home.keys, self.topics.site)
        self._running = True
        self._delivery = Delivery(
            self._url, self._name, self.topics, self._catalogue, self._credentials, surroundings=self._surroundings
        )
        self._watch = Watch(self._registry, self._record, self._event, self._delivery.why_not_sent)
        self._housekeeping = Housekeeping(self._realm(), database, self._catalogue, self._delivery)
        await self._housekeeping.load()
        self._owners = self._owner_desk()
        state = await self._in_thread(self._recorder.load_state)
        for model in state.models:
            self._owners.know(model)
        for board in state.boards:
            self._registry.board(board.name).capability = board.capability
            self._watch.restore(board.name, board.symptoms, asyncio.get_running_loop().time())
        self._logs = LogDesk(
            database, self._in_thread, self._record, self._command, self._is_online, self._is_in_charge
        )
        running = (self._control, self._delivery, self._housekeeping, self._logs)
        parts = [*(part.run() for part in running), self._decide(), self._pulse()]
        if self._metrics is not None:
            parts.append(self._measure(database, self._metrics))
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(
                [asyncio.create_task(self._stopping.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED
            )
            _raise_first(tasks)
        finally:
            await self._leave(tasks)
            database.close()

    async def _leave(self, tasks: list[asyncio.Task[None]]) -> None:
        self._stopping.set()  # from here on nothing may say that we are there
        if self._reconciler is not None:
            self._publish(self.topics.controller_state(), self._state(Presence.OFFLINE))
        await asyncio.gather(self._control.stop(), self._delivery.stop())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._plans.close(), return_exceptions=True)
        if self._reconciler is not None:  # what others know no longer, having left the broker, is no news
            await self._journal.keep(self._recorder, self._in_thread, math.inf, MAX_RECORDS)
        self._thread.shutdown()

    def _owner_desk(self) -> OwnerDesk:
        return OwnerDesk(
            self._database,
            self._recorder,
            self._in_thread,
            self._shelf,
            self._statements,
            self._delivery,
            self._housekeeping,
            say=self._event,
            refuse=self._intake.refuse,
            publish=lambda said: self._publish(self.topics.trust(), said),
        )

    def _realm(self) -> Realm:
        """This controller, as its housekeeping sees it."""
        return Realm(
            topics=self.topics,
            registry=self._registry,
            reign=lambda: self._reconciler if self._is_in_charge() else None,
            in_thread=self._in_thread,
            record=self._record,
            clear=lambda topic: self._control.publish(topic, b"", qos=1, retain=True),
            ask_to_restate=self._ask_to_restate,
            asked=self._asked,
            models=self._shelf.models,
        )

    async def _measure(self, database: Database, where: Listening) -> None:
        """Let Prometheus read what is counted."""
        # With them come the API's modules, which nobody else needs here.
        from convoy_controller.metrics.controlling import Watched
        from convoy_controller.metrics.server import serve

        watched = Watched(
            site=self.topics.site,
            registry=self._registry,
            journal=self._journal,
            intake=self._intake,
            delivery=self._delivery,
            control=self._control,
            symptoms=self._watch.present,
            database=database,
            reign=lambda: self._reconciler,
            is_in_charge=self._is_in_charge,
            published_bytes=lambda: self._published_bytes,
        )
        await serve(watched, where)

    def _log_heard(self, board: str, said: BoardLog) -> bool:
        return self._logs.heard(board, said)

    def _is_in_charge(self) -> bool:
        return self._reconciler is not None and self._leadership.standing is Standing.IN_CHARGE

    def _is_online(self, board: str) -> bool:
        known = self._registry.boards.get(board)
        return known is not None and known.presence is BoardPresence.ONLINE

    def _listener(self) -> Listener:
        """This controller, as what comes in finds it."""
        return Listener(
            retained=self._housekeeping_hears,
            accepted=self._hear,
            holds=self._holds,
            follows=self._follows,
            announced=self._announced,
            statements=self._statements_heard,
            controller=self._from_controller,
            ask_to_restate=self._ask_to_restate,
            ask_again=self._ask_again,
            log=self._log_heard,
            record=self._record,
            event=self._event,
            news=self._news.set,
        )

    # The loop that decides -------------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        """Wake on news or on the tick; while in charge: reconcile, persist, publish."""
        clock = asyncio.get_running_loop().time
        # The flag too: before Python 3.12 wait_for forgets a cancellation that meets news.
        while not self._stopping.is_set():
            self._news.clear()
            self._stand(self._leadership.tick(clock()))
            self._intake.note(self._registry.tick(clock()))
            self._watch.look(clock())
            if self._leadership.standing is not Standing.IN_CHARGE:
                # Who neither reigns nor stands by says nothing yet: the database may be another one's.
                if self._reconciler is not None or self._leadership.standing is Standing.STANDBY:
                    await self._carry_out([])
            elif self._reconciler is None:
                await self._begin()
            else:
                await self._govern(self._reconciler, clock())
            self._give_way_to_doubt(clock())
            slept_since = clock()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), TICK_S)
            if self._control.connected and clock() - slept_since > SLEPT_S:
                # Everyone counts as silent, and another may be in charge: listen first, as after a lost connection.
                self._disconnected(f"this process stood still for {clock() - slept_since:.1f} s")
                self._connected()

    def _step_down(self) -> None:
        """The reign is over: nothing that it had decided is written or told any more."""
        self._reconciler, self._delivery.is_active = None, False
        self._laggards.forget()
        self._recorder.reign = 0
        self._journal.forget()
        self._untold.clear()

    def _give_way_to_doubt(self, now: float) -> None:
        """Begin anew when the fleet knew of more than we did; not all the time, whoever says so."""
        if self._journal.is_deposed:
            self._doubt = "another controller has opened a newer reign in the database"
        if not self._doubt or self._reconciler is None or now - self._doubted_at < DOUBT_S:
            return
        doubt, self._doubt, self._doubted_at = self._doubt, "", now
        self._step_down()
        self._leadership.epoch, self._leadership.is_clean = 0, False
        log.warning("beginning anew: %s", doubt)
        self._event("begun-anew", f"controller {self.session} begins anew: {doubt}", Severity.WARNING)
        self._disconnected("everyone is listened to once more")
        self._connected()

    async def _govern(self, reconciler: Reconciler, now: float) -> None:
        if now - self._polled_at >= INTENT_POLL_S:
            self._polled_at = now
            await self._owners.poll(reconciler)
            if self._reconciler is not reconciler:  # another took charge meanwhile: nothing is decided any more
                return
        # What is decided waits for the database: deciding more meanwhile would only make the queue longer.
        effects = [] if self._journal.held else reconciler.reconcile(now)
        for effect in effects:
            if isinstance(effect, PlanWanted):
                self._plans.ask(reconciler, effect.request)
        await self._carry_out([effect for effect in effects if not isinstance(effect, PlanWanted)])

    def _stand(self, changes: list[Stands]) -> None:
        """Take up the role that `leadership` gives, and say why."""
        for change in changes:
            if change.standing is Standing.STANDBY:
                self._step_down()
                log.warning("standing by: %s", change.reason)
                event = NewEvent("standby", f"controller {self.session} stands by: {change.reason}", Severity.WARNING)
                self._journal.note(lambda r, event=event: r.record_event(event))  # type: ignore[misc]
            elif change.standing is Standing.IN_CHARGE and self._reconciler is not None:
                self._restate(self._reconciler)  # a reign that a lost connection suspended goes on
            self._news.set()

    async def _begin(self) -> None:
        """Take charge; tried again when the database is away."""
        try:
            state = await self._in_thread(self._recorder.load_state)
            if not is_continuous(state.counters, self._heard):
                await self._collect()
            self._heard.held = {
                name: board.reported.held for name, board in self._registry.boards.items() if board.reported is not None
            }
            self._heard.gateways = {
                name: gateway.reported
                for name, gateway in self._registry.gateways.items()
                if gateway.reported is not None
            }
            reign = await self._in_thread(
                begin,
                self._recorder,
                self._database,
                self._catalogue,
                self._statements.trust,
                state,
                self._heard,
                self._leadership.is_clean,
            )
            state = await self._in_thread(self._recorder.load_state)
        except DatabaseError as error:
            log.error("cannot take charge yet: %s", error)
            await asyncio.sleep(1.0)
            return
        if self._leadership.standing is Standing.IN_CHARGE:
            self._rule(reign, state)

    def _rule(self, reign: Reign, state: FleetState) -> None:
        for model in state.models:
            self._owners.know(model)
        reconciler = Reconciler(
            self._registry,
            epoch=reign.epoch,
            counter=reign.generation,
            revision=reign.revision,
            tallies=self._tallies,
        )
        for key in (*self._shelf.models, *self._shelf.unfit):
            self._shelf.tell(reconciler, key)
        reconciler.restore(reign.placements, reign.holders, asyncio.get_running_loop().time())
        for wish in state.wishes:
            reconciler.heed(wish)
        self._leadership.epoch = reign.epoch
        self._reign, self._doubt = reign, ""
        self._recorder.reign = reign.epoch
        self._reconciler = reconciler
        self._delivery.begin_anew()
        self._owners.begin_anew()
        self._heard.announcements.clear()
        for peer in (*self._registry.boards.values(), *self._registry.gateways.values()):
            if peer.session:  # as it stands, whatever an earlier reign wrote
                self._intake.note_presence(peer.name, peer.presence, peer.session, "as its controller took charge")
        log.info("%s", reign.sentence)
        self._publish(self.topics.controller_state(), self._state(Presence.ONLINE))
        self._event("in-charge", f"controller {self.session} {reign.sentence}")
        self._news.set()

    async def _collect(self) -> None:
        """Wait until every board that is known of has spoken, or for as long as that may take."""
        clock = asyncio.get_running_loop().time
        until = clock() + COLLECT_S
        while clock() < until:
            boards = self._registry.boards.values()
            if not boards and not self._heard.epoch:
                return  # nobody there speaks of anything; who comes later and does is heard then
            if boards and all(b.presence is not BoardPresence.UNKNOWN and b.reported is not None for b in boards):
                return
            await asyncio.sleep(0.05)

    async def _carry_out(self, effects: list[Decision]) -> None:
        """Persist first, with what was recorded since; then publish what is kept, in the order given."""
        self._journal.decide(effects)
        now = asyncio.get_running_loop().time()
        self._untold += await self._journal.keep(self._recorder, self._in_thread, now)
        self._tell_on()

    def _tell_on(self) -> None:
        """Tell what waits for its turn, as far as the link has room: it drops what is too much for it."""
        while self._untold and self._control.unsent < MOST_UNSENT:
            self._tell(self._untold.popleft())

    def _tell(self, effect: Decision) -> None:
        if isinstance(effect, PublishDesired):
            self._publish(self.topics.board(effect.board, "desired"), effect.desired)
        elif isinstance(effect, PublishGatewayDesired):
            self._publish(self.topics.gateway(effect.gateway, "desired"), effect.desired)
        elif isinstance(effect, Record):
            log.info("%s", effect.event.sentence)

    # What comes in ---------------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._registry.link_up(asyncio.get_running_loop().time())
        self._asked.clear()
        # QoS 0: a wildcard at QoS 1 silently loses retained topics beyond 1,020; whoever is missed is asked again.
        for leaf in ("state", "capability", "reported", "pulse", "log"):
            self._control.subscribe(self.topics.board("+", leaf))
        for leaf in ("state", "reported"):
            self._control.subscribe(self.topics.gateway("+", leaf))
        self._control.subscribe(self.topics.controller_state())
        self._control.subscribe(self.topics.trust())
        for topic in (self.topics.model("+", "+"), *self._housekeeping.filters()):
            self._control.subscribe(topic)
        for name in self._registry.boards:
            self._ask_to_restate(name)
        self._leadership.connected(asyncio.get_running_loop().time())
        self._news.set()

    def _restate(self, reconciler: Reconciler) -> None:
        """Everything retained, again: the broker may have forgotten it."""
        self._publish(self.topics.controller_state(), self._state(Presence.ONLINE))
        self._statements.forget_told()
        held = self._journal.held
        # What is not written yet is told as soon as it is.
        self._untold = deque(effect for effect in reconciler.restate() if effect not in held)
        self._tell_on()

    def _disconnected(self, reason: str) -> None:
        log.warning("presence is unknown from here on: %s", reason)
        self._housekeeping.lost()
        self._leadership.disconnected()
        self._untold.clear()  # a reign that goes on restates everything
        self._intake.note(self._registry.link_lost())
        self._news.set()

    def _housekeeping_hears(self, topic: str, parsed: Topic, payload: bytes, retained: bool) -> bool:
        return self._housekeeping.heard(topic, parsed, payload, retained)

    def _statements_heard(self, payload: bytes) -> None:
        for refusal in self._statements.hear(payload):
            raise refusal

    def _announced(self, topic: str, payload: bytes) -> None:
        if self._reconciler is None:
            self._heard.announce(topic, codec.decode(ModelAnnouncement, payload))

    def _hear(self, epoch: int, revision: int) -> None:
        """A board or gateway has accepted this."""
        self._heard.note(epoch, revision)
        if self._reconciler is not None and self._reign is not None:
            self._doubt = self._doubt or contradiction(self._reign, self._reconciler.revision, (epoch, revision))

    def _holds(self, board: str) -> None:
        """It may come late, with what a reign told it of which this one knows nothing: then it is told anew."""
        if self._reconciler is not None and self._is_in_charge() and board not in self._reconciler.desired:
            self._reconciler.restore((), (board,), asyncio.get_running_loop().time())

    def _follows(self, board: str, epoch: int, revision: int) -> None:
        told = self._reconciler.desired.get(board) if self._reconciler is not None and self._is_in_charge() else None
        if told is None:
            return
        interval_s = self._registry.board(board).interval_s
        if not self._laggards.is_to_be_told(board, (epoch, revision), (told.epoch, told.revision), interval_s):
            return
        effect = PublishDesired(board, told)
        if not self._untold and effect not in self._journal.held:  # else it may only not have been told yet
            self._tell(effect)

    def _from_controller(self, state: ControllerState, retained: bool, now: float) -> None:
        if state.session != self.session:
            self._heard.note(state.epoch)
            self._stand(self._leadership.heard(state, retained, now))

    def _ask_again(self, board: str) -> None:
        if self._is_in_charge():
            self._call_to_restate(board)

    def _ask_to_restate(self, board: str) -> None:
        """Once a connection: retained state may be old, so the board itself is asked."""
        if board not in self._asked and self._control.connected:
            self._asked.add(board)
            self._call_to_restate(board)

    def _call_to_restate(self, board: str) -> None:
        within_ms = REBIRTH_WITHIN_MS + int(REBIRTH_BOARD_MS * len(self._registry.boards))
        self._command(board, Command(Order.REBIRTH, min(within_ms, MOST_REBIRTH_MS)))

    def _command(self, board: str, command: Command) -> None:
        self._publish(self.topics.board(board, "command"), command)

    # What goes out ---------------------------------------------------------------------------------------------------

    def _state(self, presence: Presence) -> ControllerState:
        published = Published(self._published_bytes, self._delivery.published if self._running else 0, 0)
        return ControllerState(
            presence, self.session, self._leadership.epoch, published, self._surroundings.resident_bytes()
        )

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self._stopping.is_set():
                return
            if self._is_in_charge():
                self._publish(self.topics.controller_state(), self._state(Presence.ONLINE))

    def _publish(self, topic: str, message: codec.Message) -> bool:
        try:
            payload = codec.encode(message)
        except TooLargeError as error:  # others are to be told all the same
            log.error("%s cannot be told: %s", topic, error)
            return False
        retain = not isinstance(message, Command)
        sent = self._control.publish(topic, payload, qos=1 if retain else 0, retain=retain)
        self._published_bytes += len(payload) if sent else 0
        return sent

    # The database ----------------------------------------------------------------------------------------------------

    def _record(self, write: Writing, due: float = 0.0, about: object = None) -> None:
        if self._leadership.standing is not Standing.STANDBY:  # the one in charge writes
            self._journal.note(write, due, about)

    def _event(self, kind: str, sentence: str, severity: Severity = Severity.INFO, board: str | None = None) -> None:
        event = NewEvent(kind, sentence, severity, board)
        self._record(lambda r: r.record_event(event))

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _raise_first(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error

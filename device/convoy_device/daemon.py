"""One board: feeds the agent what happens, carries out what it wants, and passes frames through the executor.

The asyncio shell round the cores. Everything here runs in the event loop's thread, but for the jobs of two lanes: the
store's and the fabric's. `convoy_device.cli` starts it, and several of them in one process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import platform
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from importlib import metadata
from typing import Any

from convoy_schema import codec
from convoy_schema.errors import ConvoyError
from convoy_schema.link import Link
from convoy_schema.messages.boards import BoardState, Capability, Phase, Presence, Published, Pulse
from convoy_schema.surroundings import REAL, Surroundings
from convoy_schema.topics import Topics
from convoy_schema.trust import Trust

from convoy_device import effects, events, inbox
from convoy_device.agent import EXIT_OK, EXIT_RESTART, Agent
from convoy_device.bringup import Record
from convoy_device.condition import Condition, Held
from convoy_device.config import Config, credentials, processor_rate, trusted_key
from convoy_device.disk import DISK, Disk
from convoy_device.effects import Effect
from convoy_device.errors import DeviceError
from convoy_device.events import Event, Role
from convoy_device.executor import INLINE_S, Executor
from convoy_device.fabric import Fabric
from convoy_device.fabric.opening import open_fabric
from convoy_device.fabric.processor import Processor
from convoy_device.journal import FIELDS
from convoy_device.lane import Lane
from convoy_device.log_ring import LogRing, RingHandler, rings_for
from convoy_device.progress import LinkSight, Sight
from convoy_device.stage import Stage
from convoy_device.store import Store
from convoy_device.thermal import Thermometer
from convoy_device.uplink import LinkPace, PacedSender
from convoy_device.workbench import Workbench

log = logging.getLogger(__name__)

EXIT_FAILED = 1
#: Codes of an end that was asked for.
_IN_ORDER = (EXIT_OK, EXIT_RESTART)
#: Seconds that frames which have arrived are given when the daemon is asked to stop.
DRAIN_S = 5.0

_FABRIC_EFFECTS = (effects.LoadShell, effects.Configure, effects.SelfTest)
_LINK_EFFECTS = (effects.Subscribe, effects.Unsubscribe, effects.Publish, effects.EmitPulse, effects.SendLog)


class Daemon:
    """A board from start to stop. Construct it inside a running loop; `run` returns the exit code.

    `kept_log` is what `convoy logs` is answered from; whoever made it fills it.
    """

    def __init__(
        self,
        config: Config,
        pool: Pool,
        *,
        fabric: Fabric | None = None,
        kept_log: LogRing | None = None,
        disk: Disk = DISK,
        surroundings: Surroundings = REAL,
    ) -> None:
        self._config = config
        self._board = config.name
        self._surroundings = surroundings
        self._session = surroundings.chance.getrandbits(62)
        self._topics = Topics(config.site)
        self._clock = surroundings.clock or asyncio.get_running_loop().time
        self._log = kept_log or LogRing()
        # Of an emulated board's host nobody wants to know.
        self._thermometer = Thermometer() if config.fabric == "pynq" else None
        self._started = self._clock()
        trust = Trust(trusted_key(config), config.site)
        self._store = Store(config.state_dir, config.store_quota_mb * 1024 * 1024, disk)
        try:
            self._fabric = fabric or open_fabric(
                config.fabric, config.state_dir / "fabric", pace=config.pace, partitions=config.partitions
            )
        except BaseException:
            self._store.close()
            raise
        facts = self._fabric.facts
        processor = Processor(processor_rate(config), config.pace)
        self._workbench = Workbench(
            self._board, self._topics, self._store, self._fabric, config.queue_frames, processor
        )
        self._store_lane = Lane(pool)
        self._fabric_lane = Lane(pool, on_idle=self._on_fabric_idle)
        self._uplink = self._paced() if config.link_bytes_per_s else None
        self._executor = Executor(
            self._board,
            self._topics,
            self._fabric_lane,
            self._workbench.modules,
            self._send_frame if self._uplink is None else self._uplink.send,
            self._clock,
            # A paced fabric sleeps, which several boards of one process must not do in turn.
            0.0 if config.pace else INLINE_S,
        )
        capability = Capability(
            session=self._session,
            part=facts.part,
            fabric=facts.name,
            shells=facts.shells,
            partitions=facts.partitions,
            clock_hz=facts.clock_hz,
            memory_bytes=facts.memory_bytes,
            queue_frames=config.queue_frames,
            software=_software(),
            python=platform.python_version(),
            labels=dict(config.labels),
            processor=processor.rate,
        )
        chance = random.Random(self._session)
        self._agent = Agent(self._board, self._topics, capability, facts, trust, self._store.quota_bytes, chance)
        self._credentials = credentials(config)
        self._links = {Role.CONTROL: self._link(Role.CONTROL), Role.BULK: self._link(Role.BULK)}
        self._frames_prefix = f"{self._topics.prefix}from/"
        self._published = {"control": 0, "artifacts": 0, "activations": 0}
        self._swaps_seen = 0
        #: What the fabric's register answered so far, and what came instead of the last answer.
        self._answers = 0
        self._refusal = ""
        self._is_asked = False
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._is_awake = False
        self._timer: asyncio.TimerHandle | None = None
        self._phases: dict[tuple[str, object], Phase] = {}
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def _paced(self) -> PacedSender:
        def lost() -> None:
            self._executor.refused["link"] += 1

        pace = LinkPace(self._config.link_bytes_per_s or 0.0, self._config.link_frame_s)
        return PacedSender(pace, self._send_frame, lost, self._clock)

    def _link(self, role: Role) -> Link:
        will = None
        if role is Role.CONTROL:
            gone = BoardState(Presence.OFFLINE, self._session, "the connection was lost")
            will = self._topics.board(self._board, "state"), codec.encode(gone)
        return self._surroundings.link(
            self._config.broker,
            f"{self._board}:{role.value}",
            on_message=functools.partial(self._message, role),
            on_connect=lambda: self._post(events.Connected(role)),
            on_disconnect=lambda reason: self._post(events.Disconnected(role)),
            credentials=self._credentials,
            will=will,
        )

    # Life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until asked to stop, or replaced by another daemon of this name."""
        loop = asyncio.get_running_loop()
        log.info("board %s: session %d, fabric %s, broker %s", *self._introduction())
        tasks = [loop.create_task(link.run(), name=f"{self._board}.{role.value}") for role, link in self._links.items()]
        if self._credentials is not None and self._config.enrollment:
            from convoy_device.renewal import keep_fresh

            chance = random.Random(self._session)
            keeping = keep_fresh(self._board, self._credentials, self._config.enrollment, chance)
            tasks.append(loop.create_task(keeping, name=f"{self._board}.certificate"))
        try:
            self._fabric_lane.submit(self._wake, self._woke)
            awaited: list[asyncio.Future[Any]] = [self._ended, *tasks]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                log.error("board %s: a link ended by itself", self._board)
            return self._ended.result() if self._ended.done() else EXIT_FAILED
        finally:
            await self._close(tasks)

    def _introduction(self) -> tuple[str, int, str, str]:
        return self._board, self._session, self._config.fabric, self._config.broker

    def stop(self, reason: str) -> None:
        """Say goodbye and let `run` return."""
        self._post(events.Stopping(reason))

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        is_in_order = self._ended.done() and self._ended.result() in _IN_ORDER
        self._ended.cancel()  # whatever comes back from a lane sets no timer any more
        if is_in_order:
            await self._drain()
        if self._uplink is not None:
            self._uplink.close()
        for link in self._links.values():
            await link.stop()
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("board %s: a link failed", self._board, exc_info=outcome)
        await self._store_lane.close()
        await self._fabric_lane.close()
        self._fabric.close()
        self._store.close()

    async def _drain(self) -> None:
        """Take no more frames, and let those that have arrived be computed and leave, within `DRAIN_S`."""
        self._links[Role.CONTROL].unsubscribe(self._topics.frames_to(self._board))
        clock = asyncio.get_running_loop().time
        until = clock() + DRAIN_S
        while any(stage.queued for stage in self._executor.stages) or self._fabric_lane.is_busy:
            if clock() > until:
                log.warning("board %s: it stops with frames that were not computed", self._board)
                return
            await asyncio.sleep(0.01)

    # What a service manager asks -------------------------------------------------------------------------------------

    def ask_fabric(self) -> None:
        """Have a register of the fabric read, behind whatever is done there now; `sight` shows what came of it."""
        if self._is_asked or not self._is_awake:
            return
        self._is_asked = True
        self._fabric_lane.submit(self._fabric.probe, self._answered)

    def _answered(self, _: None, error: BaseException | None) -> None:
        self._is_asked = False
        if error is None:
            self._answers += 1
        elif not self._refusal:
            log.error("board %s: the fabric does not answer as it should: %s", self._board, error)
        self._refusal = "" if error is None else str(error)

    def sight(self) -> Sight:
        """What has got on since the start, as numbers."""
        links = tuple(
            LinkSight(role.value, link.connected, link.round_trips, link.attempts) for role, link in self._links.items()
        )
        lanes = (("disk", self._store_lane), ("fabric", self._fabric_lane))
        busy = tuple((name, lane.busy_s) for name, lane in lanes if lane.is_busy)
        return Sight(links, busy, self._answers, self._refusal)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is live."""
        return self._executor.stages

    def condition(self, stuck: str = "") -> Condition:
        """What is true now, for people and programs on this machine."""
        truth = self._agent.truth()
        return Condition(
            board=self._board,
            version=_version(),
            is_awake=self._is_awake,
            is_connected=self._links[Role.CONTROL].connected,
            epoch=truth.epoch,
            revision=truth.revision,
            held=tuple(
                Held(report.deployment, str(report.generation), report.phase.value, report.code)
                for report in truth.assignments
            ),
            stuck=stuck,
        )

    # Starting --------------------------------------------------------------------------------------------------------

    def _wake(self) -> tuple[events.FabricSeen, events.Restored]:
        """In a thread: find out what an earlier daemon left in the fabric and on disk."""
        self._fabric.quiesce()
        restored = events.Restored(
            self._store.last_good(),
            self._store.epoch(),
            self._store.models(),
            self._store.digests(),
            self._store.partials(),
            self._store.trust(),
            self._store.restarted(),
        )
        return self._workbench.look(), restored

    def _woke(self, found: tuple[events.FabricSeen, events.Restored] | None, error: BaseException | None) -> None:
        if found is None:
            log.error("board %s: cannot start: %s", self._board, error)
            self._end(EXIT_FAILED)
            return
        seen, restored = found
        log.info("board %s: DMA stands still; %s", self._board, _holding(seen))
        # Whatever came meanwhile is newer than the disk, and was kept waiting.
        self._events.extendleft([events.StoreSeen(self._store.used_bytes), seen, restored])
        self._is_awake = True
        self._work()

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    # Events and effects ----------------------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        self._events.append(event)
        if isinstance(event, events.Stopping) and not self._is_awake:
            self._end(0)
        elif not self._is_handling and self._is_awake:
            self._work()

    def _work(self) -> None:
        """Let the agent take every event that waits, in order, those included that its effects bring about."""
        self._is_handling = True
        try:
            while self._events:
                self._take(self._events.popleft())
        finally:
            self._is_handling = False
        self._log_phases()
        self._set_timer()

    def _take(self, event: Event) -> None:
        try:
            for effect in self._agent.handle(event, self._clock()):
                self._carry_out(effect)
        except Exception:
            log.exception("board %s: %s was not carried out", self._board, type(event).__name__)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._agent.due()
        if due is not None and not self._ended.done():
            delay_s = max(0.001, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._post, events.Tick())

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, _LINK_EFFECTS):
            self._use_link(effect)
        elif isinstance(effect, _FABRIC_EFFECTS):
            self._fabric_lane.submit(
                functools.partial(self._configure, effect), functools.partial(self._configured, effect)
            )
        elif isinstance(effect, effects.Activate):
            stage = self._workbench.loaded.get(effect.assignment.key)
            if stage is not None:
                self._executor.activate(stage)
        elif isinstance(effect, effects.Deactivate):
            self._executor.deactivate(effect.key)
            self._workbench.loaded.pop(effect.key, None)
        elif isinstance(effect, effects.Stop):
            (log.info if effect.code in _IN_ORDER else log.error)("board %s stops: %s", self._board, effect.reason)
            self._end(effect.code)
        else:
            work = functools.partial(self._workbench.store, effect)
            self._store_lane.submit(work, functools.partial(self._stored, effect))

    def _configure(self, effect: effects.FabricEffect) -> tuple[events.FabricSeen, BaseException | None]:
        """In the fabric's lane: what the fabric holds afterwards, and what went wrong."""
        failure: BaseException | None = None
        try:
            self._workbench.fabric(effect)
        except Exception as error:
            failure = error
        return self._workbench.look(), failure

    def _configured(
        self,
        effect: effects.FabricEffect,
        outcome: tuple[events.FabricSeen, BaseException | None] | None,
        error: BaseException | None,
    ) -> None:
        if outcome is not None:
            seen, error = outcome
            self._post(seen)
        self._answer(effect, error)

    def _stored(self, effect: effects.StoreEffect, _: None, error: BaseException | None) -> None:
        evicted = self._store.take_evicted()
        if evicted or isinstance(effect, (effects.FinishArtifact, effects.CollectGarbage, effects.DropArtifacts)):
            self._post(events.StoreSeen(self._store.used_bytes, evicted))
        self._answer(effect, error)

    def _answer(self, effect: Effect, error: BaseException | None) -> None:
        if error is None:
            self._post(events.Done(effect))
            return
        if not isinstance(error, ConvoyError):
            log.error("board %s: %s", self._board, type(effect).__name__, exc_info=error)
            error = DeviceError(f"{type(error).__name__}: {error}")
        log.warning("board %s: %s failed: %s", self._board, type(effect).__name__, error)
        self._post(events.Failed(effect, error))

    def _log_phases(self) -> None:
        phases: dict[tuple[str, object], Phase] = {}
        for record in self._agent.records:
            key = record.assignment.key
            phases[key] = record.phase
            if self._phases.get(key) is not record.phase:
                reason = f": {record.error}" if record.error else f" ({record.step})" if record.step else ""
                level = logging.ERROR if record.error else logging.INFO
                text = "board %s: %s %s is %s%s"
                log.log(level, text, self._board, *key, record.phase.value, reason, extra=self._fields(record))
        self._phases = phases

    def _fields(self, record: Record) -> dict[str, dict[str, object]]:
        """What the journal is told beside the sentence."""
        deployment, generation = record.assignment.key
        step = record.phase.value
        fields = {"board": self._board, "deployment": deployment, "generation": generation, "step": step}
        return {FIELDS: fields}

    def _on_fabric_idle(self) -> None:
        self._executor.pump()

    # Links -----------------------------------------------------------------------------------------------------------

    def _message(self, role: Role, topic: str, payload: bytes, retained: bool) -> None:
        if role is Role.CONTROL and topic.startswith(self._frames_prefix):
            if retained:
                self._executor.refused["retained"] += 1
            else:
                self._executor.take(topic, payload)
            return
        event = inbox.read(self._board, self._topics, topic, payload, retained)
        if isinstance(event, events.Refused):
            log.warning("board %s: refused on %s: %s", self._board, topic[:200], event.message)
        if event is not None:
            self._post(event)

    def _use_link(self, effect: effects.LinkEffect) -> None:
        match effect:
            case effects.Subscribe(role, topic, qos):
                self._links[role].subscribe(topic, qos)
            case effects.Unsubscribe(role, topic):
                self._links[role].unsubscribe(topic)
            case effects.Publish(role, leaf, message, retain):
                self._publish(effect, self._links[role], leaf, codec.encode(message), retain)
            case effects.EmitPulse():
                self._pulse(effect)
            case effects.SendLog(session, after):
                self._send("log", codec.encode(self._log.after(session, after, self._clock())))

    def _publish(self, effect: effects.Publish, link: Link, leaf: str, payload: bytes, retain: bool) -> None:
        if link.publish(self._topics.board(self._board, leaf), payload, qos=1, retain=retain):
            self._published["artifacts" if leaf == "want" else "control"] += len(payload)
        else:
            self._post(events.Failed(effect, DeviceError(f"{leaf} was not sent: no connection, or no room")))

    def _send_frame(self, topic: str, payload: bytes) -> bool:
        sent = self._links[Role.CONTROL].publish(topic, payload)
        if sent:
            self._published["activations"] += len(payload)
        return sent

    def _pulse(self, effect: effects.EmitPulse) -> None:
        modules = self._workbench.modules
        if modules.swaps != self._swaps_seen and not self._fabric_lane.is_busy:
            self._swaps_seen = modules.swaps
            self._post(self._workbench.look())
        pulse = Pulse(
            session=self._session,
            epoch=effect.epoch,
            revision=effect.revision,
            interval_ms=effect.interval_ms,
            uptime_ms=int((self._clock() - self._started) * 1000),
            rss_bytes=self._surroundings.resident_bytes(),
            stages=tuple(stage.pulse() for stage in self._executor.stages),
            published=Published(**self._published),
            refused={**effect.refused, **self._executor.refused},
            temperature_c=self._thermometer.read() if self._thermometer is not None else None,
            uplink_us=0 if self._uplink is None else self._uplink.take_wait_us(),
            round_trip_us=self._links[Role.CONTROL].round_trip_us,
        )
        self._send("pulse", codec.encode(pulse))

    def _send(self, leaf: str, payload: bytes) -> None:
        """At QoS 0: what is lost is followed by another, or asked for again."""
        if self._links[Role.CONTROL].publish(self._topics.board(self._board, leaf), payload):
            self._published["control"] += len(payload)


def _holding(seen: events.FabricSeen) -> str:
    """What the fabric holds, for the log."""
    if not seen.shell:
        return "the fabric is blank"
    modules = [f"{part.partition} {part.module.value if part.module else 'nothing'}" for part in seen.partitions]
    return f"the fabric holds shell {seen.shell}{': ' if modules else ''}{', '.join(modules)}"


def _software() -> str:
    return f"convoy-fleet {_version()}".strip()


@functools.lru_cache(maxsize=1)
def _version() -> str:
    try:
        return metadata.version("convoy-fleet")
    except metadata.PackageNotFoundError:
        return ""


async def serve(configs: tuple[Config, ...], pool: Pool, on_started: Callable[[list[Daemon]], None]) -> int:
    """Run a daemon for each configuration until all have ended; the highest exit code. Raises what a start raises.

    One of several that is to restart does so in this process, in its place of the list; a single one ends it, and who
    started it starts it again.
    """
    rings = rings_for(tuple(config.name for config in configs))
    handler = RingHandler(rings, time.monotonic)

    def daemon(config: Config) -> Daemon:
        return Daemon(config, pool, kept_log=rings[config.name])

    logging.getLogger().addHandler(handler)
    try:
        daemons = [daemon(config) for config in configs]
        on_started(daemons)

        async def run(place: int) -> int:
            while (code := await daemons[place].run()) == EXIT_RESTART and len(configs) > 1:
                daemons[place] = daemon(configs[place])
            return code

        return max(await asyncio.gather(*(run(place) for place in range(len(configs)))))
    finally:
        logging.getLogger().removeHandler(handler)

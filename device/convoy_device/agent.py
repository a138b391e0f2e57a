"""The board's agent: takes one event at a time and returns what is to be done. No I/O, no clock, no chance of its own.

It joins four cores: `bringup` (assignments and their phases), `fetching` (artifacts), `reporting` (what the board says)
and, here, what it obeys and which filters it holds. The daemon feeds it and carries its effects out; the same code
runs in a simulation.
"""

from __future__ import annotations

import random

from convoy_schema.errors import ConvoyError
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Command,
    Order,
    Phase,
    Presence,
    Reported,
    Want,
)
from convoy_schema.messages.desired import Desired
from convoy_schema.signing import Statements
from convoy_schema.topics import Topics
from convoy_schema.trust import Trust

from convoy_device import events
from convoy_device.bringup import BringUp, Record
from convoy_device.effects import (
    CollectGarbage,
    DropArtifacts,
    Effect,
    FinishArtifact,
    Publish,
    SaveEpoch,
    SaveLastGood,
    SaveRestart,
    SaveTrust,
    SendLog,
    Stop,
    StoreBlock,
    Subscribe,
    Unsubscribe,
)
from convoy_device.errors import ArtifactDamagedError
from convoy_device.events import Event, Role
from convoy_device.fabric import FabricFacts
from convoy_device.fetching import Fetcher
from convoy_device.reporting import Reporter

#: Exit codes of the daemon.
EXIT_OK = 0
EXIT_REPLACED = 3
EXIT_RESTART = 5
#: Seconds after subscribing in which another session's presence may still be an echo of the past.
ECHO_S = 1.0
#: Seconds until the last good assignments are saved again after the disk refused them.
SAVE_AGAIN_S = 5.0
#: Seconds for which an artifact is kept that nothing refers to: longer than a fleet takes to find that a generation
#: does not pass its end-to-end test, though every board confirmed it, and to return to the one before.
UNREFERENCED_S = 20.0


#: Digests of artifacts and of models.
References = tuple[frozenset[str], frozenset[str]]


class Agent:
    """One board. `handle` takes an event and the monotonic time in seconds; call it with `Tick` at `due`."""

    def __init__(
        self,
        board: str,
        topics: Topics,
        capability: Capability,
        facts: FabricFacts,
        trust: Trust,
        store_quota: int,
        chance: random.Random,
    ) -> None:
        self._board = board
        self._topics = topics
        self._session = capability.session
        self._store_quota = store_quota
        self._bringup = BringUp(facts, trust)
        self._fetcher = Fetcher()
        self._reporter = Reporter(capability.session, capability, chance)
        self._desired: Desired | None = None
        self._epoch = 0
        self._saved_epoch = 0
        self._saved: Desired | None = None
        self._save_at = 0.0
        #: What the disk holds of delegations and floors.
        self._saved_trust = Statements()
        self._refusal = ""
        self._references: References | None = None
        #: What the assignments on disk refer to; None while that is not known.
        self._confirmed: References | None = None
        self._drop_at: float | None = None
        self._packed_bytes: dict[str, int] = {}
        self._store_bytes = 0
        self._connected_at: dict[Role, float] = {}
        #: What the bulk link is subscribed to, and the models and artifacts that this follows from.
        self._filters: dict[str, int] = {}
        self._filtered: tuple[list[tuple[str, str]], tuple[str, ...]] = [], ()
        self._is_stopped = False
        #: What is true while nothing is under way but what others begin; None while something is.
        self._settled: Reported | None = None
        self._is_live = False
        #: The token that this session began by, and the one by which it is about to end.
        self._restarted = self._restarting = ""

    @property
    def records(self) -> tuple[Record, ...]:
        """Every assignment and how far it is."""
        return self._bringup.records

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take `event` at `now`; never raises for anything that came from outside."""
        if self._is_stopped:
            return []
        if self._settled is not None and isinstance(event, events.Tick):
            # Nothing is under way that time alone could move: that is all that a board does which serves for months.
            return self._reporter.say(self._settled, self._is_live, now)
        effects = self._take(event, now)
        if not self._is_stopped:
            effects += self._settle(now)
        return effects

    def due(self) -> float | None:
        """When to send a `Tick` at the latest; None: not before something happens."""
        times = [*self._reporter.due(), *self._bringup.retries()]
        fetching = self._fetcher.due() if Role.BULK in self._connected_at else None
        if fetching is not None:
            times.append(fetching)
        if self._drop_at is not None:
            times.append(self._drop_at)
        return min(times, default=None)

    # Events ----------------------------------------------------------------------------------------------------------

    def _take(self, event: Event, now: float) -> list[Effect]:
        match event:
            case events.BlockReceived(digest, block, content):
                return self._block(digest, block, content, now)
            case events.Done(effect):
                return self._done(effect)
            case events.Failed(effect, error):
                return self._failed(effect, error, now)
            case events.ManifestReceived(manifest):
                if self._fetcher.manifest(manifest):
                    self._packed_bytes[manifest.digest] = manifest.packed_size
            case events.ModelReceived(model, version, announcement):
                return self._bringup.announce(model, version, announcement, now)
            case events.TrustReceived(statements):
                effects, refused = self._bringup.learn(statements, now)
                self._reporter.refused["trust"] += len(refused)
                return effects
            case events.DesiredReceived(desired):
                return self._obey(desired)
            case events.CommandReceived(command):
                return self._command(command, now)
            case events.StateSeen(state, retained):
                return self._state(state, retained, now)
            case events.Connected(role):
                return self._connected(role, now)
            case events.Disconnected(role):
                self._disconnected(role)
            case events.FabricSeen(shell, partitions):
                self._bringup.shell, self._bringup.partitions = shell, partitions
            case events.StoreSeen(used_bytes, evicted):
                self._store_bytes = used_bytes
                self._bringup.artifacts -= evicted
            case events.Refused(leaf, message):
                self._reporter.refused[leaf] += 1
                if leaf == "desired":
                    self._refusal = f"the desired state could not be read: {message}"[:500]
            case events.Restored():
                return self._restore(event)
            case events.Stopping(reason):
                self._is_stopped = True
                return [self._reporter.presence(Presence.OFFLINE, reason), Stop(reason, EXIT_OK)]
            case events.Tick():
                pass
        return []

    def _restore(self, event: events.Restored) -> list[Effect]:
        self._epoch = self._saved_epoch = event.epoch
        self._restarted = event.restarted
        self._fetcher.restore(event.partials)
        self._packed_bytes = {partial.manifest.digest: partial.manifest.packed_size for partial in event.partials}
        self._bringup.trust = self._bringup.trust.recall(event.statements)
        self._saved_trust = self._bringup.trust.statements
        self._bringup.restore(event.models, event.artifacts)
        if event.desired is None:
            self._confirmed = frozenset(), frozenset()
            return []
        self._saved = self._desired = event.desired
        self._epoch = max(self._epoch, event.desired.epoch)
        return self._bringup.desire(event.desired.assignments)

    def _obey(self, desired: Desired) -> list[Effect]:
        current = self._desired
        if desired.epoch < self._epoch:
            return self._refuse(f"refused desired state of epoch {desired.epoch}: epoch {self._epoch} is in force")
        if current is not None and desired.epoch == current.epoch:
            if desired.revision < current.revision:
                return self._refuse(
                    f"refused desired state {desired.epoch}.{desired.revision}: "
                    f"{current.epoch}.{current.revision} is in force"
                )
            if desired.revision == current.revision and desired != current:
                return self._refuse(
                    f"refused a second, different desired state {desired.epoch}.{desired.revision}: "
                    "two controllers share an epoch"
                )
        self._refusal = ""
        if desired == current:
            return []
        self._desired = desired
        effects = self._bringup.desire(desired.assignments)
        if desired.epoch > self._saved_epoch:
            self._epoch = self._saved_epoch = desired.epoch
            effects.append(SaveEpoch(desired.epoch))
        return effects

    def _refuse(self, message: str) -> list[Effect]:
        self._reporter.refused["stale"] += 1
        self._refusal = message
        return []

    def _block(self, digest: str, block: int, content: bytes, now: float) -> list[Effect]:
        effect = self._fetcher.block(digest, block, content, now)
        if effect is not None:
            return [effect]
        # Only now, because a digest of a good block costs as much as all the rest of taking it.
        if self._fetcher.is_damaged(digest, block, content):
            self._reporter.refused["block"] += 1
            self._fetcher.doubt(digest)
        return []

    def _done(self, effect: Effect) -> list[Effect]:
        if isinstance(effect, StoreBlock):
            self._fetcher.stored(effect)
            return []
        if isinstance(effect, FinishArtifact):
            self._bringup.artifacts.add(effect.manifest.digest)
            self._fetcher.forget(effect.manifest.digest)
            return []
        if isinstance(effect, SaveRestart):
            self._is_stopped = True
            reason = "restarts as its owner asked"
            return [self._reporter.presence(Presence.OFFLINE, reason), Stop(reason, EXIT_RESTART)]
        return self._bringup.done(effect)

    def _failed(self, effect: Effect, error: ConvoyError, now: float) -> list[Effect]:
        if isinstance(effect, Publish):
            if effect.leaf == "reported":
                self._reporter.unsaid(now)
            return []
        if isinstance(effect, (StoreBlock, FinishArtifact)):
            digest = effect.manifest.digest
            if isinstance(effect, StoreBlock):
                self._fetcher.lost(effect)
            self._bringup.fail_fetching(digest, error, now)
            if isinstance(error, ArtifactDamagedError):
                self._fetcher.forget(digest)
            elif isinstance(effect, FinishArtifact):
                self._fetcher.failed_finish(digest)
            return []
        if isinstance(effect, SaveRestart):
            self._restarting, self._save_at = "", now + SAVE_AGAIN_S
            return []
        if isinstance(effect, SaveLastGood):
            self._saved, self._save_at = None, now + SAVE_AGAIN_S
        elif isinstance(effect, SaveTrust):
            self._saved_trust, self._save_at = Statements(), now + SAVE_AGAIN_S
        return self._bringup.failed(effect, error, now)

    def _command(self, command: Command, now: float) -> list[Effect]:
        if command.order is Order.COLLECT_LOG:
            return [SendLog(command.log_session, command.log_after)]
        self._reporter.rebirth(command.within_ms, now)
        return []

    def _state(self, state: BoardState, retained: bool, now: float) -> list[Effect]:
        """Presence of this name: a death, of another session or of our last connection; or a second daemon."""
        if retained or (state.session == self._session and state.presence is Presence.ONLINE):
            return []
        if state.presence is Presence.OFFLINE:
            self._reporter.restate_soon(now)
            return []
        if now - self._connected_at.get(Role.CONTROL, now) < ECHO_S:
            return []
        self._is_stopped = True
        return [Stop(f"another daemon runs as board {self._board} (session {state.session})", EXIT_REPLACED)]

    # Links -----------------------------------------------------------------------------------------------------------

    def _connected(self, role: Role, now: float) -> list[Effect]:
        self._connected_at[role] = now
        if role is Role.BULK:
            self._filters.clear()
            self._fetcher.ask_anew(now)
            return []
        filters = [
            Subscribe(role, self._topics.board(self._board, "state"), 1),
            Subscribe(role, self._topics.board(self._board, "desired"), 1),
            Subscribe(role, self._topics.board(self._board, "command"), 0),
            Subscribe(role, self._topics.frames_to(self._board), 0),
        ]
        return [*filters, *self._reporter.connected(now)]

    def _disconnected(self, role: Role) -> None:
        self._connected_at.pop(role, None)
        if role is Role.CONTROL:
            self._reporter.disconnected()

    def _subscriptions(self) -> list[Effect]:
        """Change the bulk link's filters to those of what is being fetched."""
        if Role.BULK not in self._connected_at:
            return []
        wants = self._bringup.models_wanted(), self._fetcher.digests
        if self._filters and wants == self._filtered:
            return []
        self._filtered = wants
        wanted = {self._topics.trust(): 1}
        wanted |= {self._topics.model(model, version): 1 for model, version in wants[0]}
        for digest in wants[1]:
            wanted[self._topics.manifest(digest)] = 1
            wanted[self._topics.block(digest, "+")] = 0
        gone = [topic for topic in self._filters if topic not in wanted]
        new = [(topic, qos) for topic, qos in wanted.items() if topic not in self._filters]
        self._filters = wanted
        return [
            *(Unsubscribe(Role.BULK, topic) for topic in gone),
            *(Subscribe(Role.BULK, topic, qos) for topic, qos in new),
        ]

    # What follows from what is now true ------------------------------------------------------------------------------

    def _settle(self, now: float) -> list[Effect]:
        effects = self._bringup.advance(now)
        self._fetcher.aim(self._bringup.missing(), now)
        effects += self._fetcher.finished()
        effects += self._subscriptions()
        if Role.BULK in self._connected_at:
            for digest, blocks in self._fetcher.asks(now):
                effects.append(Publish(Role.BULK, "want", Want(self._session, digest, blocks), retain=False))
        effects += self._keep(now)
        truth = self.truth()
        self._is_live = any(report.phase is Phase.READY for report in truth.assignments)
        self._settled = truth if self._is_settled(truth) else None
        return effects + self._reporter.say(truth, self._is_live, now)

    def _is_settled(self, truth: Reported) -> bool:
        """Whether no time that passes can change anything but what is due to be said."""
        return (
            self._desired == self._saved
            and self._bringup.trust.statements == self._saved_trust
            and self._drop_at is None
            and (self._desired is None or self._desired.restart_token in ("", self._restarted))
            and not self._fetcher.digests
            and all(report.phase is Phase.READY for report in truth.assignments)
        )

    def _keep(self, now: float) -> list[Effect]:
        """What the disk should hold."""
        effects: list[Effect] = []
        statements = self._bringup.trust.statements
        if statements != self._saved_trust and now >= self._save_at:
            self._saved_trust = statements
            effects.append(SaveTrust(statements))
        desired = self._desired
        if desired is None:
            return effects
        token = desired.restart_token
        if token and token not in (self._restarted, self._restarting) and now >= self._save_at:
            # On disk before the daemon goes, so that it is never obeyed twice.
            self._restarting = token
            effects.append(SaveRestart(token))
        if (
            desired != self._saved
            and now >= self._save_at
            and all(record.phase is Phase.READY for record in self.records)
        ):
            self._saved = desired
            effects.append(SaveLastGood(desired))
        references = self._bringup.references()
        if references is not None and desired == self._saved:
            self._confirmed = references
        elif references is not None and self._confirmed is not None:
            # Until the new assignments are confirmed the last good ones keep what they need too.
            references = references[0] | self._confirmed[0], references[1] | self._confirmed[1]
        else:
            references = None
        if references is not None and references != self._references:
            self._references = references
            self._fetcher.keep(references[0])
            self._packed_bytes = {d: size for d, size in self._packed_bytes.items() if d in references[0]}
            effects.append(CollectGarbage(*references))
        return [*effects, *self._drop(references[0] if references and desired == self._saved else None, now)]

    def _drop(self, referenced: frozenset[str] | None, now: float) -> list[Effect]:
        """Artifacts that nothing has referred to for a while; None says that it is not known what is referred to."""
        unreferenced = frozenset() if referenced is None else frozenset(self._bringup.artifacts - referenced)
        if not unreferenced:
            self._drop_at = None
            return []
        if self._drop_at is None:
            self._drop_at = now + UNREFERENCED_S
        if now < self._drop_at:
            return []
        self._drop_at = None
        self._bringup.artifacts -= unreferenced
        return [DropArtifacts(unreferenced)]

    def truth(self) -> Reported:
        """What is true now; published as soon as it is worth saying."""
        desired = self._desired
        return Reported(
            session=self._session,
            epoch=desired.epoch if desired else 0,
            revision=desired.revision if desired else 0,
            shell=self._bringup.shell or "",
            assignments=tuple(self._report(record) for record in self.records),
            partitions=self._bringup.partitions,
            store_bytes=self._store_bytes,
            store_quota=self._store_quota,
            blocked=(self._refusal or self._bringup.blocked())[:500],
            held=tuple(record.assignment for record in self.records),
            restarted=self._restarted,
        )

    def _report(self, record: Record) -> AssignmentReport:
        known = [digest for digest in self._bringup.needs_of(record) if digest in self._packed_bytes]
        under_way, _ = self._fetcher.progress(known)
        there = sum(self._packed_bytes[digest] for digest in known if digest in self._bringup.artifacts)
        error = record.error
        return AssignmentReport(
            deployment=record.assignment.intent.deployment,
            generation=record.assignment.generation,
            phase=record.phase,
            step=record.step[:500],
            done_bytes=there + under_way,
            total_bytes=sum(self._packed_bytes[digest] for digest in known),
            code=error.code if error else "",
            message=str(error)[:500] if error else "",
            retryable=error.retryable if error else False,
        )

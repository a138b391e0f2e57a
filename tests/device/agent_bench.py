"""An agent with everything round it simulated: a store in memory, a fabric in memory, a broker that is a list."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import board_models as models
from convoy_bitstreams import catalogue
from convoy_device import effects, events
from convoy_device.agent import Agent
from convoy_device.effects import Effect
from convoy_device.errors import ArtifactDamagedError
from convoy_device.events import Event, Role
from convoy_device.fabric import FabricFacts
from convoy_device.store import Partial
from convoy_schema.artifacts import Manifest, cut, pack
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Partition,
    PartitionReport,
    Reported,
    Want,
)
from convoy_schema.messages.desired import Assignment, Desired
from convoy_schema.names import Generation
from convoy_schema.signing import Statements
from convoy_schema.topics import Topics

BOARD = "board-1"
SESSION = 1000
TOPICS = Topics("main")
PARTITIONS = ("west", "centre", "east")
FACTS = FabricFacts(
    "emulated",
    catalogue().shells[0].part,
    ("fixed", "layers", "partitions"),
    tuple(Partition(name) for name in PARTITIONS),
    100_000_000,
    2**28,
)
PROCESSOR = FabricFacts("processor", "processor", (), (), 100_000_000, 2**28)


@dataclass
class Disk:
    """What outlives the agent."""

    artifacts: set[str] = field(default_factory=set)
    parts: dict[str, tuple[Manifest, set[int]]] = field(default_factory=dict)
    models: dict[str, object] = field(default_factory=dict)
    last_good: Desired | None = None
    epoch: int = 0
    statements: Statements = field(default_factory=Statements)
    restarted: str = ""


@dataclass
class Logic:
    """What the fabric holds; it outlives the agent too."""

    shell: str = ""
    modules: dict[str, PartitionReport] = field(default_factory=dict)

    def seen(self) -> events.FabricSeen:
        return events.FabricSeen(self.shell, tuple(self.modules.values()))


class Bench:
    """Feeds events, keeps what was said, and carries effects out when told to."""

    def __init__(
        self, facts: FabricFacts = FACTS, disk: Disk | None = None, logic: Logic | None = None, seed: int = 1
    ) -> None:
        self.now = 100.0
        self.disk = disk or Disk()
        self.logic = logic or Logic()
        capability = Capability(SESSION, facts.part, facts.name, facts.shells, facts.partitions, 1, 1, 64, "test")
        self.agent = Agent(BOARD, TOPICS, capability, facts, models.TRUSTED, 2**30, random.Random(seed))
        self.pending: list[Effect] = []
        self.said: list[effects.Publish | effects.EmitPulse] = []
        self.filters: dict[Role, set[str]] = {Role.CONTROL: set(), Role.BULK: set()}
        self.live: set[tuple[str, Generation]] = set()
        self.stopped: effects.Stop | None = None
        self.tested: set[tuple[str, Generation]] = set()

    def wake(self) -> None:
        """Start as the daemon does."""
        self.send(
            events.Restored(
                self.disk.last_good,
                self.disk.epoch,
                tuple(self.disk.models.values()),  # type: ignore[arg-type]
                frozenset(self.disk.artifacts),
                tuple(Partial(manifest, frozenset(blocks)) for manifest, blocks in self.disk.parts.values()),
                self.disk.statements,
                self.disk.restarted,
            )
        )
        self.send(self.logic.seen())

    def connect(self) -> None:
        for role in Role:
            self.send(events.Connected(role))

    def send(self, event: Event) -> list[Effect]:
        """Give the agent an event; what it wants of links is noted, the rest waits for `settle`."""
        found = self.agent.handle(event, self.now)
        for effect in found:
            self._note(effect)
        return found

    def _note(self, effect: Effect) -> None:
        match effect:
            case effects.Subscribe(role, topic):
                assert topic not in self.filters[role]
                self.filters[role].add(topic)
            case effects.Unsubscribe(role, topic):
                self.filters[role].remove(topic)
            case effects.Publish() | effects.EmitPulse():
                self.said.append(effect)
            case effects.Activate(assignment):
                assert assignment.key in self.tested, "activated without a self-test"
                self.live.add(assignment.key)
            case effects.Deactivate(key):
                self.live.discard(key)
                self.tested.discard(key)
            case effects.Stop():
                self.stopped = effect
            case _:
                self.pending.append(effect)

    # Carrying out ----------------------------------------------------------------------------------------------------

    def settle(self, limit: int = 200) -> None:
        """Carry out every effect, in order, and those that follow."""
        for _ in range(limit):
            if not self.pending:
                return
            self.carry_out(self.pending.pop(0))
        raise AssertionError(f"effects without end: {self.pending[:3]}")

    def carry_out(self, effect: Effect) -> None:
        try:
            self._do(effect)
        except ConvoyError as error:
            self.fail(effect, error)
        else:
            if isinstance(effect, (effects.LoadShell, effects.Configure, effects.SelfTest)):
                self.send(self.logic.seen())
            self.send(events.Done(effect))

    def fail(self, effect: Effect, error: ConvoyError) -> None:
        self.send(events.Failed(effect, error))

    def _do(self, effect: Effect) -> None:
        match effect:
            case effects.StoreBlock(manifest) | effects.FinishArtifact(manifest) if (
                manifest.digest in self.disk.artifacts
            ):
                pass  # as the store does
            case effects.StoreBlock(manifest, block, content):
                assert manifest.accepts(block, content)
                self.disk.parts.setdefault(manifest.digest, (manifest, set()))[1].add(block)
            case effects.FinishArtifact(manifest):
                assert len(self.disk.parts[manifest.digest][1]) == manifest.blocks
                self.disk.artifacts.add(manifest.digest)
                del self.disk.parts[manifest.digest]
            case effects.SaveModel(digest, announcement):
                self.disk.models[digest] = announcement
            case effects.SaveLastGood(desired):
                self.disk.last_good = desired
            case effects.SaveEpoch(epoch):
                self.disk.epoch = epoch
            case effects.SaveRestart(token):
                self.disk.restarted = token
            case effects.SaveTrust(statements):
                self.disk.statements = statements
            case effects.DropArtifacts(digests):
                self.disk.artifacts -= digests
            case effects.VerifyArtifacts(plan) | effects.LoadLayers(plan):
                for digest in plan.needs:
                    if digest not in self.disk.artifacts:
                        raise ArtifactDamagedError("gone", digest=digest)
            case effects.LoadShell(shell, image):
                assert image in self.disk.artifacts
                self.logic.shell = shell
                names = PARTITIONS if shell == "partitions" else ()
                self.logic.modules = {name: PartitionReport(name, None, False) for name in names}
            case effects.Configure(loads):
                for load in loads:
                    assert load.image in self.disk.artifacts
                    self.logic.modules[load.partition] = PartitionReport(load.partition, load.kind, True)
            case effects.SelfTest(plan):
                assert self.logic.shell == plan.shell
                self.tested.add(plan.key)

    # The controller --------------------------------------------------------------------------------------------------

    def announce(self, model: models.Model) -> None:
        bundle = model.bundle
        self.send(events.ModelReceived(bundle.model, bundle.version, model.announcement))

    def serve(self, model: models.Model) -> None:
        """Answer wants until nothing more is wanted."""
        packed = {digest: pack(content) for digest, content in model.blobs.items()}
        for _ in range(50):
            self.settle()
            wanted = [digest for digest, _ in self.wants() if digest in packed] or self.manifests_awaited(packed)
            if not wanted:
                return
            self.said.clear()
            for digest in wanted:
                manifest, content = packed[digest]
                self.send(events.ManifestReceived(manifest))
                for block in range(manifest.blocks):
                    self.send(events.BlockReceived(digest, block, cut(content, block)))
        raise AssertionError("it never has enough")

    def manifests_awaited(self, packed: dict[str, tuple[Manifest, bytes]]) -> list[str]:
        return [digest for digest in packed if TOPICS.manifest(digest) in self.filters[Role.BULK]]

    def wants(self) -> list[tuple[str, tuple[int, ...]]]:
        messages = [said.message for said in self.said if isinstance(said, effects.Publish)]
        return [(message.digest, message.blocks) for message in messages if isinstance(message, Want)]

    # What it said ----------------------------------------------------------------------------------------------------

    def reported(self) -> Reported:
        messages = [said.message for said in self.said if isinstance(said, effects.Publish)]
        return [message for message in messages if isinstance(message, Reported)][-1]

    def report(self, generation: Generation = models.FIRST) -> AssignmentReport:
        """How far a generation is."""
        return next(report for report in self.truth().assignments if report.generation == generation)

    def truth(self) -> Reported:
        """What the agent would report now."""
        return self.agent.truth()

    def states(self) -> list[BoardState]:
        messages = [said.message for said in self.said if isinstance(said, effects.Publish)]
        return [message for message in messages if isinstance(message, BoardState)]

    def pulses(self) -> list[effects.EmitPulse]:
        return [said for said in self.said if isinstance(said, effects.EmitPulse)]

    def tick(self, seconds: float) -> None:
        """Let time pass, with the ticks that the agent asked for."""
        end = self.now + seconds
        for _ in range(10_000):
            due = self.agent.due()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.send(events.Tick())
        else:
            raise AssertionError("ticks without end")
        self.now = end
        self.send(events.Tick())


# What tests begin with -----------------------------------------------------------------------------------------------

PART = catalogue().shells[0].part
COPIES = models.copies(images=False)
LAYERS_SHELL = catalogue().shell("layers", PART).digest
PLAIN_DIGITS = models.digits(images=False)
COPIES_ALLOCATE = models.with_images(models.copies(), [LAYERS_SHELL])


def awake(**options: object) -> Bench:
    bench = Bench(**options)  # type: ignore[arg-type]
    bench.wake()
    bench.connect()
    return bench


def deployed(bench: Bench, model: models.Model, *assignments: Assignment, revision: int = 1) -> Bench:
    bench.send(events.DesiredReceived(models.desired(*assignments, revision=revision)))
    bench.announce(model)
    bench.serve(model)
    bench.settle()
    return bench


def wide() -> models.Model:
    """A model whose golden values take many blocks."""
    return models.copies(1, width=65536, name="wide", images=False)

"""Boards and gateways that are nothing but their answers, and a reconciler that is told them."""

from __future__ import annotations

from dataclasses import dataclass, field

from convoy_controller.candidate import answered
from convoy_controller.database.records import GenerationState, NewEvent
from convoy_controller.effects import (
    DeploymentChanged,
    Effect,
    PlanWanted,
    PublishDesired,
    PublishGatewayDesired,
    Record,
    SaveGeneration,
)
from convoy_controller.reconciler import Reconciler
from convoy_controller.registry import Registry
from convoy_schema.bundle import Bundle, InputSpec, Method, VerifiedModel
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Partition,
    Phase,
    Presence,
    Published,
    Reported,
)
from convoy_schema.messages.desired import Desired, Intent
from convoy_schema.messages.gateways import (
    FeedReport,
    GatewayDesired,
    GatewayReported,
    GatewayState,
    InFlight,
    ProbeReport,
)
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window

PARTITIONS = (Partition("west"), Partition("centre"), Partition("east"))


def network(layers: int = 4) -> Topology:
    tensors = tuple(Tensor(f"t{i}", (4, 8, 8), 0.1, 0) for i in range(layers + 1))
    window = Window((3, 3), padding=(1, 1, 1, 1))
    built = tuple(Layer(f"conv{i}", Kind.CONV2D, (f"t{i}",), f"t{i + 1}", window) for i in range(layers))
    return Topology("net", tensors, built, "t0", f"t{layers}")


def model(version: str = "1") -> VerifiedModel:
    bundle = Bundle("net", version, 1, "0" * 64, (), 1, (), (), InputSpec("t0"), "t4", ())
    return VerifiedModel(version.rjust(64, "0"), bundle, network(), b"", b"")


def reconciled(reconciler: Reconciler, now: float) -> list[Effect]:
    """A step whose plans come at once."""
    effects = reconciler.reconcile(now)
    while wanted := [effect for effect in effects if isinstance(effect, PlanWanted)]:
        for effect in wanted:
            reconciler.planned(answered(effect.request))
        effects = [effect for effect in effects if not isinstance(effect, PlanWanted)] + reconciler.reconcile(now)
    return effects


@dataclass
class Fleet:
    """Boards and a gateway that answer what they are told; what they are told to do wrong is set by the tests."""

    registry: Registry = field(default_factory=Registry)
    now: float = 0.0
    desired: dict[str, Desired] = field(default_factory=dict)
    feeds: dict[str, GatewayDesired] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    states: list[DeploymentChanged] = field(default_factory=list)
    saved: dict[str, GenerationState] = field(default_factory=dict)
    fails: dict[str, bool] = field(default_factory=dict)  # board -> whether a retry can help
    stuck: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    restarted: dict[str, str] = field(default_factory=dict)  # board -> the token that its session began by
    events: list[NewEvent] = field(default_factory=list)
    awaited: tuple[InFlight, ...] = ()  # what the gateway still waits for
    probe_passes: bool = True
    gateways: tuple[str, ...] = ("gate",)

    def __post_init__(self) -> None:
        self.registry.link_up(0.0)
        self.reconciler = Reconciler(self.registry, epoch=1, counter=0, revision=0)
        self.reconciler.model_available(model("1"))
        self.reconciler.model_available(model("2"))

    def join(self, *names: str, shells: tuple[str, ...] = ("layers", "partitions"), memory_bytes: int = 2**29) -> None:
        for name in names:
            self.dead.discard(name)
            session = self.sessions[name] = self.sessions.get(name, 0) + 1000 + len(self.sessions)
            self.registry.board_state(name, BoardState(Presence.ONLINE, session), False, self.now)
            capability = Capability(session, "part", "emulated", shells, PARTITIONS, 100_000_000, memory_bytes, 64, "0")
            self.registry.capability(name, capability, False, self.now)

    def kill(self, name: str) -> None:
        self.dead.add(name)
        self.registry.board_state(name, BoardState(Presence.OFFLINE, self.sessions[name]), False, self.now)

    def answer(self) -> None:
        """Everyone alive says where it is with what it was told."""
        for name, desired in self.desired.items():
            if name not in self.dead:
                reports = tuple(self._report(name, assignment) for assignment in desired.assignments)
                token = self.restarted.get(name, "")
                session, told = self.sessions[name], (desired.epoch, desired.revision)
                reported = Reported(session, *told, "", reports, (), 0, 1, restarted=token)
                self.registry.board_reported(name, reported, False, self.now)
        for name in self.gateways:
            self.registry.gateway_state(name, GatewayState(Presence.ONLINE, 1), False, self.now)
            self._gateway_answers(name)

    def _report(self, name, assignment) -> AssignmentReport:  # type: ignore[no-untyped-def]
        phase = Phase.FETCHING if name in self.stuck else Phase.READY
        if name in self.fails:
            phase = Phase.FAILED
        retryable = self.fails.get(name, False)
        deployment, generation = assignment.key
        return AssignmentReport(deployment, generation, phase, code="x", message="why", retryable=retryable)

    def _gateway_answers(self, name: str) -> None:
        told = self.feeds.get(name)
        if told is None:
            return
        feeds = []
        for feed in told.feeds:
            probes = (ProbeReport(feed.probing.generation, self.probe_passes, "m"),) if feed.probing else ()
            serving = feed.serving.generation if feed.serving else None
            feeds.append(FeedReport(feed.intent.deployment, serving, self.awaited, probes))
        reported = GatewayReported(1, told.epoch, told.revision, "http://x", tuple(feeds), Published())
        self.registry.gateway_reported(name, reported, False, self.now)

    def step(self, seconds: float = 0.05) -> None:
        self.now += seconds
        for board in self.registry.boards.values():
            if board.name not in self.dead:
                board.fresh_at = self.now
        for effect in reconciled(self.reconciler, self.now):
            if isinstance(effect, PublishDesired):
                self.desired[effect.board] = effect.desired
            elif isinstance(effect, PublishGatewayDesired):
                self.feeds[effect.gateway] = effect.desired
            elif isinstance(effect, DeploymentChanged):
                self.states.append(effect)
            elif isinstance(effect, Record):
                self.events.append(effect.event)
            elif isinstance(effect, SaveGeneration):
                self.saved[str(effect.placement.generation)] = effect.placement.state

    def settle(self, steps: int = 30) -> None:
        for _ in range(steps):
            self.step()
            self.answer()

    def serving(self) -> list[str]:
        """Boards of the generation that the gateway feeds, in the order of its stages."""
        (feed,) = self.feeds["gate"].feeds
        assert feed.serving is not None, "nothing is fed"
        holders = [
            (assignment.stage, board)
            for board, desired in self.desired.items()
            for assignment in desired.assignments
            if assignment.generation == feed.serving.generation
        ]
        return [board for _, board in sorted(holders)]


def deployed(method: Method = Method.LIBRARY, boards: int = 0, names: tuple[str, ...] = ("a", "b", "c")) -> Fleet:
    fleet = Fleet()
    fleet.join(*names)
    fleet.reconciler.wanted(Intent("d", "net", "1", method, boards))
    fleet.answer()
    fleet.settle()
    return fleet

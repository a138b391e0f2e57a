"""The controller and the gateway that a board under trial meets: orders, blocks and frames out, answers kept."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convoy_schema import codec
from convoy_schema.artifacts import Manifest, cut
from convoy_schema.frames import Frame, TensorData
from convoy_schema.messages.boards import AssignmentReport, Capability, Command, Order, Phase, Pulse, Reported, Want
from convoy_schema.messages.desired import Assignment, Desired, Hop, Intent, Role
from convoy_schema.names import Generation
from convoy_schema.topics import BoardTopic, FrameTopic, Topics

from convoy_controller.conformance.keys import TrialKeys
from convoy_controller.conformance.running import StuckError
from convoy_controller.conformance.tap import Tap
from convoy_controller.conformance.trial_models import Footing, TrialModel
from convoy_controller.conformance.verdicts import Ledger
from convoy_controller.conformance.wire import Heard, Wire

#: Seconds for a board to bring an assignment up, and to answer a frame.
READY_S = 30.0
ANSWER_S = 5.0
#: Seconds of silence after which nothing more is expected to come of a frame that was sent before.
QUIET_S = 0.3
#: Rows that a frame of the trial may have.
BATCH_ROWS = 4
#: Frames that may wait for a stage of the trial.
QUEUE_FRAMES = 16

#: What becomes of a block that a board asks for: the content to send, None to hold it back.
Deliver = Callable[[str, int, bytes], bytes | None]


@dataclass
class BoardBench:
    """One board under trial. `epoch` and `revision` are those of what it was told last."""

    board: str
    wire: Wire
    ledger: Ledger
    keys: TrialKeys
    name: str
    tap: Tap | None = None
    gateway: str = "trial-gateway"
    epoch: int = 1
    revision: int = 0
    counter: int = 0
    numbers: int = 0
    session: int = field(default_factory=lambda: secrets.randbits(62))
    way: Footing | None = None
    capability: Capability | None = None
    model: TrialModel | None = None
    held: tuple[Assignment, ...] = ()
    packed: dict[str, tuple[Manifest, bytes]] = field(default_factory=dict)
    deliver: Deliver = field(default=lambda digest, block, content: content)
    #: Blocks sent, with when, by (digest, block).
    sent: dict[tuple[str, int], float] = field(default_factory=dict)
    #: Retained topics to clear in the end.
    left_behind: dict[str, None] = field(default_factory=dict)
    own: set[tuple[str, bytes]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.wire.listeners.append(self._serve)

    @property
    def topics(self) -> Topics:
        """Of the site."""
        return self.wire.topics

    def leaf(self, leaf: str) -> str:
        """A topic of the board's own."""
        return self.topics.board(self.board, leaf)

    # What was heard --------------------------------------------------------------------------------------------------

    def heard(self, leaf: str, since: float = 0.0) -> Iterator[Heard]:
        """Live messages on one of the board's leaves, that we did not write ourselves."""
        for each in self.wire.heard:
            if each.at >= since and not each.retained and self.is_of_board(each, leaf):
                yield each

    def is_of_board(self, each: Heard, leaf: str) -> bool:
        """Whether the board wrote it there."""
        return (
            isinstance(each.address, BoardTopic)
            and (each.address.board, each.address.leaf) == (self.board, leaf)
            and (each.topic, each.payload) not in self.own
        )

    def messages(self, leaf: str, since: float = 0.0) -> list[Any]:
        """What could be read of them."""
        return [each.message for each in self.heard(leaf, since) if each.message is not None]

    @property
    def reported(self) -> Reported | None:
        """The newest."""
        said = self.messages("reported")
        return said[-1] if said else None

    def reports(self, key: tuple[str, Generation], since: float = 0.0) -> list[AssignmentReport]:
        """Every report of one assignment, in order."""
        return [
            each
            for reported in self.messages("reported", since)
            for each in reported.assignments
            if (each.deployment, each.generation) == key
        ]

    def phase(self, assignment: Assignment) -> Phase | None:
        """How far it is by the newest report; None when that does not name it."""
        reported = self.reported
        for each in reported.assignments if reported else ():
            if (each.deployment, each.generation) == assignment.key:
                return each.phase
        return None

    def now(self) -> float:
        """The loop's monotonic time, in seconds."""
        return asyncio.get_running_loop().time()

    # What a controller does ------------------------------------------------------------------------------------------

    def say(self, topic: str, message: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish; what is retained is cleared in the end."""
        payload = message if isinstance(message, bytes) else codec.encode(message)
        if retain:
            self.left_behind[topic] = None
        self.own.add((topic, payload))
        self.wire.say(topic, payload, qos=qos, retain=retain)

    def command(self, within_ms: int = 200) -> None:
        """Ask for everything anew."""
        self.say(self.leaf("command"), Command(Order.REBIRTH, within_ms), qos=0)

    def announce(self, model: TrialModel, *, manifests: bool = True, announcement: Any = None) -> None:
        """Announce a model, and what it is made of."""
        packed = model.packed()
        self.packed.update(packed)
        if manifests:
            for manifest, _ in packed.values():
                self.say(self.topics.manifest(manifest.digest), manifest, retain=True)
        topic = self.topics.model(model.bundle.model, model.bundle.version)
        self.say(topic, announcement or model.announcement, retain=True)

    def generation(self) -> Generation:
        """The next one."""
        self.counter += 1
        return Generation(self.epoch, self.counter)

    def assignment(
        self,
        model: TrialModel,
        deployment: str = "trial",
        *,
        layers: Sequence[str] = (),
        following: Sequence[Hop] = (),
        previous: Sequence[str] = (),
        bundle: str = "",
        role: Role = Role.SERVING,
    ) -> Assignment:
        """All layers or those named, of a new generation; with `following` or `previous` one of two stages."""
        assert self.way is not None
        return Assignment(
            intent=Intent(deployment, model.bundle.model, model.bundle.version, self.way.method),
            generation=self.generation(),
            role=role,
            bundle=bundle or model.announcement.digest,
            stage=1 if previous else 0,
            stages=2 if previous or following else 1,
            layers=tuple(layers) or model.layers,
            slots=self.way.slots,
            next=tuple(following),
            previous=tuple(previous),
            queue_frames=QUEUE_FRAMES,
            batch_rows=BATCH_ROWS,
        )

    def desire(self, *assignments: Assignment) -> Desired:
        """Tell it what it must hold, from now on."""
        self.revision += 1
        self.held = assignments
        desired = Desired(self.epoch, self.revision, assignments)
        self.say(self.leaf("desired"), desired, retain=True)
        return desired

    async def until_ready(self, *assignments: Assignment, seconds: float = READY_S) -> bool:
        """Whether all of them became ready under the newest revision."""

        def is_ready() -> bool:
            reported = self.reported
            told = reported is not None and (reported.epoch, reported.revision) == (self.epoch, self.revision)
            return told and all(self.phase(each) is Phase.READY for each in assignments)

        return await self.wire.until(is_ready, seconds)

    async def hold(self, *assignments: Assignment) -> None:
        """Desire them and wait until they are ready; raises `StuckError`."""
        self.desire(*assignments)
        if not await self.until_ready(*assignments):
            raise StuckError(f"it did not bring its assignments to ready: {self.story(*assignments)}")

    def story(self, *assignments: Assignment) -> str:
        """What it last said of them."""
        reported = self.reported
        if reported is None:
            return "it never said `reported`"
        told = [f"revision {reported.epoch}.{reported.revision}", reported.blocked]
        for each in assignments:
            said = self.reports(each.key)
            last = said[-1] if said else None
            told.append(
                f"{each.key[0]} {each.key[1]} is not reported"
                if last is None
                else f"{each.key[0]} {each.key[1]} is {last.phase.value} {last.step} {last.code} {last.message}".strip()
            )
        return "; ".join(filter(None, told))

    def _serve(self, heard: Heard) -> None:
        if not isinstance(heard.message, Want) or not self.is_of_board(heard, "want"):
            return
        want = heard.message
        if want.digest not in self.packed:
            return
        manifest, content = self.packed[want.digest]
        if not want.blocks:
            self.say(self.topics.manifest(want.digest), manifest, retain=True)
        for block in want.blocks:
            if block < manifest.blocks:
                self.send_block(want.digest, block, self.deliver(want.digest, block, cut(content, block)))

    def send_block(self, digest: str, block: int, content: bytes | None) -> None:
        """Multicast one block, unless it is held back."""
        if content is not None:
            self.sent[digest, block] = self.now()
            self.wire.say(self.topics.block(digest, block), content, qos=0)

    # What a gateway does ---------------------------------------------------------------------------------------------

    def frame(self, assignment: Assignment, values: Mapping[str, Any], *, budget_ms: float = 4000.0) -> Frame:
        """A batch for a stage, with a number of its own."""
        self.numbers += 1
        tensors = tuple(TensorData(name, array.shape, array.tobytes()) for name, array in values.items())
        return Frame(
            deployment=assignment.intent.deployment,
            generation=assignment.generation,
            stage=assignment.stage,
            gateway=self.gateway,
            batch=(self.session, self.numbers),
            requests=(self.numbers,),
            budget_ms=budget_ms,
            tensors=tensors,
        )

    def inputs(self, assignment: Assignment, rows: int = BATCH_ROWS) -> dict[str, Any]:
        """Golden rows of what goes into the assignment's layers."""
        assert self.model is not None
        tensor = self.model.topology.layer(assignment.layers[0]).inputs[0]
        return {tensor: self.model.values[tensor][:rows]}

    def send(self, frame: Frame, *, sender: str = "", to: FrameTopic | None = None, retain: bool = False) -> Frame:
        """Send a frame to the board, on its own topic or another."""
        to = to or FrameTopic(sender or self.gateway, self.board, frame.deployment, frame.generation, frame.stage)
        topic = self.topics.frame(to.sender, to.receiver, to.deployment, to.generation, to.stage)
        self.say(topic, frame, qos=0, retain=retain)
        return frame

    def answers(self, frame: Frame) -> list[Heard]:
        """What came of it, whoever it was sent to."""
        return [
            each
            for each in self.wire.heard
            if isinstance(each.address, FrameTopic)
            and each.address.receiver != self.board
            and isinstance(each.message, Frame)
            and each.message.batch == frame.batch
        ]

    async def answered(self, *frames: Frame, seconds: float = ANSWER_S) -> bool:
        """Whether each of them has an answer."""
        return await self.wire.until(lambda: all(self.answers(frame) for frame in frames), seconds)

    async def sentinel(self, assignment: Assignment) -> Frame:
        """Send a good frame behind others and wait until nothing more can come of those; raises `StuckError`."""
        frame = self.send(self.frame(assignment, self.inputs(assignment)), sender=(assignment.previous or ("",))[0])
        if not await self.answered(frame):
            raise StuckError(f"a good frame got no answer within {ANSWER_S:g} s")
        await asyncio.sleep(QUIET_S)
        return frame

    def last_pulse(self) -> Pulse | None:
        """The newest."""
        said = self.messages("pulse")
        return said[-1] if said else None

    async def next_pulse(self, seconds: float = 2.5) -> Pulse | None:
        """The first pulse after now, None if there is none."""
        since = self.now()
        await self.wire.until(lambda: self.messages("pulse", since), seconds)
        said = self.messages("pulse", since)
        return said[0] if said else None

    async def is_alive(self, seconds: float = 3.0) -> bool:
        """Whether it answers a call to restate, in the session that it had."""
        since = self.now()
        self.command(100)
        session = self.board_session
        return await self.wire.until(
            lambda: any(said.session == session for said in self.messages("reported", since)), seconds
        )

    @property
    def board_session(self) -> int:
        """The board's, 0 while it has said none."""
        return self.capability.session if self.capability is not None else 0

    def clear(self) -> None:
        """Take back everything that we retained."""
        for topic in self.left_behind:
            self.wire.say(topic, b"", retain=True)


def refusals(pulse: Pulse) -> int:
    """Frames and messages that a pulse says were refused."""
    return sum(pulse.refused.values()) + sum(sum(stage.refused.values()) for stage in pulse.stages)


def as_role(assignment: Assignment, role: Role) -> Assignment:
    """The same assignment in another role."""
    return replace(assignment, role=role)

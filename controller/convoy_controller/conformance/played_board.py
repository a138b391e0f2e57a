"""A board that a controller under trial meets: it fetches, checks and reports by the contract, and computes nothing.

That it says `ready` is enough, because the gateway that tests its generations is played as well.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgpack
from convoy_schema import codec
from convoy_schema.artifacts import WINDOW, Manifest, unpack
from convoy_schema.bundle import Bundle, ModelAnnouncement
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Capability,
    Phase,
    Presence,
    Published,
    Pulse,
    Reported,
    Want,
)
from convoy_schema.messages.desired import Assignment, Desired
from convoy_schema.names import Generation
from convoy_schema.topology import Topology

from convoy_controller.conformance.verdicts import Ledger
from convoy_controller.conformance.wire import Wire

#: Seconds until blocks that did not come are asked for again, and until a fetch counts as failed.
AGAIN_S = 0.5
FETCH_S = 20.0
PULSE_S = 1.0


@dataclass
class Library:
    """What the controller has put on the broker: announcements by bundle, manifests and blocks by artifact."""

    announcements: dict[str, ModelAnnouncement] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    blocks: dict[tuple[str, int], bytes] = field(default_factory=dict)


@dataclass
class PlayedBoard:
    """One board. `is_silent` stops its pulses, as a death that no broker notices."""

    name: str
    wire: Wire
    library: Library
    ledger: Ledger
    session: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    desired: Desired | None = None
    phases: dict[tuple[str, Generation], Phase] = field(default_factory=dict)
    is_silent: bool = True
    #: Fields beyond the contract's, for the rule that they are ignored.
    more: dict[str, Any] = field(default_factory=dict)
    #: The epoch that it says it follows, where that is not the desired state's.
    claimed_epoch: int = 0
    _tasks: dict[tuple[str, Generation], asyncio.Task[None]] = field(default_factory=dict)

    def come(self) -> None:
        """A new life: online, with everything said."""
        self.session = secrets.randbits(62) + 1
        self.is_silent = False
        self.restate()

    def go(self, session: int = 0) -> None:
        """As its will would say; of another session, if one is named."""
        if not session:
            self.is_silent = True
        self._say("state", BoardState(Presence.OFFLINE, session or self.session, "the connection was lost"))

    def restate(self) -> None:
        """Everything, as after a rebirth."""
        if self.is_silent:
            return
        self._say("state", BoardState(Presence.ONLINE, self.session))
        self._say("capability", capability_of(self.session))
        self.report()
        self.pulse()

    def obey(self, desired: Desired) -> None:
        """Follow an order unless it is older than the last, and bring up what is new in it."""
        last = self.desired
        if last is not None and (desired.epoch, desired.revision) < (last.epoch, last.revision):
            return
        self.desired = desired
        keys = {each.key for each in desired.assignments}
        self.phases = {key: phase for key, phase in self.phases.items() if key in keys}
        for key in [key for key in self._tasks if key not in keys]:
            self._tasks.pop(key).cancel()
        for each in desired.assignments:
            if each.key not in self.phases:
                self.phases[each.key] = Phase.FETCHING
                self._tasks[each.key] = asyncio.create_task(self._bring_up(each))
        self.report()

    def end(self) -> None:
        """Stop all work."""
        for task in self._tasks.values():
            task.cancel()

    # What it says ----------------------------------------------------------------------------------------------------

    def _say(self, leaf: str, message: Any) -> None:
        payload = codec.encode(message)
        if self.more:
            payload = msgpack.packb({**msgpack.unpackb(payload), **self.more})
        retain = leaf in ("state", "capability", "reported")
        self.wire.say(self.wire.topics.board(self.name, leaf), payload, qos=0 if leaf == "pulse" else 1, retain=retain)

    def report(self) -> None:
        """What is true."""
        if self.is_silent:
            return
        held = self.desired.assignments if self.desired is not None else ()
        reports = tuple(
            AssignmentReport(key[0], key[1], phase, code="trial" if phase is Phase.FAILED else "")
            for key, phase in self.phases.items()
        )
        epoch, revision = self._followed()
        self._say("reported", Reported(self.session, epoch, revision, "", reports, (), 0, 2**28, held=held))

    def pulse(self) -> None:
        """A sign of life."""
        if not self.is_silent:
            epoch, revision = self._followed()
            pulse = Pulse(self.session, epoch, revision, int(PULSE_S * 1000), 1000, 10**7, (), Published())
            self._say("pulse", pulse)

    def _followed(self) -> tuple[int, int]:
        told = (self.desired.epoch, self.desired.revision) if self.desired is not None else (0, 0)
        return max(told[0], self.claimed_epoch), told[1]

    # What it fetches -------------------------------------------------------------------------------------------------

    async def _bring_up(self, assignment: Assignment) -> None:
        phase = Phase.READY if await self._fetched(assignment) else Phase.FAILED
        if assignment.key in self.phases:
            self.phases[assignment.key] = phase
            self.report()

    async def _fetched(self, assignment: Assignment) -> bool:
        library = self.library
        known = await self.wire.until(lambda: assignment.bundle in library.announcements, FETCH_S)
        if not self.ledger.check("C8", known, "the announcement of every bundle assigned", assignment.bundle):
            return False
        announcement = library.announcements[assignment.bundle]
        try:
            needs = needs_of(assignment, announcement)
        except (ConvoyError, KeyError, ValueError) as error:
            self.ledger.check("C7", False, "layers that are in the announced topology", error)
            return False
        return all([await self._fetch(digest) for digest in needs])

    async def _fetch(self, digest: str) -> bool:
        library, topics = self.library, self.wire.topics
        # Asked for although it may be there: whoever lacks one is told.
        self.wire.subscribe(topics.block(digest, "+"), 0)
        self.want(digest, ())
        known = await self.wire.until(lambda: digest in library.manifests, FETCH_S)
        if not self.ledger.check("C10", known, f"the manifest of {digest[:12]}, which was asked for", "none"):
            return False
        manifest = library.manifests[digest]
        deadline = asyncio.get_running_loop().time() + FETCH_S
        while asyncio.get_running_loop().time() < deadline:
            missing = [block for block in range(manifest.blocks) if (digest, block) not in library.blocks]
            if not missing:
                return self._check(manifest)
            asked = tuple(missing[:WINDOW])
            self.want(digest, asked)
            await self.wire.until(
                lambda asked=asked: all((digest, block) in library.blocks for block in asked),  # type: ignore[misc]
                AGAIN_S,
            )
        return self.ledger.check("C11", False, f"every block of {digest[:12]} within {FETCH_S:g} s", "some are missing")

    def _check(self, manifest: Manifest) -> bool:
        packed = b"".join(self.library.blocks[manifest.digest, block] for block in range(manifest.blocks))
        try:
            unpack(manifest, packed)
        except ConvoyError as error:
            return self.ledger.check("C11", False, "content of its digest", error)
        return self.ledger.check("C11", True, "", "")

    def want(self, digest: str, blocks: tuple[int, ...]) -> None:
        """Ask."""
        self._say("want", Want(self.session, digest, blocks))


def needs_of(assignment: Assignment, announcement: ModelAnnouncement) -> tuple[str, ...]:
    """Digests that a stage needs on a board without shells: parameters, and golden values of what goes in and out."""
    topology = codec.unpack(Topology, announcement.topology)
    bundle = codec.unpack(Bundle, announcement.bundle)
    names = [layer.name for layer in topology.layers]
    start = names.index(assignment.layers[0])
    end = start + len(assignment.layers)
    golden = {each.tensor: each.digest for each in bundle.golden}
    parameters = [layer.parameters for layer in topology.layers[start:end] if layer.parameters]
    tensors = (*topology.crossing(start), *topology.crossing(end))
    return tuple(dict.fromkeys((*parameters, *(golden[tensor] for tensor in tensors))))


def capability_of(session: int) -> Capability:
    """A board that runs any layer without shells."""
    return Capability(
        session=session,
        part="processor",
        fabric="processor",
        shells=(),
        partitions=(),
        clock_hz=100_000_000,
        memory_bytes=2**28,
        queue_frames=64,
        software="convoy conformance",
    )

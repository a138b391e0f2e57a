"""What must hold of a fleet all the time, and what must hold once nothing disturbs it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from convoy_controller.database import queries
from convoy_controller.database.records import BoardPresence, DeploymentState
from convoy_controller.database.views import FleetLine
from convoy_controller.errors import ControllerError
from convoy_device.daemon import Daemon
from convoy_device.stage import Stage
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation, digest_of

from convoy_simulator.board import Board
from convoy_simulator.fleet import DEPLOYMENT, Fleet
from convoy_simulator.gateway import GatewayHost

#: Seconds between looks at the fleet.
LOOK_S = 0.5
#: Seconds for which frames may be under way that nobody counts any more: those of a gateway that ended, whose share is
#: others' now, and those that a cut line held back until they were sent again.
UNCOUNTED_S = 2.0


class Invariants:
    """Looks at a fleet from outside; `fault` is told of what must never be."""

    def __init__(self, fleet: Fleet, fault: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._fault = fault
        self._complaint = ""
        #: By its digest, an artifact as it was found last: the same bytes need not be hashed again.
        self._sound: dict[str, bytes] = {}
        #: Frames that each stage had refused when it was looked at last, because its queue was full.
        self._refused: WeakKeyDictionary[Stage, int] = WeakKeyDictionary()
        #: What each daemon followed when it was looked at last.
        self._followed: dict[str, tuple[Daemon, tuple[int, int]]] = {}

    # All the time ----------------------------------------------------------------------------------------------------

    async def keep_checking(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for board in self._fleet.boards:
                self._check_queues(board)
                self._check_artifacts(board)
                self._check_obedience(board)

    def _check_queues(self, board: Board) -> None:
        if board.daemon is None or not board.is_up:
            return
        # A slow clock keeps frames for longer than their gateway counts them: then one more may come.
        network = self._fleet.network
        is_bounded = network.was_faithful and network.was_punctual and not board.has_broken_clock
        is_bounded &= not self._are_frames_uncounted()
        for stage in board.daemon.stages:
            if stage.queued > board.config.queue_frames:
                self._fault(f"{board.name}: {stage.queued} frames wait where {board.config.queue_frames} may")
            refused, before = stage.refused["queue"], self._refused.get(stage, 0)
            self._refused[stage] = refused
            if refused > before and is_bounded:
                self._fault(f"{board.name}: a frame was refused because the queue was full")

    def _are_frames_uncounted(self) -> bool:
        """Whether there may be more of them under way than gateways know, which have sent others in their place."""
        since = asyncio.get_running_loop().time() - UNCOUNTED_S
        hosts = (*self._fleet.gateways, *self._fleet.boards)
        ended = any(since < gateway.ended_at for gateway in self._fleet.gateways)
        return ended or any(since < host.line.held_until for host in hosts)

    def _check_artifacts(self, board: Board) -> None:
        """What has an artifact's name is that artifact, whole, whenever the power went."""
        for path, content in board.disk.contents("artifacts"):
            if path.name.endswith(".tmp") or self._sound.get(path.name) is content:
                continue
            if digest_of(content) == path.name:
                self._sound[path.name] = content
            else:
                self._fault(f"{board.name}: the file of artifact {path.name[:12]} holds something else")

    def _check_obedience(self, board: Board) -> None:
        """A daemon follows ever newer orders."""
        if board.daemon is None or not board.is_up:
            return
        condition = board.daemon.condition()
        now = condition.epoch, condition.revision
        daemon, before = self._followed.get(board.name, (None, now))
        if daemon is board.daemon and now < before:
            self._fault(f"{board.name} followed {before[0]}.{before[1]} and follows {now[0]}.{now[1]} now")
        self._followed[board.name] = board.daemon, now

    # Once nothing disturbs it ----------------------------------------------------------------------------------------

    async def settles(self, within_s: float) -> bool:
        """Wait until the fleet is as its owner wants it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while loop.time() < until:
            self._complaint = self._why_not() or self._tables_differ()
            if not self._complaint:
                return True
            await asyncio.sleep(LOOK_S)
        return False

    def complaint(self) -> str:
        """What is not as it should be."""
        return self._complaint

    def _why_not(self) -> str:
        fleet = self._fleet
        down = [host.name for host in (*fleet.controllers, *fleet.gateways, *fleet.boards) if not host.is_up]
        if down:
            return f"{', '.join(down)} does not run"
        # Before the tables are read, which takes a thousand times as long.
        fed = {gateway.name: self._fed(gateway) for gateway in fleet.gateways}
        if None in fed.values() or len(set(fed.values())) > 1:
            told = ", ".join(f"{name} serves {generation or 'nothing'}" for name, generation in fed.items())
            return f"gateways do not serve one generation: {told}"
        try:
            line = queries.deployment(fleet.owner, DEPLOYMENT)
        except ControllerError as error:
            return f"the database says {error}"
        if line.version not in fleet.wanted or not line.is_current or line.state is not DeploymentState.SERVING:
            return f"{line.deployment} {line.version} is {line.state.value}: {line.message}"
        if line.ready_boards != line.assigned_boards or not line.assigned_boards:
            return f"{line.ready_boards} of {line.assigned_boards} boards are ready"
        for name, generation in fed.items():
            if generation != line.generation:
                return f"{name} serves {generation}, and should serve {line.generation}"
        return self._boards_differ(str(line.generation))

    def _fed(self, gateway: GatewayHost) -> Generation | None:
        """The generation that a gateway serves; None unless it is one."""
        feeds = gateway.service.reported().feeds if gateway.service else ()
        serving = [feed.serving for feed in feeds if feed.deployment == DEPLOYMENT]
        return serving[0] if len(serving) == 1 else None

    def _boards_differ(self, generation: str) -> str:
        found = queries.plan(self._fleet.owner, DEPLOYMENT)
        assigned = {each.board for stage in found.stages for each in stage.replicas}
        for board in self._fleet.boards:
            held = board.daemon.condition().held if board.daemon else ()
            keys = {(each.generation, each.phase) for each in held}
            wanted = {(generation, Phase.READY.value)} if board.name in assigned else set()
            if keys != wanted:
                return f"{board.name} holds {sorted(keys)}, and should hold {sorted(wanted)}"
        return ""

    def _tables_differ(self) -> str:
        """Where the tables do not say what is true."""
        lines = {line.board: line for line in queries.fleet(self._fleet.owner)}
        for board in self._fleet.boards:
            line = lines.get(board.name)
            if line is None:
                return f"the tables know no {board.name}"
            if line.presence is not BoardPresence.ONLINE:
                return f"the tables say that {line.board} is {line.presence.value}, and it runs"
            held = board.daemon.condition().held if board.daemon else ()
            true = {(each.deployment, each.generation, each.phase) for each in held}
            said = set() if line.deployment is None else {(line.deployment, str(line.generation), _phase(line))}
            if true != said:
                return f"the tables say that {line.board} holds {sorted(said)}, and it holds {sorted(true)}"
        return ""


def _phase(line: FleetLine) -> str:
    return line.phase.value if line.phase is not None else ""

"""Brings faults about in a fleet: each kind is one short function, and what it breaks it mends itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from convoy_simulator.calm import Calm
from convoy_simulator.controller import ControllerHost
from convoy_simulator.faults import HARMLESS, UNSEEN, Fault, Kind
from convoy_simulator.fleet import LOCAL, Fleet

log = logging.getLogger(__name__)


class Acting:
    """Carries out faults as their time comes, and notes when the fleet is disturbed."""

    def __init__(self, fleet: Fleet, calm: Calm) -> None:
        self._fleet = fleet
        self._calm = calm
        self._acts: dict[Kind, Callable[[Fault], None]] = {
            Kind.BOARD_KILL: self._board_kill,
            Kind.BOARD_POWER: self._board_power,
            Kind.BOARD_SLOW: self._board_slow,
            Kind.BOARD_FABRIC: self._board_fabric,
            Kind.BOARD_DISK: self._board_disk,
            Kind.BOARD_CUT: self._board_cut,
            Kind.BOARD_LINE: self._board_line,
            Kind.CONTROLLER_KILL: self._controller_kill,
            Kind.CONTROLLER_CUT: self._controller_cut,
            Kind.CONTROLLER_LATE: self._controller_late,
            Kind.DATABASE_AWAY: self._database_away,
            Kind.DATABASE_RESTORE: self._database_restore,
            Kind.DATABASE_BACKUP: self._database_backup,
            Kind.GATEWAY_KILL: self._gateway_kill,
            Kind.GATEWAY_CUT: self._gateway_cut,
            Kind.BROKER_KILL: self._broker_kill,
            Kind.BROKER_UNFAITHFUL: self._broker_unfaithful,
            Kind.STORM: self._storm,
            Kind.REPLACE: self._replace,
        }

    async def run(self, faults: tuple[Fault, ...]) -> None:
        """All of them, each at its time after now."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for fault in sorted(faults, key=lambda each: each.at):
            await asyncio.sleep(began + fault.at - loop.time())
            if fault.kind not in UNSEEN:
                fleet = self._fleet
                fleet.shaken_until = max(fleet.shaken_until, loop.time() + fault.lasts_s + self._calm.recovery_s)
            if fault.kind not in HARMLESS:
                self._calm.disturb(loop.time(), loop.time() + fault.lasts_s)
            log.info("fault: %s", str(fault).strip())
            self._acts[fault.kind](fault)

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        asyncio.get_running_loop().call_later(seconds, call, *arguments)

    # Boards ----------------------------------------------------------------------------------------------------------

    def _board_kill(self, fault: Fault) -> None:
        self._fleet.boards[fault.target].kill(fault.size, fault.seconds)

    def _board_power(self, fault: Fault) -> None:
        self._fleet.boards[fault.target].lose_power(fault.seconds, fault.size)

    def _board_slow(self, fault: Fault) -> None:
        board = self._fleet.boards[fault.target]
        board.slowness = float(fault.size)
        self._later(fault.seconds, setattr, board, "slowness", 1.0)

    def _board_fabric(self, fault: Fault) -> None:
        self._fleet.boards[fault.target].memory.failures = fault.size

    def _board_disk(self, fault: Fault) -> None:
        disk = self._fleet.boards[fault.target].disk
        room = disk.room
        disk.fill()
        self._later(fault.seconds, setattr, disk, "room", max(room, 1 << 30))

    def _board_cut(self, fault: Fault) -> None:
        self._cut(self._fleet.boards[fault.target].line, fault.seconds)

    def _board_line(self, fault: Fault) -> None:
        self._fleet.network.was_punctual = False
        line = self._fleet.boards[fault.target].line
        worse = self._fleet.conditions
        line.conditions = replace(
            worse, delay_s=worse.delay_s + 0.02 * fault.size, jitter_s=0.05, loss=0.01 * (fault.size % 10)
        )
        self._later(fault.seconds, setattr, line, "conditions", self._fleet.conditions)

    # The rest --------------------------------------------------------------------------------------------------------

    def _cut(self, line: object, seconds: float) -> None:
        network = self._fleet.network
        network.cut(line)  # type: ignore[arg-type]
        self._later(seconds, network.mend, line)

    def _controller(self, fault: Fault) -> ControllerHost:
        return self._fleet.controllers[fault.target % len(self._fleet.controllers)]

    def _controller_kill(self, fault: Fault) -> None:
        self._controller(fault).kill(fault.size, fault.seconds)

    def _controller_cut(self, fault: Fault) -> None:
        self._cut(self._controller(fault).line, fault.seconds)

    def _controller_late(self, fault: Fault) -> None:
        """What it says and hears is so many seconds late: another may have taken over when its orders come."""
        line = self._controller(fault).line
        line.conditions = replace(LOCAL, delay_s=2.0 + fault.size)
        self._later(fault.seconds, setattr, line, "conditions", LOCAL)

    def _database_away(self, fault: Fault) -> None:
        storage = self._fleet.storage
        storage.is_away = True
        self._later(fault.seconds, setattr, storage, "is_away", False)

    def _database_backup(self, fault: Fault) -> None:
        self._fleet.back_up_database()

    def _database_restore(self, fault: Fault) -> None:
        self._fleet.restore_database()

    def _gateway_kill(self, fault: Fault) -> None:
        self._fleet.gateways[fault.target].kill(fault.size, fault.seconds)

    def _gateway_cut(self, fault: Fault) -> None:
        self._cut(self._fleet.gateways[fault.target].line, fault.seconds)

    def _broker_kill(self, fault: Fault) -> None:
        network = self._fleet.network
        if not network.is_broker_up:
            return
        if fault.size:
            self._fleet.broker.save()
        network.kill_broker()
        self._later(fault.seconds, network.start_broker, bool(fault.size))

    def _broker_unfaithful(self, fault: Fault) -> None:
        network = self._fleet.network
        network.losing = network.repeating = 0.02 * fault.size
        network.was_faithful = False

        def mend() -> None:
            network.losing = network.repeating = 0.0

        self._later(fault.seconds, mend)

    def _storm(self, fault: Fault) -> None:
        for board in self._fleet.boards:
            self._cut(board.line, fault.seconds)

    def _replace(self, fault: Fault) -> None:
        self._fleet.request("2" if self._fleet.version == "1" else "1")

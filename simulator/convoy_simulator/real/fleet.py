"""The fleet that is struck: broker, controller, two gateways and boards, each a process, on lines and disks of ours.

Where namespaces can be made, some boards are at the end of a line of their own; where a tmpfs can be mounted, some have
a disk so small that it fills. What cannot be had is left out, and `Surroundings` says so.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import convoy_bitstreams
import numpy as np
from convoy_controller.blobs import BlobStore
from convoy_controller.broker import HOST, NAME, Broker, answers, find_mosquitto, hold_port, mosquitto_configuration
from convoy_controller.catalogue import Catalogue, ModelContents
from convoy_controller.database import queries
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import DeploymentState
from convoy_controller.errors import BrokerError, ControllerError
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import GATEWAY, LocalFleet
from convoy_controller.processes import Death, Restart
from convoy_schema import layers
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Intent
from numpy.typing import NDArray

from convoy_simulator.real import line, small_disk
from convoy_simulator.real.disturbance import Disturbance
from convoy_simulator.real.faults import Victims
from convoy_simulator.real.small_disk import SmallDisk
from convoy_simulator.small_network import CLASSES, SPEC, raw_answers, small_network

DEPLOYMENT = "soak"
#: The networks that take each other's place.
NETWORKS: Mapping[str, int] = {"first": 1, "second": 2}
BOARDS = ("board-1", "board-2", "board-3", "board-4")
#: Of them, those with a small disk, and those at the end of a line.
SMALL_DISKS, LINED = BOARDS[:2], BOARDS[2:]
#: Boards that the deployment asks for: one is to spare.
ASKED_BOARDS = 3
GATEWAYS = (GATEWAY, "gateway-2")
#: Kilobytes of a small disk: the emulated part's memory and a few models.
DISK_KB = 24 * 1024
BATCH = 16
#: Whoever ends without being asked to is started again, as a service would be.
RESTART = Restart(delay_s=1.0, at_most=60)
_BROKER_S = 15.0


@dataclass(frozen=True)
class Surroundings:
    """What can be had on this machine."""

    lines: line.Choice
    #: Why no small disk can be mounted; '' when it can.
    disk_obstacle: str

    @staticmethod
    def find(directory: Path) -> Surroundings:
        """Try it; raises `BrokerError` without Mosquitto."""
        if find_mosquitto() is None:
            raise BrokerError("Mosquitto is not installed, and nothing else is the real broker: apt install mosquitto")
        return Surroundings(line.choose(), small_disk.obstacle(directory / "disk-try"))

    @property
    def victims(self) -> Victims:
        """Whom faults may strike here."""
        return Victims(
            BOARDS,
            GATEWAYS,
            () if self.lines.obstacle else LINED,
            () if self.disk_obstacle else SMALL_DISKS,
        )


@dataclass(frozen=True)
class State:
    """Where the deployment is: `is_whole` once what was asked for last serves on all the boards it asks for."""

    is_whole: bool
    generation: str
    network: str


class RealFleet:
    """Started as a context; whatever was started is stopped. Call it from the main thread."""

    def __init__(self, directory: Path, surroundings: Surroundings, seed: int) -> None:
        self.home = Home.locate(directory, f"sqlite:///{directory / 'convoy.db'}")
        self.local = LocalFleet(self.home, directory, restart=RESTART)
        self.processes = self.local.processes
        self._directory = directory
        self._surroundings = surroundings
        self._seed = seed
        self._stack = contextlib.ExitStack()
        self._lines: dict[str, line.Line] = {}
        self._disks: dict[str, SmallDisk] = {}
        self._database: Database | None = None
        self._lock: sqlite3.Connection | None = None
        self.is_database_away = False
        self.wanted = next(iter(NETWORKS))

    def __enter__(self) -> RealFleet:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unlock_database()
        self._forget_database()
        self.local.stop()
        self._stack.close()

    def _start(self) -> None:
        for name, seed in NETWORKS.items():
            self._publish(name, small_network(seed))
        made = line.lines(len(LINED), self._surroundings.lines, self._directory, self._seed, self.processes)
        self._lines = dict(zip(LINED, self._stack.enter_context(made), strict=False))
        self._start_broker()
        self.local.start_controller()
        for name in GATEWAYS:
            self.local.start_gateway(name)
        for name in BOARDS:
            self._start_board(name)
        self._ask()

    def _publish(self, name: str, network: ModelContents) -> None:
        catalogue = Catalogue(self._open(), BlobStore(self.home.blobs))
        key = signing_key(self.home.keys)
        catalogue.publish_model(network, name, "1", SPEC, CLASSES, convoy_bitstreams.catalogue(), key)

    def _start_broker(self) -> None:
        """The development configuration, which is for the loopback alone, and a listener at each line's near end."""
        mosquitto = find_mosquitto()
        assert mosquitto is not None, "Surroundings.find says so before"
        port = int(self._stack.enter_context(hold_port()).getsockname()[1])
        hosts = [HOST, *(each.near for each in self._lines.values())]
        words = mosquitto_configuration(port).splitlines()
        at = next(number for number, text in enumerate(words) if text.startswith("listener "))
        words[at:at] = [f"listener {port} {host}" for host in hosts[1:]]
        file = self._directory / "mosquitto.conf"
        file.write_text("\n".join(words) + "\n", encoding="utf-8")
        log = self._directory / "logs" / f"{NAME}.log"
        self.processes.start(NAME, [mosquitto, "-c", file], log, restart=RESTART)
        self.processes.wait_ready(NAME, lambda: all(answers(host, port) for host in hosts), _BROKER_S)
        url = f"mqtt://{HOST}:{port}"
        self.local.broker = Broker(url, url, None)
        self._port = port

    def _start_board(self, name: str) -> None:
        settings: dict[str, str | float] = {}
        if name in SMALL_DISKS and not self._surroundings.disk_obstacle:
            self._disks[name] = self._stack.enter_context(SmallDisk(self._directory / "disks" / name, DISK_KB))
            settings["state_dir"] = str(self._disks[name].path)
        own = self._lines.get(name)
        if own is not None:
            settings["broker"] = f"mqtt://{own.near}:{self._port}"
        self.local.start_boards(name, 1, settings, prefix=own.prefix if own is not None else ())

    # Looking ---------------------------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """Of every process that runs, by name."""
        names = self.processes.names
        return {name: self.processes[name].pid for name in names if self.processes[name].alive}

    def state(self) -> State:
        """By the controller's tables; not whole while they cannot be read."""
        if self.is_database_away:
            return State(False, "", "")
        try:
            found = queries.deployment(self._open(), DEPLOYMENT)
        except ControllerError:
            self._forget_database()
            return State(False, "", "")
        is_whole = (
            found.state is DeploymentState.SERVING
            and found.is_current
            and found.model == self.wanted
            and found.ready_boards == found.assigned_boards == ASKED_BOARDS
        )
        return State(is_whole, str(found.generation), found.model)

    def deaths(self, now: float) -> list[Death]:
        """Processes that ended and nobody had killed; they are started again."""
        found = self.processes.poll(now)
        for death in found:
            if death.name in BOARDS:
                self.processes.restart(death.name)
        return found

    # Striking --------------------------------------------------------------------------------------------------------

    def disturb(self, board: str, disturbance: Disturbance) -> None:
        """Make a board's line so from now on."""
        self._lines[board].disturb(disturbance)

    def fill_disk(self, board: str) -> None:
        """To the last byte."""
        self._disks[board].fill()

    def relieve_disk(self, board: str) -> None:
        """Give back what was taken."""
        self._disks[board].relieve()

    def replace(self) -> bool:
        """Ask for the other network in the place of the one that serves; whether the tables took it."""
        if self._lock is not None or self.is_database_away:
            return False
        before = self.wanted
        self.wanted = next(name for name in NETWORKS if name != before)
        try:
            self._ask()
        except ControllerError:
            self._forget_database()
            self.wanted = before
            return False
        return True

    def lock_database(self) -> bool:
        """Hold the writers' lock, as a backup that hangs would; whether it could be had."""
        self._lock = sqlite3.connect(self._path, timeout=0.5, isolation_level=None)
        try:
            self._lock.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self.unlock_database()
        return self._lock is not None

    def unlock_database(self) -> None:
        """Let go of it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def take_database_away(self) -> None:
        """Rename it: whoever comes now finds none, and makes a new one."""
        self.is_database_away = True
        self._forget_database()
        for path in self._files():
            path.rename(path.with_name(f"{path.name}.away"))

    def bring_database_back(self) -> None:
        """The old one, in the place of whatever was made meanwhile."""
        for path in self._files():
            path.unlink()
        for path in self._directory.glob("convoy.db*.away"):
            path.rename(path.with_name(path.name.removesuffix(".away")))
        self.is_database_away = False

    def _files(self) -> list[Path]:
        return [path for path in self._directory.glob("convoy.db*") if not path.name.endswith(".away")]

    @property
    def _path(self) -> Path:
        return self._directory / "convoy.db"

    def _ask(self) -> None:
        intent = Intent(DEPLOYMENT, self.wanted, "1", Method.ALLOCATE, ASKED_BOARDS, cut=Cut.PIPELINE, batch=BATCH)
        request_deployment(self._open(), intent)

    def _open(self) -> Database:
        if self._database is None:
            self._database = open_database(self.home.database_url)
        return self._database

    def _forget_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def references(images: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """What one process answers to each of `images`, for each of the networks: float32 (images, 1, classes)."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, seed in NETWORKS.items():
        network = small_network(seed)
        output = network.topology.tensor(network.topology.output)
        real = network.ending.apply(layers.dequantise(raw_answers(network, SPEC, images), output))
        found[name] = np.asarray(real, np.float32)[:, np.newaxis]
    return found

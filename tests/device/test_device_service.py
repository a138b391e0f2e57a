"""The daemon as a service: a socket stands for systemd's, everything else is real."""

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import board_models as models
import pytest
from convoy_device import condition
from convoy_device.errors import FabricError
from convoy_device.fabric.processor import ProcessorFabric
from convoy_device.progress import ANSWER_S, ASK_S
from convoy_device.service import Service
from convoy_schema.messages.boards import Phase
from fleet_bench import InLoop, boards_on, config_of, fleet_on
from patience import PATIENCE_S

COPIES = models.copies(images=False)


class Manager:
    """Hears what systemd would."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.setblocking(False)
        (directory / "run").mkdir()
        self.directory = directory / "run"
        self.environment = {"NOTIFY_SOCKET": str(directory / "notify"), "RUNTIME_DIRECTORY": str(self.directory)}
        self.heard: Counter[str] = Counter()
        self.status = ""

    def hear(self) -> Counter[str]:
        """Everything so far, by variable."""
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._socket.recv(4096).decode().splitlines():
                    name, _, value = line.partition("=")
                    self.heard[name] += 1
                    self.status = value if name == "STATUS" else self.status
        return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@contextlib.asynccontextmanager
async def looked_after(manager: Manager, *boards: InLoop) -> AsyncIterator[Service]:
    service = Service([board.daemon for board in boards], manager.environment)
    service.start()
    yield service


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def test_it_is_ready_only_once_a_broker_is_there(
    start_broker: Callable[[], Any], tmp_path: Path, manager: Manager
) -> None:
    broker = start_broker()
    broker.stop()

    async def scenario() -> None:
        async with boards_on(config_of(broker.url, tmp_path)) as boards, looked_after(manager, *boards):
            await until(lambda: manager.hear()["EXTEND_TIMEOUT_USEC"] >= 3, "a start that gets on is given time")
            assert "no broker" in manager.status
            assert manager.heard["READY"] == manager.heard["WATCHDOG"] == 0
            broker.start()
            await until(lambda: manager.hear()["READY"], "READY")
            await until(lambda: manager.hear()["WATCHDOG"] >= 2, "the watchdog is fed")
            assert "connected" in manager.status
            extended = manager.heard["EXTEND_TIMEOUT_USEC"]
            broker.stop()
            await until(lambda: manager.hear() and "no broker" in manager.status, "a loss is said")
            fed = manager.heard["WATCHDOG"]
            await until(lambda: manager.hear()["WATCHDOG"] >= fed + 2, "it is fed while there is no broker")
            assert manager.heard["READY"] == 1
            assert manager.heard["EXTEND_TIMEOUT_USEC"] == extended

    asyncio.run(scenario())


def test_the_phase_is_in_the_status_and_written_down(broker: Any, tmp_path: Path, manager: Manager) -> None:
    async def scenario() -> None:
        async with (
            fleet_on(broker.url) as fleet,
            boards_on(config_of(broker.url, tmp_path)) as boards,
            looked_after(manager, *boards) as service,
        ):
            fleet.publish(COPIES)
            fleet.desire({"board-1": (models.alone(COPIES),)})
            await fleet.until_phase(Phase.READY, "board-1")
            await until(lambda: manager.hear() and manager.status.endswith("demo 1-1 is ready"), "the phase")
            (written,) = condition.read(manager.directory)
            assert written.is_ready
            assert written.revision == 1
            assert written.held == (condition.Held("demo", "1-1", "ready"),)
            service.stopping("SIGTERM")
            assert manager.hear()["STOPPING"] == 1

    asyncio.run(scenario())


class DeafFabric(ProcessorFabric):
    """Its register answers until it does not."""

    is_deaf = False
    asked = 0

    def probe(self) -> None:
        self.asked += 1
        if self.is_deaf:
            raise FabricError("the register answers 0xDEADBEEF")


def test_the_watchdog_starves_when_the_fabric_answers_no_more(broker: Any, tmp_path: Path, manager: Manager) -> None:
    fabric = DeafFabric()

    async def scenario() -> None:
        async with boards_on(config_of(broker.url, tmp_path), fabric=fabric) as boards:
            daemon = boards[0].daemon
            service = Service([daemon], manager.environment)
            now = time.monotonic()
            await until(lambda: daemon.condition().is_ready, "ready")
            service.look(now + ASK_S)
            await until(lambda: fabric.asked == 1 and daemon.sight().answers == 1, "an answer")
            service.look(now + ASK_S + 1)
            assert manager.hear()["WATCHDOG"] == 2
            fabric.is_deaf = True
            service.look(now + 2 * ASK_S + 1)
            await until(lambda: daemon.sight().refusal, "no answer")
            service.look(now + 2 * ASK_S + 2)
            assert manager.hear()["WATCHDOG"] == 4, "one bad answer is no reason to end it"
            fed = manager.heard["WATCHDOG"]
            # Soon enough for the links, which do not live by this clock.
            service.look(now + ASK_S + ANSWER_S + 2)
            assert manager.hear()["WATCHDOG"] == fed
            assert manager.status.startswith("stuck: the fabric has not answered for 46 s: the register")
            (written,) = condition.read(manager.directory)
            assert "0xDEADBEEF" in written.stuck
            service.close()

    asyncio.run(scenario())


def test_several_boards_of_one_process_are_ready_together(broker: Any, tmp_path: Path, manager: Manager) -> None:
    async def scenario() -> None:
        configs = [config_of(broker.url, tmp_path, name) for name in ("board-1", "board-2")]
        async with boards_on(*configs) as boards, looked_after(manager, *boards):
            await until(lambda: manager.hear()["READY"], "READY")
            await until(lambda: manager.hear() and manager.status == "2 of 2 boards connected", "the status")
            assert len(condition.read(manager.directory)) == 2

    asyncio.run(scenario())

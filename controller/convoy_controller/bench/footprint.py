"""Resident memory of every process while LeNet-5 is served, its growth over 50,000 requests, and start-up times."""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import convoy_bitstreams
import numpy as np
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent

from convoy_controller import lenet5
from convoy_controller.bench.figures import Figure, Result
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database import queries
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import BoardPresence, DeploymentState
from convoy_controller.datasets import digits
from convoy_controller.demo.ledger import Ledger
from convoy_controller.demo.load import Load
from convoy_controller.errors import DemoError
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import CONTROLLER, GATEWAY, LocalFleet, remove, wait_until

REQUESTS = 50_000
BOARDS = 3
#: Bytes.
MEGABYTE = 1_000_000
BOARD_MB = 100.0
SERVICE_MB = 200.0
#: Growth from a fifth of the requests on, in MB: less than a byte in ten requests, and below what allocators keep.
GROWTH_MB = 4.0
START_S = 30.0


def run(broker: str) -> Result:
    """Peak and growth of every process's resident set, read from /proc."""
    directory = Path(tempfile.mkdtemp(prefix="convoy-bench-"))
    home = Home.locate(directory, f"sqlite:///{directory / 'convoy.db'}")
    database = open_database(home.database_url)
    try:
        with LocalFleet(home, directory) as fleet:
            return _measure(fleet, database, broker)
    finally:
        database.close()
        remove(directory)


def _measure(fleet: LocalFleet, database: Database, broker: str) -> Result:
    network, spec = lenet5.quantised()
    catalogue = Catalogue(database, BlobStore(fleet.home.blobs))
    images, key = convoy_bitstreams.catalogue(), signing_key(fleet.home.keys)
    catalogue.publish_model(network, "lenet5", "1", spec, (), images, key)
    running = fleet.start_broker(broker)
    starts = _start(fleet, database)
    request_deployment(database, Intent("lenet5", "lenet5", "1", Method.LIBRARY, BOARDS))
    if not wait_until(lambda: queries.deployment(database, "lenet5").state is DeploymentState.SERVING, START_S):
        raise DemoError(f"LeNet-5 is not served: {queries.deployment(database, 'lenet5').message}")
    memory = _load(fleet)
    names = [CONTROLLER, GATEWAY, *fleet.boards]
    figures = [_peak(name, memory[name], SERVICE_MB if name in (CONTROLLER, GATEWAY) else BOARD_MB) for name in names]
    figures += [_growth(name, memory[name]) for name in names]
    return Result("footprint", tuple(figures), {"broker": running.label, "requests": REQUESTS, "start_up_s": starts})


def _start(fleet: LocalFleet, database: Database) -> dict[str, float]:
    """Seconds from each process's start until it can be used."""
    starts: dict[str, float] = {}

    def timed(name: str, begin: Callable[[], object], ready: Callable[[], bool]) -> None:
        started = time.monotonic()
        begin()
        if not wait_until(ready, START_S, 0.02):
            raise DemoError(f"{name} was not ready within {START_S:.0f} s:\n{fleet.processes[name].tail()}")
        starts[name] = round(time.monotonic() - started, 3)

    timed(CONTROLLER, fleet.start_controller, lambda: bool(queries.events(database)))
    timed(GATEWAY, fleet.start_gateway, lambda: _is_live(fleet.gateways[GATEWAY]))
    for number in range(1, BOARDS + 1):
        name = f"board-{number}"
        timed(name, partial(fleet.start_board, name), partial(_is_online, database, name))
    return starts


def _is_live(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=1.0)
    try:
        connection.request("GET", "/v2/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _is_online(database: Database, name: str) -> bool:
    return any(line.board == name and line.presence is BoardPresence.ONLINE for line in queries.fleet(database))


def _load(fleet: LocalFleet) -> dict[str, list[tuple[int, float]]]:
    """(requests answered, MB) samples of each process while `REQUESTS` images are classified one by one."""
    images = digits().images[np.arange(REQUESTS) % len(digits())]
    labels = np.zeros(REQUESTS, np.int64)
    ledger = Ledger(labels, np.zeros((REQUESTS, 10), np.float32))
    load = Load(list(fleet.gateways.values()), images, ledger)
    samples: dict[str, list[tuple[int, float]]] = {name: [] for name in (CONTROLLER, GATEWAY, *fleet.boards)}
    load.start()
    try:
        while not load.is_done:
            time.sleep(0.25)
            for name, found in samples.items():
                found.append((ledger.done, _resident_mb(fleet.processes[name].pid)))
    finally:
        load.stop()
    failed = ledger.summary().failed
    if failed:
        raise DemoError(f"{failed} of {REQUESTS} requests failed: {ledger.summary().errors}")
    return samples


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    raise DemoError(f"process {pid} is gone")


def _peak(name: str, samples: list[tuple[int, float]], bar: float) -> Figure:
    return Figure(f"{name} resident", "MB", max(mb for _, mb in samples), bar, at_least=False)


def _growth(name: str, samples: list[tuple[int, float]]) -> Figure:
    """Median of the last tenth of the requests less that of the third tenth, once caches are warm."""
    early = median(mb for done, mb in samples if REQUESTS * 0.2 <= done <= REQUESTS * 0.3)
    late = median(mb for done, mb in samples if done >= REQUESTS * 0.9)
    return Figure(f"{name} growth", "MB", late - early, GROWTH_MB, at_least=False)

"""A real deployment on this machine, measured: what predictions are held against, and what their costs come from.

Real processes and a real Mosquitto; boards are emulated, in so many processes. Nothing here is virtual.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import convoy_bitstreams
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue, ModelContents
from convoy_controller.database import queries
from convoy_controller.database.engine import open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.records import BoardPresence
from convoy_controller.errors import DemoError
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import CONTROLLER, GATEWAY, LocalFleet, remove, wait_until
from convoy_schema import codec
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.link import Link
from convoy_schema.messages.boards import Phase, Reported
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.topics import BoardTopic, Topics

from convoy_simulator.real.memory import resident_bytes

START_S, READY_S = 600.0, 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """Seconds of processor and resident bytes, of one kind of process."""

    seconds: float
    bytes: int


@dataclass(frozen=True)
class RealRun:
    """`ready_s` of each board since it was asked for, in order; bytes through the broker until the last was ready."""

    boards: int
    processes: int
    ready_s: tuple[float, ...]
    bytes: int
    spent: dict[str, Spent]


def deploy(network: ModelContents, spec: InputSpec, boards: int, processes: int, per_deployment: int) -> RealRun:
    """Start everything, deploy, and wait until every board is ready; raises `DemoError` when it does not come about."""
    directory = Path(tempfile.mkdtemp(prefix="convoy-real-"))
    home = Home.locate(directory, f"sqlite:///{directory / 'convoy.db'}", {})
    database = open_database(home.database_url)
    try:
        with LocalFleet(home, directory) as fleet:
            images, key = convoy_bitstreams.catalogue(), signing_key(home.keys)
            Catalogue(database, BlobStore(home.blobs)).publish_model(network, "model", "1", spec, (), images, key)
            fleet.start_broker("mosquitto")
            fleet.start_controller()
            fleet.start_gateway()
            each = boards // processes
            for number in range(1, processes + 1):
                fleet.start_boards(f"rack{number}", each, {"fabric": "emulated"})
            names = list(fleet.boards)

            def online() -> bool:
                lines = queries.fleet(database)
                return sum(line.presence is BoardPresence.ONLINE for line in lines) == boards

            if not wait_until(online, START_S, 0.5):
                raise DemoError("not all boards are online")
            time.sleep(3.0)
            return asyncio.run(_measured(fleet, database, names, processes, per_deployment))
    finally:
        database.close()
        remove(directory)


async def _measured(fleet: LocalFleet, database: object, names: list[str], processes: int, per: int) -> RealRun:
    topics = Topics(fleet.site)
    ready: dict[str, float] = {}
    heard = 0

    def message(topic: str, payload: bytes, retained: bool) -> None:
        nonlocal heard
        heard += len(payload) + len(topic) + 4
        found = topics.parse(topic)
        if isinstance(found, BoardTopic) and found.board not in ready and payload:
            reported = codec.decode(Reported, payload)
            if any(each.phase is Phase.READY for each in reported.assignments):
                ready[found.board] = time.monotonic()

    connected = asyncio.Event()

    def listen() -> None:  # again after every reconnect: what is said meanwhile is retained
        link.subscribe(topics.board("+", "reported"), 0)
        connected.set()

    link = Link(fleet.url, "observer", on_message=message, on_connect=listen)
    running = asyncio.create_task(link.run())
    await connected.wait()
    await asyncio.sleep(1.0)
    before, began, heard = _used(fleet), time.monotonic(), 0
    passed = _broker_bytes(fleet)
    for number, at in enumerate(range(0, len(names), per)):
        group = tuple(names[at : at + per])
        request_deployment(
            database,  # type: ignore[arg-type]
            Intent(
                f"fleet-{number}",
                "model",
                "1",
                Method.ALLOCATE,
                len(group),
                cut=Cut.REPLICATED,
                batch=8,
                board_names=group,
            ),
        )
    until = time.monotonic() + READY_S
    while len(ready) < len(names):
        if time.monotonic() > until:
            raise DemoError(f"{len(ready)} of {len(names)} boards are ready after {READY_S:g} s")
        await asyncio.sleep(0.05)
    passed = _broker_bytes(fleet) - passed - heard
    after = _used(fleet)
    await link.stop()
    await running
    spent = {kind: Spent(after[kind].seconds - before[kind].seconds, after[kind].bytes) for kind in after}
    return RealRun(len(names), processes, tuple(sorted(at - began for at in ready.values())), passed, spent)


def _kind(name: str) -> str:
    return name if name in (CONTROLLER, GATEWAY) else "boards" if name.startswith("rack") else "broker"


def _used(fleet: LocalFleet) -> dict[str, Spent]:
    found: dict[str, Spent] = {}
    for name in fleet.processes.names:
        child = fleet.processes[name]
        fields = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds = (int(fields[11]) + int(fields[12])) / _TICKS
        size = resident_bytes(child.pid) or 0
        known = found.get(_kind(name), Spent(0.0, 0))
        found[_kind(name)] = Spent(known.seconds + seconds, known.bytes + size)
    return found


def _broker_bytes(fleet: LocalFleet) -> int:
    """What the broker has read and written so far: its sockets', but for a log line now and then."""
    broker = next(fleet.processes[name] for name in fleet.processes.names if _kind(name) == "broker")
    facts = dict(line.split(": ") for line in Path(f"/proc/{broker.pid}/io").read_text().splitlines())
    return int(facts["rchar"]) + int(facts["wchar"])

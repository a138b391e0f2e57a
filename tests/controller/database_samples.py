"""What the tests of database, queries and command line share: a clock, messages, and a small published model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from convoy_bitstreams import Catalogue as Images
from convoy_bitstreams import catalogue as shipped_images
from convoy_controller import blobs
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import BoardPresence, DeploymentState, GenerationState, SavedGeneration
from convoy_controller.keys import signing_key
from convoy_schema.bundle import InputSpec, Method, ModelAnnouncement
from convoy_schema.ending import Ending
from convoy_schema.messages.boards import (
    AssignmentReport,
    Capability,
    Partition,
    PartitionReport,
    Phase,
    Published,
    Pulse,
    Reported,
    StagePulse,
)
from convoy_schema.messages.desired import Assignment, Intent, Role, Slot
from convoy_schema.names import Generation
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from ready_databases import ready_sqlite

START = datetime(2030, 1, 1, 12, 0, tzinfo=timezone.utc)
BUNDLE = "ab" * 32


class Clock:
    """A date that the test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Fleet:
    """A database with a recorder whose clock the test holds."""

    database: Database
    clock: Clock = field(default_factory=Clock)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.database, self.clock)

    def online(self, board: str, session: int = 1) -> None:
        self.recorder.record_presence(board, BoardPresence.ONLINE, session)
        self.recorder.record_capability(board, capability(session))

    def place(
        self,
        boards: tuple[str, ...],
        counter: int = 1,
        state: GenerationState = GenerationState.SERVING,
        deployment: str = "digits",
    ) -> Generation:
        placed = placement(boards, counter, state, deployment)
        self.recorder.save_generation(placed)
        return placed.generation

    def at(self, board: str, phase: Phase, counter: int = 1, deployment: str = "digits", **details: object) -> None:
        report = AssignmentReport(deployment, Generation(1, counter), phase, **details)  # type: ignore[arg-type]
        self.recorder.record_reported(board, reported(assignments=(report,)))


def open_fleet(folder: Path, url: str = "") -> Fleet:
    return Fleet(open_database(url or ready_sqlite(folder / "convoy.db")))


def capability(session: int = 1) -> Capability:
    return Capability(
        session,
        "xc7z020clg400-1",
        "emulated",
        ("layers", "partitions"),
        (Partition("p0", (Kind.CONV2D,)),),
        100_000_000,
        1 << 29,
        32,
        "0.1.0",
    )


def reported(
    revision: int = 0,
    assignments: tuple[AssignmentReport, ...] = (),
    degraded: bool = False,
    blocked: str = "",
    session: int = 1,
) -> Reported:
    partition = PartitionReport("p0", Kind.CONV2D, not degraded, degraded)
    return Reported(session, 1, revision, "partitions", assignments, (partition,), 1000, 2000, blocked)


def pulse(session: int = 1, frames: int = 5) -> Pulse:
    stage = StagePulse("digits", Generation(1, 1), frames, frames * 32, 1, 3, 900, 700, {"budget": 2})
    return Pulse(session, 1, 4, 1000, 60_000, 50_000_000, (stage,), Published(10, 20, 30), {"decode": 1})


def intent(deployment: str = "digits", model: str = "lenet5", version: str = "1") -> Intent:
    return Intent(deployment, model, version, Method.LIBRARY)


def assignment(stage: int, stages: int, generation: Generation, deployment: str = "digits") -> Assignment:
    return Assignment(
        intent(deployment),
        generation,
        Role.SERVING,
        BUNDLE,
        stage,
        stages,
        (f"layer-{stage}",),
        (Slot("p0", Kind.CONV2D),),
        (),
        (),
        32,
        32,
    )


def placement(
    boards: tuple[str, ...],
    counter: int = 1,
    state: GenerationState = GenerationState.SERVING,
    deployment: str = "digits",
) -> SavedGeneration:
    generation = Generation(1, counter)
    stages = {board: assignment(number, len(boards), generation, deployment) for number, board in enumerate(boards)}
    return SavedGeneration(deployment, generation, state, stages, reason="asked for", plan={"period_s": 0.01})


@dataclass(frozen=True)
class TinyImport:
    """An import of two identity layers, as an importer hands it over."""

    topology: Topology
    parameters: dict[str, bytes]
    golden: dict[str, bytes]
    golden_rows: int
    ending: Ending = field(default_factory=Ending)


def tiny_import(seed: int = 0) -> TinyImport:
    tensors = tuple(Tensor(name, (4,), 0.5, 0) for name in ("in", "middle", "out"))
    parameters = bytes([seed]) * 100_000
    digest = hashlib.sha256(parameters).hexdigest()
    layers = (
        Layer("first", Kind.IDENTITY, ("in",), "middle", parameters=digest),
        Layer("second", Kind.IDENTITY, ("middle",), "out"),
    )
    rows = np.arange(8, dtype=np.int8).tobytes()
    topology = Topology("tiny", tensors, layers, "in", "out")
    return TinyImport(topology, {digest: parameters}, {tensor.name: rows for tensor in tensors}, 2)


def open_catalogue(fleet: Database, folder: Path) -> Catalogue:
    return Catalogue(fleet, BlobStore(folder / "blobs"))


_IMAGES: dict[str, bytes] = {}


class HeldImages(Images):
    """Images that are read once; to unpack them and to pack them anew takes longer than most tests that publish."""

    def read(self, digest: str) -> bytes:
        if digest not in _IMAGES:
            _IMAGES[digest] = super().read(digest)
        return _IMAGES[digest]


@cache
def held_images() -> HeldImages:
    """Those that are shipped."""
    ours = shipped_images()
    return HeldImages(ours.shells, ours.modules, ours.floorplans, ours._stored)


blobs.pack = lru_cache(maxsize=32)(blobs.pack)


def publish(
    fleet: Database,
    folder: Path,
    name: str = "tiny",
    version: str = "1",
    seed: int = 0,
    images: Callable[[], Images] = held_images,
    floor: int = 0,
) -> ModelAnnouncement:
    key, spec = signing_key(folder / "keys"), InputSpec("in", "N")
    return open_catalogue(fleet, folder).publish_model(
        tiny_import(seed), name, version, spec, ("no", "yes"), images(), key, floor=floor
    )


def three_boards(folder: Path) -> Fleet:
    """Three boards, one of them gone; model `tiny`, and deployment `digits` of it on two of them."""
    made = open_fleet(folder)
    publish(made.database, folder)
    request_deployment(made.database, intent(model="tiny"))
    for board in ("board-1", "board-2", "board-3"):
        made.online(board)
    made.recorder.record_presence("board-3", BoardPresence.OFFLINE, 1, "three pulses missed")
    made.place(("board-1", "board-2"))
    made.at("board-1", Phase.READY)
    made.recorder.save_deployment_state("digits", DeploymentState.STAGING, "1 of 2 boards ready")
    return made

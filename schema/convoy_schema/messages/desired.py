"""What the controller wants of a board: everything it must hold, restated whole each time."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar

from convoy_schema.bounds import Range, Size
from convoy_schema.bundle import Method
from convoy_schema.names import Count, Digest, Generation, Label, Name
from convoy_schema.topology import Kind


class Role(enum.Enum):
    """What an assignment is for. All three compute whatever reaches them; the role says what the board may let go."""

    STAGED = "staged"
    SERVING = "serving"
    DRAINING = "draining"


class Objective(enum.Enum):
    """What a plan makes best."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"


class Cut(enum.Enum):
    """Whether a stage may be served by several boards."""

    PIPELINE = "pipeline"
    REPLICATED = "replicated"


@dataclass(frozen=True)
class Intent:
    """A deployment as its owner asked for it; with every assignment, so that a lost database can be rebuilt.

    `board_names` are the only boards that may take part, empty: any. At most `replicas` boards share a stage, 0: one in
    a pipeline, and else as many as help. `spare` boards stay out, to take over from others.
    """

    deployment: Name
    model: Name
    version: Name
    method: Method
    boards: Annotated[int, Range(0, 100_000)] = 0  # 0: as many as there are
    objective: Objective = Objective.THROUGHPUT
    cut: Cut = Cut.PIPELINE
    batch: Annotated[int, Range(1, 4096)] = 32
    board_names: Annotated[tuple[Name, ...], Size(256)] = ()
    replicas: Annotated[int, Range(0, 1024)] = 0
    spare: Annotated[int, Range(0, 100_000)] = 0


@dataclass(frozen=True)
class Hop:
    """One replica of a stage and its share of the batches."""

    board: Name
    weight: Annotated[int, Range(1, 1000)] = 1


@dataclass(frozen=True)
class Slot:
    """A module that a partition should hold when the stage goes live; more kinds than slots are swapped at run time."""

    partition: Name
    kind: Kind


@dataclass(frozen=True)
class Assignment:
    """One stage of one generation, for one board. An empty `next` sends results to the gateway a frame names.

    `processor` names those of `layers` that run on the board's processor, and need neither slot nor kernel.
    """

    intent: Intent
    generation: Generation
    role: Role
    bundle: Digest
    stage: Annotated[int, Range(0, 2047)]
    stages: Annotated[int, Range(1, 2048)]
    layers: Annotated[tuple[Label, ...], Size(2048)]
    slots: Annotated[tuple[Slot, ...], Size(64)]
    next: Annotated[tuple[Hop, ...], Size(1024)]
    previous: Annotated[tuple[Name, ...], Size(1024)]  # who may send to this stage; empty: gateways
    queue_frames: Annotated[int, Range(1, 4096)]
    batch_rows: Annotated[int, Range(1, 4096)]
    processor: Annotated[tuple[Label, ...], Size(2048)] = ()

    def __post_init__(self) -> None:
        if self.processor and (strange := sorted(set(self.processor) - set(self.layers))):
            raise ValueError(f"processor must name layers of the stage, {strange[0]!r} is none of them")

    @property
    def key(self) -> tuple[str, Generation]:
        """(deployment, generation): what names an assignment on a board."""
        return self.intent.deployment, self.generation


@dataclass(frozen=True)
class Desired:
    """controller -> board, retained: all assignments it must hold. A lower (epoch, revision) than seen is stale.

    A `restart_token` that the board has not restarted by makes it restart, once.
    """

    MAX_BYTES: ClassVar[int] = 256 * 1024

    epoch: Count
    revision: Count
    assignments: Annotated[tuple[Assignment, ...], Size(64)]
    restart_token: Annotated[str, Size(63)] = ""

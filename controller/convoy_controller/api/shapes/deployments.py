"""Bodies about deployments, their generations and plans."""

from __future__ import annotations

from typing import Annotated, Any

from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Cut, Objective
from pydantic import ConfigDict, Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date, GenerationText, Given, Name
from convoy_controller.database.records import BoardPresence, DeploymentState, GenerationState


class DeploymentLine(Answer):
    """A deployment: what was asked for, how far it is, its newest live generation, and that one's boards.

    `is_current` says whether that generation was made for what is wanted now. `intent_revision` numbers what is
    wanted: it is the ETag.
    """

    deployment: str
    model: str
    version: str
    method: Method
    boards: int
    objective: Objective
    cut: Cut
    batch: int
    wanted: bool
    state: DeploymentState
    message: str
    generation: GenerationText | None
    generation_state: GenerationState | None
    is_current: bool
    assigned_boards: int
    ready_boards: int
    created_at: Date
    changed_at: Date
    board_names: tuple[str, ...]
    replicas: int
    spare: int
    intent_revision: int


MOST_BOARDS = 100_000


class GivenDeployment(Given):
    """What is to be served. `boards` 0: as many as help; `board_names`: only these take part; `group`: its boards as
    they are now.

    `replicas`: at most so many boards share a stage, 0: one in a pipeline, else as many as help. `spare` boards stay
    out, to take over from others.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "lenet5", "boards": 3}]})

    model: Name
    version: Annotated[Name | None, Field(description="The newest unless given.")] = None
    method: Method = Method.LIBRARY
    boards: Annotated[int, Field(ge=0, le=MOST_BOARDS)] = 0
    board_names: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
    group: Name | None = None
    objective: Objective = Objective.THROUGHPUT
    cut: Cut = Cut.PIPELINE
    batch: Annotated[int, Field(ge=1, le=4096, description="Most samples in one frame.")] = 32
    replicas: Annotated[int, Field(ge=0, le=1024)] = 0
    spare: Annotated[int, Field(ge=0, le=MOST_BOARDS)] = 0


class GivenScale(Given):
    """On how many boards, or on which, and with how many replicas it is to run; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"boards": 4}, {"board_names": ["board-1"]}]})

    boards: Annotated[int | None, Field(ge=0, le=MOST_BOARDS)] = None
    board_names: Annotated[tuple[Name, ...] | None, Field(max_length=256)] = None
    group: Annotated[Name | None, Field(description="Its boards as they are now.")] = None
    replicas: Annotated[int | None, Field(ge=0, le=1024)] = None


class DeploymentPage(Page[DeploymentLine]):
    """Deployments, by name."""


class GenerationLine(Answer):
    """A placement in the history of its deployment."""

    deployment: str
    generation: GenerationText
    state: GenerationState
    reason: str
    boards: int
    created_at: Date
    changed_at: Date


class GenerationPage(Page[GenerationLine]):
    """Placements, the newest first."""


class ReplicaLine(Answer):
    """A board that runs a stage; `done_bytes` of `total_bytes` are fetched, both 0 while nothing is."""

    board: str
    presence: BoardPresence
    phase: Phase
    slots: dict[str, str] = Field(description="Partition to kind of module.")
    step: str
    done_bytes: int
    total_bytes: int


class StageLine(Answer):
    """A stage of a plan: its layers, the boards that run it, and those of the layers left to their processors."""

    stage: int
    layers: tuple[str, ...]
    replicas: tuple[ReplicaLine, ...]
    processor: tuple[str, ...]


class PlanView(Answer):
    """Who runs which layers in one generation; `facts` is what the planner said of it."""

    deployment: str
    generation: GenerationText
    state: GenerationState
    stages: tuple[StageLine, ...]
    facts: dict[str, Any]

"""Bodies about deployments, their generations and plans."""

from __future__ import annotations

from typing import Any

from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Cut, Objective
from pydantic import Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date, GenerationText
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

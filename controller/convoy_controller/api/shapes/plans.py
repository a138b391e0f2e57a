"""Bodies about plans that are only asked about."""

from __future__ import annotations

from typing import Annotated, Any

from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Cut, Objective
from pydantic import ConfigDict, Field

from convoy_controller.api.shapes.base import Answer, Given, Name


class GivenProfile(Given):
    """So many boards of a kind that comes along."""

    name: Annotated[Name, Field(examples=["pynq-z2"])] = "pynq-z2"
    count: Annotated[int, Field(ge=1, le=1000)]
    processor: Annotated[bool, Field(description="Let layers run on their processors.")] = False


class GivenPlan(Given):
    """What would be deployed, and on which boards: those online now, unless a profile is given."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "lenet5", "profile": {"name": "pynq-z2", "count": 3}}]}
    )

    model: Name
    version: Annotated[Name | None, Field(description="The newest unless given.")] = None
    method: Method = Method.LIBRARY
    objective: Objective = Objective.THROUGHPUT
    cut: Cut = Cut.PIPELINE
    replicas: Annotated[int, Field(ge=0, le=1024)] = 0
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    spare: Annotated[int, Field(ge=0, le=1000)] = 0
    exactly: Annotated[bool, Field(description="Use every board that can have a layer.")] = False
    measured: Annotated[bool, Field(description="Of boards online: what the fleet counted, where it has.")] = False
    profile: GivenProfile | None = None


class PlannedStage(Answer):
    """Layers that one kind of board would run; times in seconds."""

    first: int
    last: int
    layers: list[str]
    boards: str
    replicas: int
    seconds: float
    receive_s: float
    send_s: float
    memory_bytes: int
    ready_s: float
    processor: list[str]
    figures: str


class OneMore(Answer):
    """What one more board of a kind would buy."""

    kind: str
    value_s: float
    gain: float


class Plan(Answer):
    """As `convoy plan --json` prints it: stages, bottleneck, what is proved, and what one more board would buy."""

    model: str
    version: str
    method: Method
    cut: Cut
    boards_there: int
    objective: Objective
    batch_rows: int
    boards: int
    period_s: float
    samples_per_s: float
    latency_s: float
    bound_s: float
    gap: float
    exact: bool
    search: str
    bottleneck: str
    ready_s: float
    stages: list[PlannedStage]
    one_more: list[OneMore]
    notes: list[str]
    figures: dict[str, Any]
    hop: dict[str, Any]

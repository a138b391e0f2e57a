"""Bodies about boards."""

from __future__ import annotations

from typing import Annotated, Any

from convoy_schema.messages.boards import Capability, PartitionReport, Phase
from pydantic import ConfigDict, Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date, GenerationText, Given, Line
from convoy_controller.database.records import BoardPresence, GenerationState, SymptomKind
from convoy_controller.database.views import Condition


class BoardLine(Answer):
    """One board in the list of all; fields of the assignment are null while it has none."""

    board: str
    presence: BoardPresence
    condition: Condition
    sentence: str
    since: Date | None
    last_seen: Date | None
    part: str
    fabric: str
    shell: str
    deployment: str | None
    generation: GenerationText | None
    stage: int | None
    stages: int | None
    phase: Phase | None


class BoardPage(Page[BoardLine]):
    """Boards, by name."""


class Why(Answer):
    """Why a board is where it is: what it should hold, where it is, since when, what blocks it, and what to do."""

    board: str
    condition: Condition
    wanted: str
    actual: str
    since: Date | None
    blocked_by: str
    sentence: str
    action: str


class Assigned(Answer):
    """One live assignment of a board, and how far the board is with it."""

    deployment: str
    generation: GenerationText
    generation_state: GenerationState
    stage: int
    stages: int
    layers: tuple[str, ...]
    slots: dict[str, str] = Field(description="Partition to kind of module.")
    phase: Phase
    step: str
    done_bytes: int
    total_bytes: int
    code: str
    message: str
    retryable: bool
    since: Date
    failing_since: Date | None


class Symptom(Answer):
    """What has been wrong with a board since then, in figures that depend on the kind."""

    kind: SymptomKind
    since: Date
    figures: dict[str, Any]


class BoardFacts(Answer):
    """All that explains a board."""

    board: str
    presence: BoardPresence
    presence_since: Date | None
    presence_reason: str
    first_seen: Date | None
    last_seen: Date | None
    session: int
    session_started: Date | None
    session_ended: Date | None
    session_reason: str
    part: str
    fabric: str
    software: str
    is_described: bool
    shell: str
    blocked: str
    degraded: tuple[str, ...]
    desired: tuple[int, int] = Field(description="(epoch, revision) that it was told last.")
    desired_at: Date | None
    reported: tuple[int, int] = Field(description="(epoch, revision) that it confirmed last.")
    reported_at: Date | None
    assigned: Assigned | None
    given_up: str
    given_up_at: Date | None
    drained_at: Date | None
    restart_at: Date | None
    given_up_code: str
    blocked_since: Date | None
    degraded_since: Date | None
    revoked_at: Date | None
    revoked_reason: str
    symptoms: tuple[Symptom, ...]


class ForgottenBoard(Answer):
    """A board that was forgotten, and when it was last seen."""

    board: str
    last_seen: Date | None


class BoardWishes(Answer):
    """What owners want of a board beside what it runs; `restart_pending`: it has yet to restart."""

    board: str
    drained: bool
    drained_at: Date | None
    restart_token: str
    restart_at: Date | None
    restart_forced: bool
    restart_pending: bool
    labels: dict[str, str]
    revision: int


class GivenRestart(Given):
    """How a board is to restart. The same token again is the same restart, so that a request may be repeated."""

    token: Annotated[str | None, Field(pattern="^[a-z0-9-]{1,63}$", description="Drawn unless given.")] = None
    forced: Annotated[bool, Field(description="At once, though it serves; else it is taken out of service first.")] = (
        False
    )


LabelKey = Annotated[str, Field(pattern="^[a-z0-9-]{1,63}$")]


class GivenLabels(Given):
    """Labels, in place of those it has."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"labels": {"hall": "3"}}]})

    labels: Annotated[dict[LabelKey, Line], Field(max_length=32)]


class SessionLine(Answer):
    """One run of a board's daemon; `ended_at` is null while it lasts."""

    session: int
    started_at: Date
    ended_at: Date | None
    reason: str


class SessionPage(Page[SessionLine]):
    """Runs of a board's daemon, the newest first."""


class BoardStatistics(Answer):
    """A board's latest pulse. `refused` counts frames refused since the daemon started."""

    session: int
    at: Date
    uptime_ms: int
    rss_bytes: int
    frames: int
    rows: int
    queued: int
    refused: int
    control_bytes: int
    activation_bytes: int


class BoardDetail(Answer):
    """Everything known of one board."""

    why: Why
    facts: BoardFacts
    capability: Capability | None
    partitions: tuple[PartitionReport, ...]
    store_bytes: int
    store_quota: int
    assignments: tuple[Assigned, ...]
    sessions: tuple[SessionLine, ...]
    statistics: BoardStatistics | None

"""Bodies of the status queries: the views of `database.status_views`, `history` and `availability`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from convoy_schema.messages.boards import Phase
from pydantic import BeforeValidator, Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date, GenerationText
from convoy_controller.api.shapes.events import EventLine
from convoy_controller.database.records import (
    ArtifactKind,
    BoardPresence,
    CountScope,
    DeploymentState,
    GenerationState,
    Severity,
)
from convoy_controller.database.views import Condition


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


#: A span of time, in seconds.
Seconds = Annotated[float, BeforeValidator(_seconds)]


class StateCounts(Answer):
    """How many boards of the fleet, of a site or of a group are in which condition."""

    scope: CountScope
    name: str = Field(description="Of the site or group; empty for the fleet.")
    boards: int
    problems: int
    conditions: dict[str, int] = Field(description="Those that any board is in, the worst first.")


class StatePage(Page[StateCounts]):
    """Counts, by name."""


class ProblemLine(Answer):
    """A board that is not what it should be, why, since when, and what to do."""

    board: str
    condition: Condition
    wanted: str
    actual: str
    since: Date | None
    blocked_by: str
    sentence: str
    action: str
    deployment: str | None
    changed_at: Date


class ProblemPage(Page[ProblemLine]):
    """Boards that are not what they should be, the worst first, then by name."""


class ChangedDeployment(Answer):
    """A deployment that is further, or back."""

    deployment: str
    state: DeploymentState
    message: str
    changed_at: Date


class NewGeneration(Answer):
    """A placement that was made."""

    deployment: str
    generation: GenerationText
    state: GenerationState
    reason: str
    created_at: Date


class NewModel(Answer):
    """A model version that was imported."""

    model: str
    version: str
    imported_at: Date


class EventCount(Answer):
    """Events of one kind and severity."""

    severity: Severity
    kind: str
    events: int


class Changed(Answer):
    """What is not as it was; `boards_more` and `events_more`: there are further ones."""

    since: Date
    after: int
    newest: int
    boards: tuple[ProblemLine, ...]
    boards_more: bool
    deployments: tuple[ChangedDeployment, ...]
    generations: tuple[NewGeneration, ...]
    models: tuple[NewModel, ...]
    events: tuple[EventCount, ...]
    events_more: bool


class PresenceHour(Answer):
    """One hour, or what has passed of it: boards online, offline or neither for certain, on average."""

    at: Date
    online: float
    offline: float
    unknown: float
    share: float | None


class FleetAvailability(Answer):
    """Board-seconds online, offline and not known to be either; `share` is online / (online + offline)."""

    since: Date
    until: Date
    online_s: float
    offline_s: float
    unknown_s: float
    share: float | None
    hours: tuple[PresenceHour, ...]


class Absence(Answer):
    """A time in which a board was offline (`is_certain`), or not known to be there."""

    began_at: Date
    ended_at: Date | None
    is_certain: bool
    session: int
    reason: str


class Availability(Answer):
    """How much of a time a board was there, in seconds; `share` is online / (online + offline)."""

    board: str
    since: Date
    until: Date
    online: Seconds
    offline: Seconds
    unknown: Seconds
    share: float | None
    absences: tuple[Absence, ...]


class HopLine(Answer):
    """One stage and the way out of it, over the last minute; null where nothing was measured."""

    stage: int
    layers: tuple[str, ...]
    boards: int
    frames_per_s: float
    rows_per_s: float
    busy: float
    capacity_rows_per_s: float | None
    queued: float
    residence_us: float | None
    transit_us: float | None


class DeploymentHops(Answer):
    """Where frames spend their time: `bottleneck` and `slowest` are stages, `predicted_rows_per_s` is as planned."""

    deployment: str
    generation: GenerationText
    state: GenerationState
    since: Date
    until: Date
    answered_per_s: float
    latency_p50_us: float | None
    latency_p99_us: int | None
    hop_us: float | None
    predicted_rows_per_s: float | None
    measured_rows_per_s: float
    bottleneck: int | None
    slowest: int | None
    hops: tuple[HopLine, ...]


class DeploymentPoint(Answer):
    """A deployment over one step, as its gateways saw it."""

    at: Date
    accepted_per_s: float
    answered_per_s: float
    failed: int
    refused: int
    retried: int
    late: int
    in_flight: float
    in_flight_max: int
    waiting: float
    waiting_max: int
    latency_p50_us: float | None
    latency_p99_us: int | None
    hop_us: float | None


class DeploymentSeries(Answer):
    """Throughput and latency, a point every `step` seconds; where nothing was heard there is none."""

    step: int
    since: Date
    until: Date
    points: tuple[DeploymentPoint, ...]


class BoardPoint(Answer):
    """A board over one step."""

    at: Date
    samples: int
    starts: int
    frames_per_s: float
    rows_per_s: float
    refused: int
    control_bytes_per_s: float
    artifact_bytes_per_s: float
    activation_bytes_per_s: float
    queued: float
    queued_max: int
    rss_bytes_max: int
    temperature_c: float | None
    temperature_max: float | None


class BoardSeries(Answer):
    """What a board did and how warm it was, a point every `step` seconds; where nothing was heard there is none."""

    step: int
    since: Date
    until: Date
    points: tuple[BoardPoint, ...]


class Spread(Answer):
    """How far a model version is on the boards that are to have it."""

    model: str
    version: str
    bundle: str
    boards: int
    verified: int
    ready: int
    fetching: int
    waiting: int
    failed: int
    away: int
    done_bytes: int
    total_bytes: int


class ArtifactSpread(Answer):
    """The model versions that name an artifact, and how far each is."""

    digest: str
    kind: ArtifactKind
    size: int
    models: tuple[Spread, ...]


class Holder(Answer):
    """A board that is to have a model version; `needs` is null where not known here whether it needs the artifact."""

    board: str
    presence: BoardPresence
    model: str
    version: str
    deployment: str
    generation: GenerationText
    stage: int
    phase: Phase
    done_bytes: int
    total_bytes: int
    since: Date
    needs: bool | None


class HolderPage(Page[Holder]):
    """Boards, by placement and name."""


class EventsAround(Answer):
    """What happened before a moment and from then on, in the order in which it did."""

    at: Date
    events: tuple[EventLine, ...]

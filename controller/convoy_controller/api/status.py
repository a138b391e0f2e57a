"""Routes of the status queries: the fleet at a glance, what is wrong, what changed, how it was over time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from convoy_controller.api.context import Here
from convoy_controller.api.paging import MOST, PageQuery, shortened
from convoy_controller.api.problems import ApiError
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import Digest, GivenDate, Name
from convoy_controller.api.shapes.events import EventLine
from convoy_controller.api.shapes.status import (
    ArtifactSpread,
    Availability,
    BoardSeries,
    Changed,
    DeploymentHops,
    DeploymentSeries,
    EventsAround,
    FleetAvailability,
    Holder,
    HolderPage,
    ProblemLine,
    ProblemPage,
    Spread,
    StateCounts,
    StatePage,
)
from convoy_controller.database import availability, fleet_presence, history, hops, pages, queries, spread, status
from convoy_controller.database.records import CountScope, TokenRole, utc_now
from convoy_controller.database.spans import KEEP_HOURS
from convoy_controller.database.views import CONDITION_RANKS, Condition

router = APIRouter()
VIEWER = TokenRole.VIEWER
#: What a question about a time is about unless it says so.
USUAL_SPAN = timedelta(hours=24)


class SpanError(ApiError):
    """A time that ends before it begins, or is longer than anything is kept."""

    code = "invalid"
    status = 422


class MomentError(ApiError):
    """Neither a moment nor an event was given, or both."""

    code = "invalid"
    status = 422


class SpanQuery(BaseModel):
    """Which time is asked about."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[GivenDate | None, Field(description="From then on; 24 hours before `until` unless given.")] = None
    until: Annotated[GivenDate | None, Field(description="Before then; now unless given.")] = None

    def span(self) -> tuple[datetime, datetime]:
        """From when to when; raises `SpanError`."""
        until = self.until or utc_now()
        since = self.since or until - USUAL_SPAN
        if not since < until <= since + KEEP_HOURS:
            raise SpanError(f"since must be before until, and at most {KEEP_HOURS.days} days: ask about another time")
        return since, until


class StateQuery(PageQuery):
    """Of what boards are counted."""

    by: Annotated[CountScope, Field(description="The fleet as a whole, each site, or each group.")] = CountScope.FLEET


class ProblemQuery(PageQuery):
    """Which boards are listed."""

    condition: Condition | None = None
    group: Annotated[Name | None, Field(description="Boards of that group.")] = None
    site: Annotated[Name | None, Field(description="Boards of the groups at that site.")] = None


class ChangedQuery(BaseModel):
    """Since when: a moment or an event."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[GivenDate | None, Field(description="A moment.")] = None
    event: Annotated[int | None, Field(ge=1, lt=2**63, description="Or the number of an event.")] = None
    limit: Annotated[int, Field(ge=1, le=MOST, description="Items of each list at most.")] = 100


class AroundQuery(BaseModel):
    """Around which moment, and of whom."""

    model_config = ConfigDict(extra="forbid")

    at: GivenDate
    limit: Annotated[int, Field(ge=1, le=MOST, description="Events before, and from then on, at most.")] = 50
    board: Name | None = None
    deployment: Name | None = None


class HolderQuery(PageQuery):
    """Which boards are listed."""

    artifact: Annotated[Digest | None, Field(description="Say of each whether it needs this artifact.")] = None


@router.get("/fleet/states", tags=["fleet"], **needs(VIEWER, "count_states"))
def count_states(here: Here, query: Annotated[StateQuery, Query()]) -> StatePage:
    """How many boards are in which condition: of the fleet, of each site or of each group."""
    after = query.after("states", str)
    beyond = "" if after is None else str(after[0])
    found = status.fleet_by_state(here.database, query.by, query.limit + 1, beyond)
    items, following = shortened("states", query, found, lambda line: (line.name,))
    return StatePage(items=[StateCounts.of(line) for line in items], next=following)


@router.get("/fleet/problems", tags=["fleet"], **needs(VIEWER, "list_problems"))
def list_problems(here: Here, query: Annotated[ProblemQuery, Query()]) -> ProblemPage:
    """Boards that are not what they should be, and why: the worst first, then what is on its way or out of service."""
    key = query.after("problems", int, str)
    after = None if key is None else (int(key[0]), str(key[1]))
    found = status.problems(here.database, query.limit + 1, after, query.condition, query.group, query.site)
    items, following = shortened("problems", query, found, lambda line: (CONDITION_RANKS[line.condition], line.board))
    return ProblemPage(items=[ProblemLine.of(line) for line in items], next=following)


@router.get("/fleet/changed", tags=["fleet"], **needs(VIEWER, "get_changed", 404))
def get_changed(here: Here, query: Annotated[ChangedQuery, Query()]) -> Changed:
    """What is not as it was at a moment, or at an event."""
    if (query.since is None) == (query.event is None):
        raise MomentError("since or event must be given, one of the two: a date, or the number of an event")
    return Changed.of(status.changed_since(here.database, query.since, query.event, query.limit))


@router.get("/fleet/availability", tags=["fleet"], **needs(VIEWER, "get_fleet_availability"))
def get_fleet_availability(here: Here, query: Annotated[SpanQuery, Query()]) -> FleetAvailability:
    """How much of a time the boards were there, all together, hour by hour."""
    return FleetAvailability.of(fleet_presence.fleet_availability(here.database, *query.span(), utc_now()))


@router.get("/boards/{board}/availability", tags=["boards"], **needs(VIEWER, "get_board_availability", 404))
def get_board_availability(here: Here, board: Name, query: Annotated[SpanQuery, Query()]) -> Availability:
    """How much of a time a board was there, and when it was not."""
    return Availability.of(availability.availability(here.database, board, *query.span()))


@router.get("/boards/{board}/history", tags=["boards"], **needs(VIEWER, "get_board_history"))
def get_board_history(here: Here, board: Name, query: Annotated[SpanQuery, Query()]) -> BoardSeries:
    """What a board did and how warm it was; the step is the one that fits the time."""
    return BoardSeries.of(history.board_over_time(here.database, board, *query.span()))


@router.get("/deployments/{deployment}/history", tags=["deployments"], **needs(VIEWER, "get_deployment_history", 404))
def get_deployment_history(here: Here, deployment: Name, query: Annotated[SpanQuery, Query()]) -> DeploymentSeries:
    """Throughput and latency over time, as gateways saw them; the step is the one that fits the time."""
    queries.deployment(here.database, deployment)
    return DeploymentSeries.of(history.deployment_over_time(here.database, deployment, *query.span()))


@router.get("/deployments/{deployment}/hops", tags=["deployments"], **needs(VIEWER, "get_deployment_hops", 404))
def get_deployment_hops(here: Here, deployment: Name) -> DeploymentHops:
    """Every hop over the last minute: how fast, how long a frame is there, and which one holds up the rest."""
    return DeploymentHops.of(hops.deployment_hops(here.database, deployment, utc_now()))


@router.get("/models/{model}/{version}/spread", tags=["models"], **needs(VIEWER, "get_model_spread", 404))
def get_model_spread(here: Here, model: Name, version: Name) -> Spread:
    """How far a model version is on the boards that are to have it."""
    return Spread.of(spread.model_spread(here.database, model, version))


@router.get("/models/{model}/{version}/holders", tags=["models"], **needs(VIEWER, "list_model_holders", 404))
def list_model_holders(here: Here, model: Name, version: Name, query: Annotated[HolderQuery, Query()]) -> HolderPage:
    """The boards that are to have a model version, and how far each is."""
    key = query.after("holders", int, str)
    after = None if key is None else (int(key[0]), str(key[1]))
    found = spread.holders(here.database, model, version, query.limit + 1, after, query.artifact)
    items, following = shortened("holders", query, found, lambda each: (each[0], each[1].board))
    return HolderPage(items=[Holder.of(line) for _, line in items], next=following)


@router.get("/artifacts/{digest}/spread", tags=["artifacts"], **needs(VIEWER, "get_artifact_spread", 404))
def get_artifact_spread(here: Here, digest: Digest) -> ArtifactSpread:
    """How far the model versions that name an artifact are on the boards."""
    return ArtifactSpread.of(spread.artifact_spread(here.database, digest))


@router.get("/events/around", tags=["events"], **needs(VIEWER, "get_events_around"))
def get_events_around(here: Here, query: Annotated[AroundQuery, Query()]) -> EventsAround:
    """What happened just before a moment, and from then on."""
    found = pages.events_around(here.database, query.at, query.limit, query.board, query.deployment)
    return EventsAround(at=query.at, events=tuple(EventLine.of(line) for line in found))

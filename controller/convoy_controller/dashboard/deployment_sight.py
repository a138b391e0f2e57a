"""What the pages of deployments show, each part read in one go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from convoy_controller.database import pages, queries
from convoy_controller.database.activity import feeds
from convoy_controller.database.engine import Database
from convoy_controller.database.history import DeploymentPoint, deployment_over_time
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.pipeline import Pipeline, pipeline
from convoy_controller.database.records import utc_now
from convoy_controller.database.views import DeploymentLine, EventLine, FeedActivity, GenerationLine
from convoy_controller.errors import NotFoundError

EVENTS = 20
GENERATIONS = 10
#: What the charts may span, by the word in the address.
SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=30)}


@dataclass(frozen=True)
class DeploymentSight:
    """A deployment; None: there is none of that name. `pipeline` None: it was not placed yet."""

    line: DeploymentLine | None
    pipeline: Pipeline | None
    feeds: tuple[FeedActivity, ...]


def deployment_sight(database: Database, name: str) -> DeploymentSight:
    """All that is known of it now; may raise `DatabaseError`."""
    try:
        line = queries.deployment(database, name)
    except NotFoundError:
        return DeploymentSight(None, None, ())
    fed = feeds(database, name)
    try:
        return DeploymentSight(line, pipeline(database, name), fed)
    except NotFoundError:
        return DeploymentSight(line, None, fed)


def generations(database: Database, name: str) -> tuple[GenerationLine, ...]:
    """Its newest placements."""
    try:
        return queries.generations(database, name, GENERATIONS)
    except NotFoundError:
        return ()


def over_time(database: Database, name: str, span: str) -> tuple[DeploymentPoint, ...]:
    """What it answered, and how fast, over the last `span`."""
    now = utc_now()
    return deployment_over_time(database, name, now - SPANS[span], now).points


def recent_events(database: Database, name: str) -> tuple[EventLine, ...]:
    """Its newest events, which outlive it."""
    return pages.events(database, EventFilter(deployment=name), EVENTS)

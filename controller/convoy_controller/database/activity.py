"""What the fleet does now, for those who look again and again: every board's and every feed's latest counters.

Two of them make rates. One consistent view, nothing is written; small rows only, so that a thousand boards cost little.
"""

from __future__ import annotations

from convoy_schema.messages.gateways import GatewayReported
from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import BoardStatisticsRow, GatewayRow
from convoy_controller.database.readable import readable
from convoy_controller.database.records import BoardPresence, utc_now
from convoy_controller.database.views import Activity, BoardActivity, FeedActivity


def activity(database: Database) -> Activity:
    """The latest of all. Indexes: the keys of statistics and gateways, whose rows are as many as there are of each."""
    with database.read() as db:
        boards = db.execute(
            select(
                BoardStatisticsRow.board,
                BoardStatisticsRow.session,
                BoardStatisticsRow.at,
                BoardStatisticsRow.frames,
                BoardStatisticsRow.rows,
                BoardStatisticsRow.queued,
                BoardStatisticsRow.refused,
                BoardStatisticsRow.temperature_c,
            ).order_by(BoardStatisticsRow.board)
        )
        found = tuple(BoardActivity(*row) for row in boards)
        fed = _feeds(db)
    return Activity(utc_now(), found, fed)


def feeds(database: Database, deployment: str) -> tuple[FeedActivity, ...]:
    """The latest of one deployment at every gateway that is online, by gateway. Index: the key of gateways."""
    with database.read() as db:
        return tuple(feed for feed in _feeds(db) if feed.deployment == deployment)


def _feeds(db: Session) -> tuple[FeedActivity, ...]:
    gateways = db.scalars(
        select(GatewayRow).where(GatewayRow.presence == BoardPresence.ONLINE).order_by(GatewayRow.name)
    )
    return tuple(feed for row in gateways for feed in _feeds_of(row))


def _feeds_of(row: GatewayRow) -> tuple[FeedActivity, ...]:
    reported = readable(GatewayReported, row.reported)
    return tuple(
        FeedActivity(
            gateway=row.name,
            session=row.session,
            at=row.last_seen,
            deployment=feed.deployment,
            serving=feed.serving,
            in_flight=sum(each.frames for each in feed.in_flight),
            waiting_rows=feed.waiting_rows,
            accepted=feed.accepted,
            answered=feed.answered,
            failed=feed.failed,
            latency_p50_us=feed.latency_p50_us,
            latency_p99_us=feed.latency_p99_us,
        )
        for feed in (reported.feeds if reported is not None else ())
    )

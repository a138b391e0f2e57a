"""How a query over history is narrowed to what a caller asks for, so that an index still carries it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute

from convoy_controller.database.models import AuditRow, EventRow


def narrowed(
    query: Select[Any],
    row: type[AuditRow] | type[EventRow],
    equal: Mapping[InstrumentedAttribute[Any], object],
    since: datetime | None,
    until: datetime | None,
) -> Select[Any]:
    """`query` over `row` where columns have these values (None: any), dated from `since` to before `until`."""
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    # The ends as numbers too, so that a walk along the key begins and stops there. Where a clock was set back, a time
    # that came twice counts from its first row on.
    if since is not None:
        first = select(row.id).where(row.at >= since).order_by(row.at, row.id).limit(1).scalar_subquery()
        query = query.where(row.at >= since, row.id >= first)
    if until is not None:
        query = query.where(row.at < until, row.id <= last_before(row, until).scalar_subquery())
    return query


def last_before(row: type[AuditRow] | type[EventRow], moment: datetime) -> Select[tuple[int]]:
    """The number of the last row that is dated before `moment`: one step along the index of dates."""
    return select(row.id).where(row.at < moment).order_by(row.at.desc(), row.id.desc()).limit(1)

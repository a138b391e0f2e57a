"""The audit, as the guard keeps it: a line before each write, its outcome after, and a line for each refusal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from convoy_schema.errors import ConvoyError
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from convoy_controller.api.access import Caller, peer_of
from convoy_controller.api.problems import status_of
from convoy_controller.api.roles import PREFIX, Rule
from convoy_controller.database import audit
from convoy_controller.database.audit import Attempt, Outcome
from convoy_controller.database.engine import Database
from convoy_controller.database.records import utc_now
from convoy_controller.errors import DatabaseError
from convoy_controller.throttle import Throttle

if TYPE_CHECKING:
    from convoy_controller.api.guard import Call

log = logging.getLogger(__name__)

#: Refusals of one caller that are written down: so many a second, after so many at once. The rest is only logged.
REFUSALS_PER_S, REFUSALS_AT_ONCE = 1.0, 60


class Book:
    """Writes to one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._refusals = Throttle(REFUSALS_AT_ONCE, REFUSALS_PER_S)

    async def begin(self, scope: Scope, call: Call) -> int:
        """A line of what is about to be done; raises `DatabaseError`, and then it must not be."""
        attempt = _attempt(scope, call.caller, call.rule)
        return await run_in_threadpool(audit.begin, self._database, utc_now(), attempt)

    async def finish(self, number: int, status: int, code: str, before: int | None, after: int | None) -> None:
        """The outcome; one that cannot be written stays open."""
        try:
            await run_in_threadpool(audit.finish, self._database, number, Outcome(status, code, before, after))
        except DatabaseError as error:
            log.error("line %d of the audit stays open: %s", number, error)

    async def refused(self, scope: Scope, caller: Caller, rule: Rule, error: ConvoyError) -> None:
        """A line of what was not done."""
        attempt, status = _attempt(scope, caller, rule), status_of(error)
        log.warning("%s of %s by %s was refused: %s", attempt.operation, attempt.subject, caller.name, error)
        if self._refusals.wait_s(caller.name, self._clock()):
            return
        try:
            await run_in_threadpool(audit.record, self._database, utc_now(), attempt, Outcome(status, error.code))
        except DatabaseError as failure:
            log.error("a refusal is not in the audit: %s", failure)


def _attempt(scope: Scope, caller: Caller, rule: Rule) -> Attempt:
    role = "" if caller.role is None else caller.role.value
    subject = scope["path"].removeprefix(PREFIX)
    return Attempt(caller.name, role, peer_of(scope), rule.operation, subject)

"""What the owner wants: deployments asked for, scaled and withdrawn. The controller polls for the change and acts.

Called by the command line and later by the HTTP API; never by the controller itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from convoy_schema import chain
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent
from convoy_schema.names import check_name
from sqlalchemy import select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.expectations import ANYTHING, Change, Expected
from convoy_controller.database.models import BoardRow, DeploymentRow, ModelRow
from convoy_controller.database.placement_records import next_count, save_intent
from convoy_controller.database.publications import bundle_of, find_model, topology_of
from convoy_controller.database.readable import saved_deployment
from convoy_controller.database.records import DeploymentState, utc_now
from convoy_controller.database.symptom_records import forgive_all
from convoy_controller.errors import CatalogueError, NotFoundError

#: Known boards that a refusal lists.
MOST_LISTED = 20


def request_deployment(database: Database, intent: Intent) -> int:
    """As `put_deployment`, whatever is there; returns the intent revision."""
    return put_deployment(database, intent).after


def put_deployment(database: Database, intent: Intent, expected: Expected = ANYTHING) -> Change:
    """Ask for a deployment, or for a change of one.

    Raises `NotFoundError` for an unknown model, version or board, `CatalogueError` when the method cannot run it, and
    what `expected` raises.
    """
    check_name(intent.deployment, "deployment")
    model = find_model(database, intent.model, intent.version)
    shells = {image.shell for image in bundle_of(model).shells}
    if intent.method.shell not in shells:
        raise CatalogueError(
            f"method {intent.method.value} needs shell {intent.method.shell!r}, "
            f"model {intent.model} {intent.version} was published with {', '.join(sorted(shells)) or 'none'}",
            method=intent.method.value,
        )
    reason = chain.refusal(topology_of(model)) if intent.method is Method.STREAM else ""
    if reason:
        raise CatalogueError(
            f"method stream needs the network that shell fixed is built for, {intent.model} {intent.version} is "
            f"another one ({reason}): deploy it by method library or allocate",
            method=intent.method.value,
        )
    with database.write() as db:
        if db.get(ModelRow, (intent.model, intent.version)) is None:
            raise NotFoundError(f"model {intent.model} {intent.version} was removed just now", model=intent.model)
        _check_boards(db, intent.board_names)
        before, was_wanted = _expect(db, intent.deployment, expected)
        return Change(before, _save(db, intent), not was_wanted)


def scale_deployment(
    database: Database,
    name: str,
    boards: tuple[int, tuple[str, ...]] | None,
    replicas: int | None,
    expected: Expected = ANYTHING,
) -> tuple[Intent, bool]:
    """Change on how many `boards` (or on which) and with how many `replicas` a deployment runs; None leaves it.

    Returns what is wanted now, and whether that is anything new. Raises `NotFoundError` for a deployment that nobody
    wants, or an unknown board, and what `expected` raises.
    """
    with database.write() as db:
        _expect(db, name, expected)
        row = db.get(DeploymentRow, name)
        if row is None or not row.wanted:
            raise NotFoundError(f"there is no deployment {name!r} to scale: see `convoy deployments`", deployment=name)
        before = saved_deployment(row).intent
        wanted = before
        if boards is not None:
            _check_boards(db, boards[1])
            wanted = replace(wanted, boards=boards[0], board_names=boards[1])
        if replicas is not None:
            wanted = replace(wanted, replicas=replicas)
        if wanted != before:
            _save(db, wanted)
    return wanted, wanted != before


def _expect(db: Session, name: str, expected: Expected) -> tuple[int | None, bool]:
    """The revision that is there, and whether it is wanted; it is as expected."""
    row = db.get(DeploymentRow, name)
    revision, is_wanted = (None, False) if row is None else (row.intent_revision, row.wanted)
    expected.check(f"deployment {name}", revision, is_wanted)
    return revision, is_wanted


def _save(db: Session, intent: Intent) -> int:
    row = db.get(DeploymentRow, intent.deployment)
    # One that serves goes on while its change is prepared; one that failed is to be tried again.
    goes_on = row is not None and row.wanted and row.state is not DeploymentState.FAILED
    state = row.state if row is not None and goes_on else DeploymentState.PENDING
    forgive_all(db, utc_now(), intent.deployment)  # as the controller does: boards that it left out are tried anew
    return save_intent(db, utc_now(), intent, state)


def _check_boards(db: Session, names: Sequence[str]) -> None:
    """Raises `NotFoundError` for one that was never seen; one that is only away is waited for."""
    if not names:
        return
    known = list(db.scalars(select(BoardRow.name).order_by(BoardRow.name)))
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
        there = ", ".join(known[:MOST_LISTED]) or "none"
        raise NotFoundError(f"there is no board {name!r}: {hint}known boards: {there}{more}", board=name)


def adopt_deployment(database: Database, intent: Intent) -> None:
    """Take an intent from the fleet that runs it, where the database lost it or has an older one."""
    with database.write() as db:
        row = db.get(DeploymentRow, intent.deployment)
        if row is None or not row.wanted or saved_deployment(row).intent != intent:
            save_intent(db, utc_now(), intent, DeploymentState.SERVING)


def withdraw_deployment(database: Database, name: str, expected: Expected = ANYTHING) -> int:
    """Ask for a deployment to end; returns the intent revision. Raises `NotFoundError`, and what `expected` raises."""
    with database.write() as db:
        _expect(db, name, expected)
        row = db.get(DeploymentRow, name)
        if row is None or not row.wanted:
            raise NotFoundError(f"there is no deployment {name!r} to end: see `convoy deployments`", deployment=name)
        row.wanted = False
        row.state = DeploymentState.REMOVING
        row.changed_at = utc_now()
        row.intent_revision = next_count(db, "intent")
        return row.intent_revision

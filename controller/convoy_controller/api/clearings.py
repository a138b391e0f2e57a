"""Routes of clearings: what nobody refers to any more, cleared by the controller in charge, or only looked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from convoy_controller.api.context import Here
from convoy_controller.api.roles import PREFIX, needs
from convoy_controller.api.shapes.clearings import Clearing, GivenClearing
from convoy_controller.database import removals
from convoy_controller.database.records import TokenRole

router = APIRouter(prefix="/clearings", tags=["clearings"])


def _shown(here: Here, number: int) -> Clearing:
    found = removals.collection(here.database, number)
    return Clearing(
        number=found.number,
        dry_run=found.dry_run,
        orphans=found.orphans,
        done_at=found.done_at,
        findings=list(found.findings),
    )


@router.post("", status_code=202, **needs(TokenRole.ADMIN, "ask_clearing", writes=True))
def ask_clearing(here: Here, body: GivenClearing, response: Response) -> Clearing:
    """Ask the controller in charge to clear, or to say what it would; Location names where its findings will be."""
    number = removals.request_collection(here.database, dry_run=body.dry_run, orphans=body.orphans)
    response.headers["Location"] = f"{PREFIX}/clearings/{number}"
    return _shown(here, number)


@router.get("/{clearing}", **needs(TokenRole.VIEWER, "get_clearing", 404))
def get_clearing(here: Here, clearing: Annotated[int, Path(ge=0, lt=2**63)]) -> Clearing:
    """One of the last hundred: `done_at` is null until it is done."""
    return _shown(here, clearing)

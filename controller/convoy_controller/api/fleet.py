"""The route about the fleet as a whole."""

from __future__ import annotations

from fastapi import APIRouter

from convoy_controller.api.context import Calling, Here
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.activity import Activity
from convoy_controller.api.shapes.fleet import About, Counters
from convoy_controller.api.version import version
from convoy_controller.database import pages
from convoy_controller.database.activity import activity
from convoy_controller.database.records import TokenRole

router = APIRouter(tags=["fleet"])


@router.get("/about", **needs(TokenRole.VIEWER, "about"))
def about(here: Here, call: Calling) -> About:
    """What answers here, and as whom it takes the caller."""
    instance, counters = pages.identity(here.database)
    assert call.caller.role is not None, "the guard lets nobody through without a role"
    return About(
        version=version(),
        instance=instance,
        counters=Counters.of(counters),
        caller=call.caller.name,
        role=call.caller.role,
    )


@router.get("/activity", **needs(TokenRole.VIEWER, "get_activity"))
def get_activity(here: Here) -> Activity:
    """Every board's and every feed's latest counters, in one small answer: two of them make rates."""
    return Activity.of(activity(here.database))

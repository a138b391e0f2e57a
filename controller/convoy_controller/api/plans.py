"""The route that says how a model would be placed. It changes nothing, and is no write."""

from __future__ import annotations

import threading

from convoy_schema import codec
from convoy_schema.bundle import Method
from convoy_schema.topology import Topology
from fastapi import APIRouter

from convoy_controller.api.context import Here
from convoy_controller.api.limits import TooManyError
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.plans import GivenPlan, Plan
from convoy_controller.cli.plan import plain_plan
from convoy_controller.cli.plan_boards import FLEET, boards_for
from convoy_controller.database.publications import find_model
from convoy_controller.database.records import TokenRole
from convoy_controller.planner import may_share
from convoy_controller.planning.costing import HOP_S, instance_of
from convoy_controller.planning.instance import Wish
from convoy_controller.planning.solver import notes, one_more, solve

router = APIRouter(prefix="/plan", tags=["plan"])

#: Plans made at once by one process: a large one keeps a core busy for a second.
_ROOM = threading.BoundedSemaphore(2)


@router.post("", **needs(TokenRole.VIEWER, "what_if", 404, 413, 415))
def what_if(here: Here, body: GivenPlan) -> Plan:
    """Say how a model would be cut over boards: stages, bottleneck, proven bound, and what one more board would buy."""
    if not _ROOM.acquire(blocking=False):
        raise TooManyError("two plans are being made already: come back in a second")
    try:
        return _planned(here, body)
    finally:
        _ROOM.release()


def _planned(here: Here, body: GivenPlan) -> Plan:
    saved = find_model(here.database, body.model, body.version)
    if body.profile is None:
        there = boards_for(here.database, FLEET if body.measured else None, "", body.method, True)
    else:
        count, name = str(body.profile.count), body.profile.name
        there = boards_for(here.database, count, name, body.method, body.profile.processor)
    topology = codec.unpack(Topology, saved.announcement.topology)
    whole = body.method is Method.STREAM  # a shell with the whole network: boards can only be replicas
    hop_s = HOP_S if there.hop_s is None else there.hop_s
    instance = instance_of(topology, there.models(body.method), body.batch, cuts=not whole, hop_s=hop_s)
    may = whole or may_share(body.cut, body.replicas)
    wish = Wish(body.objective, may, body.replicas, spare=body.spare, exactly=body.exactly)
    solution = solve(instance, wish)
    found = plain_plan(solution, topology, one_more(instance, wish, solution), notes(instance, wish, solution))
    for stage in found["stages"]:
        stage["figures"] = there.figures(stage["boards"])
    facts = {"model": saved.name, "version": saved.version, "method": body.method, "cut": body.cut}
    return Plan.model_validate(facts | {"boards_there": instance.boards} | found | there.plain())

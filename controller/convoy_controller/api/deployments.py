"""Routes of deployments: what is wanted, what serves it, and who runs which layers."""

from __future__ import annotations

from typing import Annotated

from convoy_schema.messages.desired import Intent
from convoy_schema.names import Generation
from fastapi import APIRouter, Query, Response
from pydantic import Field

from convoy_controller.api.context import Calling, Here
from convoy_controller.api.paging import PageQuery, shortened
from convoy_controller.api.preconditions import IfMatch, IfNoneMatch, etag, expected
from convoy_controller.api.problems import ApiError
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import GENERATION, Name
from convoy_controller.api.shapes.deployments import (
    DeploymentLine,
    DeploymentPage,
    GenerationLine,
    GenerationPage,
    GivenDeployment,
    GivenScale,
    PlanView,
)
from convoy_controller.database import groups, intents, queries
from convoy_controller.database.publications import find_model
from convoy_controller.database.records import DeploymentState, TokenRole

router = APIRouter(prefix="/deployments", tags=["deployments"])
VIEWER, OPERATOR = TokenRole.VIEWER, TokenRole.OPERATOR
GivenGeneration = Annotated[str, Field(pattern=GENERATION, examples=["1-17"])]


class DeploymentQuery(PageQuery):
    """Which deployments are listed."""

    state: DeploymentState | None = None
    model: Name | None = None
    removed: Annotated[bool, Field(description="Those that ended as well.")] = False


@router.get("", **needs(VIEWER, "list_deployments"))
def list_deployments(here: Here, query: Annotated[DeploymentQuery, Query()]) -> DeploymentPage:
    """Every deployment, by name."""
    after = query.after("deployments", str)
    beyond = "" if after is None else str(after[0])
    found = queries.deployments(here.database, query.removed, query.state, query.model, query.limit + 1, beyond)
    items, following = shortened("deployments", query, found, lambda line: (line.deployment,))
    return DeploymentPage(items=[DeploymentLine.of(line) for line in items], next=following)


@router.get("/{deployment}", **needs(VIEWER, "get_deployment", 404))
def get_deployment(here: Here, deployment: Name, response: Response) -> DeploymentLine:
    """One deployment, ended or not; its ETag names what is wanted, not how far it is."""
    return _shown(here, deployment, response)


def _shown(here: Here, deployment: str, response: Response) -> DeploymentLine:
    found = queries.deployment(here.database, deployment)
    response.headers["ETag"] = etag(found.intent_revision)
    return DeploymentLine.of(found)


@router.put(
    "/{deployment}",
    **needs(
        OPERATOR,
        "put_deployment",
        400,
        404,
        412,
        428,
        writes=True,
        answer={201: ("It was not there, and is wanted now.", DeploymentLine)},
    ),
)
def put_deployment(
    here: Here,
    call: Calling,
    deployment: Name,
    body: GivenDeployment,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> DeploymentLine:
    """Ask for a model to be served, or for what serves to change; a running controller acts within a second.

    To replace what is wanted, If-Match must name the revision that was seen (428 without, 412 for another).
    """
    condition = expected(if_match, if_none_match, must_say=True)
    boards, names = _boards(here, body.boards, body.board_names, body.group)
    chosen = find_model(here.database, body.model, body.version)
    intent = Intent(
        deployment,
        body.model,
        chosen.version,
        body.method,
        boards,
        body.objective,
        body.cut,
        body.batch,
        names,
        body.replicas,
        body.spare,
    )
    change = intents.put_deployment(here.database, intent, condition)
    call.trail.before, call.trail.after = change.before, change.after
    response.status_code = 201 if change.created else 200
    return _shown(here, deployment, response)


@router.patch("/{deployment}", **needs(OPERATOR, "scale_deployment", 404, 412, 428, writes=True))
def scale_deployment(
    here: Here, call: Calling, deployment: Name, body: GivenScale, response: Response, if_match: IfMatch = None
) -> DeploymentLine:
    """Run it on more or fewer boards, or on others; all else stays, and no request is lost."""
    condition = expected(if_match, must_say=True)
    given = None
    if body.board_names is not None or body.boards is not None or body.group is not None:
        given = _boards(here, body.boards or 0, body.board_names or (), body.group)
    call.trail.before = queries.deployment(here.database, deployment).intent_revision
    intents.scale_deployment(here.database, deployment, given, body.replicas, condition)
    line = _shown(here, deployment, response)
    call.trail.after = line.intent_revision
    return line


@router.delete("/{deployment}", status_code=202, **needs(OPERATOR, "withdraw_deployment", 404, 412, writes=True))
def withdraw_deployment(
    here: Here, call: Calling, deployment: Name, response: Response, if_match: IfMatch = None
) -> DeploymentLine:
    """Ask for it to end; what is in flight is finished first. If-Match may be left out: the end is the same."""
    call.trail.before = queries.deployment(here.database, deployment).intent_revision
    call.trail.after = intents.withdraw_deployment(here.database, deployment, expected(if_match))
    return _shown(here, deployment, response)


class NamedTwiceError(ApiError):
    """Boards and a group were named, or a group without boards."""

    code = "invalid"
    status = 422


def _boards(here: Here, count: int, names: tuple[str, ...], group: str | None) -> tuple[int, tuple[str, ...]]:
    """How many boards and which: named ones are counted, and a group means its boards."""
    if group is not None:
        if names:
            raise NamedTwiceError("board_names and group were given: say which boards by one of them")
        names = groups.group(here.database, group).boards
        if not names:
            raise NamedTwiceError(f"group {group} has no boards: put some into it, or name others")
    distinct = tuple(dict.fromkeys(names))
    return (len(distinct) if distinct else count), distinct


@router.get("/{deployment}/generations", **needs(VIEWER, "list_generations", 404))
def list_generations(here: Here, deployment: Name, query: Annotated[PageQuery, Query()]) -> GenerationPage:
    """Its placements, the newest first."""
    key = query.after("generations", int, int)
    before = None if key is None else Generation(int(key[0]), int(key[1]))
    found = queries.generations(here.database, deployment, query.limit + 1, before)
    items, following = shortened(
        "generations", query, found, lambda line: (line.generation.epoch, line.generation.counter)
    )
    return GenerationPage(items=[GenerationLine.of(line) for line in items], next=following)


@router.get("/{deployment}/plan", **needs(VIEWER, "get_deployment_plan", 404))
def get_deployment_plan(here: Here, deployment: Name) -> PlanView:
    """Who runs which layers: of the generation that serves, else of the newest."""
    return PlanView.of(queries.plan(here.database, deployment))


@router.get("/{deployment}/generations/{generation}", **needs(VIEWER, "get_generation", 404))
def get_generation(here: Here, deployment: Name, generation: GivenGeneration) -> PlanView:
    """Who runs, or ran, which layers in that generation."""
    return PlanView.of(queries.plan(here.database, deployment, Generation.parse(generation)))

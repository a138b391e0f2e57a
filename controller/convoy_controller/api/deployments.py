"""Routes of deployments: what is wanted, what serves it, and who runs which layers."""

from __future__ import annotations

from typing import Annotated

from convoy_schema.names import Generation
from fastapi import APIRouter, Query, Response
from pydantic import Field

from convoy_controller.api.context import Here
from convoy_controller.api.paging import PageQuery, cut, shortened
from convoy_controller.api.preconditions import etag
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import GENERATION, Name
from convoy_controller.api.shapes.deployments import (
    DeploymentLine,
    DeploymentPage,
    GenerationLine,
    GenerationPage,
    PlanView,
)
from convoy_controller.database import pages, queries
from convoy_controller.database.records import DeploymentState, TokenRole

router = APIRouter(prefix="/deployments", tags=["deployments"])
VIEWER = TokenRole.VIEWER
GivenGeneration = Annotated[str, Field(pattern=GENERATION, examples=["1-17"])]


class DeploymentQuery(PageQuery):
    """Which deployments are listed."""

    state: DeploymentState | None = None
    model: Name | None = None
    removed: Annotated[bool, Field(description="Those that ended as well.")] = False


@router.get("", **needs(VIEWER, "list_deployments", 400))
def list_deployments(here: Here, query: Annotated[DeploymentQuery, Query()]) -> DeploymentPage:
    """Every deployment, by name."""
    found = [
        line
        for line in queries.deployments(here.database, query.removed)
        if query.state in (None, line.state) and query.model in (None, line.model)
    ]
    items, following = cut("deployments", query, found, lambda line: (line.deployment,), (str,))
    return DeploymentPage(items=[DeploymentLine.of(line) for line in items], next=following)


@router.get("/{deployment}", **needs(VIEWER, "get_deployment", 404))
def get_deployment(here: Here, deployment: Name, response: Response) -> DeploymentLine:
    """One deployment, ended or not; its ETag names what is wanted, not how far it is."""
    found = queries.deployment(here.database, deployment)
    response.headers["ETag"] = etag(found.intent_revision)
    return DeploymentLine.of(found)


@router.get("/{deployment}/generations", **needs(VIEWER, "list_generations", 400, 404))
def list_generations(here: Here, deployment: Name, query: Annotated[PageQuery, Query()]) -> GenerationPage:
    """Its placements, the newest first."""
    key = query.after("generations", int, int)
    before = None if key is None else Generation(int(key[0]), int(key[1]))
    found = pages.generations(here.database, deployment, query.limit + 1, before)
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

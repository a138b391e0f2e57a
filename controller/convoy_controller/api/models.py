"""Routes of models and artifacts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from convoy_controller.api.context import Here
from convoy_controller.api.paging import PageQuery, cut, shortened
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import Digest, Name
from convoy_controller.api.shapes.models import (
    ArtifactDetail,
    ArtifactLine,
    ArtifactPage,
    ModelLine,
    ModelPage,
    RemovedModel,
)
from convoy_controller.database import pages, queries, removals
from convoy_controller.database.records import ArtifactKind, TokenRole
from convoy_controller.errors import NotFoundError

router = APIRouter()
VIEWER, ADMIN = TokenRole.VIEWER, TokenRole.ADMIN


class ModelQuery(PageQuery):
    """Which model versions are listed."""

    model: Annotated[Name | None, Field(description="Versions of that model.")] = None


class ArtifactQuery(PageQuery):
    """Which artifacts are listed."""

    kind: ArtifactKind | None = None


@router.get("/models", tags=["models"], **needs(VIEWER, "list_models"))
def list_models(here: Here, query: Annotated[ModelQuery, Query()]) -> ModelPage:
    """Every model version that can be deployed, by name, the newest first."""
    found = [line for line in queries.models(here.database) if query.model in (None, line.model)]
    items, following = cut("models", query, found, lambda line: (line.model, -line.serial), (str, int))
    return ModelPage(items=[ModelLine.of(line) for line in items], next=following)


@router.get("/models/{model}/{version}", tags=["models"], **needs(VIEWER, "get_model", 404))
def get_model(here: Here, model: Name, version: Name) -> ModelLine:
    """One version of a model."""
    for line in queries.models(here.database):
        if (line.model, line.version) == (model, version):
            return ModelLine.of(line)
    raise NotFoundError(f"there is no model {model!r} version {version!r}: see `convoy models`", model=model)


@router.delete("/models/{model}/{version}", tags=["models"], **needs(ADMIN, "remove_model", 404, 409, writes=True))
def remove_model(here: Here, model: Name, version: Name) -> RemovedModel:
    """Take a version out of the catalogue; a running controller clears what is left of it."""
    removed = removals.remove_model(here.database, model, version)
    return RemovedModel(
        model=removed.name, version=removed.version, digest=removed.digest, artifacts=len(removed.artifacts)
    )


@router.get("/artifacts", tags=["artifacts"], **needs(VIEWER, "list_artifacts"))
def list_artifacts(here: Here, query: Annotated[ArtifactQuery, Query()]) -> ArtifactPage:
    """Every blob of the catalogue, by digest."""
    key = query.after("artifacts", str)
    found = pages.artifacts(here.database, query.kind, query.limit + 1, None if key is None else str(key[0]))
    items, following = shortened("artifacts", query, found, lambda line: (line.digest,))
    return ArtifactPage(items=[ArtifactLine.of(line) for line in items], next=following)


@router.get("/artifacts/{digest}", tags=["artifacts"], **needs(VIEWER, "get_artifact", 404))
def get_artifact(here: Here, digest: Digest) -> ArtifactDetail:
    """One blob, and the model versions that need it."""
    return ArtifactDetail.of(pages.artifact(here.database, digest))

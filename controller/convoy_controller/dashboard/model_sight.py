"""What the pages of models show, each part read in one go."""

from __future__ import annotations

from dataclasses import dataclass

from convoy_schema.bundle import Bundle
from convoy_schema.errors import ConvoyError
from convoy_schema.trust import Trust

from convoy_controller.database import pages, publications, queries
from convoy_controller.database.engine import Database
from convoy_controller.database.views import ArtifactLine, DeploymentLine, ModelLine, ReplicaLine
from convoy_controller.errors import NotFoundError
from convoy_controller.home import Home
from convoy_controller.keys import load_trust

#: Artifacts that one page lists.
ARTIFACTS = 200


@dataclass(frozen=True)
class ModelSight:
    """A version, the deployments that want or hold it, and the lowest serial that may run (0: none is set)."""

    line: ModelLine
    deployments: tuple[DeploymentLine, ...]
    floor: int

    @property
    def is_revoked(self) -> bool:
        """Whether boards refuse it."""
        return self.line.serial < self.floor


@dataclass(frozen=True)
class VersionSight:
    """A version with its images, and every board that is to hold it, with the deployment and its stage."""

    model: ModelSight
    bundle: Bundle
    holders: tuple[tuple[str, int, ReplicaLine], ...]


def models(database: Database, home: Home) -> tuple[ModelSight, ...]:
    """Every version, the newest of each name first; may raise `DatabaseError`."""
    trust, deployed = _trust(home), queries.deployments(database)
    return tuple(_sight(line, deployed, trust) for line in queries.models(database))


def version(database: Database, home: Home, model: str, number: str) -> VersionSight | None:
    """One of them; None: there is none."""
    found = next(
        (each for each in models(database, home) if (each.line.model, each.line.version) == (model, number)), None
    )
    if found is None:
        return None
    bundle = publications.bundle_of(publications.find_model(database, model, number))
    return VersionSight(found, bundle, tuple(_holders(database, found.deployments)))


def artifacts(database: Database) -> tuple[ArtifactLine, ...]:
    """The first of them by digest, one more than a page shows, so that it is known whether there are others."""
    return pages.artifacts(database, None, ARTIFACTS + 1)


def _sight(line: ModelLine, deployed: tuple[DeploymentLine, ...], trust: Trust | None) -> ModelSight:
    users = tuple(each for each in deployed if (each.model, each.version) == (line.model, line.version))
    return ModelSight(line, users, 0 if trust is None else trust.lowest(line.model))


def _trust(home: Home) -> Trust | None:
    """What is believed of floors; None where the keys are not on this machine."""
    if not home.keys.is_dir():
        return None
    try:
        return load_trust(home.keys)
    except (ConvoyError, OSError):
        return None


def _holders(database: Database, users: tuple[DeploymentLine, ...]) -> list[tuple[str, int, ReplicaLine]]:
    found: list[tuple[str, int, ReplicaLine]] = []
    for line in users:
        try:
            plan = queries.plan(database, line.deployment)
        except NotFoundError:
            continue
        if plan.state.is_live:
            found += [(line.deployment, stage.stage, each) for stage in plan.stages for each in stage.replicas]
    return found

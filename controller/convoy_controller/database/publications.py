"""Models and artifacts as rows. Called by the catalogue, which keeps the contents in its blob store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from convoy_schema import codec
from convoy_schema.bundle import Bundle, ModelAnnouncement
from convoy_schema.topology import Topology
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.models import ArtifactReferenceRow, ArtifactRow, ModelRow, RemovalRow
from convoy_controller.database.records import ArtifactRecord, SavedModel, utc_now
from convoy_controller.database.restart import saved_model
from convoy_controller.errors import CatalogueError, NotFoundError


def save_artifacts(database: Database, artifacts: Iterable[ArtifactRecord]) -> None:
    """Rows for artifacts whose content is already in the blob store; one that is known stays as it is."""
    with database.write() as db:
        _save_artifacts(db, utc_now(), artifacts)


def _save_artifacts(db: Session, now: datetime, artifacts: Iterable[ArtifactRecord]) -> None:
    for item in artifacts:
        if db.get(ArtifactRow, item.digest) is None:
            db.add(
                ArtifactRow(
                    digest=item.digest,
                    size=item.size,
                    packed_size=item.packed_size,
                    kind=item.kind,
                    manifest=item.manifest,
                    created_at=now,
                )
            )
            db.flush()


def save_model(database: Database, model: SavedModel, artifacts: Iterable[ArtifactRecord]) -> None:
    """A model version with all that it names, in one transaction; raises `CatalogueError` when the version is taken."""
    records = tuple(artifacts)
    with database.write() as db:
        now = utc_now()
        if db.get(ModelRow, (model.name, model.version)) is not None:
            raise CatalogueError(
                f"model {model.name} has a version {model.version} already: choose another --version",
                model=model.name,
                version=model.version,
            )
        _save_artifacts(db, now, records)
        db.add(
            ModelRow(
                name=model.name,
                version=model.version,
                serial=model.serial,
                digest=model.digest,
                announcement=codec.encode(model.announcement),
                imported_at=now,
            )
        )
        db.flush()
        db.add_all(ArtifactReferenceRow(bundle=model.digest, artifact=item.digest) for item in records)


def sign_models_again(
    database: Database, sign: Callable[[SavedModel], ModelAnnouncement | None]
) -> tuple[tuple[SavedModel, ...], tuple[SavedModel, ...]]:
    """Replace every announcement by what `sign` makes of it, all or none; returns what was signed, and what was not.

    `sign` returns None for one that it will not sign; digests must stay as they are.
    """
    done, left_out = [], []
    with database.write() as db:
        for row in db.scalars(select(ModelRow).order_by(ModelRow.name, ModelRow.serial)):
            model = saved_model(row)
            announcement = sign(model)
            if announcement is None or announcement.digest != model.digest:
                left_out.append(model)
                continue
            row.announcement = codec.encode(announcement)
            done.append(model)
    return tuple(done), tuple(left_out)


def drop_artifacts(database: Database, digests: Collection[str]) -> frozenset[str]:
    """Drop the rows of those that no published model names; returns them, with those that have no row."""
    with database.write() as db:
        named = select(ArtifactReferenceRow.artifact).where(ArtifactReferenceRow.artifact.in_(digests))
        unnamed = frozenset(digests) - set(db.scalars(named))
        db.execute(delete(ArtifactRow).where(ArtifactRow.digest.in_(unnamed)))
        return unnamed


def next_serial(database: Database, model: str) -> int:
    """The serial for a model's next version: one above every earlier one, removed ones included."""
    with database.read() as db:
        published = db.scalar(select(func.max(ModelRow.serial)).where(ModelRow.name == model)) or 0
        removed = db.scalar(select(func.max(RemovalRow.serial)).where(RemovalRow.name == model)) or 0
        return max(published, removed) + 1


def find_model(database: Database, name: str, version: str | None = None) -> SavedModel:
    """That version of a model, or its newest; raises `NotFoundError` naming what there is."""
    with database.read() as db:
        rows = db.scalars(select(ModelRow).where(ModelRow.name == name).order_by(ModelRow.serial.desc())).all()
        for row in rows:
            if version in (None, row.version):
                return saved_model(row)
        if rows:
            known = ", ".join(row.version for row in rows)
            raise NotFoundError(f"model {name!r} has no version {version!r}; there is {known}", model=name)
        names = ", ".join(db.scalars(select(ModelRow.name).distinct().order_by(ModelRow.name).limit(20)))
    hint = f"there is {names}" if names else "there is none yet: convoy model import FILE.onnx --calibration FILE.npz"
    raise NotFoundError(f"there is no model {name!r}; {hint}", model=name)


def topology_of(model: SavedModel) -> Topology:
    """The topology inside a saved announcement."""
    return codec.unpack(Topology, model.announcement.topology)


def bundle_of(model: SavedModel) -> Bundle:
    """The bundle inside a saved announcement (ours, so its signature is not checked again)."""
    return codec.unpack(Bundle, model.announcement.bundle)

"""Bodies about models and artifacts."""

from __future__ import annotations

from pydantic import Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date
from convoy_controller.database.records import ArtifactKind


class ModelLine(Answer):
    """A published model version; `methods` are those it can be deployed by, `bytes` what its artifacts unpack to."""

    model: str
    version: str
    serial: int
    digest: str
    methods: tuple[str, ...]
    layers: int
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    artifacts: int
    bytes: int
    packed_bytes: int
    imported_at: Date


class ModelPage(Page[ModelLine]):
    """Model versions, by name, the newest of each first."""


class RemovedModel(Answer):
    """A version that was taken out of the catalogue; `artifacts` are those that it named."""

    model: str
    version: str
    digest: str
    artifacts: int


class ArtifactLine(Answer):
    """A blob of the store, named by the SHA-256 of its content."""

    digest: str
    kind: ArtifactKind
    size: int = Field(description="Bytes.")
    packed_size: int = Field(description="Bytes as they travel.")
    created_at: Date


class ArtifactPage(Page[ArtifactLine]):
    """Artifacts, by digest."""


class ArtifactDetail(ArtifactLine):
    """An artifact, and the model versions that need it."""

    models: tuple[str, ...] = Field(description="NAME:VERSION of each.")

"""An imported model into the catalogue: signed by this fleet's key, with the images that it may run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import convoy_bitstreams
from convoy_schema.bundle import InputSpec

from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database import publications
from convoy_controller.database.engine import Database
from convoy_controller.home import Home
from convoy_controller.importer import ImportedModel
from convoy_controller.keys import load_trust, usable_signing_key


@dataclass(frozen=True)
class Agreed:
    """How far an import is from onnxruntime over `rows` samples: parts of the elements, and steps of int8 at most.

    `layers` is the worst layer's part, fed with onnxruntime's own integers; `output` and `plain_output` are end to end
    against onnxruntime optimised and not, `onnxruntime` is the one of those against the other.
    """

    rows: int
    layers: float
    layer_steps: int
    output: float
    output_steps: int
    plain_output: float
    plain_output_steps: int
    onnxruntime: float
    onnxruntime_steps: int


@dataclass(frozen=True)
class Published:
    """What came of an import; `parameters` in bytes, `artifacts` counts those of the bundle."""

    model: str
    version: str
    serial: int
    digest: str
    layers: int
    parameters: int
    artifacts: int
    agreement: Agreed
    notes: tuple[str, ...]


def publish(
    database: Database,
    home: Home,
    imported: ImportedModel,
    name: str,
    version: str,
    pixels: tuple[float, float],
    class_names: tuple[str, ...],
    progress: Callable[[int, int], None],
) -> Published:
    """Store and sign `imported` as `name` and `version`; a pixel times `pixels[0]` plus `pixels[1]` is its input.

    `progress` is told how many artifacts of how many are stored. Raises `CatalogueError`, `KeyFileError`, `BlobError`.
    """
    topology = imported.topology
    spec = InputSpec(topology.input, imported.layout, *pixels)
    images, key = convoy_bitstreams.catalogue_with(home.bitstreams), usable_signing_key(home.keys)
    floor = load_trust(home.keys).lowest(name)
    announcement = Catalogue(database, BlobStore(home.blobs)).publish_model(
        imported, name, version, spec, class_names, images, key, progress, floor
    )
    saved = publications.find_model(database, name, version)
    found = imported.agreement
    return Published(
        name,
        version,
        saved.serial,
        announcement.digest,
        len(topology.layers),
        sum(len(content) for content in imported.parameters.values()),
        len(publications.bundle_of(saved).artifacts(topology)),
        Agreed(
            found.rows,
            max(each.share for each in found.layers.values()),
            max(each.steps for each in found.layers.values()),
            found.output.share,
            found.output.steps,
            found.plain_output.share,
            found.plain_output.steps,
            found.onnxruntime.share,
            found.onnxruntime.steps,
        ),
        imported.notes,
    )

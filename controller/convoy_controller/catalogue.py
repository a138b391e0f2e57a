"""Models and the artifacts they are made of: contents in the blob store, rows in the database, bundles signed.

A version is published as a whole: every content is safe in the blob store before the one transaction that makes the
version known. Called by the command line (to publish) and by the controller (manifests and blocks to send). Quantises
nothing (`importing`) and sends nothing (`distributor`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from convoy_bitstreams import Catalogue as Images
from convoy_schema import codec
from convoy_schema.artifacts import Manifest
from convoy_schema.bundle import (
    Bundle,
    GoldenTensor,
    InputSpec,
    ModelAnnouncement,
    ModuleImage,
    ShellImage,
    VerifiedModel,
    announce,
)
from convoy_schema.ending import Ending
from convoy_schema.errors import IntegrityError
from convoy_schema.names import check_name, digest_of
from convoy_schema.signing import SigningKey
from convoy_schema.topology import Topology

from convoy_controller.blobs import BlobStore
from convoy_controller.database import publications
from convoy_controller.database.engine import Database
from convoy_controller.database.records import ArtifactKind, ArtifactRecord, SavedModel
from convoy_controller.errors import CatalogueError, NotFoundError

#: Told of each artifact as it is stored: how many are done, and of how many.
Progress = Callable[[int, int], None]


class ModelContents(Protocol):
    """What an import hands over. `parameters` is content by digest, `golden` raw int8 rows by tensor."""

    @property
    def topology(self) -> Topology:
        """The network."""
        ...

    @property
    def parameters(self) -> Mapping[str, bytes]:
        """Each layer's parameters, by digest."""
        ...

    @property
    def golden(self) -> Mapping[str, bytes]:
        """Exact values of every tensor over `golden_rows` samples."""
        ...

    @property
    def golden_rows(self) -> int:
        """Samples in each golden tensor."""
        ...

    @property
    def ending(self) -> Ending:
        """What the gateway computes from the network's output."""
        ...


class Catalogue:
    """The published models of one fleet. Raises `CatalogueError`, `BlobError`, `DatabaseError` and `NotFoundError`."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def add_artifact(self, content: bytes, kind: ArtifactKind) -> Manifest:
        """Store `content` for good, then make it known; repeating it is harmless."""
        with self._blobs.publishing():
            record = self._store(content, kind)
            publications.save_artifacts(self._database, [record])
        return self._blobs.manifest(record.digest)

    def manifest(self, digest: str) -> Manifest:
        """How an artifact is packed and cut."""
        return self._blobs.manifest(digest)

    def read_block(self, digest: str, block: int) -> bytes:
        """One block as it is sent, checked against its hash."""
        return self._blobs.read_block(digest, block)

    def manifests(self, model: SavedModel) -> tuple[Manifest, ...]:
        """Manifests of everything a board may need for that version, by digest."""
        topology = codec.unpack(Topology, model.announcement.topology)
        needed = publications.bundle_of(model).artifacts(topology)
        return tuple(self._blobs.manifest(digest) for digest in sorted(needed))

    def publish_model(
        self,
        imported: ModelContents,
        name: str,
        version: str,
        input_spec: InputSpec,
        class_names: Sequence[str],
        images: Images,
        key: SigningKey,
        progress: Progress = lambda done, total: None,
        floor: int = 0,
    ) -> ModelAnnouncement:
        """Store, sign and make known one version of a model; returns what is announced to the fleet.

        Its serial is at least `floor`. Publishing the very same version again changes nothing; another content under a
        taken version is refused.
        """
        check_name(name, "model")
        check_name(version, "version")
        _check(imported)
        existing = self._existing(name, version)
        serial = existing.serial if existing else max(floor, publications.next_serial(self._database, name))
        shells, modules = _images_for(imported.topology, images)
        bundle = Bundle(
            model=name,
            version=version,
            serial=serial,
            topology=digest_of(codec.pack(imported.topology)),
            golden=tuple(GoldenTensor(tensor, digest_of(rows)) for tensor, rows in sorted(imported.golden.items())),
            golden_rows=imported.golden_rows,
            shells=shells,
            modules=modules,
            input=input_spec,
            output=imported.topology.output,
            class_names=tuple(class_names),
            ending=imported.ending,
        )
        probe = (imported.golden[imported.topology.input], imported.golden[imported.topology.output])
        announcement = announce(bundle, imported.topology, key, probe)
        if existing is not None and _says_the_same(existing.announcement, announcement):
            announcement = existing.announcement
        codec.encode(announcement)  # too large to announce is refused before anything is stored
        if existing is not None and existing.digest != announcement.digest:
            raise CatalogueError(
                f"model {name} has a version {version} already, with other content: choose another --version",
                model=name,
                version=version,
            )
        with self._blobs.publishing():
            records = self._store_all(imported, bundle, images, progress)
            if existing is None:
                saved = SavedModel(name, version, serial, announcement.digest, announcement)
                publications.save_model(self._database, saved, records)
        return announcement

    def sizes(self, digests: Iterable[str] | None = None) -> dict[str, int]:
        """Bytes on disk of those of `digests` that are there, or of everything that is stored."""
        wanted = self._blobs.digests() if digests is None else digests
        found = {digest: self._blobs.size(digest) for digest in wanted}
        return {digest: size for digest, size in found.items() if size}

    def discard(self, digests: Collection[str]) -> frozenset[str]:
        """Delete artifacts that no published model names; returns which. None are while a model is being published."""
        with self._blobs.clearing() as is_free:
            if not is_free or not digests:
                return frozenset()
            unnamed = publications.drop_artifacts(self._database, digests)
            for digest in unnamed:
                self._blobs.delete(digest)
            return unnamed

    def restore_model(self, model: VerifiedModel, announcement: ModelAnnouncement) -> bool:
        """Make a model known again that the database lost, from its announcement and the blob store.

        Returns False when it is known. Raises `BlobError` when an artifact of it is not in the store.
        """
        bundle = model.bundle
        if self._existing(bundle.model, bundle.version) is not None:
            return False
        kinds = dict.fromkeys(model.bundle.artifacts(model.topology), ArtifactKind.PARAMETERS)
        kinds |= {golden.digest: ArtifactKind.GOLDEN for golden in bundle.golden}
        kinds |= {shell.digest: ArtifactKind.SHELL for shell in bundle.shells}
        kinds |= {module.digest: ArtifactKind.MODULE for module in bundle.modules}
        records = []
        for digest, kind in kinds.items():
            manifest = self._blobs.manifest(digest)
            records.append(ArtifactRecord(digest, manifest.size, manifest.packed_size, kind, codec.encode(manifest)))
        saved = SavedModel(bundle.model, bundle.version, bundle.serial, model.digest, announcement)
        publications.save_model(self._database, saved, records)
        return True

    def _existing(self, name: str, version: str) -> SavedModel | None:
        try:
            return publications.find_model(self._database, name, version)
        except NotFoundError:
            return None

    def _store(self, content: bytes, kind: ArtifactKind) -> ArtifactRecord:
        manifest = self._blobs.put(content)
        return ArtifactRecord(manifest.digest, manifest.size, manifest.packed_size, kind, codec.encode(manifest))

    def _store_all(
        self, imported: ModelContents, bundle: Bundle, images: Images, progress: Progress
    ) -> tuple[ArtifactRecord, ...]:
        contents: dict[str, tuple[ArtifactKind, Callable[[], bytes]]] = {}
        for layer in imported.topology.layers:
            if layer.parameters is not None:
                contents[layer.parameters] = ArtifactKind.PARAMETERS, _deferred(imported.parameters, layer.parameters)
        for golden in bundle.golden:
            contents[golden.digest] = ArtifactKind.GOLDEN, _deferred(imported.golden, golden.tensor)
        for shell in bundle.shells:
            contents[shell.digest] = ArtifactKind.SHELL, _image(images, shell.digest)
        for module in bundle.modules:
            contents[module.digest] = ArtifactKind.MODULE, _image(images, module.digest)
        records: dict[str, ArtifactRecord] = {}
        for done, (digest, (kind, content)) in enumerate(contents.items()):
            progress(done, len(contents))
            record = self._store(content(), kind)
            if record.digest != digest:
                raise IntegrityError(
                    f"an artifact of kind {kind.value} should have digest {digest[:12]}, it has {record.digest[:12]}",
                    digest=digest,
                )
            records[digest] = record
        progress(len(contents), len(contents))
        return tuple(records.values())


def _deferred(contents: Mapping[str, bytes], name: str) -> Callable[[], bytes]:
    return lambda: contents[name]


def _image(images: Images, digest: str) -> Callable[[], bytes]:
    return lambda: images.read(digest)


def _says_the_same(before: ModelAnnouncement, after: ModelAnnouncement) -> bool:
    """Whether they differ by who signed, or by fields alone that were not there yet when the first was signed."""
    first, second = (codec.unpack(Bundle, each.bundle) for each in (before, after))
    rest = [replace(each, bundle=b"", signature=b"", delegation=None) for each in (before, after)]
    return first == second and rest[0] == rest[1]


def _check(imported: ModelContents) -> None:
    """Whether what was imported fits together: parameters for every layer, golden rows for every tensor."""
    topology = imported.topology
    topology.check()
    for layer in topology.layers:
        if layer.parameters is not None and layer.parameters not in imported.parameters:
            raise CatalogueError(f"layer {layer.name} names parameters {layer.parameters[:12]} that did not come along")
    for tensor in topology.tensors:
        rows = imported.golden.get(tensor.name)
        expected = imported.golden_rows * tensor.size
        if rows is None or len(rows) != expected:
            came = "none" if rows is None else f"{len(rows)}"
            raise CatalogueError(
                f"golden values of tensor {tensor.name!r} must take {expected} bytes for {imported.golden_rows} rows, "
                f"{came} came"
            )


def _images_for(topology: Topology, images: Images) -> tuple[tuple[ShellImage, ...], tuple[ModuleImage, ...]]:
    """Every shell, and the modules of every kind the network needs, for whichever partition and part."""
    kinds = {layer.kind for layer in topology.layers}
    modules = tuple(image for image in images.modules if image.kind in kinds)
    if not images.shells:
        raise CatalogueError("the catalogue of bitstreams holds no shell: see bitstreams/README.md")
    return tuple(images.shells), modules

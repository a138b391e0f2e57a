"""The catalogue of bitstreams that ships with Convoy: floorplans, shells, and modules for each of their partitions.

Images lie gzip-ed beside a TOML manifest each, under `images/`; bitstreams/README.md says how to add real ones. Content
is checked against its digest whenever it is read. The controller publishes from here, a fabric takes its floorplans.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoy_schema import floorplan
from convoy_schema.artifacts import MAX_ARTIFACT
from convoy_schema.bundle import ModuleImage, ShellImage
from convoy_schema.errors import BitstreamError, TomlError, shown
from convoy_schema.floorplan import Floorplan
from convoy_schema.names import NAME_PATTERN, digest_of
from convoy_schema.toml import parse_toml
from convoy_schema.topology import Kind

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["Catalogue", "Stored", "add_image", "catalogue", "catalogue_with", "floorplans"]

_PATTERNS = {"digest": r"[0-9a-f]{64}", "shell": NAME_PATTERN, "part": r"[ -~]{1,40}", "partition": NAME_PATTERN}


@dataclass(frozen=True)
class Stored:
    """Where an image's packed bytes are, and how many bytes it unpacks to."""

    file: Traversable
    size: int


@dataclass(frozen=True)
class Catalogue:
    """Every image that is there, as a bundle names it."""

    shells: tuple[ShellImage, ...]
    modules: tuple[ModuleImage, ...]
    floorplans: Mapping[str, Floorplan]
    _stored: Mapping[str, Stored] = field(repr=False)

    def read(self, digest: str) -> bytes:
        """The image of that digest; raises `BitstreamError` if it is not here, or not what its manifest says."""
        if digest not in self._stored:
            raise BitstreamError(f"the catalogue has no image {digest[:12]}", digest=digest)
        stored = self._stored[digest]
        unpacker = zlib.decompressobj(wbits=31)
        try:
            image = unpacker.decompress(stored.file.read_bytes(), stored.size + 1)
        except (OSError, zlib.error) as error:
            raise BitstreamError(f"{stored.file} cannot be read: {error}", digest=digest) from error
        if len(image) != stored.size or digest_of(image) != digest:
            raise BitstreamError(
                f"{stored.file} should unpack to {stored.size} bytes of digest {digest[:12]}, it does not: "
                "restore it, or make its manifest anew",
                digest=digest,
            )
        return image

    def size(self, digest: str) -> int:
        """Bytes of the image of that digest, from its manifest."""
        if digest not in self._stored:
            raise BitstreamError(f"the catalogue has no image {digest[:12]}", digest=digest)
        return self._stored[digest].size

    def shell(self, shell: str, part: str) -> ShellImage:
        """The image of a shell for a part; `BitstreamError` if there is none."""
        for image in self.shells:
            if (image.shell, image.part) == (shell, part):
                return image
        raise BitstreamError(f"the catalogue has no shell {shell!r} for part {part!r}", shell=shell, part=part)

    def module(self, shell: str, part: str, partition: str, kind: Kind) -> ModuleImage:
        """The image of a module for one partition; `BitstreamError` if there is none."""
        for image in self.modules:
            if (image.shell, image.part, image.partition, image.kind) == (shell, part, partition, kind):
                return image
        raise BitstreamError(
            f"the catalogue has no {kind.value} for partition {partition!r} of shell {shell!r} and part {part!r}",
            partition=partition,
            kind=kind.value,
        )


@lru_cache(maxsize=1)
def floorplans() -> Mapping[str, Floorplan]:
    """The floorplan of each shell, by its name."""
    folder = resources.files(__name__) / "floorplans"
    plans = [floorplan.parse(file.read_text(encoding="utf-8")) for file in _files(folder, ".toml")]
    return {plan.shell: plan for plan in plans}


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The catalogue that is installed with this package; only manifests are read."""
    return open_catalogue(resources.files(__name__) / "images")


def catalogue_with(folder: Path) -> Catalogue:
    """The installed catalogue with the images below `folder`, in its place where both have one for the same place."""
    ours = catalogue()
    if not folder.is_dir():
        return ours
    own = open_catalogue(folder)
    shells = {(image.shell, image.part): image for image in (*ours.shells, *own.shells)}
    modules = {(image.shell, image.part, image.partition, image.kind): image for image in (*ours.modules, *own.modules)}
    stored = {**ours._stored, **own._stored}
    return Catalogue(tuple(shells.values()), tuple(modules.values()), ours.floorplans, stored)


def add_image(folder: Path, entry: ShellImage | ModuleImage, image: bytes) -> Path:
    """Put an image and its manifest below `folder`, in place of what was there for that place; returns the manifest.

    Whether the image may be loaded there is the caller's to know. Raises `BitstreamError` if it cannot be written.
    """
    place = Path(entry.part, entry.shell)
    facts = {"digest": entry.digest, "shell": entry.shell, "part": entry.part}
    if isinstance(entry, ModuleImage):
        place = place / entry.partition / entry.kind.value
        facts |= {"partition": entry.partition, "kind": entry.kind.value}
    lines = [*(f'{key} = "{value}"' for key, value in facts.items()), f"size = {len(image)}", ""]
    manifest = folder / f"{place}.toml"
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        # A manifest of the image before must not be found beside the new one.
        manifest.unlink(missing_ok=True)
        _replace(folder / f"{place}.bit.gz", gzip.compress(image, 9, mtime=0))
        _replace(manifest, "\n".join(lines).encode())
    except OSError as error:
        raise BitstreamError(f"{manifest} cannot be written: {error}") from error
    return manifest


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def open_catalogue(folder: Traversable) -> Catalogue:
    """The catalogue of the images below `folder`; raises `BitstreamError` that names a wrong manifest."""
    shells: list[ShellImage] = []
    modules: list[ModuleImage] = []
    stored: dict[str, Stored] = {}
    for folder_of, file in _walk(folder):
        manifest = _Manifest(file)
        image = manifest.image()
        if image.digest in stored:
            raise BitstreamError(f"{file}: image {image.digest[:12]} is in the catalogue twice", digest=image.digest)
        stored[image.digest] = Stored(folder_of / (file.name[: -len(".toml")] + ".bit.gz"), manifest.size())
        if isinstance(image, ModuleImage):
            modules.append(image)
        else:
            shells.append(image)
    return Catalogue(tuple(shells), tuple(modules), floorplans(), stored)


class _Manifest:
    """One manifest file."""

    def __init__(self, file: Traversable) -> None:
        self._file = file
        try:
            self._body: dict[str, Any] = parse_toml(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TomlError) as error:
            raise BitstreamError(f"{file} is not a TOML manifest: {error}") from error

    def image(self) -> ShellImage | ModuleImage:
        shell, part, digest = self._text("shell"), self._text("part"), self._text("digest")
        if "partition" not in self._body and "kind" not in self._body:
            return ShellImage(shell, part, digest)
        try:
            kind = Kind(self._body.get("kind"))
        except ValueError as error:
            known = ", ".join(kind.value for kind in Kind)
            raise BitstreamError(f"{self._file}: kind must be one of {known}") from error
        return ModuleImage(shell, part, self._text("partition"), kind, digest)

    def size(self) -> int:
        size = self._body.get("size")
        if type(size) is not int or not 1 <= size <= MAX_ARTIFACT:
            raise BitstreamError(f"{self._file}: size must be 1 to {MAX_ARTIFACT} bytes, {shown(size)} came")
        return size

    def _text(self, key: str) -> str:
        value = self._body.get(key)
        if not isinstance(value, str) or not re.fullmatch(_PATTERNS[key], value):
            raise BitstreamError(f"{self._file}: {key} must be text of the form {_PATTERNS[key]}, {shown(value)} came")
        return value


def _walk(folder: Traversable) -> Iterator[tuple[Traversable, Traversable]]:
    """(folder, manifest) of every manifest below `folder`, in the order of their names."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.name.endswith(".toml"):
            yield folder, entry


def _files(folder: Traversable, suffix: str) -> list[Traversable]:
    found = [entry for entry in folder.iterdir() if entry.name.endswith(suffix)]
    return sorted(found, key=lambda entry: entry.name)

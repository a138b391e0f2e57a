"""The catalogue is complete, small, what generate.py makes, and refuses what is not what its manifest says."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from convoy_bitstreams import catalogue, floorplans, open_catalogue
from convoy_schema.bitstream import EMULATED_XC7Z020, extract, read
from convoy_schema.bundle import ModuleImage, ShellImage
from convoy_schema.errors import BitstreamError
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind

BITSTREAMS = Path(__file__).resolve().parents[2] / "bitstreams"
IMAGES = BITSTREAMS / "convoy_bitstreams" / "images"
PART = EMULATED_XC7Z020.name


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convoy_generate_images", BITSTREAMS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def test_every_shell_and_every_module_is_there() -> None:
    found = catalogue()
    plans = floorplans()
    assert {(image.shell, image.part) for image in found.shells} == {(shell, PART) for shell in plans}
    expected = {("partitions", PART, p.name, kind) for p in plans["partitions"].partitions for kind in Kind}
    assert {(m.shell, m.part, m.partition, m.kind) for m in found.modules} == expected
    digests = [image.digest for image in found.shells] + [image.digest for image in found.modules]
    assert len(set(digests)) == len(digests) == 27
    assert found.floorplans == plans


def test_what_is_committed_is_what_generate_makes(generate: ModuleType) -> None:
    made = {image.path: image for image in generate.make_all()}
    assert {str(path.relative_to(IMAGES))[: -len(".toml")] for path in IMAGES.rglob("*.toml")} == set(made)
    assert len(list(IMAGES.rglob("*.bit.gz"))) == len(made)
    for path, image in made.items():
        assert (IMAGES / f"{path}.toml").read_text(encoding="utf-8") == image.manifest
        packed = (IMAGES / f"{path}.bit.gz").read_bytes()
        # The image bit for bit; how tightly it is packed may differ from one zlib to the next.
        assert gzip.decompress(packed) == image.image
        assert packed[3:8] == bytes(5), "no file name and no date in the gzip header"
        assert gzip.decompress(image.packed) == image.image


def test_the_images_are_as_large_as_real_ones_and_pack_small() -> None:
    found = catalogue()
    for shell in found.shells:
        bitstream = read(found.read(shell.digest))
        assert bitstream.words.nbytes == 4_045_564
        assert len(zlib.compress(found.read(shell.digest), 9)) < 100_000
    sizes = {p: found.size(found.module("partitions", PART, p, Kind.CONV2D).digest) for p in ("west", "centre", "east")}
    # 404 bytes x (2 x frames + reset masks + 2 x runs), the formula that real files obey, to less than 0.7 kB
    assert abs(sizes["west"] - 404 * (2 * 1088 + 228 + 2 * 4)) < 750
    assert abs(sizes["centre"] - 404 * (2 * 1424 + 228 + 2 * 3)) < 750
    assert sum(path.stat().st_size for path in IMAGES.rglob("*") if path.is_file()) < 500_000


def test_every_image_is_whole_and_says_what_its_manifest_says() -> None:
    found = catalogue()
    geometry = EMULATED_XC7Z020.geometry
    images: list[ShellImage | ModuleImage] = [*found.shells, *found.modules]
    for image in images:
        plan = found.floorplans[image.shell]
        bitstream = read(found.read(image.digest))
        bitstream.check_crc()
        assert bitstream.part == image.part
        assert bitstream.stray_words == 0
        memory = np.zeros((geometry.memory_frames, 101), dtype=np.uint32)
        for burst in bitstream.bursts:
            landing = geometry.landing(burst.far, len(burst.frames))
            real = (landing >= 0) & (landing < geometry.memory_frames)
            memory[landing[real]] = burst.frames[real]
        region = plan.regions[image.partition] if isinstance(image, ModuleImage) else plan.static
        descriptor = extract(memory[region])
        assert descriptor is not None
        assert descriptor.shell == image.shell
        if isinstance(image, ModuleImage):
            assert descriptor.partition == image.partition
            assert [kernel.kind for kernel in descriptor.kernels] == [image.kind]
            memory[plan.regions[image.partition]] = 0
            assert not memory.any(), "a module sets nothing outside its partition"
        else:
            assert descriptor.partition == ""
            assert descriptor.kernels == plan.fixed_kernels


def test_lookups_name_what_is_missing() -> None:
    found = catalogue()
    assert isinstance(found.shell("layers", PART), ShellImage)
    with pytest.raises(BitstreamError, match="no shell 'nothing'"):
        found.shell("nothing", PART)
    with pytest.raises(BitstreamError, match="no conv2d for partition 'north'"):
        found.module("partitions", PART, "north", Kind.CONV2D)
    with pytest.raises(BitstreamError, match="no image 0000"):
        found.read("0" * 64)
    with pytest.raises(BitstreamError, match="no image 0000"):
        found.size("0" * 64)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A catalogue of one shell that may be damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for suffix in (".toml", ".bit.gz"):
        shutil.copy(IMAGES / PART / f"layers{suffix}", folder)
    return folder


def test_a_damaged_image_is_not_given_out(copied: Path) -> None:
    packed = copied / "layers.bit.gz"
    image = bytearray(gzip.decompress(packed.read_bytes()))
    digest = digest_of(bytes(image))
    assert open_catalogue(copied).read(digest) == bytes(image)
    image[1000] ^= 1
    packed.write_bytes(gzip.compress(bytes(image)))
    with pytest.raises(BitstreamError, match="should unpack to"):
        open_catalogue(copied).read(digest)
    packed.write_bytes(gzip.compress(bytes(image) + b"x"))
    with pytest.raises(BitstreamError, match="should unpack to"):
        open_catalogue(copied).read(digest)
    packed.write_bytes(b"no gzip")
    with pytest.raises(BitstreamError, match="cannot be read"):
        open_catalogue(copied).read(digest)
    packed.unlink()
    with pytest.raises(BitstreamError, match="cannot be read"):
        open_catalogue(copied).read(digest)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('digest = "', 'digest = "g', "digest must be"),
        ('shell = "layers"', 'shell = "La yers"', "shell must be"),
        ("shell = ", "shall = ", "shell must be"),
        ("size = ", "size = -", "size must be"),
        ("size = ", "size = 99999999", "size must be"),
        ("size", 'kind = "conv2d"\nsize', "partition must be"),
        ("size", 'kind = "convolve"\npartition = "west"\nsize', "kind must be one of"),
        ("size", 'partition = "west"\nsize', "kind must be one of"),
        ("digest", "=", "not a TOML manifest"),
        ("digest", "a = " + "[" * 2000 + "\ndigest", "not a TOML manifest"),
    ],
)
def test_a_wrong_manifest_is_named(copied: Path, before: str, after: str, reason: str) -> None:
    manifest = copied / "layers.toml"
    text = manifest.read_text(encoding="utf-8")
    assert before in text
    manifest.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(BitstreamError, match=reason) as caught:
        open_catalogue(copied)
    assert "layers.toml" in str(caught.value)


def test_one_image_under_two_names_is_refused(copied: Path) -> None:
    for suffix in (".toml", ".bit.gz"):
        shutil.copy(copied / f"layers{suffix}", copied / f"copy{suffix}")
    with pytest.raises(BitstreamError, match="twice"):
        open_catalogue(copied)

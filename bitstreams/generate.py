"""Makes the emulated images of the catalogue: `python bitstreams/generate.py [--out FOLDER]`.

One full image a shell and one partial image for each module and partition, for the emulated part, from the floorplans.
The same floorplans always give the same images; a test compares them with those that are committed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from convoy_bitstreams import floorplans
from convoy_schema.bitstream import (
    EMULATED_XC7Z020,
    FRAME_WORDS,
    Block,
    Descriptor,
    Frames,
    Indices,
    Part,
    embed,
    write_full,
    write_partial,
)
from convoy_schema.bitstream.frames import CLOCK_WORD
from convoy_schema.floorplan import Floorplan
from convoy_schema.limits import KernelLimits
from convoy_schema.names import digest_of

PART = EMULATED_XC7Z020
IMAGES = Path(__file__).parent / "convoy_bitstreams" / "images"


@dataclass(frozen=True)
class Made:
    """An image, where it goes below the folder of images (without suffix), and what its manifest says."""

    path: str
    image: bytes
    facts: dict[str, str]

    @property
    def manifest(self) -> str:
        """The TOML beside it."""
        values = {"digest": digest_of(self.image), **self.facts}
        lines = [f'{key} = "{value}"' for key, value in values.items()]
        return "\n".join([*lines, f"size = {len(self.image)}", ""])

    @property
    def packed(self) -> bytes:
        """The image, gzip-ed without a date."""
        return gzip.compress(self.image, 9, mtime=0)


def make_all() -> Iterator[Made]:
    """Every image, shells first."""
    for plan in floorplans().values():
        yield make_shell(plan)
    for plan in floorplans().values():
        for partition in plan.partitions:
            for kernel in plan.kernels:
                yield make_module(plan, partition.name, kernel)


def make_shell(plan: Floorplan) -> Made:
    """The full image of a shell; its partitions are blank."""
    name = f"convoy_{plan.shell}"
    frames = np.zeros((PART.geometry.memory_frames, FRAME_WORDS), dtype=np.uint32)
    static = embed(Descriptor(plan.shell, "", plan.fixed_kernels), _marked(PART, plan.static, name))
    frames[plan.static] = static
    facts = {"shell": plan.shell, "part": PART.name}
    return Made(f"{PART.name}/{plan.shell}", write_full(PART, name, frames), facts)


def make_module(plan: Floorplan, partition: str, kernel: KernelLimits) -> Made:
    """The partial image of a module for one partition."""
    kind = kernel.kind.value
    name = f"convoy_{plan.shell}_{partition}_{kind}"
    region = plan.regions[partition]
    frames = embed(Descriptor(plan.shell, partition, (kernel,)), _marked(PART, region, name))
    facts = {"shell": plan.shell, "part": PART.name, "partition": partition, "kind": kind}
    image = write_partial(PART, name, region, frames)
    return Made(f"{PART.name}/{plan.shell}/{partition}/{kind}", image, facts)


def _marked(part: Part, region: Indices, name: str) -> Frames:
    """Frames that differ from every other image's: a pattern of its own in the first frame of each logic column."""
    raw = hashlib.shake_256(name.encode()).digest(4 * FRAME_WORDS)
    pattern = np.frombuffer(raw, dtype=">u4").astype(np.uint32)
    pattern[CLOCK_WORD] = 0
    frames = np.zeros((len(region), FRAME_WORDS), dtype=np.uint32)
    for position, number in enumerate(region.tolist()):
        address = part.geometry.address(number)
        if address.block == Block.LOGIC and address.minor == 0:
            frames[position] = pattern
    return frames


def main() -> None:
    """Write every image and its manifest, and say how large they are."""
    parser = argparse.ArgumentParser(description="Make the emulated images of the bitstream catalogue.")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder to write to (default: %(default)s)")
    out: Path = parser.parse_args().out
    total = 0
    for made in make_all():
        target = out / f"{made.path}.toml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(made.manifest, encoding="utf-8")
        packed = made.packed
        target.with_suffix(".bit.gz").write_bytes(packed)
        total += len(packed)
        wire = len(zlib.compress(made.image, 9))
        print(f"{made.path:55} {len(made.image):>9,} bytes, {wire:>7,} on the wire")
    print(f"{total:,} bytes packed in all")


if __name__ == "__main__":
    main()

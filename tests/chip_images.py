"""Images for the real part with the structure that Vivado gives them, and frames that say what they are.

They are for the register model of a chip, which reads them; on a chip they would configure nothing that works.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from convoy_bitstreams import Catalogue, floorplans, open_catalogue
from convoy_schema.bitstream import XC7Z020, Descriptor, embed, write_full, write_partial
from convoy_schema.limits import KernelLimits
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind

FRAMES = XC7Z020.geometry.memory_frames


@cache
def module_image(partition: str, kind: Kind, shell: str = "partitions") -> bytes:
    """A partial image for the real part whose frames say what it is."""
    region = floorplans()[shell].regions[partition]
    frames = embed(
        Descriptor(shell, partition, (KernelLimits(kind, 8, 8, 8),)), np.zeros((len(region), 101), np.uint32)
    )
    return write_partial(XC7Z020, f"convoy_{shell}", region, frames)


@cache
def shell_image(shell: str = "partitions") -> bytes:
    """A full image for the real part, of a shell whose partitions are blank."""
    plan = floorplans()[shell]
    frames = np.zeros((FRAMES, 101), np.uint32)
    frames[plan.static] = embed(Descriptor(shell, "", plan.fixed_kernels), frames[plan.static])
    return write_full(XC7Z020, f"convoy_{shell}_wrapper", frames)


def catalogue_in(folder: Path, modules: Iterable[tuple[str, Kind]], shells: Iterable[str]) -> Catalogue:
    """A catalogue for the real part, of those modules (partition, kind) and shells, written below `folder`."""
    for shell in shells:
        _put(folder / shell, shell_image(shell), {"shell": shell})
    for partition, kind in modules:
        says = {"shell": "partitions", "partition": partition, "kind": kind.value}
        _put(folder / partition / kind.value, module_image(partition, kind), says)
    return open_catalogue(folder)


def _put(file: Path, image: bytes, says: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    manifest = {"digest": digest_of(image), **says, "part": XC7Z020.name}
    lines = [f'{key} = "{value}"\n' for key, value in manifest.items()]
    file.with_suffix(".toml").write_text("".join(lines) + f"size = {len(image)}\n")
    file.with_suffix(".bit.gz").write_bytes(gzip.compress(image, 1))

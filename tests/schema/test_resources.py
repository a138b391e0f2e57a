"""DSPs and block RAM by counting, and whether every module fits the smallest partition."""

from __future__ import annotations

import pytest
from convoy_schema.resources import Memory, chain, module, weighted
from convoy_schema.tiles import CONV2D
from convoy_schema.topology import Kind

#: What west, the smallest partition, has.
DSPS, BRAM36, SLICES = 40, 20, 2_000


@pytest.mark.parametrize(
    ("memory", "ramb18"),
    [
        (Memory(64, 4096), 16),
        (Memory(64, 512), 2),
        (Memory(62, 512), 2),
        (Memory(32, 512, 4), 4),
        (Memory(32, 4096), 8),
        (Memory(64, 1500, 4), 24),
        (Memory(8, 2048, 8), 8),
        (Memory(64, 64), 0),
        (Memory(64, 64, bound=True), 2),
        (Memory(32, 512, bound=False), 0),
    ],
)
def test_block_ram_of_a_memory(memory: Memory, ramb18: int) -> None:
    taken = memory.resources
    assert taken.ramb18 == ramb18
    assert (taken.luts > 0) == (ramb18 == 0)


def test_dsps_follow_from_pe_and_simd() -> None:
    assert weighted(Kind.CONV2D, CONV2D).dsps == 4 * 8 + 2


@pytest.mark.parametrize("kind", list(Kind))
def test_every_module_fits_every_partition(kind: Kind) -> None:
    taken = module(kind)
    assert taken.dsps <= DSPS
    assert taken.bram36 <= BRAM36
    assert taken.luts <= 0.9 * 4 * SLICES  # beyond that Vivado seldom routes a region
    assert taken.flip_flops <= 8 * SLICES


def test_all_modules_fit_the_part_at_once() -> None:
    together = [module(kind) for kind in Kind]
    assert sum(taken.dsps for taken in together) <= 220
    assert sum(taken.bram36 for taken in together) <= 140
    assert sum(taken.luts for taken in together) <= 53_200


def test_the_chain_fits_the_part() -> None:
    assert (chain().dsps, chain().bram36) == (166, 29)

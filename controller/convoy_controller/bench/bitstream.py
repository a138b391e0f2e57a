"""The check of a partial image as a board makes it before a load, beside SHA-256 over the same bytes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from convoy_schema.bitstream import FRAME_WORDS, XC7Z020, Region, check_partial, write_partial
from convoy_schema.floorplan import Area, PartitionPlan, frames_of

from convoy_controller.bench.figures import Paired, Result

#: Four logic columns and one of block RAM, three clock regions tall: 738 kB, the largest of the known real partials.
AREAS = tuple(Area(f"X1Y{y}", ((34, 37),), ((3, 3),)) for y in range(3))
ROUNDS = 21
REPEATS = 10
BAR = 10.0
PEER = "SHA-256 of it"


def run(broker: str) -> Result:
    """Milliseconds of the structure check, as a ratio to the hash's; no broker is needed."""
    frames = frames_of(XC7Z020.geometry, PartitionPlan("bench", AREAS))
    content = np.random.default_rng(1).integers(0, 2**32, (frames.size, FRAME_WORDS), dtype=np.uint32)
    image = write_partial(XC7Z020, "bench", frames, content)

    def check() -> None:
        # A region of its own each time: what a first check costs, not a later one.
        report = check_partial(image, Region(XC7Z020, "bench", frames), with_crc=False)
        assert report.is_accepted, report.findings

    def check_with_crc() -> None:
        assert check_partial(image, Region(XC7Z020, "bench", frames)).is_crc_checked

    rounds = Paired([], [])
    for _ in range(ROUNDS):
        rounds.add(_milliseconds(check), _milliseconds(lambda: hashlib.sha256(image).digest()))
    figure = rounds.figure(f"structure of {len(image) // 1000} kB", "ms", BAR, at_least=False, peer_name=PEER)
    with_crc = median(_milliseconds(check_with_crc) for _ in range(3))
    return Result("bitstream", (figure,), {"bytes": len(image), "with_crc_ms": round(with_crc, 2), "rounds": ROUNDS})


def _milliseconds(work: Callable[[], object]) -> float:
    """Of one `work`, over a few of them."""
    begun = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return (time.perf_counter() - begun) / REPEATS * 1000

"""The memory that this process holds, against what it has just taken."""

from __future__ import annotations

import mmap

from convoy_schema.resident import resident_bytes


def test_it_grows_with_what_is_used() -> None:
    before = resident_bytes()
    assert before > 1_000_000
    # From the kernel itself: an allocator may have kept as much from earlier.
    with mmap.mmap(-1, 64_000_000) as taken:
        taken.write(b"\x01" * 64_000_000)
        assert 50_000_000 < resident_bytes() - before < 200_000_000
    assert resident_bytes() - before < 50_000_000 + 64_000_000

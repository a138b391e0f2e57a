"""Memory that DMA reaches: allocated once, reused by name, and given back in the reverse order.

Contiguous memory is scarce and fragments, so no buffer is freed for another to grow: then all are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from convoy_device.errors import FabricError
from convoy_device.fabric.pynq.chip import Chip, Memory

#: Bytes of all buffers, at most: Linux keeps 128 MiB apart, and other programs may hold some of it.
MOST_BYTES = 96 * 1024 * 1024
_PAGE = 4096
#: XRT gives no less, and the package unmaps no more than it was asked for.
_LEAST = 8192
#: Pages up to which a buffer's size is doubled when it is short; beyond, it grows by as many.
_DOUBLED = 256


@dataclass(frozen=True)
class Buffer:
    """Memory of `capacity` bytes; `is_fresh` until it is asked for again: nobody has written to it yet."""

    memory: Memory
    capacity: int
    is_fresh: bool


class Buffers:
    """Named buffers of one chip, which must have been configured before the first is asked for."""

    def __init__(self, chip: Chip, most_bytes: int = MOST_BYTES) -> None:
        self._chip = chip
        self._most_bytes = most_bytes
        self._held: dict[Hashable, Buffer] = {}

    def reserve(self, wanted: Iterable[tuple[Hashable, int]]) -> list[Buffer]:
        """A buffer for each (name, bytes), all valid until the next call; raises `FabricError` when memory is short.

        Those that are not fresh still hold what was written to them under that name.
        """
        sizes = dict(wanted)
        needed = sum(map(_capacity, sizes.values()))
        if needed > self._most_bytes:
            raise FabricError(f"{needed} bytes of buffers are needed at once, {self._most_bytes} are to be had")
        if not self._fit(sizes):
            self.free()
        return [self._take(name, size) for name, size in sizes.items()]

    def _fit(self, sizes: dict[Hashable, int]) -> bool:
        short = any(name in self._held and self._held[name].capacity < size for name, size in sizes.items())
        more = sum(_capacity(size) for name, size in sizes.items() if name not in self._held)
        return not short and self.held_bytes + more <= self._most_bytes

    def _take(self, name: Hashable, size: int) -> Buffer:
        found = self._held.get(name)
        if found is None:
            capacity = _capacity(size)
            memory = self._chip.allocate(capacity)
            self._held[name] = Buffer(memory, capacity, False)
            return Buffer(memory, capacity, True)
        return found

    @property
    def held_bytes(self) -> int:
        """Bytes of everything that is allocated."""
        return sum(buffer.capacity for buffer in self._held.values())

    def free(self) -> None:
        """Give all back, the youngest first; DMA must stand still."""
        while self._held:
            _, buffer = self._held.popitem()
            buffer.memory.free()


def _capacity(size: int) -> int:
    """Whole pages with some room, so that batches that slowly grow do not have everything allocated anew each time."""
    pages = -(-max(size, _LEAST) // _PAGE)
    if pages <= _DOUBLED:
        return int(_PAGE * (1 << (pages - 1).bit_length()))
    return int(_PAGE * _DOUBLED * -(-pages // _DOUBLED))

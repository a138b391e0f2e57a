"""Where frames lie: frame addresses (FAR), and the geometry of a part's configuration memory as data.

A frame is the smallest thing that can be written: 101 words, 50 CLBs tall. Frames are numbered in the order in which
the device counts its address up, without the pads: all logic rows, all block-RAM contents, then the reset masks.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from convoy_schema.errors import BitstreamError

#: Words of a frame, and its bytes.
FRAME_WORDS = 101
FRAME_BYTES = 4 * FRAME_WORDS
#: The word of a frame that belongs to the clock row.
CLOCK_WORD = 50
#: That word of a reset mask whose column keeps its state; a column that is reset has a mask of zeros.
KEEPS_STATE = 0xE00009BC

Frames = NDArray[np.uint32]
Indices = NDArray[np.int32]


class Block(enum.IntEnum):
    """The block type of a frame address."""

    LOGIC = 0
    MEMORY = 1
    RESET = 2


@dataclass(frozen=True, order=True)
class FrameAddress:
    """A FAR taken apart. `half` is 0 above the centre and 1 below; rows count away from the centre."""

    block: int
    half: int
    row: int
    column: int
    minor: int

    @staticmethod
    def decode(word: int) -> FrameAddress:
        """Fields of the register's 26 bits."""
        return FrameAddress(word >> 23 & 7, word >> 22 & 1, word >> 17 & 31, word >> 7 & 1023, word & 127)

    def encode(self) -> int:
        """The register's value."""
        return self.block << 23 | self.half << 22 | self.row << 17 | self.column << 7 | self.minor

    def __str__(self) -> str:
        half = "bottom" if self.half else "top"
        return f"block {self.block} {half} row {self.row} column {self.column} minor {self.minor}"


@dataclass(frozen=True)
class ColumnSpan:
    """Columns `first` to `last`, both included, of one row of clock regions."""

    half: int
    row: int
    first: int
    last: int


@dataclass(frozen=True)
class Geometry:
    """A part's configuration memory: minors of each column (the same in every row), and which columns are special.

    `rows` are (half, row) in the order of the address counter. `clock_rows` are the same by the Y of the clock region.
    `divide` is the first (logic, memory) column of the clock regions X1. `reserved` columns hold no fabric (processor,
    configuration logic): no partition may claim them, and every reset mask has them at zero.
    """

    rows: tuple[tuple[int, int], ...]
    clock_rows: tuple[tuple[int, int], ...]
    logic_minors: tuple[int, ...]
    memory_minors: tuple[int, ...]
    divide: tuple[int, int]
    reserved: tuple[ColumnSpan, ...]
    pads: int = 2

    def minors(self, block: int) -> tuple[int, ...]:
        """Frames in each column of a block type."""
        by_block = {Block.LOGIC: self.logic_minors, Block.MEMORY: self.memory_minors}
        return by_block.get(Block(block), (1,) * len(self.logic_minors))

    @cached_property
    def memory_frames(self) -> int:
        """Frames of logic and block-RAM contents: what a full image sets."""
        return len(self.rows) * (sum(self.logic_minors) + sum(self.memory_minors))

    @cached_property
    def full_burst(self) -> int:
        """Frames of a full image's one burst, pads included."""
        return self.memory_frames + 2 * len(self.rows) * self.pads

    @cached_property
    def _order(self) -> Indices:
        """Frame number at each step of the address counter, -1 for a pad; the reset masks follow in the end."""
        steps, number = [], 0
        for block in Block:
            for _ in self.rows:
                size = sum(self.minors(block))
                steps += [np.arange(number, number + size), np.full(self.pads, -1)]
                number += size
        order: Indices = np.concatenate(steps).astype(np.int32)
        return order

    @cached_property
    def _steps(self) -> Indices:
        """The step at which each frame comes: the inverse of `_order`."""
        return np.flatnonzero(self._order >= 0).astype(np.int32)

    @cached_property
    def _starts(self) -> dict[int, tuple[int, ...]]:
        """First frame of each column within its row, by block type, with the row's size in the end."""
        return {block: (0, *np.cumsum(self.minors(block)).tolist()) for block in Block}

    def _row_base(self, block: int, place: int) -> int:
        earlier = sum(self._starts[other][-1] for other in Block if other < block) * len(self.rows)
        return earlier + place * self._starts[block][-1]

    def number(self, address: FrameAddress) -> int:
        """The frame's number; `BitstreamError` if the part has no such frame."""
        known = address.block in Block._value2member_map_ and (address.half, address.row) in self.rows
        if known:
            minors = self.minors(address.block)
            known = address.column < len(minors) and address.minor < minors[address.column]
        if not known:
            raise BitstreamError(f"the part has no frame at {address}", far=address.encode())
        place = self.rows.index((address.half, address.row))
        return self._row_base(address.block, place) + self._starts[address.block][address.column] + address.minor

    def address(self, number: int) -> FrameAddress:
        """The address of a frame by its number."""
        for block in Block:
            starts = self._starts[block]
            place, rest = divmod(number - self._row_base(block, 0), starts[-1])
            if place < len(self.rows):
                column = int(np.searchsorted(starts, rest, side="right")) - 1
                return FrameAddress(int(block), *self.rows[place], column, rest - starts[column])
        raise BitstreamError(f"the part has no frame number {number}", number=number)

    def landing(self, far: int, count: int) -> Indices:
        """Which frame each of `count` frames written from address `far` on becomes; -1 for pads and the last one.

        The last of a burst only pushes its predecessor out of the frame buffer. Raises `BitstreamError` for an address
        that is not there or a burst that runs past the end.
        """
        start = int(self._steps[self.number(FrameAddress.decode(far))])
        limit = self.full_burst if start < self.full_burst else len(self._order)
        if count < 1 or start + count > limit + 1:
            raise BitstreamError(
                f"a burst of {count} frames from {FrameAddress.decode(far)} runs past the end of the part", far=far
            )
        found = np.full(count, -1, dtype=np.int32)
        found[:-1] = self._order[start : start + count - 1]
        return found

    def span(self, block: int, span: ColumnSpan) -> Indices:
        """Numbers of every frame in some columns of a row."""
        minors = self.minors(block)
        if (span.half, span.row) not in self.rows or not 0 <= span.first <= span.last < len(minors):
            raise BitstreamError(f"the part has no columns {span} of block {block}")
        base = self._row_base(block, self.rows.index((span.half, span.row)))
        starts = self._starts[block]
        return np.arange(base + starts[span.first], base + starts[span.last + 1], dtype=np.int32)

    def runs(self, frames: Indices) -> list[tuple[int, int]]:
        """(position in `frames`, length) of each run that one burst can write; `frames` are ascending numbers."""
        steps = self._steps[frames]
        breaks = np.flatnonzero(np.diff(steps) != 1) + 1
        edges = [0, *breaks.tolist(), len(frames)]
        return [(first, last - first) for first, last in pairwise(edges) if last > first]

    def resets(self, frames: Indices) -> NDArray[np.bool_]:
        """(rows, columns): which columns a reset of exactly the columns of `frames` reaches, reserved ones included."""
        width, row_size = len(self.logic_minors), self._starts[Block.LOGIC][-1]
        reached = np.zeros((len(self.rows), width), dtype=bool)
        for half, row, column in self._reserved_columns:
            reached[self.rows.index((half, row)), column] = True
        logic = np.asarray(frames)[np.asarray(frames) < len(self.rows) * row_size]
        places, within = np.divmod(logic, row_size)
        reached[places, np.searchsorted(self._starts[Block.LOGIC], within, side="right") - 1] = True
        return reached

    def reset_mask(self, frames: Indices) -> Frames:
        """The burst of reset masks, pads included, with which exactly the columns of `frames` are reset."""
        width = len(self.logic_minors)
        masks = np.zeros((len(self.rows), width + self.pads, FRAME_WORDS), dtype=np.uint32)
        masks[:, :width, CLOCK_WORD] = np.where(self.resets(frames), 0, KEEPS_STATE)
        return masks.reshape(-1, FRAME_WORDS)

    def clock_region(self, address: FrameAddress) -> str:
        """The clock region that a frame of the part is in, such as X0Y1."""
        divide = self.divide[1] if address.block == Block.MEMORY else self.divide[0]
        return f"X{int(address.column >= divide)}Y{self.clock_rows.index((address.half, address.row))}"

    def place(self, number: int) -> str:
        """Where a frame lies, for people: column and clock region, and which minor."""
        address = self.address(number)
        region = self.clock_region(address)
        if address.block == Block.RESET:
            return f"the reset mask of column {address.column} of clock region {region}"
        kind = "memory column" if address.block == Block.MEMORY else "column"
        return f"{kind} {address.column} of clock region {region}, minor {address.minor}"

    @cached_property
    def _reserved_columns(self) -> frozenset[tuple[int, int, int]]:
        return frozenset(
            (span.half, span.row, column) for span in self.reserved for column in range(span.first, span.last + 1)
        )

    def is_reserved(self, half: int, row: int, column: int) -> bool:
        """Whether a logic column holds no fabric there."""
        return (half, row, column) in self._reserved_columns

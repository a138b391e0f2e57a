"""The emulated part's memory without a file: states that many boards are in are held once.

What is written is remembered by all that was written before, so that ten thousand boards which load the
same images share the few states that there are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from convoy_device.fabric.memory import REGISTER_BYTES, ConfigurationMemory
from convoy_schema.bitstream import FRAME_WORDS, Frames, Indices

#: States that are kept from one fleet to the next; beyond it all are forgotten. One of an xc7z020 takes 4 MB.
KEPT = 64


#: Writes that made a state of a blank part, in their order: ids of the frames' numbers and of the frames.
_Trail = tuple[tuple[int, int], ...]


class States:
    """States that parts were in: frames (n, 101), never changed once made."""

    def __init__(self, frames: int) -> None:
        self.blank: Frames = np.zeros((frames, FRAME_WORDS), np.uint32)
        self._made: dict[_Trail, tuple[Frames, object]] = {}
        self._trails: dict[int, _Trail] = {}
        self._reads: dict[tuple[int, int], tuple[Frames, object]] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """A fleet begins: forget what is too much. While it runs, states that are equal must stay the same object."""
        if not self._trails or len(self._made) > KEPT:
            self._made.clear()
            self._reads.clear()
            self._trails = {id(self.blank): ()}

    def written(self, state: Frames, numbers: Indices, frames: Frames) -> Frames:
        """`state` with those frames set; the same object for the same arguments."""
        # What was written to the very same frames before is gone: else a part that is loaded again and again would be
        # in a new state each time.
        before = self._trails[id(state)]
        trail = (*(write for write in before if write[0] != id(numbers)), (id(numbers), id(frames)))
        known = self._made.get(trail)
        if known is None:
            after = state.copy()
            after[numbers] = frames
            after.setflags(write=False)
            # What the keys name must live as long as they do.
            known = self._made[trail] = after, (state, numbers, frames)
            self._trails[id(after)] = trail
        return known[0]

    def read(self, state: Frames, numbers: Indices) -> Frames:
        """Those frames of a state."""
        key = id(state), id(numbers)
        known = self._reads.get(key)
        if known is None:
            found = state[numbers]
            known = self._reads[key] = found, (state, numbers)
        return known[0]


class VolatileMemory(ConfigurationMemory):
    """One part's. `step` is called before each change, and may raise: the process ends there."""

    def __init__(self, states: States, step: Callable[[str], None]) -> None:
        self._states = states
        self._step = step
        self._state = states.blank
        self._registers = bytearray(REGISTER_BYTES)

    def close(self) -> None:
        """The part stays as it is."""

    def clear(self) -> None:
        """See `ConfigurationMemory`."""
        self._step("clear fabric")
        self.lose_power()

    def lose_power(self) -> None:
        """Everything is as power-on leaves it."""
        self._state = self._states.blank
        self._registers = bytearray(REGISTER_BYTES)

    def read(self, numbers: Indices) -> Frames:
        """See `ConfigurationMemory`."""
        return self._states.read(self._state, numbers)

    def write(self, numbers: Indices, frames: Frames) -> None:
        """See `ConfigurationMemory`."""
        self._step("write frames")
        self._state = self._states.written(self._state, numbers, frames)

    def _register(self, at: int) -> int:
        return self._registers[at]

    def _set_register(self, at: int, value: int) -> None:
        self._step("set register")
        self._registers[at] = value

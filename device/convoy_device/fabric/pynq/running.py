"""One layer on one kernel: parameters and activations out of memory through DMA into it, and its results back.

The order of words is `convoy_schema.streams`', that of registers `convoy_schema.registers`'. Every wait has a deadline;
what follows a failure is for the fabric to decide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from convoy_schema import streams, tiles
from convoy_schema.layers import Prepared
from convoy_schema.network import PreparedNetwork, chain_cycles
from convoy_schema.registers import WORD_BYTES, Command, layer_arguments
from convoy_schema.streams import ParameterStream
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.errors import FabricError
from convoy_device.fabric import Runnable
from convoy_device.fabric.pynq.buffers import Buffer, Buffers
from convoy_device.fabric.pynq.chip import Chip
from convoy_device.fabric.pynq.design import Design, Slot
from convoy_device.fabric.pynq.phases import Phases
from convoy_device.fabric.pynq.waiting import Waiting

#: Seconds that any transfer may take beyond what the cycle model gives it, and how wrong the model may be.
PATIENCE_S = 1.0
_SLACK = 20.0
#: Layers whose packed parameters are kept in this process; the buffers have their own bound.
_PACKED = 256

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class _Task:
    """One run, as words and registers: a layer's on its kernel, or a network's on the chain.

    `key` names the parameters, which `pack` gives; `passes` says how often a run takes those that are not kept;
    `cycles` are those of loading and running together.
    """

    key: Hashable
    activations: Words
    shape: dict[str, int]
    cycles: int
    has_parameters: bool
    pack: Callable[[], ParameterStream]
    passes: Callable[[], int]


class Runner:
    """Runs layers on slots of whichever design is loaded; `forget` what a slot held when it is replaced."""

    def __init__(self, chip: Chip, waiting: Waiting, phases: Phases) -> None:
        self._buffers = Buffers(chip)
        self._waiting = waiting
        self._phases = phases
        self._packed: OrderedDict[Hashable, ParameterStream] = OrderedDict()
        #: Whose parameters each slot's kernel was last given.
        self._loaded: dict[str, Hashable] = {}

    def forget(self, slot: Slot) -> None:
        """The slot's kernel is another one from now on, or in an unknown state."""
        self._loaded.pop(slot.name, None)

    def close(self) -> None:
        """Give all memory back; the design is about to be replaced, or left."""
        self._loaded.clear()
        self._buffers.free()

    def run(
        self, design: Design, slot: Slot, work: Runnable, inputs: Sequence[NDArray[np.int8]], clock_hz: int
    ) -> NDArray[np.int8]:
        """The output (rows, *shape); raises `TopologyError` for arrays that are not the work's, else `FabricError`."""
        work.check(inputs)
        rows = len(inputs[0])
        if rows == 0:
            return np.zeros((0, *work.output.shape), np.int8)
        with self._phases.phase("pack"):
            task = _task(work, inputs)
            key, activations = task.key, task.activations
            stream = self._stream(task)
            result_bytes = rows * streams.sample_words(work.output.shape) * WORD_BYTES
            wanted: list[tuple[Hashable, int]] = [
                ("activations", activations.nbytes),
                ("results", result_bytes),
                (("load", key), stream.load.nbytes),
                (("pass", key), stream.each_pass.nbytes),
            ]
            source, target, load, each_pass = self._buffers.reserve(wanted)
            _fill(source, activations)
            for buffer, words in ((load, stream.load), (each_pass, stream.each_pass)):
                if buffer.is_fresh:
                    _fill(buffer, words)
        design.connect(slot)
        allowed_s = PATIENCE_S + _SLACK * task.cycles / clock_hz
        if self._loaded.get(slot.name) != key:
            with self._phases.phase("parameter load"):
                self._load(design, slot, task, load, stream.load.nbytes, allowed_s)
            self._loaded[slot.name] = key
        passes = 0 if stream.held else task.passes()
        with self._phases.phase("run"):
            design.activations.receive.begin(target.memory.address, result_bytes)
            slot.kernel.start(
                task.shape
                | {"command": Command.RUN, "rows": rows, "in_words": activations.size}
                | {"parameter_words": passes * stream.each_pass.size, "out_words": result_bytes // WORD_BYTES}
            )
            design.activations.send.begin(source.memory.address, activations.nbytes)
            for _ in range(passes):
                design.parameters.send.begin(each_pass.memory.address, stream.each_pass.nbytes)
                design.parameters.send.wait(allowed_s)
            self._finish(design, slot, result_bytes, allowed_s)
        with self._phases.phase("unpack"):
            target.memory.invalidate()
            words = target.memory.array[:result_bytes].view("<u8")
            return streams.unpack_tensor(words.copy(), rows, work.output.shape)

    def _load(self, design: Design, slot: Slot, task: _Task, buffer: Buffer, size: int, allowed_s: float) -> None:
        if not task.has_parameters:
            return
        slot.kernel.start(task.shape | {"command": Command.LOAD, "parameter_words": size // WORD_BYTES})
        if size:
            design.parameters.send.begin(buffer.memory.address, size)
            design.parameters.send.wait(allowed_s)
        slot.kernel.wait(allowed_s)

    def _finish(self, design: Design, slot: Slot, size: int, allowed_s: float) -> None:
        moved = design.activations.receive.wait(allowed_s)
        if moved != size:
            raise FabricError(f"{slot.name}: {size} bytes of results should have come, the DMA counts {moved}")
        design.activations.send.wait(allowed_s)
        slot.kernel.wait(allowed_s)

    def _stream(self, task: _Task) -> ParameterStream:
        stream = self._packed.pop(task.key, None)
        if stream is None:
            stream = task.pack()
        self._packed[task.key] = stream
        while len(self._packed) > _PACKED:
            self._packed.popitem(last=False)
        return stream

    def loop_back(self, design: Design, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Send `content` (whole words) through the activation DMA and straight back."""
        source, target = self._buffers.reserve([("activations", content.nbytes), ("results", content.nbytes)])
        source.memory.array[: content.nbytes] = content
        source.memory.flush()
        design.loop_back()
        with self._phases.phase("loop back"):
            design.activations.receive.begin(target.memory.address, content.nbytes)
            design.activations.send.begin(source.memory.address, content.nbytes)
            design.activations.receive.wait(PATIENCE_S)
            design.activations.send.wait(PATIENCE_S)
        target.memory.invalidate()
        return target.memory.array[: content.nbytes].copy()


def _task(work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> _Task:
    rows = len(inputs[0])
    if isinstance(work, PreparedNetwork):
        words = streams.pack_tensor(inputs[0])
        key = work.topology.layers, work.topology.tensors
        return _Task(key, words, {"rows": rows}, chain_cycles(rows), True, lambda: _held(work), lambda: 0)
    given = work.given
    return _Task(
        (work.layer, work.inputs, work.output),
        streams.pack_inputs(work.kind, given.arrays(inputs)),
        layer_arguments(given.layer, given.inputs, work.output),
        work.load_cycles() + work.run_cycles(rows),
        work.parameters is not None,
        lambda: streams.pack_parameters(given.layer, given.inputs, work.output, given.parameters),
        lambda: _passes(work, rows),
    )


def _held(network: PreparedNetwork) -> ParameterStream:
    """The chain keeps all its parameters."""
    return ParameterStream(network.words, np.zeros(0, network.words.dtype))


def _passes(layer: Prepared, rows: int) -> int:
    """How often a run of `rows` samples takes what its kernel cannot keep."""
    tile = tiles.CONV2D if layer.kind is Kind.CONV2D else tiles.DENSE
    blocks = streams.Blocks(layer.given.layer, layer.given.inputs[0], layer.output, tile)
    return streams.parameter_passes(layer.given.layer, layer.output, rows, blocks)


def _fill(buffer: Buffer, words: Words) -> None:
    buffer.memory.array[: words.nbytes] = words.astype("<u8", copy=False).view(np.uint8)
    buffer.memory.flush()

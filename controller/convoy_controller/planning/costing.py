"""From a topology and models of boards to an instance: the one place where cycles become seconds.

Cycles are `convoy_schema.cycles`', counted in the layer library's own code. The reconciler's boards come from what they
say of themselves (`Capability`), those of `convoy plan` from a file of profiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from convoy_schema import cycles
from convoy_schema.errors import TopologyError
from convoy_schema.frames import FRAME_OVERHEAD, MAX_FRAME
from convoy_schema.layers import Cost, cost, output_shape
from convoy_schema.limits import KernelLimits
from convoy_schema.network import chain_cycles
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind, Layer, Topology

from convoy_controller.errors import PlanError
from convoy_controller.planning.instance import QUEUE_FRAMES, BoardKind, Instance, LayerLoad

#: Bytes a second that a board's 100 Mb/s of usable Ethernet carries.
LINK_BYTES_PER_S = 12.5e6
#: Seconds that a hop costs whatever its size, measured on loopback with NODELAY on both ends.
HOP_S = 100e-6
#: Seconds to swap a module: the largest partition's image of 1,245,791 bytes through PCAP at 145 MB/s.
SWAP_S = 8.6e-3
#: Seconds to load a shell: a whole xc7z020's 4,045,564 bytes, the same way.
SHELL_S = 27.9e-3


@dataclass(frozen=True)
class BoardModel:
    """What the planner must know of a board: clock in Hz, memory in bytes, and its partitions (None: fixed kernels).

    `kernels` are its limits (empty: whatever comes fits), and `missing` says why it has no kernel of some kinds at all.
    `is_network` says that its shell computes the whole network at once, in a chain. `processor` None keeps every layer
    on the fabric. Parameters arrive over the link. Where others use the board too, `memory_bytes` and `partitions` are
    what they leave, `resident` the kinds whose modules they hold, `share` the part of its time that is left, and `held`
    says what they hold.
    """

    clock_hz: float
    memory_bytes: int
    partitions: int | None
    queue_frames: int = QUEUE_FRAMES
    kernels: tuple[KernelLimits, ...] = ()
    missing: tuple[tuple[Kind, str], ...] = ()
    link_bytes_per_s: float = LINK_BYTES_PER_S
    swap_s: float = SWAP_S
    shell_s: float = SHELL_S
    processor: ProcessorRate | None = None
    is_network: bool = False
    resident: frozenset[Kind] = frozenset()
    share: float = 1.0
    held: str = field(default="", compare=False)


@dataclass(frozen=True)
class _Timed:
    """A layer's cost, the cycles of a batch of it in one run, and those of giving a kernel its parameters."""

    layer: Layer
    cost: Cost
    batch_cycles: int
    load_cycles: int


def _timed(layer: Layer, topology: Topology, rows: int) -> _Timed:
    """Raises `PlanError` for a layer whose tensors do not fit one another: cycles are counted for those that do."""
    inputs, output = [topology.tensor(name) for name in layer.inputs], topology.tensor(layer.output)
    try:
        made = output_shape(layer, [tensor.shape for tensor in inputs], output.shape[0])
    except TopologyError as error:
        raise PlanError(f"{topology.name} cannot be planned: {error}") from error
    if made != output.shape:
        raise PlanError(
            f"{topology.name} cannot be planned: layer {layer.name} makes {made}, its tensor is declared {output.shape}"
        )
    batch = cycles.run(layer, inputs, output, rows)
    return _Timed(layer, cost(layer, topology), batch, cycles.load(layer, inputs, output))


def batch_rows(topology: Topology, wanted: int) -> int:
    """The largest batch up to `wanted` that every cut's frame can hold; cuts of which not even a row fits do not count.

    Raises `PlanError` when the input or the output is such a one: they always travel.
    """
    room = MAX_FRAME - FRAME_OVERHEAD
    crossing = crossing_bytes(topology)
    largest = max(crossing[0], crossing[-1])
    if largest > room:
        raise PlanError(
            f"{topology.name}: its input or output of {largest} bytes a sample exceeds the frame bound of {room}; "
            "divide it before the network, or make it smaller",
            need=largest,
            have=room,
        )
    return max(1, min(wanted, room // max(size for size in crossing if size <= room)))


def crossing_bytes(topology: Topology) -> list[int]:
    """Bytes a sample over each cut: of every tensor made before it and needed after it; the last: the output."""
    length = len(topology.layers)
    made = {topology.input: 0, **{layer.output: at for at, layer in enumerate(topology.layers, start=1)}}
    until = dict(made)
    for at, layer in enumerate(topology.layers):
        for name in layer.inputs:
            until[name] = at
    until[topology.output] = length
    crossing = [0] * (length + 1)
    sizes = {tensor.name: tensor.size for tensor in topology.tensors}
    for name, first in made.items():
        if first == length and name != topology.output:
            continue
        for cut in range(first, until[name] + 1):
            # What no layer needs any more stays where it is.
            if name == topology.output or cut < length:
                crossing[cut] += sizes[name]
    return crossing


def instance_of(
    topology: Topology,
    boards: Sequence[tuple[str, BoardModel, int]],
    batch: int,
    *,
    cuts: bool = True,
    hop_s: float = HOP_S,
) -> Instance:
    """`topology` over (name, model, count) boards, in batches of up to `batch` rows; without `cuts` in one piece."""
    rows = batch_rows(topology, batch)
    room = (MAX_FRAME - FRAME_OVERHEAD) // rows
    crossing = [float(size) for size in crossing_bytes(topology)]
    inner = [size if cuts and size <= room else math.inf for size in crossing[1:-1]]
    layers = [_timed(layer, topology, rows) for layer in topology.layers]
    return Instance(
        name=topology.name,
        layers=tuple(
            LayerLoad(each.layer.name, each.layer.kind.value, each.cost.parameter_bytes, each.cost.buffer_bytes)
            for each in layers
        ),
        crossing=(crossing[0], *inner, crossing[-1]),
        kinds=tuple(_kind(topology, layers, name, model, count, rows) for name, model, count in boards),
        batch_rows=rows,
        queue_frames=min((model.queue_frames for _, model, _ in boards), default=QUEUE_FRAMES),
        hop_s=hop_s,
    )


def _kind(
    topology: Topology, layers: Sequence[_Timed], name: str, model: BoardModel, count: int, rows: int
) -> BoardKind:
    limits = {at: reason for at, each in enumerate(layers) if (reason := _refusal(each.layer, topology, model))}
    seconds = [
        math.inf if at in limits else each.batch_cycles / rows / model.clock_hz for at, each in enumerate(layers)
    ]
    reload_s = tuple(each.load_cycles / model.clock_hz for each in layers)
    if model.is_network:  # only the sum is real: the layers of a chain work at once, each with a kernel of its own
        reload_s = ()
        scale = chain_cycles(rows) / rows / model.clock_hz / sum(seconds)
        seconds = [scale * each for each in seconds]
    rate = model.processor
    return BoardKind(
        name=name,
        count=count,
        seconds=tuple(each / model.share for each in seconds),
        memory_bytes=model.memory_bytes,
        link_bytes_per_s=model.link_bytes_per_s,
        partitions=model.partitions,
        processor=() if rate is None else tuple(rate.seconds(each.cost, rows) / rows / model.share for each in layers),
        swap_s=model.swap_s / model.share,
        reload_s=tuple(each / model.share for each in reload_s),
        shell_s=model.shell_s,
        load_bytes_per_s=model.link_bytes_per_s,
        limits=limits,
        resident=frozenset(kind.value for kind in model.resident),
        held=model.held,
    )


def _refusal(layer: Layer, topology: Topology, model: BoardModel) -> str:
    """Why no kernel of the board can run `layer`; '' when one can."""
    for kind, why in model.missing:
        if kind is layer.kind:
            return why
    if not model.kernels:
        return ""
    reason = f"it has no {layer.kind.value} kernel"
    for kernel in model.kernels:
        if kernel.kind is layer.kind:
            inputs = [topology.tensor(tensor) for tensor in layer.inputs]
            reason = kernel.refusal(layer, inputs, topology.tensor(layer.output))
            if not reason:
                return ""
    return reason

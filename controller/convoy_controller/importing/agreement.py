"""How far a model as boards run it is from ONNX Runtime on the same quantised file: layer by layer, and end to end.

ONNX Runtime does not agree with itself either: optimised it computes in integers, plain in float. Both are run (see
`runtime`), so that a difference of ours can be judged. Reports only; what is too much is for `importer` to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from convoy_schema.layers import load, prepare, quantise
from numpy.typing import NDArray

from convoy_controller.importing.graph import Read
from convoy_controller.importing.runtime import Runtime

Array = NDArray[np.int8]

#: Elements of all tensors together that one run of ONNX Runtime may hand out.
MAX_ELEMENTS = 32 * 1024 * 1024


@dataclass(frozen=True)
class Difference:
    """Of `elements` compared, `apart` differ, by `steps` of int8 at most."""

    elements: int = 0
    apart: int = 0
    steps: int = 0

    @property
    def share(self) -> float:
        """The part that differs, 0 to 1."""
        return self.apart / self.elements if self.elements else 0.0

    def __add__(self, other: Difference) -> Difference:
        return Difference(self.elements + other.elements, self.apart + other.apart, max(self.steps, other.steps))

    @classmethod
    def between(cls, ours: Array, theirs: Array) -> Difference:
        """Of two arrays of one shape."""
        apart = np.abs(ours.astype(np.int16) - theirs)
        return cls(apart.size, int(np.count_nonzero(apart)), int(apart.max(initial=0)))


@dataclass(frozen=True)
class Agreement:
    """Differences over `rows` samples.

    `layers` and `plain_layers`: each layer by name, fed with ONNX Runtime's own integers, against its optimised and its
    plain kernels. End to end: `output` is ours against ORT optimised, `plain_output` ours against ORT plain,
    `onnxruntime` the one ORT against the other.
    """

    rows: int
    layers: dict[str, Difference]
    plain_layers: dict[str, Difference]
    output: Difference
    plain_output: Difference
    onnxruntime: Difference

    @property
    def worst(self) -> str:
        """The layer that differs in the largest part of its elements from ORT optimised."""
        return max(self.layers, key=lambda name: self.layers[name].share)


def compare(read: Read, quantised: onnx.ModelProto, samples: NDArray[np.float32], rows: int) -> Agreement:
    """Run the first `rows` of `samples` (rows, *input shape) through all three."""
    samples = samples[:rows]
    topology = read.topology
    each = max(1, MAX_ELEMENTS // sum(tensor.size for tensor in topology.tensors))
    comparison = _Comparison(read, quantised)
    total = comparison.over(samples[:each])
    for first in range(each, len(samples), each):
        total = _added(total, comparison.over(samples[first : first + each]))
    return total


def _added(a: Agreement, b: Agreement) -> Agreement:
    return Agreement(
        a.rows + b.rows,
        {name: a.layers[name] + b.layers[name] for name in a.layers},
        {name: a.plain_layers[name] + b.plain_layers[name] for name in a.plain_layers},
        a.output + b.output,
        a.plain_output + b.plain_output,
        a.onnxruntime + b.onnxruntime,
    )


class _Comparison:
    """Ours and ONNX Runtime's kernels for one model, made once."""

    def __init__(self, read: Read, quantised: onnx.ModelProto) -> None:
        self._topology = read.topology
        self._layers = [prepare(layer, self._topology, load(layer, read.parameters)) for layer in read.topology.layers]
        self._runtime = Runtime(read, quantised)

    def over(self, samples: NDArray[np.float32]) -> Agreement:
        """The differences over `samples`."""
        topology = self._topology
        own = {topology.input: quantise(samples, topology.tensor(topology.input))}
        for layer in self._layers:
            own[layer.layer.output] = layer.run([own[name] for name in layer.layer.inputs])
        plain, optimised = self._runtime.every_tensor(samples), self._runtime.output(samples)
        layers, plain_layers = self._layer_by_layer(plain)
        ours, theirs = own[topology.output], plain[topology.output]
        return Agreement(
            len(samples),
            layers,
            plain_layers,
            Difference.between(ours, optimised),
            Difference.between(ours, theirs),
            Difference.between(optimised, theirs),
        )

    def _layer_by_layer(self, theirs: dict[str, Array]) -> tuple[dict[str, Difference], dict[str, Difference]]:
        """Each layer against ORT's optimised and plain kernels, fed with `theirs`.

        A tensor that ORT does not have, between a pool and its rescaling, is what our pool makes of theirs.
        """
        known, optimised, plain = dict(theirs), {}, {}
        for layer in self._layers:
            name, output = layer.layer.name, layer.layer.output
            made = layer.run([known[each] for each in layer.layer.inputs])
            known.setdefault(output, made)
            if output in theirs:
                optimised[name] = Difference.between(made, self._runtime.layer(output, theirs))
                plain[name] = Difference.between(made, theirs[output])
        return optimised, plain

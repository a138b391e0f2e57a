"""What one kernel can run: the limits of its tile buffers, which planner and fabric enforce alike.

A kernel serves any layer of its kind within them; parameters stream past it and are not limited here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from convoy_schema.bounds import Range
from convoy_schema.topology import Kind, Layer, Tensor

_Most = Annotated[int, Range(0, 65536)]


@dataclass(frozen=True)
class KernelLimits:
    """The most a kernel of `kind` takes; 0 means that it takes no such tensor, or has no window.

    `channels` and `row` are C and W of a (C, H, W) tensor, `features` the N of a flat one, `window` the longer side of
    a convolution's or pool's kernel in elements, dilation included, `inputs` how many tensors go in.
    """

    kind: Kind
    channels: _Most
    row: _Most
    features: _Most
    window: _Most = 0
    inputs: Annotated[int, Range(1, 64)] = 1

    def refusal(self, layer: Layer, inputs: Sequence[Tensor], output: Tensor) -> str:
        """Why the kernel cannot run `layer`, with need and have; '' when it can."""
        if layer.kind is not self.kind:
            return f"it needs a {layer.kind.value} kernel, this one is {self.kind.value}"
        needs = [("inputs", len(inputs), self.inputs)]
        for tensor in (*inputs, output):
            if len(tensor.shape) == 3:
                needs += [
                    ("channels", tensor.shape[0], self.channels),
                    ("elements in a row", tensor.shape[2], self.row),
                ]
            else:
                needs += [("features", tensor.size, self.features)]
        if layer.window is not None:
            reach = (d * (k - 1) + 1 for k, d in zip(layer.window.kernel, layer.window.dilation, strict=True))
            needs += [("elements along the window", max(reach), self.window)]
        for what, need, have in needs:
            if need > have:
                return f"it needs {need} {what}, the {self.kind.value} kernel has room for {have}"
        return ""

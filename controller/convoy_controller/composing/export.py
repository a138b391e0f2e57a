"""A composed network as a float ONNX model: one node a layer, of the layer's name. What is wrong was found before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from convoy_controller.composing.operations import Shape, groups_of, moves
from convoy_controller.composing.values import number

if TYPE_CHECKING:
    from convoy_controller.composing.network import Network, Step

#: Old enough for every onnxruntime that quantises, new enough for everything that is written here.
OPSET, IR_VERSION = 18, 9


def model(
    network: Network, shapes: Mapping[str, Shape], parameters: Mapping[str, NDArray[np.float32]]
) -> onnx.ModelProto:
    """The model over any number of samples; `shapes` of the input and every layer, `parameters` by name."""
    writer = _Writer(shapes, parameters)
    for step in network.steps:
        writer.write(step)
    last = network.steps[-1].name
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shapes[name]])] for name in ("input", last)
    ]
    graph = helper.make_graph(writer.nodes, network.name, ends[0], ends[1], writer.held)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="convoy"
    )
    onnx.checker.check_model(made)
    return made


class _Writer:
    """Nodes and the tensors they hold. Layers' names have no '/', so what is made beside them cannot meet them."""

    def __init__(self, shapes: Mapping[str, Shape], parameters: Mapping[str, NDArray[np.float32]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []
        self._shapes = shapes
        self._parameters = parameters

    def write(self, step: Step) -> None:
        """One layer."""
        writers: dict[str, Callable[[Step], None]] = {
            "conv2d": self._conv,
            "depthwise": self._conv,
            "dense": self._dense,
            "relu": lambda step: self._node(step, "Relu"),
            "relu6": lambda step: self._clip(step, 0.0, 6.0),
            "clip": lambda step: self._clip(step, number(step.full["low"]), number(step.full["high"])),
            "max-pool": self._pool,
            "average-pool": self._pool,
            "global-average-pool": lambda step: self._node(step, "GlobalAveragePool"),
            "flatten": lambda step: self._node(step, "Flatten"),
            "add": lambda step: self._node(step, "Add"),
            "concat": lambda step: self._node(step, "Concat", axis=1),
        }
        writers[step.op](step)

    def _node(self, step: Step, op: str, *held: str, of: tuple[str, ...] = (), **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, [*(of or step.of), *held], [step.name], step.name, **attributes))

    def _hold(self, name: str, array: NDArray[np.float32]) -> str:
        self.held.append(numpy_helper.from_array(array, f"parameters/{name}"))
        return f"parameters/{name}"

    def _weights(self, step: Step) -> list[str]:
        names = [f"{step.name}.weight", *([f"{step.name}.bias"] if step.full["bias"] else [])]
        return [self._hold(name, self._parameters[name]) for name in names]

    def _window(self, step: Step) -> dict[str, Any]:
        found = moves(step.full, self._shapes[step.of[0]])
        return {"kernel_shape": list(found.kernel), "strides": list(found.stride), "pads": list(found.padding)}

    def _conv(self, step: Step) -> None:
        shape = self._shapes[step.of[0]]
        dilation = list(moves(step.full, shape).dilation)
        groups = groups_of(step.full, shape[0])
        self._node(step, "Conv", *self._weights(step), group=groups, dilations=dilation, **self._window(step))

    def _dense(self, step: Step) -> None:
        source = step.of[0]
        if len(self._shapes[source]) > 1:
            self.nodes.append(helper.make_node("Flatten", [source], [f"{step.name}/flat"], f"{step.name}/flat"))
            source = f"{step.name}/flat"
        self._node(step, "Gemm", *self._weights(step), of=(source,), transB=1)

    def _pool(self, step: Step) -> None:
        if step.op == "max-pool":
            self._node(step, "MaxPool", **self._window(step))
        else:
            counted = int(bool(step.full["count-padding"]))
            self._node(step, "AveragePool", **self._window(step), count_include_pad=counted)

    def _clip(self, step: Step, low: float, high: float) -> None:
        limits = [
            self._hold(f"{step.name}/{end}", np.array(value, np.float32))
            for end, value in (("low", low), ("high", high))
        ]
        self._node(step, "Clip", *limits)

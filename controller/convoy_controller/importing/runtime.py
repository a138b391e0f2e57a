"""ONNX Runtime on a quantised model, as `agreement` asks it: whole or layer by layer, optimised or plain.

Looking at a tensor in the middle of a graph keeps ONNX Runtime from merging what makes it with the quantisation beside
it. So its integer kernels are run as it would run them, each in a small model that is the layer and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from convoy_schema.layers import dequantise
from convoy_schema.topology import Tensor
from numpy.typing import NDArray
from onnx import TensorProto, helper

from convoy_controller.importing.graph import Read

Array = NDArray[np.int8]


class Runtime:
    """The sessions for one model."""

    def __init__(self, read: Read, quantised: onnx.ModelProto) -> None:
        self._read = read
        self._model = quantised
        self._makers = {output: node for node in quantised.graph.node for output in node.output}
        self._held = {each.name: each for each in quantised.graph.initializer}
        #: The ONNX names of the topology's tensors, but of those that we have between two layers.
        self._origins = {tensor: origin for tensor, origin in read.origins.items() if origin in self._makers}
        self._input = next(info.name for info in quantised.graph.input if info.name not in self._held)
        self._layers: dict[str, tuple[onnxruntime.InferenceSession, tuple[str, ...]]] = {}
        names = list(dict.fromkeys(self._origins.values()))
        self._every = names, self._session(quantised.graph.node, self._ends(), [_typed(name) for name in names], False)
        output = self._origins[read.topology.output]
        self._whole = self._session(*self._real([*quantised.graph.node], output, self._ends()), True)

    def every_tensor(self, samples: NDArray[np.float32]) -> dict[str, Array]:
        """int8 rows (rows, *shape) of every tensor of the topology that ORT has, by its plain kernels."""
        names, session = self._every
        found = dict(zip(names, self._run(session, {self._input: samples}), strict=True))
        return {tensor: self._laid(tensor, _signed(found[origin])) for tensor, origin in self._origins.items()}

    def output(self, samples: NDArray[np.float32]) -> Array:
        """int8 rows of the output tensor by ORT as it runs the model for others: optimised."""
        name = self._read.topology.output
        return self._laid(name, self._steps(name, self._run(self._whole, {self._input: samples})[0]))

    def layer(self, output: str, tensors: Mapping[str, Array]) -> Array:
        """int8 rows of tensor `output` by the optimised kernel of the layer that makes it, fed with `tensors`."""
        if output not in self._layers:
            self._layers[output] = self._alone(output)
        session, sources = self._layers[output]
        given = {f"real {self._origins[source]}": self._shown(source, tensors[source]) for source in sources}
        return self._laid(output, self._steps(output, self._run(session, given)[0]))

    # Models

    def _alone(self, output: str) -> tuple[onnxruntime.InferenceSession, tuple[str, ...]]:
        """A session of the nodes between tensor `output` and the nearest tensors before it, and which those are.

        It takes real values and quantises them, which gives the integers they came from: ONNX Runtime would leave a
        layer that is fed with integers in float.
        """
        tensors = {origin: tensor for tensor, origin in self._origins.items()}
        wanted, sources, needed = [self._origins[output]], [], set[str]()
        while wanted:
            node = self._makers[wanted.pop()]
            needed.update(node.output)
            for name in node.input:
                if name in tensors and name != self._origins[output]:
                    sources.append(name)
                elif name in self._makers and name not in needed:
                    wanted.append(name)
        sources = list(dict.fromkeys(sources))
        first = [
            helper.make_node("QuantizeLinear", [f"real {name}", *self._makers[name].input[1:]], [name])
            for name in sources
        ]
        nodes = first + [node for node in self._model.graph.node if node.output[0] in needed]
        inputs = [helper.make_tensor_value_info(f"real {name}", TensorProto.FLOAT, None) for name in sources]
        session = self._session(*self._real(nodes, self._origins[output], inputs), True)
        return session, tuple(tensors[name] for name in sources)

    def _real(
        self, nodes: list[onnx.NodeProto], origin: str, inputs: Sequence[onnx.ValueInfoProto]
    ) -> tuple[list[onnx.NodeProto], Sequence[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
        """Nodes and ends of a model whose output is the real values of `origin`, and nothing else."""
        behind = [node for node in nodes if node.op_type == "DequantizeLinear" and node.input[0] == origin]
        others = [node for node in nodes if not any(node is each for each in behind)]
        made = helper.make_node("DequantizeLinear", [origin, *self._makers[origin].input[1:]], ["real values"])
        kept = (
            [*others, *(behind if any(behind[0].output[0] in node.input for node in others) else ())]
            if behind
            else others
        )
        return [*kept, made], inputs, [helper.make_tensor_value_info("real values", TensorProto.FLOAT, None)]

    def _ends(self) -> list[onnx.ValueInfoProto]:
        return [info for info in self._model.graph.input if info.name == self._input]

    def _session(
        self,
        nodes: Iterable[onnx.NodeProto],
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        is_optimised: bool,
    ) -> onnxruntime.InferenceSession:
        kept = list(nodes)
        used = {name for node in kept for name in node.input}
        held = [tensor for name, tensor in self._held.items() if name in used]
        graph = helper.make_graph(kept, "agreement", list(inputs), list(outputs), held)
        model = helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised
        if not is_optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            # It changes no number, and breaks models that quantise their input before they turn it.
            disabled_optimizers=["TransposeOptimizer"],
        )

    # Arrays

    @staticmethod
    def _run(
        session: onnxruntime.InferenceSession, given: Mapping[str, NDArray[np.generic]]
    ) -> list[NDArray[np.generic]]:
        return [np.asarray(array) for array in session.run(None, dict(given))]

    def _steps(self, tensor: str, real: NDArray[np.generic]) -> Array:
        """int8 of real values that were dequantised: exact, since there are but 256 of them."""
        spec = self._read.topology.tensor(tensor)
        return np.asarray(np.rint(real.astype(np.float64) / spec.scale) + spec.zero_point, np.int8)

    def _laid(self, name: str, rows: Array) -> Array:
        """`rows` as the topology's tensor lies."""
        view, flat = self._read.views.get(name), rows.reshape(len(rows), -1)
        if view is not None and view.order is not None:
            turned = np.empty_like(flat)
            turned[:, view.order] = flat
            flat = turned
        return flat.reshape(-1, *self._tensor(name).shape)

    def _shown(self, name: str, rows: Array) -> NDArray[np.float32]:
        """Real values of `rows` of the topology's tensor, as the ONNX model has them."""
        view = self._read.views.get(name)
        if view is not None:
            flat = rows.reshape(len(rows), -1)
            rows = (flat if view.order is None else flat[:, view.order]).reshape(-1, *view.shape)
        return dequantise(rows, self._tensor(name))

    def _tensor(self, name: str) -> Tensor:
        return self._read.topology.tensor(name)


def _typed(name: str) -> onnx.ValueInfoProto:
    return helper.make_empty_tensor_value_info(name)


def _signed(rows: NDArray[np.generic]) -> Array:
    """int8 of int8 or uint8 rows."""
    return (rows.astype(np.int16) - 128 if rows.dtype == np.uint8 else rows).astype(np.int8)

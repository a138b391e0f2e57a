"""ONNX files that are damaged in one way each, with a word that the refusal must hold."""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_builder import Builder

SHAPE = (3, 8, 8)
Damage = Callable[[onnx.ModelProto], None]


def sound() -> onnx.ModelProto:
    """A network that is taken as it is: convolution, pool, flatten, dense."""
    b = Builder(SHAPE, seed=11)
    x = b.node("Relu", b.conv("x", 3, 8, pads=[1, 1, 1, 1]))
    x = b.node("Flatten", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    return onnx.shape_inference.infer_shapes(b.model(b.node("Gemm", x, b.weights(5, 128), b.weights(5), transB=1)))


def node(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.op_type == op)


def drop(model: onnx.ModelProto, *names: str) -> None:
    for each in [each for each in model.graph.initializer if each.name in names]:
        model.graph.initializer.remove(each)


def hold(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    drop(model, name)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))


def input_dim(model: onnx.ModelProto, at: int) -> onnx.TensorShapeProto.Dimension:
    return model.graph.input[0].type.tensor_type.shape.dim[at]


def attribute(model: onnx.ModelProto, op: str, name: str, value: object) -> None:
    target = node(model, op)
    for each in [each for each in target.attribute if each.name == name]:
        target.attribute.remove(each)
    target.attribute.append(helper.make_attribute(name, value))


def before(model: onnx.ModelProto, op: str, *made: onnx.NodeProto) -> None:
    """Put nodes in front of the first `op`, which takes what the last of them makes."""
    at = next(index for index, each in enumerate(model.graph.node) if each.op_type == op)
    model.graph.node[at].input[0] = made[-1].output[0]
    for offset, each in enumerate(made):
        model.graph.node.insert(at + offset, each)


def fold_into_bias(model: onnx.ModelProto, *made: onnx.NodeProto) -> None:
    """Let nodes compute the convolution's bias from constants."""
    for each in reversed(made):
        model.graph.node.insert(0, each)
    node(model, "Conv").input[2] = made[-1].output[0]


def damages() -> Iterator[tuple[str, str, Damage]]:
    """(name, word of the refusal, what to do to a sound model)."""

    def one(name: str, word: str) -> Callable[[Damage], None]:
        def keep(damage: Damage) -> None:
            found.append((name, word, damage))

        return keep

    found: list[tuple[str, str, Damage]] = []
    # Wiring
    one("missing-weights", "neither made nor held")(lambda m: drop(m, "held0"))
    one("missing-bias", "neither made nor held")(lambda m: drop(m, "held1"))
    one("every-initialiser-missing", "neither made nor held")(lambda m: m.graph.ClearField("initializer"))
    one("input-that-nothing-makes", "neither made nor held")(lambda m: node(m, "Relu").input.__setitem__(0, "nothing"))
    one("cycle", "circle")(lambda m: node(m, "Conv").input.__setitem__(0, node(m, "Gemm").output[0]))
    one("node-that-feeds-itself", "circle")(lambda m: node(m, "Relu").input.__setitem__(0, node(m, "Relu").output[0]))
    one("output-made-twice", "there already")(lambda m: m.graph.node.append(node(m, "Relu")))
    one("output-that-nothing-makes", "nothing makes it")(lambda m: setattr(m.graph.output[0], "name", "none"))
    one("no-nodes", "no graph")(lambda m: m.graph.ClearField("node"))
    one("no-output", "one output")(lambda m: m.graph.ClearField("output"))
    one("no-input", "neither made nor held")(lambda m: m.graph.ClearField("input"))
    one("two-inputs", "one input")(lambda m: m.graph.input.append(helper.make_tensor_value_info("y", 1, [1, 3])))
    one("node-without-outputs", "makes nothing")(lambda m: node(m, "Gemm").ClearField("output"))
    one("no-opset", "opset")(lambda m: m.ClearField("opset_import"))
    one("opset-of-the-future", "not a valid ONNX file")(lambda m: setattr(m.opset_import[0], "version", 9999))
    # Operations
    one("unknown-operation", "Frobnicate")(lambda m: setattr(node(m, "Relu"), "op_type", "Frobnicate"))
    one("operation-of-another-domain", "com.example")(lambda m: setattr(node(m, "Relu"), "domain", "com.example"))
    one("empty-operation", "no such operation")(lambda m: setattr(node(m, "Relu"), "op_type", ""))
    one("smooth-activation", "Relu")(lambda m: setattr(node(m, "Relu"), "op_type", "Sigmoid"))
    one("recurrent", "not a valid ONNX file")(lambda m: setattr(node(m, "Relu"), "op_type", "LSTM"))
    one("softmax-in-the-middle", "last operation")(lambda m: setattr(node(m, "Relu"), "op_type", "Softmax"))
    # Shapes
    one("free-height", "free")(lambda m: setattr(input_dim(m, 2), "dim_param", "height"))
    one("every-size-free", "free")(
        lambda m: [setattr(input_dim(m, at), "dim_param", f"d{at}") for at in (1, 2, 3)] and None
    )
    one("negative-size", "1 to 65536")(lambda m: setattr(input_dim(m, 1), "dim_value", -3))
    one("size-zero", "1 to 65536")(lambda m: setattr(input_dim(m, 3), "dim_value", 0))
    one("gigantic-input", "at most")(
        lambda m: [setattr(input_dim(m, at), "dim_value", 65536) for at in (2, 3)] and None
    )
    one("huge-batch", "1 to 65536")(lambda m: setattr(input_dim(m, 0), "dim_value", 2**60))
    one("five-dimensions", "5 dimensions")(
        lambda m: m.graph.input[0].type.tensor_type.shape.dim.add(dim_value=2) and None
    )
    one("no-shape", "shape")(lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"))
    one("channels-that-do-not-fit", "(rows, 4, 8, 8)")(lambda m: setattr(input_dim(m, 1), "dim_value", 4))
    one("dense-that-does-not-fit", "do not fit")(lambda m: hold(m, "held2", np.ones((5, 99), np.float32)))
    # Windows
    one("stride-zero", "strides")(lambda m: attribute(m, "MaxPool", "strides", [0, 0]))
    one("negative-stride", "strides")(lambda m: attribute(m, "MaxPool", "strides", [-1, 2]))
    one("kernel-zero", "kernel_shape")(lambda m: attribute(m, "MaxPool", "kernel_shape", [0, 2]))
    one("kernel-larger-than-the-picture", "")(lambda m: attribute(m, "MaxPool", "kernel_shape", [2000, 2000]))
    one("gigantic-padding", "pads")(lambda m: attribute(m, "Conv", "pads", [10**9] * 4))
    one("large-padding", "at most")(lambda m: attribute(m, "Conv", "pads", [60000] * 4))
    one("dilation-of-ages", "dilations")(lambda m: attribute(m, "Conv", "dilations", [2**40, 1]))
    one("no-groups", "groups")(lambda m: attribute(m, "Conv", "group", 0))
    one("groups-that-do-not-divide", "")(lambda m: attribute(m, "Conv", "group", 2))
    one("unknown-auto-pad", "auto_pad")(lambda m: attribute(m, "Conv", "auto_pad", "SIDEWAYS"))
    one("one-dimensional-window", "")(lambda m: attribute(m, "MaxPool", "kernel_shape", [2]))
    # Types and values
    one("input-of-doubles", "float32")(
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE)
    )
    one("input-of-text", "float32")(
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.STRING)
    )
    one("input-of-no-type", "float32")(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99))
    one("weights-of-doubles", "types")(lambda m: hold(m, "held0", np.ones((8, 3, 3, 3))))
    one("weights-of-no-type", "type")(lambda m: setattr(m.graph.initializer[0], "data_type", 77))
    one("weights-that-are-not-finite", "finite")(lambda m: hold(m, "held0", np.full((8, 3, 3, 3), np.nan, np.float32)))
    # Tensors
    one("shorter-than-it-says", "bytes")(lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"))
    one("gigantic-tensor", "no size")(lambda m: m.graph.initializer[0].dims.extend([2**31, 2**31]))
    one("large-tensor-without-data", "bytes")(lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**28))
    one("negative-tensor", "no size")(lambda m: m.graph.initializer[0].dims.__setitem__(0, -8))
    one("weights-in-a-file-that-is-not-there", "beside")(_outside("gone.bin"))
    one("weights-in-a-file-elsewhere", "beside")(_outside("../../../etc/passwd"))
    one("constant-of-terabytes", "at most")(_terabytes)
    one("constant-of-repeats", "at most")(_repeats)
    one("reshape-over-the-batch", "batch")(lambda m: before(m, "Gemm", *_reshaped(m, [-1, 64])))
    one("reshape-that-does-not-fit", "")(lambda m: before(m, "Gemm", *_reshaped(m, [-1, 77])))
    yield from found


def _outside(location: str) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return damage


def _terabytes(model: onnx.ModelProto) -> None:
    hold(model, "sizes", np.array([2**20, 2**20], np.int64))
    fold_into_bias(model, helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]))


def _repeats(model: onnx.ModelProto) -> None:
    hold(model, "little", np.ones(8, np.float32))
    hold(model, "times", np.array([2**36], np.int64))
    fold_into_bias(model, helper.make_node("Tile", ["little", "times"], ["tiled"]))


def _reshaped(model: onnx.ModelProto, shape: list[int]) -> tuple[onnx.NodeProto, ...]:
    hold(model, "shape", np.array(shape, np.int64))
    return (helper.make_node("Reshape", [node(model, "Gemm").input[0], "shape"], ["reshaped"], "reshape"),)


def files() -> Iterator[tuple[str, str, bytes]]:
    """(name, word of the refusal, content) of every damaged file."""
    content = sound().SerializeToString()
    yield "empty", "not a valid ONNX file", b""
    yield "text", "not a valid ONNX file", b"not a model at all"
    yield "zeros", "not a valid ONNX file", bytes(1000)
    for part in (0.02, 0.3, 0.6, 0.9, 0.99):
        yield f"truncated-to-{part}", "", content[: int(len(content) * part)]
    yield "torn", "", content[: len(content) // 2] + content[len(content) // 2 + 7 :]
    for name, word, damage in damages():
        model = sound()
        damage(model)
        yield name, word, model.SerializeToString()

"""Import against ONNX Runtime: every layer, fed ORT's integers, within one step; and refusals that name the node."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from convoy_controller.errors import ImportRefusedError
from convoy_controller.importer import ImportedModel, import_model
from convoy_schema.layers import evaluate, quantise, unpack_parameters
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind
from onnx_builder import Builder, Float, check_against_onnxruntime


def imported(builder: Builder, folder: Path, output: str) -> ImportedModel:
    return import_model(builder.save(folder, output), builder.samples(), name="test")


def kinds(model: ImportedModel) -> list[str]:
    return [layer.name for layer in model.topology.layers]


def test_a_chain_of_the_usual_layers(tmp_path: Path) -> None:
    b = Builder((3, 12, 12))
    x = b.node("Relu", b.conv("x", 3, 8, pads=[1, 1, 1, 1]))
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Clip", b.conv(x, 8, 6, strides=[2, 1], pads=[0, 1, 1, 2]), b.hold(np.float32(0)), b.hold(np.float32(1)))
    x = b.node("Flatten", b.node("AveragePool", x, kernel_shape=[2, 2]))
    x = b.node("Relu", b.node("Gemm", x, b.weights(20, 72), b.weights(20), transB=1))
    x = b.node("Gemm", x, b.weights(20, 5), b.weights(5))
    model = imported(b, tmp_path, b.node("Softmax", x))
    assert kinds(model) == ["conv1", "pool1", "conv2", "pool2", "dense1", "dense2"]
    check_against_onnxruntime(model, b.samples(64))


def test_residual_adds_and_a_global_pool(tmp_path: Path) -> None:
    b = Builder((4, 8, 8), seed=2)
    first = b.node("Relu", b.conv("x", 4, 8, pads=[1, 1, 1, 1]))
    x = b.node("Relu", b.conv(first, 8, 8, pads=[1, 1, 1, 1]))
    x = b.node("Relu", b.node("Add", first, b.conv(x, 8, 8, pads=[1, 1, 1, 1])))
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    model = imported(b, tmp_path, b.node("Gemm", x, b.weights(8, 3), b.weights(3)))
    assert kinds(model) == ["conv1", "conv2", "conv3", "add1", "pool1", "dense1"]
    assert model.topology.layer("add1").inputs in (("conv1", "conv3"), ("conv3", "conv1"))
    check_against_onnxruntime(model, b.samples(64))


def test_depthwise_dilated_and_grouped_convolutions_and_concat(tmp_path: Path) -> None:
    b = Builder((6, 9, 9), seed=3)
    depthwise = b.node("Relu", b.conv("x", 6, 6, group=6, auto_pad="SAME_UPPER"))
    dilated = b.conv(depthwise, 6, 4, dilations=[2, 2], pads=[2, 2, 2, 2])
    grouped = b.conv(depthwise, 6, 4, kernel=1, group=2)
    x = b.node("Relu", b.node("Concat", dilated, grouped, axis=1))
    model = imported(b, tmp_path, b.conv(x, 8, 2, strides=[2, 2], auto_pad="SAME_LOWER"))
    assert model.topology.layer("conv1").groups == 6
    assert Kind.CONCAT in {layer.kind for layer in model.topology.layers}
    check_against_onnxruntime(model, b.samples(64))


def test_pools_with_padding_and_sizes_rounded_up(tmp_path: Path) -> None:
    b = Builder((2, 10, 11), seed=4)
    x = b.node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    x = b.conv(x, 2, 3, kernel=2)
    x = b.node("AveragePool", x, kernel_shape=[2, 3], pads=[1, 1, 0, 1], count_include_pad=0)
    model = imported(b, tmp_path, b.conv(x, 3, 2, kernel=2))
    pools = [layer for layer in model.topology.layers if layer.kind is Kind.AVERAGE_POOL]
    assert [pool.count_include_pad for pool in pools] == [True, False]
    held = unpack_parameters(model.parameters[pools[1].parameters or ""])
    assert held.multiplier.size == 6
    check_against_onnxruntime(model, b.samples(64))


def test_matmul_with_a_bias_and_batch_normalisation_fold(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=5)
    x = b.node("Conv", "x", b.weights(4, 3, 3, 3))
    factors = [b.hold(b.random.uniform(0.5, 1.5, 4).astype(np.float32)) for _ in range(4)]
    x = b.node("Relu", b.node("BatchNormalization", x, *factors))
    x = b.node("Reshape", x, b.hold(np.array([-1, 64])))
    x = b.node("Add", b.node("MatMul", x, b.weights(64, 7)), b.weights(7))
    model = imported(b, tmp_path, x)
    assert kinds(model) == ["conv1", "dense1"]
    bias = unpack_parameters(model.parameters[model.topology.layers[1].parameters or ""]).bias
    assert bias is not None
    assert np.any(bias)
    check_against_onnxruntime(model, b.samples(64))


def test_a_vector_input_and_a_fixed_batch(tmp_path: Path) -> None:
    b = Builder((16,), seed=6)
    x = b.node("Relu", b.node("Gemm", "x", b.weights(12, 16), b.weights(12), transB=1))
    path = b.save(tmp_path, b.node("Gemm", x, b.weights(12, 16)))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    result = import_model(path, b.samples(5), name="test")
    assert kinds(result) == ["dense1", "dense2"]
    assert result.topology.tensor(result.topology.input).shape == (16,)


def test_golden_tensors_and_parameters_are_what_the_topology_names(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=7)
    x = b.node("MaxPool", b.node("Relu", b.conv("x", 3, 4)), kernel_shape=[2, 2])
    path, samples = b.save(tmp_path, x), b.samples(3)
    model = import_model(path, samples, name="test")
    assert model.golden_rows == 4
    assert set(model.golden) == {tensor.name for tensor in model.topology.tensors}
    for tensor in model.topology.tensors:
        assert len(model.golden[tensor.name]) == 4 * tensor.size
    assert all(digest_of(content) == digest for digest, content in model.parameters.items())
    assert set(model.parameters) == {layer.parameters for layer in model.topology.layers if layer.parameters}
    rows = quantise(samples[[0, 1, 2, 0]], model.topology.tensor(model.topology.input))
    found = evaluate(model.topology, model.parameters, rows)
    assert found[model.output].tobytes() == model.golden[model.output]
    assert model.output == x


def test_the_same_file_imports_to_the_same_bytes_and_a_quantised_one_as_it_is(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=8)
    path, samples = b.save(tmp_path, b.conv(b.node("Relu", b.conv("x", 3, 4)), 4, 2)), b.samples(8)
    first, second = (import_model(path, samples, name="test") for _ in range(2))
    assert first == second
    (tmp_path / "int8.onnx").write_bytes(first.quantised_onnx)
    again = import_model(tmp_path / "int8.onnx", samples, name="test")
    assert (again.topology, again.parameters, again.golden) == (first.topology, first.parameters, first.golden)


def test_unsigned_activations_are_shifted_by_128(tmp_path: Path) -> None:
    scale, zero = np.float32(0.05), np.uint8(100)
    b = Builder((8,), seed=9)
    ends = [b.hold(scale), b.hold(zero)]
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *ends), *ends)
    weights = b.random.integers(-127, 128, (8, 4)).astype(np.int8)
    w = b.node("DequantizeLinear", b.hold(weights), b.hold(np.float32(0.01)), b.hold(np.int8(0)))
    ends = [b.hold(np.float32(0.03)), b.hold(np.uint8(128))]
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", b.node("MatMul", x, w), *ends), *ends)
    path, samples = b.save(tmp_path, x), b.samples(50)
    model = import_model(path, samples, name="test")
    assert [tensor.zero_point for tensor in model.topology.tensors] == [-28, 0]
    theirs = onnxruntime.InferenceSession(str(path)).run(None, {"x": samples})[0]
    rows = quantise(samples, model.topology.tensor("x"))
    ours = evaluate(model.topology, model.parameters, rows)[model.output] * np.float32(0.03)
    assert np.abs(ours - theirs).max() <= 0.0301


def refusal(path: Path, samples: Float) -> list[str]:
    with pytest.raises(ImportRefusedError) as caught:
        import_model(path, samples, name="test")
    reasons = caught.value.data["reasons"]
    assert isinstance(reasons, list)
    assert all(reason in str(caught.value) for reason in reasons)
    return reasons


def test_every_unsupported_node_is_named_at_once(tmp_path: Path) -> None:
    b = Builder((3, 6, 6))
    x = b.node("Sigmoid", b.node("Softmax", b.conv("x", 3, 4)))
    reasons = refusal(b.save(tmp_path, b.node("Erf", x)), b.samples())
    assert len(reasons) == 3
    for reason, node in zip(reasons, ("softmax_1 (Softmax)", "sigmoid_2 (Sigmoid)", "erf_3 (Erf)"), strict=True):
        assert reason.startswith(node)
    assert "last operation" in reasons[0]
    assert "Conv" in reasons[1]


def test_forms_that_are_not_there_are_refused_all_at_once(tmp_path: Path) -> None:
    b = Builder((4, 8, 8))
    x = b.conv("x", 4, 4, pads=[1, 1, 1, 1])
    left = b.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    right = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    joined = b.node("Concat", right, b.conv(x, 4, 4, strides=[2, 2], pads=[1, 1, 1, 1]), axis=2)
    x = b.node("Add", b.node("GlobalAveragePool", left), b.node("GlobalAveragePool", joined))
    reasons = refusal(b.save(tmp_path, x), b.samples())
    assert [reason.split(" (")[0] for reason in reasons] == ["averagepool_1", "concat_4"]
    assert "ceil_mode" in reasons[0]
    assert "axis 2" in reasons[1]


def test_an_accumulator_that_could_overflow_is_refused_by_layer(tmp_path: Path) -> None:
    b = Builder((8,))
    ends = [b.hold(np.float32(0.05)), b.hold(np.int8(0))]
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *ends), *ends)
    w = b.node("DequantizeLinear", b.hold(np.full((8, 1), 127, np.int8)), b.hold(np.float32(0.01)), b.hold(np.int8(0)))
    bias = b.node("DequantizeLinear", b.hold(np.array([2**31 - 1], np.int32)), b.hold(np.float32(0.05 * 0.01)))
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", b.node("Gemm", x, w, bias), *ends), *ends)
    reasons = refusal(b.save(tmp_path, x), b.samples())
    assert len(reasons) == 1
    assert "dense1" in reasons[0]
    assert "int32" in reasons[0]


def test_weights_with_zero_points_are_refused(tmp_path: Path) -> None:
    b = Builder((8,))
    ends = [b.hold(np.float32(0.05)), b.hold(np.int8(0))]
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *ends), *ends)
    w = b.node("DequantizeLinear", b.hold(np.ones((8, 1), np.int8)), b.hold(np.float32(0.01)), b.hold(np.int8(3)))
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", b.node("MatMul", x, w), *ends), *ends)
    reasons = refusal(b.save(tmp_path, x), b.samples())
    assert len(reasons) == 1
    assert "zero points" in reasons[0]


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(100)])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert "not a valid ONNX file" in refusal(path, np.zeros((1, 1), np.float32))[0]


def test_a_missing_file_and_a_truncated_one_are_refused(tmp_path: Path) -> None:
    b = Builder((3, 6, 6))
    path = b.save(tmp_path, b.conv("x", 3, 4))
    assert "not a valid ONNX file" in refusal(tmp_path / "none.onnx", b.samples())[0]
    path.write_bytes(path.read_bytes()[:200])
    refusal(path, b.samples())


def test_calibration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    b = Builder((3, 6, 6))
    path = b.save(tmp_path, b.conv("x", 3, 4))
    assert "(rows, 3, 6, 6)" in refusal(path, np.zeros((4, 3, 6, 5), np.float32))[0]
    assert "(rows, 3, 6, 6)" in refusal(path, np.zeros((0, 3, 6, 6), np.float32))[0]
    assert "finite" in refusal(path, np.full((4, 3, 6, 6), np.nan, np.float32))[0]

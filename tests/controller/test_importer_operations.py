"""What the import folds away or makes part of a layer: the same network before and after, and in int8 as ORT has it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from convoy_controller.errors import ImportRefusedError
from convoy_controller.importer import ImportedModel, import_model
from convoy_controller.importing.graph import Read, read_graph
from convoy_controller.importing.values import View
from convoy_schema.layers import evaluate, pack_parameters, quantise, unpack_parameters
from convoy_schema.topology import Kind
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_builder import Builder, Float, check_against_onnxruntime, check_simplified


def taken(b: Builder, folder: Path, output: str) -> tuple[ImportedModel, list[str]]:
    """The network imported, and its operations before it is quantised; both compared with ORT."""
    path, samples = b.save(folder, output), b.samples(48)
    operations = check_simplified(path, samples)
    model = import_model(path, samples, name="test")
    fresh = b.samples(32)
    if model.layout == "HWC":
        fresh = fresh.transpose(0, 3, 1, 2)
    check_against_onnxruntime(model, np.ascontiguousarray(fresh.reshape(32, *model.topology.tensor("x").shape)))
    return model, operations


def refused(b: Builder, folder: Path, output: str) -> list[str]:
    with pytest.raises(ImportRefusedError) as caught:
        import_model(b.save(folder, output), b.samples(8), name="test")
    reasons = caught.value.data["reasons"]
    assert isinstance(reasons, list)
    return reasons


def factors(b: Builder, channels: int) -> list[str]:
    made = [
        b.random.uniform(-1.5, 1.5, channels),
        *b.random.normal(0, 0.5, (2, channels)),
        b.random.uniform(0.2, 2, channels),
    ]
    return [b.hold(each.astype(np.float32)) for each in made]


# Shapes --------------------------------------------------------------------------------------------------------------


def test_a_flatten_computed_from_the_shape(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=20)
    x = b.node("Relu", b.conv("x", 3, 4))
    rows = b.node("Gather", b.node("Shape", x), b.hold(np.int64(0)), axis=0)
    rows = b.node("Unsqueeze", rows, b.hold(np.array([0])))
    target = b.node("Concat", rows, b.hold(np.array([-1])), axis=0)
    model, operations = taken(b, tmp_path, b.node("Gemm", b.node("Reshape", x, target), b.weights(64, 5)))
    assert operations == ["Conv", "Relu", "Reshape", "Gemm"]
    assert [layer.name for layer in model.topology.layers] == ["conv1", "dense1"]


def test_squeeze_and_unsqueeze(tmp_path: Path) -> None:
    b = Builder((4, 6, 6), seed=21)
    x = b.node("GlobalAveragePool", b.node("Relu", b.conv("x", 4, 8)))
    x = b.node("Squeeze", x, b.hold(np.array([2, 3])))
    x = b.node("Squeeze", b.node("Unsqueeze", x, b.hold(np.array([1]))), b.hold(np.array([1])))
    model, _ = taken(b, tmp_path, b.node("Gemm", x, b.weights(8, 6), b.weights(6)))
    assert [layer.kind for layer in model.topology.layers] == [Kind.CONV2D, Kind.GLOBAL_AVERAGE_POOL, Kind.DENSE]


def test_a_transposition_before_a_dense_layer_goes_into_its_weights(tmp_path: Path) -> None:
    b = Builder((3, 5, 6), seed=22)
    x = b.node("Transpose", b.node("Relu", b.conv("x", 3, 4, pads=[1, 1, 1, 1])), perm=[0, 2, 3, 1])
    x = b.node("Relu", b.node("Gemm", b.node("Flatten", x), b.weights(120, 9), b.weights(9)))
    model, operations = taken(b, tmp_path, b.node("Gemm", x, b.weights(9, 4)))
    assert "Transpose" in operations
    assert [layer.name for layer in model.topology.layers] == ["conv1", "dense1", "dense2"]


def test_transpositions_around_clamps_sums_and_joints_vanish(tmp_path: Path) -> None:
    b = Builder((4, 6, 6), seed=23)
    left, right = (b.node("Transpose", b.conv("x", 4, 4), perm=[0, 2, 3, 1]) for _ in range(2))
    x = b.node("Relu", b.node("Add", left, right))
    x = b.node("Concat", x, left, axis=3)
    x = b.node("Transpose", x, perm=[0, 3, 1, 2])
    model, _ = taken(b, tmp_path, b.conv(x, 8, 3))
    kinds = [layer.kind for layer in model.topology.layers]
    assert kinds.count(Kind.CONV2D) == 3
    assert set(kinds) == {Kind.CONV2D, Kind.ADD, Kind.CONCAT}


def test_pictures_with_the_channels_last(tmp_path: Path) -> None:
    b = Builder((6, 7, 3), seed=24)
    x = b.node("Relu", b.conv(b.node("Transpose", "x", perm=[0, 3, 1, 2]), 3, 4))
    model, operations = taken(b, tmp_path, b.conv(x, 4, 2))
    assert model.layout == "HWC"
    assert model.topology.tensor("x").shape == (3, 6, 7)
    assert "Transpose" not in operations


def test_rows_that_are_made_a_picture(tmp_path: Path) -> None:
    b = Builder((49, 10), seed=25)
    x = b.node("Reshape", "x", b.hold(np.array([-1, 1, 49, 10])))
    model, _ = taken(b, tmp_path, b.conv(b.node("Relu", b.conv(x, 1, 4)), 4, 2))
    assert model.topology.tensor("x").shape == (1, 49, 10)
    assert any("(1, 49, 10)" in note for note in model.notes)


def test_a_transposition_that_does_not_fold_is_refused_where_it_matters(tmp_path: Path) -> None:
    b = Builder((4, 6, 6), seed=26)
    x = b.node("Transpose", b.conv("x", 4, 6), perm=[0, 2, 3, 1])
    reasons = refused(b, tmp_path, b.conv(x, 4, 3))
    assert reasons[0].startswith("conv_2 (Conv)")
    b = Builder((4, 6, 6), seed=26)
    assert "at the end" in refused(b, tmp_path, b.node("Transpose", b.conv("x", 4, 6), perm=[0, 2, 3, 1]))[0]


def test_flat_features_are_joined_by_their_channels(tmp_path: Path) -> None:
    b = Builder((4, 6, 6), seed=27)
    parts = [b.node("Flatten", b.node("Relu", b.conv("x", 4, channels))) for channels in (3, 5)]
    model, _ = taken(b, tmp_path, b.node("Gemm", b.node("Concat", *parts, axis=1), b.weights(128, 7)))
    assert model.topology.layer("concat1").kind is Kind.CONCAT
    assert model.topology.tensor(model.topology.layer("concat1").output).shape == (8, 4, 4)


# Parts of a layer ----------------------------------------------------------------------------------------------------


def test_batch_normalisation_wherever_it_stands(tmp_path: Path) -> None:
    b = Builder((3, 8, 8), seed=28)
    x = b.node("BatchNormalization", "x", *factors(b, 3), epsilon=1e-3)
    x = b.node("Relu", b.node("BatchNormalization", b.conv(x, 3, 6), *factors(b, 6)))
    x = b.node("BatchNormalization", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), *factors(b, 6))
    x = b.node("Gemm", b.node("Flatten", x), b.weights(54, 8), b.weights(8))
    model, operations = taken(b, tmp_path, b.node("Relu", b.node("BatchNormalization", x, *factors(b, 8))))
    assert "BatchNormalization" not in operations
    names = [layer.name for layer in model.topology.layers]
    assert names == ["conv1", "conv2", "pool1", "conv3", "dense1"]
    assert [model.topology.layer(f"conv{number}").groups for number in (1, 2, 3)] == [3, 1, 6]


def test_a_result_that_is_used_twice_keeps_its_layer_free_of_the_normalisation(tmp_path: Path) -> None:
    b = Builder((3, 8, 8), seed=29)
    plain = b.conv("x", 3, 4, pads=[1, 1, 1, 1])
    x = b.node("Add", plain, b.node("Relu", b.node("BatchNormalization", plain, *factors(b, 4))))
    model, _ = taken(b, tmp_path, b.conv(x, 4, 3))
    assert sum(layer.kind is Kind.CONV2D for layer in model.topology.layers) == 3


def test_constants_that_are_added(tmp_path: Path) -> None:
    b = Builder((3, 5, 5), seed=30)
    x = b.node("Add", b.node("Conv", "x", b.weights(5, 3, 3, 3), pads=[1, 1, 1, 1]), b.weights(1, 5, 1, 1))
    x = b.node("Add", b.weights(5, 1, 1), b.node("Relu", x))
    x = b.node("Add", x, b.hold(np.float32(0.25)))
    x = b.node("Flatten", x)
    x = b.node("Add", b.node("MatMul", x, b.weights(125, 6)), b.weights(1, 6))
    model, operations = taken(b, tmp_path, b.node("Add", x, b.hold(np.full(1, 0.5, np.float32))))
    assert "Add" not in operations
    assert [layer.name for layer in model.topology.layers] == ["conv1", "conv2", "dense1"]


def test_a_constant_along_the_rows_is_no_bias_even_where_sizes_agree(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=31)  # 4 channels, and rows of 4
    reasons = refused(b, tmp_path, b.node("Add", b.conv("x", 3, 4), b.weights(4)))
    assert reasons[0].startswith("add_1 (Add)")
    assert "a channel" in reasons[0]


def test_padding_averages_factors_and_nothing_at_all(tmp_path: Path) -> None:
    b = Builder((3, 7, 7), seed=32)
    x = b.node("Pad", "x", b.hold(np.array([0, 0, 1, 0, 0, 0, 2, 3])), b.hold(np.float32(0)))
    x = b.node("Dropout", b.node("Identity", b.node("Relu", b.conv(x, 3, 8, pads=[1, 0, 0, 1]))))
    x = b.node("ReduceMean", x, b.hold(np.array([-1, 2])), keepdims=0)
    x = b.node("Gemm", x, b.weights(8, 5), b.weights(5), alpha=0.5, beta=2.0)
    model, operations = taken(b, tmp_path, x)
    assert operations == ["Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm"]
    window = model.topology.layers[0].window
    assert window is not None
    assert window.padding == (2, 0, 2, 4)


def test_constants_are_folded_whatever_they_pass_through(tmp_path: Path) -> None:
    b = Builder((8,), seed=34)
    weights = b.node("Transpose", b.node("Reshape", b.weights(2, 3, 8), b.hold(np.array([6, 8]))), perm=[1, 0])
    weights = b.node("Mul", b.node("Cast", weights, to=TensorProto.FLOAT), b.node("Sqrt", b.hold(np.float32(2))))
    bias = b.node(
        "Concat", b.weights(2), b.node("Slice", b.weights(9), *(b.hold(np.array([at])) for at in (1, 5))), axis=0
    )
    _, operations = taken(b, tmp_path, b.node("Gemm", "x", weights, bias))
    assert operations == ["Gemm"]


# Pools and half steps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["AveragePool", "GlobalAveragePool"])
def test_averages_behind_relu6_are_not_often_half_a_step(tmp_path: Path, pool: str) -> None:
    b = Builder((4, 8, 8), seed=35)
    attributes = {} if pool == "GlobalAveragePool" else {"kernel_shape": [2, 2], "strides": [2, 2]}
    x = b.node("Clip", b.conv("x", 4, 8, kernel=1), b.hold(np.float32(0)), b.hold(np.float32(0.02)))
    taken(b, tmp_path, b.node(pool, x, **attributes))


def test_an_average_pool_that_came_with_its_inputs_scale_is_taken_as_it_is(tmp_path: Path) -> None:
    b = Builder((2, 8, 8), seed=36)
    ends = [b.hold(np.float32(0.03)), b.hold(np.int8(-3))]
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *ends), *ends)
    x = b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", x, *ends), *ends)
    model = import_model(b.save(tmp_path, x), b.samples(16), name="test")
    (found,) = model.agreement.layers.values()
    assert found.steps == 1
    assert found.share > 0.01  # half steps: ORT's two ways to compute them differ as well, and the import says so


# Quantised models ----------------------------------------------------------------------------------------------------


def quantised(b: Builder, x: str, scale: float, zero: int = 0) -> str:
    ends = [b.hold(np.float32(scale)), b.hold(np.int8(zero))]
    return b.node("DequantizeLinear", b.node("QuantizeLinear", x, *ends), *ends)


def test_quantised_weights_through_reshapes_and_transpositions(tmp_path: Path) -> None:
    b = Builder((8,), seed=37)
    held = b.hold(b.random.integers(-127, 128, (5, 2, 4)).astype(np.int8))
    scales, zeros = b.hold(b.random.uniform(0.005, 0.02, 5).astype(np.float32)), b.hold(np.zeros(5, np.int8))
    weights = b.node("DequantizeLinear", held, scales, zeros, axis=0)
    weights = b.node("Transpose", b.node("Reshape", weights, b.hold(np.array([5, 8]))), perm=[1, 0])
    x = b.node("MatMul", quantised(b, "x", 0.03), weights)
    model = import_model(b.save(tmp_path, quantised(b, x, 0.02, 4)), b.samples(), name="test")
    check_against_onnxruntime(model, b.samples(64))


def test_float_weights_that_are_quantised_in_the_file(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=38)
    weights, scale = b.random.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32), b.hold(np.full(4, 0.006, np.float32))
    zeros = b.hold(np.zeros(4, np.int8))
    made = b.node("QuantizeLinear", b.hold(weights), scale, zeros, axis=0)
    made = b.node("DequantizeLinear", made, scale, zeros, axis=0)
    x = b.node("Relu", b.node("Conv", quantised(b, "x", 0.03), made))
    model = import_model(b.save(tmp_path, quantised(b, x, 0.02, -128)), b.samples(), name="test")
    check_against_onnxruntime(model, b.samples(64))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_that_are_none(tmp_path: Path, scale: float) -> None:
    b = Builder((8,), seed=39)
    w = b.node("DequantizeLinear", b.hold(np.ones((8, 4), np.int8)), b.hold(np.float32(0.01)), b.hold(np.int8(0)))
    x = b.node("MatMul", quantised(b, "x", scale), w)
    assert "finite" in " ".join(refused(b, tmp_path, quantised(b, x, 0.02)))


def test_a_layer_that_is_misread_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder((3, 6, 6), seed=43)
    path = b.save(tmp_path, b.conv(b.node("Relu", b.conv("x", 3, 4)), 4, 2))

    def misread(model: onnx.ModelProto, name: str) -> Read:
        read = read_graph(model, name)
        digest = read.topology.layer("conv2").parameters or ""
        held = unpack_parameters(read.parameters[digest])
        assert held.weights is not None
        read.parameters[digest] = pack_parameters(replace(held, weights=np.ascontiguousarray(held.weights[:, ::-1])))
        return read

    monkeypatch.setattr("convoy_controller.importer.read_graph", misread)
    with pytest.raises(ImportRefusedError) as caught:
        import_model(path, b.samples(), name="test")
    (reason,) = caught.value.data["reasons"]
    assert reason.startswith("layer conv2:")


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
def test_views_are_what_numpy_makes(shape: list[int], data: st.DataObject) -> None:
    array = np.arange(int(np.prod(shape)))
    view, seen = View(tuple(shape)), array.reshape(shape)
    for _ in range(3):
        perm = tuple(data.draw(st.permutations(range(seen.ndim))))
        view, seen = view.transposed(perm), seen.transpose(perm)
        if data.draw(st.booleans()):
            view, seen = view.reshaped((seen.size,)), seen.reshape(-1)
        assert view.shape == seen.shape
        order = array if view.order is None else view.order
        np.testing.assert_array_equal(order, seen.ravel())
        assert (view.order is None) == np.array_equal(order, array)


# Files ---------------------------------------------------------------------------------------------------------------


def test_weights_beside_the_file(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=40)
    path, samples = b.save(tmp_path, b.conv(b.node("Relu", b.conv("x", 3, 8)), 8, 4)), b.samples()
    inside = import_model(path, samples, name="test")
    model = onnx.load(path)
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, location="split.bin", size_threshold=0)
    assert (tmp_path / "split.bin").stat().st_size > 1000
    assert import_model(tmp_path / "split.onnx", samples, name="test") == inside


def test_an_old_opset_is_brought_up_to_date(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=41)
    x = b.node("Clip", b.conv("x", 3, 4), min=0.0, max=6.0)
    path = b.save(tmp_path, b.node("Dropout", b.conv(x, 4, 2), ratio=0.5))
    model = onnx.load(path)
    model.opset_import[0].version = 9
    onnx.save(model, path)
    result = import_model(path, b.samples(), name="test")
    assert [layer.name for layer in result.topology.layers] == ["conv1", "conv2"]
    check_against_onnxruntime(result, b.samples(32))


def test_functions_are_inlined(tmp_path: Path) -> None:
    b = Builder((3, 6, 6), seed=42)
    model = b.model("y")
    body = [helper.make_node("Relu", ["a"], ["b"], "inner"), helper.make_node("Identity", ["b"], ["c"])]
    imports = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("local", "Clamped", ["a"], ["c"], body, imports))
    weights = onnx.numpy_helper.from_array(b.random.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32), "w")
    model.graph.initializer.append(weights)
    model.graph.node.append(helper.make_node("Conv", ["x", "w"], ["z"], "conv"))
    model.graph.node.append(helper.make_node("Clamped", ["z"], ["y"], "clamped", domain="local"))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.output[0].type.tensor_type.shape.SetInParent()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 4, 4]))
    onnx.save(model, tmp_path / "functions.onnx")
    result = import_model(tmp_path / "functions.onnx", b.samples(), name="test")
    assert [layer.low for layer in result.topology.layers] == [-128]


# Any network ---------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn) -> tuple[Builder, str]:
    """A chain of what the import takes, with normalisations, transpositions and sums where they come."""
    b = Builder(
        (draw(st.integers(1, 4)), draw(st.integers(6, 10)), draw(st.integers(6, 10))), seed=draw(st.integers(0, 99))
    )
    x, (depth, height, width) = "x", b.shape
    for _ in range(draw(st.integers(1, 4))):
        what = draw(st.sampled_from(["conv", "norm", "pool", "residual", "around", "constant"]))
        if what == "conv":
            channels = draw(st.integers(1, 6))
            x, depth = b.node("Relu", b.conv(x, depth, channels, auto_pad="SAME_UPPER")), channels
        elif what == "norm":
            x = b.node("BatchNormalization", x, *factors(b, depth))
        elif what == "pool" and min(height, width) >= 4:
            op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
            x = b.node(op, x, kernel_shape=[2, 2], strides=[2, 2])
            height, width = height // 2, width // 2
        elif what == "residual":
            x = b.node("Add", x, b.conv(x, depth, depth, pads=[1, 1, 1, 1]))
        elif what == "around":
            x = b.node("Transpose", b.node("Relu", b.node("Transpose", x, perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2])
        elif what == "constant":
            x = b.node("Add", x, b.weights(depth, 1, 1))
    x = b.node("Flatten", b.node("Transpose", b.conv(x, depth, 4, kernel=1), perm=[0, 2, 3, 1]))
    return b, b.node("Gemm", x, b.weights(4 * height * width, 5), b.weights(5))


@settings(max_examples=12, deadline=None)
@given(networks())
def test_any_network_is_simplified_without_changing_it_and_agrees_with_onnxruntime(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[Builder, str]
) -> None:
    b, output = network
    path, samples = b.save(tmp_path_factory.mktemp("any"), output), b.samples(24)
    check_simplified(path, samples)
    model = import_model(path, samples, name="test")
    for found in (*model.agreement.layers.values(), *model.agreement.plain_layers.values()):
        assert found.steps <= 1
        assert found.apart <= max(2, 1e-4 * found.elements)
    rows: Float = samples[:2]
    made = evaluate(model.topology, model.parameters, quantise(rows, model.topology.tensor(model.topology.input)))
    assert made[model.output].shape == (2, 5)

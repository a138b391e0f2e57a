"""Costs and shapes against figures worked out by hand for LeNet-5's layers."""

import pytest
from convoy_schema.costs import Cost, cost, output_shape
from convoy_schema.errors import TopologyError
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window


def alone(layer: Layer, source: tuple[int, ...], output: tuple[int, ...]) -> Cost:
    tensors = tuple(Tensor(name, source, 1.0, 0) for name in dict.fromkeys(layer.inputs))
    return cost(layer, Topology("alone", (*tensors, Tensor("y", output, 1.0, 0)), (layer,), layer.inputs[0], "y"))


def test_a_convolution() -> None:
    layer = Layer("conv2", Kind.CONV2D, ("x",), "y", Window((5, 5)))
    got = alone(layer, (6, 14, 14), (16, 10, 10))
    assert got.macs == 240_000
    assert got.parameter_bytes == 16 * (150 + 12)
    assert got.buffer_bytes == 1176 + 1600


def test_a_depthwise_convolution_counts_each_group() -> None:
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", Window((3, 3), padding=(1, 1, 1, 1)), groups=8)
    got = alone(layer, (8, 10, 10), (8, 10, 10))
    assert got.macs == 9 * 800


def test_a_dense_layer() -> None:
    got = alone(Layer("dense1", Kind.DENSE, ("x",), "y"), (16, 5, 5), (120,))
    assert (got.macs, got.parameter_bytes) == (48_000, 120 * 412)


def test_layers_without_weights_multiply_nothing() -> None:
    pool = alone(Layer("pool1", Kind.MAX_POOL, ("x",), "y", Window((2, 2), (2, 2))), (6, 28, 28), (6, 14, 14))
    assert (pool.macs, pool.parameter_bytes, pool.buffer_bytes) == (0, 0, 6 * 28 * 28 + 6 * 14 * 14)
    added = alone(Layer("add1", Kind.ADD, ("a", "b"), "y"), (8, 4, 4), (8, 4, 4))
    assert (added.macs, added.parameter_bytes, added.buffer_bytes) == (0, 16, 3 * 128)


def test_shapes() -> None:
    conv = Layer("c", Kind.CONV2D, ("x",), "y", Window((3, 2), (2, 3), (1, 0, 2, 1), (2, 1)))
    assert output_shape(conv, [(4, 9, 10)], 7) == (7, 4, 4)
    assert output_shape(Layer("d", Kind.DENSE, ("x",), "y"), [(4, 9, 10)], 7) == (7,)
    assert output_shape(Layer("g", Kind.GLOBAL_AVERAGE_POOL, ("x",), "y"), [(4, 9, 10)]) == (4, 1, 1)
    assert output_shape(Layer("j", Kind.CONCAT, ("a", "b"), "y"), [(4, 9, 10), (1, 9, 10)]) == (5, 9, 10)
    assert output_shape(Layer("j", Kind.CONCAT, ("a", "b"), "y"), [(4,), (1,)]) == (5,)


@pytest.mark.parametrize(
    ("kind", "shapes", "match"),
    [
        (Kind.DENSE, [(4,)], "output channels"),
        (Kind.IDENTITY, [(4,), (4,)], "one input"),
        (Kind.IDENTITY, [], "one input"),
        (Kind.ADD, [(4,), (5,)], "one shape"),
        (Kind.ADD, [(4,)], "two inputs"),
        (Kind.CONCAT, [(4, 2, 2), (4, 2, 3)], "channels alone"),
        (Kind.MAX_POOL, [(4,)], r"\(C, H, W\)"),
        (Kind.MAX_POOL, [(4, 2, 2)], "needs a window"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(kind: Kind, shapes: list[tuple[int, ...]], match: str) -> None:
    with pytest.raises(TopologyError, match=match) as caught:
        output_shape(Layer("layer3", kind, ("x",), "y"), shapes)
    assert "layer3" in str(caught.value)

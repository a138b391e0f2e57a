"""A folded convolution is the convolution, whatever its stride, padding and dilation; and which are folded."""

from __future__ import annotations

import numpy as np
import pytest
from convoy_schema.costs import output_shape
from convoy_schema.errors import TopologyError
from convoy_schema.fixedpoint import fixed_point
from convoy_schema.folding import LANES, fold, fold_tensor, given
from convoy_schema.layers import Parameters, Prepared, prepare
from convoy_schema.limits import library_limits
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

extents = st.integers(1, 3)


@st.composite
def convolutions(draw: st.DrawFn) -> Prepared:
    """One group, up to nine channels, any window that fits."""
    kernel, stride, dilation = (draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (5, 3, 2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    window = Window(kernel, stride, padding, dilation)
    least = [
        max(1, reach - before - after)
        for reach, before, after in zip(window.reach, padding[:2], padding[2:], strict=True)
    ]
    source = (draw(st.integers(1, 9)), least[0] + draw(extents), least[1] + draw(st.integers(0, 9)))
    return convolution(window, source, draw(st.integers(1, 5)), draw(st.integers(-128, 127)), draw(st.integers(0, 99)))


def convolution(window: Window, shape: tuple[int, int, int], out: int = 6, zero: int = 3, seed: int = 1) -> Prepared:
    random = np.random.default_rng(seed)
    layer = Layer("conv1", Kind.CONV2D, ("x",), "y", window)
    multiplier, shift = fixed_point(0.004)
    parameters = Parameters(
        random.integers(-128, 128, (out, shape[0], *window.kernel)).astype(np.int8),
        random.integers(-999, 999, out).astype(np.int32),
        np.full(out, multiplier, np.int32),
        np.full(out, shift, np.int32),
    )
    tensors = Tensor("x", shape, 1.0, zero), Tensor("y", output_shape(layer, [shape], out), 1.0, -5)
    return prepare(layer, Topology("alone", tensors, (layer,), "x", "y"), parameters)


@settings(deadline=None, max_examples=300)
@drawn(plain=convolutions(), rows=st.integers(1, 2))
def test_a_folded_convolution_is_the_convolution(plain: Prepared, rows: int) -> None:
    (source,) = plain.inputs
    x = np.random.default_rng(rows).integers(-128, 128, (rows, *source.shape)).astype(np.int8)
    layer, narrow, parameters = fold(plain.layer, source, plain.parameters)
    folded = prepare(layer, Topology("folded", (narrow, plain.output), (layer,), "x", "y"), parameters)
    np.testing.assert_array_equal(folded.run([fold_tensor(plain.layer, source, x)]), plain.run([x]))


@settings(deadline=None, max_examples=300)
@drawn(plain=convolutions())
def test_what_is_given_folded_is_a_word_wide_and_fits_wherever_it_fitted(plain: Prepared) -> None:
    found, (source,) = plain.given, plain.inputs
    if found.folded is None:
        assert (found.layer, found.inputs, found.parameters) == (plain.layer, plain.inputs, plain.parameters)
        return
    (narrow,) = found.inputs
    assert narrow.shape[0] <= LANES
    assert narrow.shape[2] <= source.shape[2]
    limits = library_limits(Kind.CONV2D)
    assert not limits.refusal(plain.layer, [source], plain.output)
    assert not limits.refusal(found.layer, [narrow], plain.output)


def is_folded(window: Window, shape: tuple[int, int, int]) -> bool:
    return convolution(window, shape).given.folded is not None


def test_few_channels_and_columns_are_folded_and_others_are_not() -> None:
    assert is_folded(Window((5, 5), padding=(2, 2, 2, 2)), (1, 28, 28))
    assert is_folded(Window((10, 4), (2, 2), (4, 1, 5, 1)), (1, 49, 10))
    assert is_folded(Window((3, 3), dilation=(2, 2)), (2, 9, 9))
    assert not is_folded(Window((3, 3)), (3, 32, 32)), "nine lanes"
    assert not is_folded(Window((3, 1)), (1, 9, 9)), "nothing to lay side by side"
    assert not is_folded(Window((3, 3), padding=(2, 2, 2, 2)), (1, 9, 9)), "a longer row"


def test_a_convolution_in_groups_is_not_folded() -> None:
    layer, source = Layer("c", Kind.CONV2D, ("x",), "y", Window((3, 3)), groups=2), Tensor("x", (2, 9, 9), 1.0, 0)
    assert given(layer, [source]).folded is None
    with pytest.raises(TopologyError, match="cannot be folded"):
        fold(layer, source, None)

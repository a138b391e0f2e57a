"""The operation at the end: what it computes, what fits behind a network, and bundles from before there was one."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import numpy as np
import pytest
from convoy_schema import codec
from convoy_schema.bundle import Bundle, announce, verify
from convoy_schema.ending import Ending, Operation
from convoy_schema.errors import DecodeError, TopologyError
from convoy_schema.signing import SigningKey
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_bundle import BUNDLE, KEY, PROBE, TOPOLOGY, TRUSTED

SOFTMAX = Ending(Operation.SOFTMAX, "probabilities", (3,), 0, (3,))
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Real outputs (n, *view) of any view, and one of its axes; some values are equal."""
    view = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    values = st.sampled_from([draw(FLOATS) for _ in range(3)])
    return draw(hnp.arrays(np.float32, (draw(st.integers(1, 3)), *view), elements=values)), draw(
        st.integers(0, len(view) - 1)
    )


@given(cases())
def test_softmax_are_probabilities_of_any_size_of_value(case: tuple[np.ndarray, int]) -> None:
    real, axis = case
    view = real.shape[1:]
    found = Ending(Operation.SOFTMAX, "p", view, axis, (real[0].size,)).apply(real.reshape(len(real), -1))
    assert found.dtype == np.float32
    assert found.shape == (len(real), real[0].size)
    np.testing.assert_allclose(found.reshape(real.shape).sum(axis + 1), 1, rtol=1e-6)
    exact = np.exp(real.astype(np.float64) - real.max(axis + 1, keepdims=True))
    exact /= exact.sum(axis + 1, keepdims=True)
    np.testing.assert_allclose(found.reshape(real.shape), exact, rtol=2e-6, atol=1e-37)


@given(cases(), st.booleans())
def test_argmax_takes_the_first_or_last_of_the_largest(case: tuple[np.ndarray, int], is_last: bool) -> None:
    real, axis = case
    view = real.shape[1:]
    found = Ending(Operation.ARGMAX, "c", view, axis, view[:axis] + view[axis + 1 :], is_last).apply(real)
    assert found.dtype == np.int64
    lines = np.moveaxis(real, axis + 1, -1)
    for line, number in zip(lines.reshape(-1, view[axis]), found.ravel(), strict=True):
        largest = np.flatnonzero(line == line.max())
        assert number == (largest[-1] if is_last else largest[0])


def test_without_an_operation_nothing_happens() -> None:
    real = np.ones((2, 3), np.float32)
    assert Ending().apply(real) is real
    assert (BUNDLE.ending, BUNDLE.answer) == (Ending(), "y")
    assert replace(BUNDLE, ending=SOFTMAX).answer == "probabilities"


def test_a_bundle_from_before_there_were_endings_still_verifies() -> None:
    fields = msgpack.unpackb(codec.pack(BUNDLE))
    del fields["ending"]
    old = msgpack.packb(fields)
    announced = replace(announce(BUNDLE, TOPOLOGY, SigningKey(KEY), PROBE), bundle=old, signature=KEY.sign(old))
    assert verify(announced, TRUSTED).bundle == BUNDLE


def test_an_ending_that_does_not_fit_is_refused() -> None:
    wide = replace(SOFTMAX, view=(4,), shape=(4,))
    with pytest.raises(TopologyError, match=r"softmax of \(4,\), the network's output has 3 elements"):
        verify(announce(replace(BUNDLE, ending=wide), TOPOLOGY, SigningKey(KEY), PROBE), TRUSTED)
    fitting = announce(replace(BUNDLE, ending=SOFTMAX), TOPOLOGY, SigningKey(KEY), PROBE)
    assert verify(fitting, TRUSTED).bundle.ending == SOFTMAX


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"axis": 1}, "axis 1 must be one of the view"),
        ({"shape": [2]}, "softmax of .* makes 3 elements"),
        ({"operation": "argmax"}, "argmax of .* makes 1 elements"),
        ({"operation": "softplus"}, "one of none, softmax, argmax"),
    ],
)
def test_an_ending_that_contradicts_itself_cannot_be_read(wrong: dict[str, object], reason: str) -> None:
    fields = msgpack.unpackb(codec.pack(replace(BUNDLE, ending=SOFTMAX)))
    fields["ending"].update(wrong)
    with pytest.raises(DecodeError, match=reason):
        codec.unpack(Bundle, msgpack.packb(fields))

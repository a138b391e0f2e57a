"""Scales, roundings and the quantisation of inputs, against Python's own exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from convoy_schema.errors import DecodeError, TopologyError
from convoy_schema.fixedpoint import Requantiser, dequantise, fixed_point, quantise, round_shift, scale_of
from convoy_schema.topology import Tensor
from hypothesis import example, given
from hypothesis import strategies as st


@given(st.floats(2**-38, 2**23, width=32))
def test_a_float32_scale_is_exact(real: float) -> None:
    multiplier, shift = fixed_point(real)
    assert 2**23 <= multiplier < 2**24
    assert 0 <= shift <= 62
    assert Fraction(multiplier, 2**shift) == Fraction(real)
    assert scale_of(np.array([multiplier], np.int32), np.array([shift], np.int32))[0] == real


@given(st.floats(2**-38, 2**23))
def test_any_scale_is_within_half_a_unit_of_24_bits(real: float) -> None:
    multiplier, shift = fixed_point(real)
    assert abs(Fraction(multiplier, 2**shift) - Fraction(real)) <= Fraction(1, 2 ** (shift + 1))


def test_a_scale_too_small_to_matter_makes_zero_of_every_accumulator() -> None:
    multiplier, shift = fixed_point(1e-30)
    assert abs(round(Fraction(2**31 * multiplier, 2**shift))) == 0


@pytest.mark.parametrize("real", [0.0, -1.0, float("nan"), float("inf"), 2.0**24])
def test_a_scale_that_cannot_be_is_refused(real: float) -> None:
    with pytest.raises(TopologyError):
        fixed_point(real)


@given(st.integers(-(2**61), 2**61), st.integers(0, 62))
def test_shifts_round_half_to_even(value: int, shift: int) -> None:
    assert round_shift(np.array([value]), shift)[0] == round(Fraction(value, 2**shift))


@given(st.integers(-(2**20), 2**20), st.integers(1, 30))
def test_exact_halves_go_to_the_even_neighbour(half: int, shift: int) -> None:
    value = (2 * half + 1) << (shift - 1)
    assert round_shift(np.array([value]), shift)[0] == round(Fraction(value, 2**shift))
    assert round_shift(np.array([value]), shift)[0] % 2 == 0


multipliers, shifts, zeros = st.integers(2**23, 2**24 - 1), st.integers(0, 62), st.integers(-128, 127)


def requantiser(multiplier: int, shift: int, bound: int, zero: int) -> Requantiser:
    scales = np.array([multiplier], np.int32), np.array([shift], np.int32)
    return Requantiser(*scales, np.array([bound], np.int64), zero, (-100, 90))


def requantised(sums: list[int], multiplier: int, shift: int, zero: int) -> list[int]:
    return [min(90, max(-100, round(Fraction(each * multiplier, 2**shift)) + zero)) for each in sums]


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=8), multipliers, shifts, zeros)
def test_both_widths_of_the_requantiser_agree_with_fractions(
    sums: list[int], multiplier: int, shift: int, zero: int
) -> None:
    requantise = requantiser(multiplier, shift, max(map(abs, sums)), zero)
    expected = requantised(sums, multiplier, shift, zero)
    assert requantise(np.array(sums, np.float64)).tolist() == expected
    requantise.is_float = False
    assert requantise(np.array(sums, np.float64)).tolist() == expected


@given(st.integers(-300, 300), st.integers(-2, 2), multipliers, shifts, zeros)
@example(half=0, beside=0, multiplier=2**23, shift=53, zero=0)  # just a half, and the even neighbour is zero
def test_halves_and_what_lies_beside_them_are_rounded_as_fractions_are(
    half: int, beside: int, multiplier: int, shift: int, zero: int
) -> None:
    found = round(Fraction((2 * half + 1) * 2**shift, 2 * multiplier)) + beside
    total = max(-(2**31) + 1, min(2**31 - 1, found))
    made = requantiser(multiplier, shift, 2**31 - 1, zero)(np.array([total], np.float64))
    assert made.tolist() == requantised([total], multiplier, shift, zero)


def test_float64_rounds_all_that_importers_make() -> None:
    assert requantiser(2**24 - 1, 44, 2**31 - 1, 0).is_float  # what it cannot hold is clamped
    assert requantiser(2**23, 62, 2**31 - 1, 0).is_float  # nothing but zero comes of it: a dead channel
    assert requantiser(2**23, 48, 2**29, 0).is_float  # every product is below 2 ** 53
    assert not requantiser(2**24 - 1, 48, 2**31 - 1, 0).is_float


def test_inputs_are_divided_in_float32_rounded_shifted_and_saturated() -> None:
    tensor = Tensor("x", (6,), 0.1, 5)
    real = np.array([0.0, 0.05, 0.15, -100.0, 100.0, float("inf")], np.float32)
    # 0.05 / 0.1 is just half in float32, 0.15 / 0.1 just above one and a half.
    assert quantise(real, tensor).tolist() == [5, 5, 7, -128, 127, 127]
    assert dequantise(np.array([5, 6, -128], np.int8), tensor).tolist() == pytest.approx([0, 0.1, -13.3])


def test_not_a_number_is_refused() -> None:
    with pytest.raises(DecodeError, match="NaN"):
        quantise(np.array([float("nan")]), Tensor("x", (1,), 0.1, 0))


@given(st.integers(-128, 127), st.floats(2**-20, 2**10, width=32), st.integers(-128, 127))
def test_quantising_undoes_dequantising(value: int, scale: float, zero: int) -> None:
    tensor = Tensor("x", (1,), scale, zero)
    assert quantise(dequantise(np.array([value], np.int8), tensor), tensor)[0] == value

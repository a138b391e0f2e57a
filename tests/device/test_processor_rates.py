"""The processor's measured rate, and that a paced board keeps to a stated one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from convoy_device.fabric.processor import Processor
from convoy_device.fabric.rates import measured, rate_of, rounded
from convoy_device.sample_layers import sample
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(1e-9, 1e15))
def test_a_figure_is_rounded_to_what_a_like_board_has_too(value: float) -> None:
    assert value / 2**0.2501 <= rounded(value) <= value * 2**0.2501
    assert rounded(rounded(value)) == rounded(value)


def test_what_is_measured_is_what_a_layer_takes() -> None:
    # A clock that counts the calls knows what each is worth: one second a run, whatever the rows.
    ticks = iter(range(1000))
    rate = rate_of(lambda: float(next(ticks)))
    assert rate.call_s == 1.0
    assert rate.macs_per_s > 1e9  # no row takes any time
    found = measured()
    assert found is measured()
    chosen = sample(Kind.CONV2D)
    inputs = [np.resize(array, (64, *array.shape[1:])) for array in chosen.inputs]
    took = []
    for _ in range(10):
        began = time.perf_counter()
        chosen.layer.run(inputs)
        took.append(time.perf_counter() - began)
    # Far apart, since the machine may be busy with others.
    assert min(took) / 100 < found.seconds(chosen.layer.cost, 64) < 100 * min(took)


@pytest.mark.parametrize("pace", [1.0, 2.0])
def test_a_paced_processor_takes_what_its_rate_says(pace: float) -> None:
    chosen = sample(Kind.DENSE)
    rate = ProcessorRate(1e6, 1e9, 0.01)
    processor = Processor(rate, pace)
    rows = len(chosen.inputs[0])
    began = time.perf_counter()
    found = processor.run(chosen.layer, chosen.inputs)
    took = time.perf_counter() - began
    assert np.array_equal(found, chosen.layer.run(chosen.inputs))
    assert took >= pace * (0.01 + rows * 3300 / 1e6) * 0.99
    for plain in (Processor(rate), Processor(), Processor(None, pace)):
        assert np.array_equal(plain.run(chosen.layer, chosen.inputs), found)

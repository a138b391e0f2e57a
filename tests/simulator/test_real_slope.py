"""The arithmetic of growth: a leak is found, warming up and noise are not called one, too little says nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from convoy_simulator.real.slope import BLOCK_S, LEAST_S, WARM_UP_S, Life, fit
from convoy_simulator.real.verdict import MOST_GROWTH_BYTES_PER_H
from hypothesis import given
from hypothesis import strategies as st

MB = 1e6


def life(
    seconds: float, bytes_per_h: float, level: float = 50 * MB, noise: float = 0.0, seed: int = 1, begin: float = 0.0
) -> Life:
    random_ = np.random.default_rng(seed)
    at = np.arange(0.0, seconds, 2.0)
    sizes = level + bytes_per_h * at / 3600 + random_.normal(0, noise or 1e-9, len(at))
    return list(zip((begin + at).tolist(), sizes.tolist(), strict=True))


@given(
    st.floats(-50 * MB, 50 * MB),
    st.lists(st.tuples(st.floats(750, 2500), st.floats(1 * MB, 500 * MB)), min_size=1, max_size=5),
)
def test_a_straight_line_is_found_whatever_the_lives_levels(rate: float, lives: list[tuple[float, float]]) -> None:
    found = fit([life(seconds, rate, level) for seconds, level in lives])
    assert found.bytes_per_h == pytest.approx(rate, rel=1e-3, abs=100.0)
    assert found.error_bytes_per_h < 100.0 + abs(rate) * 1e-3
    assert found.lives == len(lives)


def test_a_leak_in_noise_is_found_and_none_is_not() -> None:
    leaks = fit([life(3600, 10 * MB, noise=1 * MB)])
    assert leaks.exceeds(MOST_GROWTH_BYTES_PER_H)
    assert not fit([life(3600, 0.0, noise=1 * MB)]).exceeds(MOST_GROWTH_BYTES_PER_H)
    # Three times the bound over short lives, each with a level of its own.
    short = [life(900, 3 * MOST_GROWTH_BYTES_PER_H, level * 10 * MB, noise=0.05 * MB, seed=level) for level in range(9)]
    assert fit(short).exceeds(MOST_GROWTH_BYTES_PER_H)


def test_the_error_covers_what_it_says_even_where_noise_wanders() -> None:
    """Of a hundred flat processes whose noise is correlated over minutes, few may look as if they grew."""
    misses = 0
    for seed in range(100):
        steps = np.random.default_rng(seed).normal(0, 0.05 * MB, 1800)
        wandering = np.zeros(1800)
        for at in range(1, 1800):
            wandering[at] = 0.98 * wandering[at - 1] + steps[at]
        found = fit([[(2.0 * at, 50 * MB + size) for at, size in enumerate(wandering.tolist())]])
        misses += abs(found.bytes_per_h) > found.error_bytes_per_h
    assert misses <= 15


def test_what_a_process_takes_to_warm_up_is_no_growth() -> None:
    warming = [(at, 10 * MB + min(at / WARM_UP_S, 1.0) * 40 * MB) for at in np.arange(0, 1500, 2.0).tolist()]
    assert fit([warming]).bytes_per_h == pytest.approx(0.0, abs=1.0)
    assert fit([warming]).first_bytes == 10 * MB
    assert fit([warming]).most_bytes == 50 * MB


def test_too_little_says_nothing() -> None:
    assert fit([]).error_bytes_per_h == math.inf
    assert fit([life(WARM_UP_S + 2 * BLOCK_S, 100 * MB)]).lives == 0
    short = fit([life(WARM_UP_S + LEAST_S / 2, 1000 * MB)])
    assert short.bytes_per_h == pytest.approx(1000 * MB, rel=1e-3)
    assert not short.is_sure
    assert not short.exceeds(MOST_GROWTH_BYTES_PER_H)

"""The kernels under sanitizers, and how many lines of their headers the tests reach; fewer examples than elsewhere."""

from __future__ import annotations

import hls_quality
import pytest
from convoy_hls import unavailable


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if reason := unavailable():
        pytest.skip(reason)


@pytest.mark.long
def test_no_sanitizer_has_anything_to_say() -> None:
    assert hls_quality.sanitize(25) == ""


@pytest.mark.long
def test_the_tests_reach_the_headers() -> None:
    failure, reached = hls_quality.coverage(30)
    assert failure == ""
    assert {"conv2d.hpp", "dense.hpp", "weighted.hpp", "chain.hpp", "max_pool.hpp"} <= set(reached)
    assert hls_quality.share(reached) >= hls_quality.WANTED, reached

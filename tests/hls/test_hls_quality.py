"""The kernels under sanitizers, and how many lines of their headers the tests reach; fewer examples than elsewhere."""

from __future__ import annotations

from pathlib import Path

import hls_quality
import pytest
from convoy_hls import unavailable
from convoy_hls.build import COUNTING, compile_to


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if reason := unavailable():
        pytest.skip(reason)


@pytest.mark.long
def test_more_than_a_thousand_random_layers_of_each_kind(tmp_path: Path) -> None:
    compile_to(tmp_path / "counting.so", COUNTING)
    done = hls_quality.run_tests(tmp_path / "counting.so", {}, 1200)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.mark.long
def test_no_sanitizer_has_anything_to_say() -> None:
    assert hls_quality.sanitize(25) == ""


@pytest.mark.long
def test_the_tests_reach_the_headers() -> None:
    failure, reached = hls_quality.coverage(30)
    assert failure == ""
    assert {"conv2d.hpp", "dense.hpp", "weighted.hpp", "chain.hpp", "max_pool.hpp"} <= set(reached)
    assert hls_quality.share(reached) >= hls_quality.WANTED, reached

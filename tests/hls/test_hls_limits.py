"""The floorplans, and so the capability of a board, say what the library's kernels take."""

from __future__ import annotations

import pytest
from convoy_bitstreams import floorplans
from convoy_schema.limits import library_limits
from convoy_schema.topology import Kind


@pytest.mark.parametrize("shell", ["layers", "partitions"])
def test_the_floorplans_have_the_librarys_limits(shell: str) -> None:
    assert {kernel.kind: kernel for kernel in floorplans()[shell].kernels} == {
        kind: library_limits(kind) for kind in Kind
    }


def test_the_shell_that_is_one_network_runs_no_single_layer() -> None:
    assert floorplans()["fixed"].kernels == ()

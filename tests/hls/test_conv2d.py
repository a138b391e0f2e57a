"""The convolution is the reference's to the bit, in the cycles of its formula, over random layers."""

from __future__ import annotations

import numpy as np
from convoy_hls import Library
from convoy_schema import folding
from convoy_schema.cycles import load_loops, run_loops
from hls_cases import EXAMPLES, Case, check, convolutions, counted
from hls_tiles import CONVOLUTIONS, Instance
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=convolutions(), rows=st.integers(1, 2), instance=st.sampled_from(CONVOLUTIONS))
def test_random_layers(counting: Library, case: Case, rows: int, instance: Instance) -> None:
    assume(not instance.limits.refusal(case.layer, case.inputs, case.output))
    check(case, rows, instance.kernel(counting), counting, instance.load, instance.run)


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=convolutions(4), rows=st.integers(1, 2))
def test_layers_of_few_channels_as_a_kernel_is_given_them(counting: Library, case: Case, rows: int) -> None:
    given = folding.given(case.layer, case.inputs, case.parameters)
    assume(given.folded is not None)
    expected, kernel = case.prepared().run(case.arrays(rows)), CONVOLUTIONS[0].kernel(counting)
    counting.reset_loops()
    loaded = kernel.load(given.layer, given.inputs, case.output, given.parameters)
    assert counted(counting) == load_loops(case.layer, case.inputs, case.output)
    counting.reset_loops()
    np.testing.assert_array_equal(loaded.run(given.arrays(case.arrays(rows))), expected)
    assert counted(counting) == run_loops(case.layer, case.inputs, case.output, rows)

"""The convolution is the reference's to the bit, in the cycles of its formula, over random layers."""

from __future__ import annotations

from convoy_hls import Library
from hls_cases import EXAMPLES, Case, check, convolutions
from hls_tiles import CONVOLUTIONS, Instance
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=convolutions(), rows=st.integers(1, 2), instance=st.sampled_from(CONVOLUTIONS))
def test_random_layers(counting: Library, case: Case, rows: int, instance: Instance) -> None:
    assume(not instance.limits.refusal(case.layer, case.inputs, case.output))
    check(case, rows, instance.kernel(counting), counting, instance.load, instance.run)

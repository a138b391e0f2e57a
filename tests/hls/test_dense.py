"""The dense layer is the reference's to the bit, in the cycles of its formula, over random layers."""

from __future__ import annotations

from convoy_hls import Library
from hls_cases import EXAMPLES, Case, check, dense_layers
from hls_tiles import DENSES, Instance
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=dense_layers(), rows=st.integers(1, 9), instance=st.sampled_from(DENSES))
def test_random_layers(counting: Library, case: Case, rows: int, instance: Instance) -> None:
    assume(not instance.limits.refusal(case.layer, case.inputs, case.output))
    check(case, rows, instance.kernel(counting), counting, instance.load, instance.run)

"""The concat is the reference's to the bit, in the cycles of its formula, over random layers."""

from __future__ import annotations

from convoy_hls import Library
from hls_cases import EXAMPLES, Case
from hls_pools import CONCATS, PlainInstance, concats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=concats(), rows=st.integers(1, 3), instance=st.sampled_from(CONCATS))
def test_random_layers(counting: Library, case: Case, rows: int, instance: PlainInstance) -> None:
    instance.check(case, rows, counting)

"""The text that Prometheus reads: as its own client's parser understands it."""

from __future__ import annotations

import re

from convoy_controller.histogram import FAST_S, Histogram
from convoy_controller.metrics import families as f
from convoy_controller.metrics.families import FAMILIES, Kind
from convoy_controller.metrics.page import MOST_REASONS, OTHER, Page, Reasons, process_registry
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from scraped import samples, value


def test_every_family_keeps_to_the_conventions() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert re.fullmatch(r"convoy_[a-z]+(_[a-z]+)*", family.name)
        assert family.help.endswith(".")
        assert (family.kind is Kind.COUNTER) == family.name.endswith("_total"), family.name
        assert not re.search(r"_(ms|us|milliseconds|minutes|hours|days|kb|mb|percent)(_|$)", family.name), family.name
        if family.kind is Kind.HISTOGRAM:
            assert family.name.endswith("_seconds")
        assert not {"le", "quantile", "job", "instance"} & set(family.labels)
        if "generation" in family.labels:
            assert family.name.endswith("_info")


@given(st.text(), st.floats())
def test_whatever_a_label_holds_is_read_back(text: str, number: float) -> None:
    page = Page()
    page.add(f.CONTROLLER_INFO, number, text, "1")
    page.by_reason(f.REFUSED_MESSAGES, {text: 3})
    found = samples(page.text())
    read = value(found, "convoy_controller_info", site=text, version="1")
    assert read == number or number != number
    assert value(found, "convoy_controller_refused_messages_total", reason=text) == 3


@given(st.lists(st.floats(0, 20)))
def test_a_histogram_adds_up(durations: list[float]) -> None:
    histogram, page = Histogram(FAST_S), Page()
    for seconds in durations:
        histogram.add(seconds)
    page.histogram(f.WRITES, histogram)
    page.histogram(f.RECOVERY, histogram, "digits")
    found = samples(page.text())
    for name, labels in (
        ("convoy_database_write_seconds", {}),
        ("convoy_deployment_recovery_seconds", {"deployment": "digits"}),
    ):
        buckets = [value(found, f"{name}_bucket", le=le, **labels) for le in (*map(repr, FAST_S), "+Inf")]
        assert buckets == sorted(buckets)  # type: ignore[type-var]
        assert buckets[-1] == value(found, f"{name}_count", **labels) == len(durations)
        assert value(found, f"{name}_sum", **labels) == histogram.seconds


def test_reasons_are_bounded_and_none_is_lost() -> None:
    reasons = Reasons()
    first = {f"reason-{number}": 1 for number in range(MOST_REASONS)}
    assert reasons.bounded(first) == first
    assert reasons.bounded({"reason-0": 5, "made-up-1": 2, "made-up-2": 3}) == {"reason-0": 5, OTHER: 5}
    assert reasons.bounded({}) == {}


def test_the_page_ends_with_the_process_as_prometheus_client_knows_it() -> None:
    page = Page()
    page.add(f.IN_CHARGE, 1)
    families = list(text_string_to_metric_families(page.text(process_registry()).decode()))
    names = [family.name for family in families]
    assert names[0] == "convoy_controller_in_charge"
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_start_time_seconds"} <= set(names)
    assert all(family.documentation for family in families)

"""The bench of scrapes: what it measures is the page that a controller writes, and its peer says the same."""

from __future__ import annotations

import pytest
from convoy_controller.bench import metrics
from convoy_controller.bench.registry import BENCHES
from scraped import samples


def test_it_measures_pages_of_real_registries_beside_a_peer_that_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SIZES", (20, 60))
    monkeypatch.setattr(metrics, "ROUNDS", 1)
    page = metrics.written(metrics.fleet_of(20))
    assert samples(metrics._peer(metrics._samples(page))) == samples(page)
    result = BENCHES["metrics"].run("auto")
    assert [figure.peer_name for figure in result.figures] == ["prometheus_client", "prometheus_client", ""]
    assert result.notes["series_60"] > result.notes["series_20"] > 20 * 20
    assert all(figure.figure > 0 for figure in result.figures)

"""Figures, bars and what `convoy bench` prints of them."""

from __future__ import annotations

import json

import pytest
from convoy_controller.bench import registry
from convoy_controller.bench.figures import Figure, Paired, Result
from convoy_controller.cli import app
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

RUNNER = CliRunner()
POSITIVE = st.floats(0.001, 1000)


@pytest.mark.parametrize(
    ("value", "bar", "at_least", "met"),
    [(0.6, 0.6, True, True), (0.59, 0.6, True, False), (1.5, 1.5, False, True), (1.51, 1.5, False, False)],
)
def test_a_bar_bounds_the_ratio_or_the_figure(value: float, bar: float, at_least: bool, met: bool) -> None:
    assert Figure("alone", "MB", value, bar, at_least).met is met
    assert Figure("beside", "frames/s", value * 250, bar, at_least, "peer", 250.0).met is met


def test_a_figure_says_all_in_json() -> None:
    beside = Figure("rate", "frames/s", 150.0, 0.6, True, "raw", 200.0).plain()
    assert beside == {
        **{"name": "rate", "unit": "frames/s", "figure": 150.0, "peer_name": "raw", "peer": 200.0},
        **{"ratio": 0.75, "bar": ">= 0.6", "met": True},
    }
    alone = Figure("size", "MB", 120.0, 100.0, False).plain()
    assert (alone["peer"], alone["ratio"], alone["bar"], alone["met"]) == (None, None, "<= 100", False)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=9))
def test_the_ratio_is_the_median_of_the_rounds(rounds: list[tuple[float, float]]) -> None:
    paired = Paired([], [])
    for ours, peer in rounds:
        paired.add(ours, peer)
    figure = paired.figure("rate", "x", 1.0, at_least=True, peer_name="peer")
    ratios = sorted(ours / peer for ours, peer in rounds)
    assert figure.ratio is not None
    assert ratios[0] * 0.999 <= figure.ratio <= ratios[-1] * 1.001
    if len(rounds) % 2:
        assert figure.ratio == pytest.approx(ratios[len(rounds) // 2])


def result(*met: bool) -> Result:
    figures = tuple(Figure(f"f{n}", "x", 1.0 if is_met else 0.1, 0.5, True) for n, is_met in enumerate(met))
    return Result("stand-in", figures, {"broker": "none"})


@pytest.mark.parametrize(("met", "code"), [((True, True), 0), ((True, False), 1)])
def test_the_command_ends_as_the_bars_say(met: tuple[bool, ...], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BENCHES, "stand-in", registry.Bench("for a test", lambda broker: result(*met)))
    done = RUNNER.invoke(app, ["bench", "stand-in", "--json"])
    assert done.exit_code == code
    printed = json.loads(done.stdout)
    assert printed.keys() == {"bench", "met", "figures", "notes"}
    assert printed["met"] is all(met)
    assert [figure["met"] for figure in printed["figures"]] == list(met)
    table = RUNNER.invoke(app, ["bench", "stand-in"])
    assert table.exit_code == code
    assert "f1" in table.stdout
    assert "broker: none" in table.stdout


def test_every_bench_is_listed_and_an_unknown_one_is_a_usage_error() -> None:
    listed = RUNNER.invoke(app, ["bench", "--list", "--json"])
    assert listed.exit_code == 0
    assert [line["bench"] for line in json.loads(listed.stdout)] == list(registry.BENCHES)
    assert {"pipeline", "throughput", "footprint"} <= registry.BENCHES.keys()
    unknown = RUNNER.invoke(app, ["bench", "nosuch"])
    assert unknown.exit_code == 2
    assert "pipeline" in unknown.output
    assert RUNNER.invoke(app, ["bench"]).exit_code == 2

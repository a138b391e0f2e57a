from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import pytest
from convoy_controller import service
from convoy_schema.toml import parse_toml
from convoy_simulator import reporting, virtual_link
from convoy_simulator.calibration import with_comparisons, with_records
from convoy_simulator.command import LINE_S, _Lines
from convoy_simulator.costs import Comparison, Records, calibration
from convoy_simulator.record_costs import measured
from convoy_simulator.sized_fleet import broker_limits, raised_limits
from convoy_simulator.sizing import Arrangement, Estimate, Question, Use, _busiest, estimate
from PIL import Image
from rich.console import Console


@pytest.fixture(scope="module")
def small() -> Estimate:
    return estimate(Question(4, per_deployment=4, hours=0.02))


def test_every_board_is_ready_and_the_figures_hang_together(small: Estimate) -> None:
    assert len(small.ready_s) == 4
    assert 0 < small.quantile(0.5) <= small.quantile(0.99) <= small.quantile(1.0) <= small.stepped_s
    assert small.deploy_bytes > 4 * 50_000  # LeNet-5's parameters go to each of them
    assert small.messages >= sum(packets for packets, _, _ in small.seconds)
    assert {use.part for use in small.uses} >= {"broker's processor", "broker's line", "controller's processor"}
    assert small.dropped == 0


def test_a_slower_board_is_ready_later(small: Estimate) -> None:
    slow = estimate(Question(4, per_deployment=4, hours=0.02), Arrangement(None, board_slowness=60.0))
    assert slow.quantile(1.0) > 2 * small.quantile(1.0)


def test_the_rest_of_the_time_is_reckoned_as_it_would_have_passed() -> None:
    short, whole = (estimate(Question(20, per_deployment=10, hours=0.05, whole=whole)) for whole in (False, True))
    assert short.stepped_s < 60 < whole.stepped_s == pytest.approx(180, abs=1)
    assert short.ready_s == whole.ready_s
    assert short.messages == pytest.approx(whole.messages, rel=0.03)
    assert short.bytes == pytest.approx(whole.bytes, rel=0.03)
    assert max(short.seconds) == max(whole.seconds)
    short_uses, whole_uses = ({use.part: use.peak for use in each.uses} for each in (short, whole))
    assert all(short_uses[part] == whole_uses[part] for part in ("broker's processor", "broker's line"))
    # Ten seconds, of which the short run has only some.
    assert short_uses["controller's database"] == pytest.approx(whole_uses["controller's database"], rel=0.1)


def test_a_controller_tells_no_more_at_once_than_its_link_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with ten thousand boards: what the link dropped was told again after a minute without progress."""
    monkeypatch.setattr(virtual_link, "MAX_INFLIGHT", 4)
    monkeypatch.setattr(virtual_link, "MAX_OUTBOX", 30)
    monkeypatch.setattr(service, "MOST_UNSENT", 15)
    found = estimate(Question(60, per_deployment=60, hours=0.05))
    assert found.quantile(1.0) < 30


def test_what_is_reported(small: Estimate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporting.show(small)
    shown = capsys.readouterr().out
    assert "4 of 4" in shown
    assert "What is used most is" in shown
    page = reporting.markdown(small)
    assert page.startswith("# 4 boards, lenet5, calm: deploy\n")
    told = json.loads(json.dumps(reporting.as_json(small)))
    assert told["ready_boards"] == 4
    assert told["ready_last_s"] == pytest.approx(small.quantile(1.0), abs=0.001)
    reporting.draw(small, tmp_path / "seen.png")
    with Image.open(tmp_path / "seen.png") as image:
        assert image.size[0] == 960
        assert len(image.convert("RGB").getcolors(1000) or ()) > 3


def test_boards_that_are_never_ready_are_said_to_be() -> None:
    none = Estimate(Question(3), ready_s=[1.0], seconds=[(1, 1, 1)], uses=[Use("broker's line", 1, "MB/s", 2, 1)])
    assert none.quantile(0.3) == 1.0
    assert math.isinf(none.quantile(0.5))
    assert reporting.as_json(none)["ready_median_s"] is None
    assert "never" in reporting.markdown(none)


def test_the_bottleneck_is_what_is_used_most() -> None:
    uses = [Use("one", 1.0, "of a core", 2.0, 1), Use("two", 3.0, "MB/s", 4.0, 2)]
    assert Estimate(Question(1), uses=uses).bottleneck.part == "two"


def test_comparisons_are_replaced_in_the_file_and_read_again(tmp_path: Path) -> None:
    text = 'machine = "x"\n\n[costs]\na = 1\n\n[[comparison]]\nboards = 1\nprocesses = 1\n\n[memory]\nb = 2\n'
    one = Comparison(10, 10, 2.0, 2.2, 1000, 1100)
    written = with_comparisons(text, [one])
    assert written.count("[[comparison]]") == 1
    assert "boards = 10\n" in written
    assert "[memory]\nb = 2" in written
    assert with_comparisons(written, [one]) == written
    assert calibration().costs.broker_packet_s > 0


def test_costs_of_records_are_replaced_in_the_file_and_read_again() -> None:
    text = (resources.files("convoy_simulator") / "calibration.toml").read_text()
    doubled = Records(**{kind: 2 * seconds for kind, seconds in asdict(calibration().records).items()})
    written = parse_toml(with_records(text, doubled))
    assert Records(**written["records"]) == doubled
    assert {**written, "records": None} == {**parse_toml(text), "records": None}


def test_what_records_cost_is_measured_by_writing_them() -> None:
    found = asdict(measured(6))
    assert all(0 < seconds < 0.1 for seconds in found.values())
    before = asdict(calibration().records)
    assert {kind for kind in found if found[kind] == before[kind]} <= {"symptom"}  # no board has any


def test_the_command_tells_its_options_and_refuses_what_it_does_not_know() -> None:
    convoy = Path(sys.executable).with_name("convoy")
    environment = {**os.environ, "COLUMNS": "120"}
    wrong = subprocess.run(
        [convoy, "simulate", "--profile", "moon"], capture_output=True, text=True, env=environment, check=False
    )
    assert wrong.returncode == 2
    assert "calm, office, 3g, satellite" in wrong.stderr.replace("\n", " ")


def test_the_broker_is_the_one_that_is_shipped_and_has_room_for_what_boards_retain() -> None:
    assert broker_limits(100).max_queued_messages == broker_limits(2500).max_queued_messages == 10_000
    assert broker_limits(10_000).max_queued_messages == 40_000
    assert broker_limits(1).max_queued_bytes > 0


def test_what_has_to_be_raised_in_the_brokers_file_is_said() -> None:
    assert raised_limits(2500) == {}
    assert raised_limits(10_000) == {"max_queued_messages": 40_000, "max_connections": 21_000}
    many = Estimate(Question(10_000), seconds=[(1, 1, 1)], uses=[Use("broker's line", 1, "MB/s", 2, 1)])
    assert "needs max_connections 21000, max_queued_messages 40000, and as many open files" in reporting.markdown(many)
    assert reporting.as_json(many)["broker"]["raised"] == raised_limits(10_000)
    few = Estimate(Question(10), seconds=[(1, 1, 1)], uses=[Use("broker's line", 1, "MB/s", 2, 1)])
    assert "max_connections" not in reporting.markdown(few)


def test_what_the_database_takes_is_looked_at_over_ten_seconds() -> None:
    assert _busiest([0.0] * 20 + [5.0, 0.0, 3.0] + [0.0] * 20) == pytest.approx(0.8)
    assert _busiest([1.0] * 4) == pytest.approx(0.4)
    assert _busiest([0.5] * 30) == pytest.approx(0.5)


def test_progress_is_told_in_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    seconds = iter([0.0, 1.0, LINE_S, LINE_S, LINE_S + 1, 2 * LINE_S, 2 * LINE_S])
    monkeypatch.setattr("convoy_simulator.command.time.monotonic", lambda: next(seconds))
    lines = _Lines(Console(file=told, width=120), 20)
    lines("boards start", 3.0, 0)
    lines("deploy", 12.4, 7)
    lines("deploy", 12.6, 8)
    lines("deploy", 20.0, 20)
    assert told.getvalue().splitlines() == [
        "deploy: 7 of 20 ready at 12 virtual seconds",
        "deploy: 20 of 20 ready at 20 virtual seconds",
    ]

"""The bench of telemetry, small: every pulse is taken in and counted, and the room for it is bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from convoy_controller.bench.history import MOST_GROWTH, MOST_SHARE, Load, Years, ingest, live, pulse
from convoy_schema import codec
from convoy_schema.messages.boards import Pulse


def test_a_thousand_pulses_a_second_are_taken_in(tmp_path: Path):
    taken = asyncio.run(ingest(f"sqlite:///{tmp_path / 'convoy.db'}", Load(boards=250, every_s=0.25, seconds=4)))
    assert taken.messages == 4000
    assert (taken.sizes["board_samples"], taken.sizes["stage_samples"]) == (4250, 4250)
    assert (taken.sizes["board_minutes"], taken.sizes["board_hours"]) == (250, 250)
    # The bench itself holds the bar; here others have the machine's caches at the same time.
    assert taken.share < 2 * MOST_SHARE


@pytest.mark.long
def test_years_take_no_more_room_than_is_kept(tmp_path: Path):
    lived = live(f"sqlite:///{tmp_path / 'convoy.db'}", Years(boards=1, days=546, speak_hours=6, upkeep_days=14))
    figure = lived.figure("size")
    assert figure.met
    assert figure.ratio is not None
    assert figure.ratio <= MOST_GROWTH
    days = sorted(lived.sizes)
    assert lived.sizes[days[len(days) // 2]] > 1.5 * lived.sizes[days[0]]  # it did grow until then
    assert 400 * 4 < lived.rows["board_hours"] < 450 * 4 + 6 * 24
    assert 3 * 24 * 60 <= lived.rows["board_minutes"] < 4 * 24 * 60
    assert 3 * 360 <= lived.rows["board_samples"] <= 4 * 360


def test_a_pulse_of_the_bench_is_one_that_a_board_could_send():
    said = pulse(12.5, 3)
    assert codec.decode(Pulse, codec.encode(said)) == said

"""The hops of a deployment: measured, beside what was planned, the narrowest and the slowest named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from convoy_controller.bench.sample_fleet import SampleFleet, Size
from convoy_controller.database.engine import open_database
from convoy_controller.database.hops import deployment_hops
from convoy_controller.database.records import utc_now
from convoy_schema import codec
from convoy_schema.messages.boards import Published, Pulse
from sqlalchemy import text


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleFleet]:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('hops') / 'convoy.db'}")
    made = SampleFleet(database, Size(100, 10_000), utc_now())
    made.make()
    yield made
    database.close()


def test_every_hop_is_told(fleet: SampleFleet):
    found = deployment_hops(fleet.database, "net-00000", fleet.now)
    assert [hop.stage for hop in found.hops] == list(range(16))
    assert all(hop.boards == 3 and hop.rows_per_s > 0 and 0 < hop.busy <= 1 for hop in found.hops)
    assert found.predicted_rows_per_s == pytest.approx(1000.0)
    assert found.answered_per_s > 0
    assert found.measured_rows_per_s == min(hop.rows_per_s for hop in found.hops)


def test_a_busy_stage_is_the_bottleneck_and_a_long_way_out_the_slowest(fleet: SampleFleet):
    pulse = Pulse(1, 1, 4, 1000, 1, 1, (), Published(), uplink_us=400_000, round_trip_us=100_000)
    with fleet.database.write() as db:
        db.execute(text("UPDATE stage_samples SET busy_us = 2 * elapsed_ms * 1000 WHERE stage = 5"))
        db.execute(
            text("UPDATE board_statistics SET pulse = :pulse WHERE board IN ('board-000021', 'board-000022')"),
            {"pulse": codec.pack(pulse)},
        )
    found = deployment_hops(fleet.database, "net-00000", fleet.now)
    assert found.bottleneck == 5
    assert found.slowest == 7
    assert found.hops[7].transit_us == 450_000
    assert found.hops[6].transit_us is None


def test_of_what_was_not_measured_nothing_is_said(fleet: SampleFleet):
    found = deployment_hops(fleet.database, "net-00001", fleet.now.replace(year=fleet.now.year - 1))
    assert (found.bottleneck, found.slowest, found.hop_us, found.latency_p99_us) == (None, None, None, None)
    assert all(hop.capacity_rows_per_s is None and hop.residence_us is None for hop in found.hops)

"""No broker when things start: each part waits, says so once, and serves when the broker appears."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from convoy_controller.broker import find_mosquitto, start_broker
from convoy_schema.bundle import Method
from own_ports import own_port
from system_fleet import SystemFleet

pytestmark = pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")
#: Seconds without a broker: several attempts to connect fall into it.
ABSENT_S = 3.0


def test_controller_gateway_and_board_wait_for_the_broker_and_say_so_once(tmp_path: Path) -> None:
    port = own_port()
    url = f"mqtt://127.0.0.1:{port}"
    with SystemFleet(tmp_path) as fleet:
        fleet.publish()
        fleet.expect_broker(url)
        fleet.local.start_controller()
        fleet.local.start_gateway()
        fleet.local.start_board("board-1")
        fleet.request(Method.ALLOCATE, 1)
        expected = {
            "controller": {"controller:control", "controller:bulk"},
            "gateway": {"gateway:gateway"},
            "board-1": {"board-1:control", "board-1:bulk"},
        }
        for name, links in expected.items():
            for link in links:
                fleet.wait_log(name, f"{link}: no broker at {url}")
        time.sleep(ABSENT_S)
        for name, links in expected.items():
            assert fleet.local.processes[name].alive
            complaints = [line for line in fleet.log(name).splitlines() if "no broker at" in line]
            assert len(complaints) == len(links), complaints
            assert all("Connection refused" in line for line in complaints)
        assert not fleet.client.is_ready()
        start_broker("mosquitto", tmp_path / "broker", port, processes=fleet.local.processes)
        fleet.wait_serving(1)
        fleet.still_serves()

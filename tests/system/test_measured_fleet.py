"""Boards paced by the cycle model, each by its own factor: `convoy plan --boards fleet` finds those factors again."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.bench.networks import balanced_chain
from convoy_controller.cli import app
from convoy_controller.database.telemetry import fleet_telemetry
from convoy_controller.local_fleet import wait_until
from convoy_controller.planning.measuring import LEAST_FRAMES
from convoy_schema.bundle import InputSpec, Method
from system_fleet import PATIENCE_S, SystemFleet
from typer.testing import CliRunner

#: Times the cycle model: slow enough for the host not to be what is measured.
PACES = {"board-1": 40.0, "board-2": 60.0}
FRAMES = LEAST_FRAMES + 2
CALLERS = 4


@pytest.mark.long  # its figures are of time, which a busy machine bends
def test_the_measured_factor_of_each_board_is_its_pace(tmp_path: Path) -> None:
    # A frame takes milliseconds by the model: what pacing forgives between two frames is little beside it.
    network = balanced_chain("balanced", layers=2, channels=16, side=16, kernel=5)
    rows = np.random.default_rng(4).integers(-128, 128, (8, 16, 16, 16)).astype(np.int8)
    with SystemFleet(tmp_path) as fleet:
        fleet.start(0)
        fleet.publish(network, "balanced", spec=InputSpec("t0"))
        for name, pace in PACES.items():
            fleet.local.start_board(name, pace=pace)
        fleet.deploy(Method.ALLOCATE, 2, "balanced")
        enough = threading.Event()

        def call() -> None:
            while not enough.is_set():
                fleet.client.infer(rows, "balanced")

        def is_counted() -> bool:
            counts = [pulse.frames for board in fleet_telemetry(fleet.database).boards for _, pulse in board.works]
            return len(counts) == 2 and min(counts) >= FRAMES

        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(call) for _ in range(CALLERS)]
            try:
                assert wait_until(is_counted, PATIENCE_S, 0.2)
            finally:
                enough.set()
            for each in calls:
                each.result()
        command = ["plan", "balanced", "--method", "allocate", "--boards", "fleet", "--batch", "8", "--json"]
        command += ["--home", str(fleet.home.root), "--database", fleet.home.database_url]
        told = CliRunner().invoke(app, command)
        assert told.exit_code == 0, told.output
        found = json.loads(told.stdout)
        for name, pace in PACES.items():
            assert found["figures"][name]["source"] == "measured"
            assert found["figures"][name]["factor"] == pytest.approx(pace, rel=0.15)
        assert found["hop"]["source"] == "measured"
        assert 0 <= found["hop"]["seconds"] < 1

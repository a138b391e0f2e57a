"""A whole fleet on PostgreSQL: it deploys and serves, and what happens while the server is away is not lost."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from convoy_controller import lenet5
from convoy_controller.database.recorder import Recorder
from convoy_controller.datasets import digits
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import Method
from numpy.typing import NDArray
from postgresql_server import PostgresqlServer
from system_fleet import PATIENCE_S, SystemFleet, logits_of


class Caller:
    """Sends the images again and again from a thread of its own, and compares every answer to the last bit."""

    def __init__(self, fleet: SystemFleet, images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
        self._fleet, self._images, self._expected = fleet, images, expected
        self._stopping = threading.Event()
        self.answered = 0
        self.troubles: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                result = self._fleet.client.infer(self._images, "lenet5")
            except Exception as error:  # whatever it is, the test must see it
                self.troubles.append(repr(error))
                return
            if not np.array_equal(result.array, self._expected):
                self.troubles.append("a wrong answer")
            self.answered += 1

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(60)


def test_lenet5_is_served_from_postgresql_and_its_restart_loses_nothing(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    pytest.importorskip("sklearn")
    network, spec = lenet5.quantised()
    images = digits().images[:16]
    with SystemFleet(tmp_path, postgresql.new_database()) as fleet:
        fleet.start(2)
        fleet.publish(network, "lenet5", spec=spec)
        fleet.deploy(Method.ALLOCATE, 2, "lenet5")
        controller = fleet.local.processes["controller"].pid
        before = Recorder(fleet.database).load_state()
        generation = fleet.serving_generation("lenet5")
        caller = Caller(fleet, images, logits_of(network, spec, images))

        postgresql.stop(signal.SIGQUIT)
        fleet.wait_log("controller", "start the server")
        # A board dies and another comes while nothing can be written: what follows from it waits.
        fleet.local.processes.kill("board-2")
        fleet.local.start_board("board-3")
        fleet.wait_log("controller", "board-2 is offline")
        fleet.wait_log("controller", "board-3 is online")
        fleet.wait_log("controller", "decisions wait")
        postgresql.start()

        assert wait_until(lambda: fleet.serving_generation("lenet5") != generation, PATIENCE_S), fleet.complaint(
            "lenet5"
        )
        fleet.wait_serving(2, "lenet5")
        answered = caller.answered
        assert {stage.replicas[0].board for stage in fleet.plan("lenet5").stages} == {"board-1", "board-3"}
        fleet.wait_event("online", "board-3")
        fleet.wait_event("offline", "board-2")
        after = Recorder(fleet.database).load_state()
        assert after.instance == before.instance
        assert after.counters.epoch == before.counters.epoch
        assert after.counters.revision > before.counters.revision
        fleet.deploy(Method.LIBRARY, 1, "lenet5")
        caller.stop()
        assert caller.troubles == []
        assert caller.answered > answered > 0
        assert fleet.local.processes["controller"].pid == controller
        assert "the database takes what is written again" in fleet.log("controller")

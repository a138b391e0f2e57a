"""A daemon that is asked to stop lets the frames that have arrived be computed and leave, and takes no more."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import board_models as models
import numpy as np
import pytest
from convoy_device import daemon
from convoy_device.fabric import Runnable
from convoy_device.fabric.processor import ProcessorFabric
from convoy_schema.messages.boards import Phase, Presence
from fleet_bench import boards_on, config_of, fleet_on
from numpy.typing import NDArray
from patience import PATIENCE_S

COPIES = models.copies(1, images=False)
FRAMES = 12


class SlowFabric(ProcessorFabric):
    """Takes `seconds` for each layer."""

    seconds = 0.0

    def run(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        time.sleep(self.seconds)
        return super().run(work, inputs)


@pytest.mark.parametrize("seconds", [0.03, 0.4])
def test_frames_that_have_arrived_leave_within_the_limit(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    is_enough = seconds * FRAMES < 1
    monkeypatch.setattr(daemon, "DRAIN_S", PATIENCE_S / 2 if is_enough else 2.0)
    fabric = SlowFabric()
    assignment = models.alone(COPIES)

    async def scenario() -> tuple[int, float]:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path), fabric=fabric) as boards:
            fleet.publish(COPIES)
            fleet.desire({"board-1": (assignment,)})
            await fleet.until_phase(Phase.READY, "board-1")
            fabric.seconds = seconds
            for counter in range(1, FRAMES + 1):
                fleet.feed(assignment, "board-1", {"t-0": COPIES.values["t-0"]}, counter)
            await fleet.until(lambda: fleet.results, "a first result")
            began = time.monotonic()
            assert await boards[0].stop() == 0
            took = time.monotonic() - began
            await fleet.until(lambda: fleet.states["board-1"][-1].presence is Presence.OFFLINE, "a goodbye")
            return len(fleet.results), took

    answered, took = asyncio.run(scenario())
    if is_enough:
        assert answered == FRAMES
    else:
        assert 1 < answered < FRAMES, "the limit was reached, and what was done by then has left"
    assert took < (PATIENCE_S / 2 if is_enough else 6)

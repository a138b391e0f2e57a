"""Logits are the same to the last bit, whatever the method, the number of boards and the kind of fabric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from convoy_controller import lenet5
from convoy_controller.database import queries
from convoy_controller.datasets import digits
from convoy_schema.bundle import Method
from system_fleet import SystemFleet, logits_of


@pytest.mark.parametrize("counts", [(3, 1), pytest.param((5, 2), marks=pytest.mark.long)])
def test_lenet5_answers_alike_by_each_method_on_few_and_many_boards(tmp_path: Path, counts: tuple[int, ...]) -> None:
    pytest.importorskip("sklearn")
    network, spec = lenet5.quantised()
    images = digits().images[:96]
    expected = logits_of(network, spec, images)
    assert (expected.argmax(axis=1) == digits().labels[:96]).mean() > 0.95
    with SystemFleet(tmp_path) as fleet:
        fleet.start(max(counts))
        fleet.publish(network, "lenet5", spec=spec)
        for method in Method:
            for boards in counts:
                fleet.deploy(method, boards, "lenet5")
                result = fleet.client.infer(images, "lenet5")
                assert np.array_equal(result.array.view(np.uint32), expected.view(np.uint32)), (method, boards)
                assert result.generation == fleet.serving_generation("lenet5")
                # By `stream` each board holds the whole network; by the others it is cut over them.
                assert len(fleet.plan("lenet5").stages) == (1 if method is Method.STREAM else boards)


@pytest.mark.long
@pytest.mark.parametrize("partitions", [1, 2, 3])
def test_more_kinds_than_partitions_are_swapped_at_run_time(tmp_path: Path, partitions: int) -> None:
    with SystemFleet(tmp_path) as fleet:
        fleet.start(1, partitions=partitions)
        fleet.deploy(Method.LIBRARY, 1)
        (stage,) = fleet.plan().stages
        slots = stage.replicas[0].slots
        assert len(slots) == partitions, "of four kinds, so many have a partition of their own"
        board = queries.board(fleet.database, "board-1")
        assert board.capability is not None
        assert len(board.capability.partitions) == partitions
        for count in (1, 8, 40):
            fleet.still_serves(count)
        with fleet.traffic() as traffic:
            traffic.wait_answers(50)
        traffic.check()


@pytest.mark.long
def test_a_chain_of_emulated_boards_and_processors_is_one_network(tmp_path: Path) -> None:
    with SystemFleet(tmp_path) as fleet:
        fleet.start(0)
        for number, fabric in enumerate(("emulated", "processor", "emulated", "processor"), 1):
            fleet.local.start_board(f"board-{number}", fabric=fabric)
        for method in (Method.LIBRARY, Method.ALLOCATE):
            fleet.deploy(method, 4)
            fabrics = {line.board: line.fabric for line in queries.fleet(fleet.database)}
            stages = fleet.plan().stages
            assert sorted(fabrics[stage.replicas[0].board] for stage in stages) == ["emulated"] * 2 + ["processor"] * 2
            for stage in stages:
                has_modules = method is Method.LIBRARY and fabrics[stage.replicas[0].board] == "emulated"
                assert bool(stage.replicas[0].slots) == has_modules
            fleet.still_serves()

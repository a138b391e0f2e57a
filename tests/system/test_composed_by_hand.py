"""A network written as TOML, imported and deployed by the command line on a fleet that serves another meanwhile."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convoy_controller.composing import Network
from convoy_controller.importer import ImportedModel, import_model
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.topology import Kind
from numpy.typing import NDArray
from system_fleet import PATIENCE_S, SystemFleet, logits_of


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        yield made


def composed(channels: int) -> Network:
    """Branches that meet in a sum and in a concat; the same name, whatever the channels."""
    return (
        Network("by-hand", input=(1, 12, 12))
        .conv2d(channels, 3, padding="same")
        .relu(name="stem")
        .depthwise(3, padding="same")
        .relu6()
        .add("stem", name="sum")
        .max_pool(2, name="half")
        .conv2d(4, 1)
        .concat("half")
        .dense(10)
    )


def convoy(fleet: SystemFleet, *arguments: str) -> dict[str, Any]:
    """What a command prints with --json, run as people run it."""
    given = {key: value for key, value in os.environ.items() if key != "CONVOY_DATABASE"}
    done = subprocess.run(
        [sys.executable, "-m", "convoy_controller.cli", *arguments, "--json"],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
        env={**given, "CONVOY_HOME": str(fleet.directory), "CONVOY_DATABASE": fleet.home.database_url},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def bring(fleet: SystemFleet, channels: int, version: str, pictures: NDArray[np.uint8]) -> ImportedModel:
    """Import it by the command line from its TOML and parameters; the same import in this process, to compare with."""
    network = composed(channels)
    parameters = {
        name: np.random.default_rng(len(name)).normal(0, max(9, math.prod(shape[1:])) ** -0.5, shape)
        for name, shape in network.parameter_shapes().items()
    }
    folder = fleet.directory / f"files-{version}"
    folder.mkdir()
    (folder / "net.toml").write_text(network.to_toml())
    np.savez(folder / "parameters.npz", **parameters)
    np.savez(folder / "samples.npz", images=pictures)
    answer = convoy(
        fleet, "model", "import", str(folder / "net.toml"), "--parameters", str(folder / "parameters.npz"),
        "--calibration", str(folder / "samples.npz"), "--version", version,
    )  # fmt: skip
    assert (answer["model"], answer["version"]) == ("by-hand", version)
    path = folder / "net.onnx"
    path.write_bytes(network.onnx(parameters).SerializeToString())
    return import_model(path, pictures.astype(np.float32) * np.float32(1 / 255), name="by-hand")


@pytest.mark.long
def test_a_network_composed_by_hand_is_served_and_replaced_beside_another_without_a_restart(fleet: SystemFleet) -> None:
    fleet.serve(2, Method.LIBRARY)
    processes = {name: fleet.local.processes[name].pid for name in fleet.local.processes.names}
    generation = fleet.serving_generation()
    images = np.random.default_rng(3).integers(0, 256, (24, 1, 12, 12)).astype(np.uint8)
    with fleet.traffic(2) as traffic:
        answers = []
        for version, channels in (("1", 6), ("2", 5)):
            model = bring(fleet, channels, version, images)
            kinds = {layer.kind for layer in model.topology.layers}
            assert kinds == {Kind.CONV2D, Kind.ADD, Kind.MAX_POOL, Kind.CONCAT, Kind.DENSE}
            line = convoy(
                fleet, "deploy", "by-hand", "--method", "library", "--cut", "pipeline", "--boards", "2",
                "--batch", "8", "--wait", str(PATIENCE_S),
            )  # fmt: skip
            assert (line["version"], line["method"], line["state"]) == (version, "library", "serving")
            fleet.wait_serving(2, "by-hand")
            expected = logits_of(model, InputSpec("input", "CHW", 1 / 255, 0.0), images)
            assert len(np.unique(expected)) > 10, "a network that says the same to everything shows nothing"
            found = fleet.client.infer(images, "by-hand").array
            assert found.tobytes() == expected.astype("<f4").tobytes()
            answers.append(found.tobytes())
            traffic.wait_answers(30)
        assert answers[0] != answers[1]
    assert set(traffic.check().generations) == {generation}
    assert {name: fleet.local.processes[name].pid for name in fleet.local.processes.names} == processes
    assert all(fleet.local.processes[name].alive for name in processes)

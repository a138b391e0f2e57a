"""`convoy model import FILE.toml`: a composed network with parameters of one's own, or with random ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.cli import app
from convoy_controller.composing import Network, weights
from typer.testing import CliRunner, Result

NETWORK = (
    Network("made-here", input=(1, 8, 8))
    .conv2d(4, 3, padding="same", name="stem")
    .relu()
    .conv2d(4, 3, padding="same")
    .add("relu1")
    .max_pool(2)
    .dense(3)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, the network as TOML with its parameters, and pictures to calibrate it with."""
    monkeypatch.setenv("CONVOY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CONVOY_DATABASE", raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "net.toml").write_text(NETWORK.to_toml())
    np.savez(tmp_path / "net.npz", **weights.seeded("net", NETWORK.parameter_shapes(), 1))
    pictures = np.random.default_rng(2).integers(0, 256, (32, 1, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "samples.npz", images=pictures)
    return tmp_path


def bring(folder: Path, *arguments: str, file: str = "net.toml", calibration: str = "samples.npz") -> Result:
    given = calibration if calibration == "seeded" else str(folder / calibration)
    return CliRunner().invoke(
        app, ["model", "import", str(folder / file), "--calibration", given, *arguments, "--json"]
    )


def test_a_composed_network_is_imported_under_its_own_name(folder: Path) -> None:
    result = bring(folder, "--parameters", str(folder / "net.npz"), "--classes", "a,b,c")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["model"], answer["version"], answer["layers"]) == ("made-here", "1", 5)
    assert answer["agreement"]["layer_steps"] <= 1
    again = json.loads(bring(folder, "--parameters", str(folder / "net.npz"), "--classes", "a,b,c").stdout)
    assert again["digest"] == answer["digest"]
    (line,) = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    assert (line["input_shape"], line["class_names"]) == ([1, 8, 8], ["a", "b", "c"])


def test_random_parameters_are_the_same_each_time_and_may_have_random_samples(folder: Path) -> None:
    digests = set()
    for version in ("1", "1"):
        result = bring(folder, "--parameters", "seeded", "--name", "x", "--version", version, calibration="seeded")
        assert result.exit_code == 0, result.output
        digests.add(json.loads(result.stdout)["digest"])
    assert len(digests) == 1


def test_what_is_missing_or_does_not_fit_is_said(folder: Path) -> None:
    without = bring(folder)
    assert without.exit_code == 1
    assert "--parameters FILE.npz" in without.stderr
    assert "stem.weight, stem.bias, conv2d2.weight" in without.stderr
    np.savez(folder / "few.npz", **{"stem.weight": np.zeros((4, 3, 3, 3)), "odd": np.zeros(1)})
    few = bring(folder, "--parameters", str(folder / "few.npz"))
    assert few.exit_code == 1
    for reason in (
        "parameter stem.weight: must be float of shape (4, 1, 3, 3), float64 of (4, 3, 3, 3) came",
        "parameter dense1.bias: must be there",
        "parameters odd: no layer has them",
    ):
        assert reason in few.stderr
    assert bring(folder, "--parameters", str(folder / "none.npz")).exit_code == 3
    trained = bring(folder, "--parameters", str(folder / "net.npz"), calibration="seeded")
    assert trained.exit_code == 1
    assert "bring typical inputs" in trained.stderr
    onnx = bring(folder, "--parameters", "seeded", file="net.npz")
    assert onnx.exit_code == 2
    assert "holds its own" in onnx.stderr


def test_a_file_with_errors_is_refused_with_all_of_them(folder: Path) -> None:
    (folder / "bad.toml").write_text(
        'name = "bad"\ninput = [1, 8, 8]\n[[layer]]\nop = "conv2d"\nchannels = 4\n[[layer]]\nop = "softplus"\n'
    )
    result = bring(folder, "--parameters", "seeded", file="bad.toml")
    assert result.exit_code == 1
    assert "layer conv2d1 (conv2d): `kernel` must be there" in result.stderr
    assert "layer softplus1 (softplus): `op` must be one of conv2d, depthwise" in result.stderr
    (folder / "bytes.toml").write_bytes(b"\xff\xfe\0")
    result = bring(folder, "--parameters", "seeded", file="bytes.toml")
    assert result.exit_code == 1
    assert "cannot be read as TOML" in result.stderr

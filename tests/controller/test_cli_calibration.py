"""`convoy model import` with what it may be calibrated with, and what it says of the import."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convoy_controller.cli import app
from onnx_builder import Builder
from PIL import Image
from typer.testing import CliRunner

Import = Callable[..., dict[str, Any]]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Runs `convoy model import ... --json` and gives what it prints, or with a code what it says of its refusal."""
    monkeypatch.setenv("CONVOY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CONVOY_DATABASE", raising=False)

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["model", "import", *arguments, "--json"])
        assert result.exit_code == code, result.output
        found: dict[str, Any] = json.loads(result.stdout) if code == 0 else {"said": result.stderr}
        return found

    return run


def pictures(folder: Path, *classes: str) -> Path:
    """Four pictures of 8 x 8 in a subfolder a class."""
    random = np.random.default_rng(1)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_a_folder_of_images_calibrates_and_names_the_classes(tmp_path: Path, imported: Import) -> None:
    b = Builder((3, 8, 8))
    path = b.save(tmp_path, b.node("Softmax", b.node("Gemm", b.node("Flatten", b.conv("x", 3, 4)), b.weights(144, 2))))
    answer = imported(str(path), "--calibration", str(pictures(tmp_path / "set", "cat", "dog")))
    assert answer["layers"] == 2
    assert "processor" in answer["notes"][0]
    agreement = answer["agreement"]
    assert agreement["rows"] == 8
    assert agreement["layer_steps"] <= 1
    assert agreement["layers"] <= 0.01
    listed = CliRunner().invoke(app, ["models", "--json"])
    assert json.loads(listed.stdout)[0]["class_names"] == ["cat", "dog"]


def test_a_folder_for_a_model_with_the_channels_last(tmp_path: Path, imported: Import) -> None:
    b = Builder((8, 8, 3))
    path = b.save(tmp_path, b.conv(b.node("Transpose", "x", perm=[0, 3, 1, 2]), 3, 4))
    folder = pictures(tmp_path / "set", "only")
    assert imported(str(path), "--calibration", str(folder))["layers"] == 1
    np.savez(tmp_path / "set.npz", np.zeros((4, 8, 8, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None])
    assert imported(str(path), "--calibration", str(tmp_path / "set.npz"), "--version", "2")["version"] == "2"


def test_a_network_that_comes_along_without_being_trained(imported: Import) -> None:
    answer = imported("dscnn", "--calibration", "seeded")
    assert (answer["model"], answer["layers"]) == ("dscnn", 11)
    assert answer["agreement"]["layers"] <= 1e-4


def test_seeded_samples_are_for_no_other_and_a_folder_needs_images(tmp_path: Path, imported: Import) -> None:
    b = Builder((3, 8, 8))
    path = b.save(tmp_path, b.conv("x", 3, 4))
    assert "bring typical inputs" in imported(str(path), "--calibration", "seeded", code=1)["said"]
    (tmp_path / "empty").mkdir()
    assert "images" in imported(str(path), "--calibration", str(tmp_path / "empty"), code=1)["said"]

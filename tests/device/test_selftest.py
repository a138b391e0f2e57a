"""A self-test tries everything once, writes down what failed, and its report says so in both forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import convoy_hls
import numpy as np
import pytest
from chip_failures import FastTime
from chip_images import catalogue_in
from chip_model import ChipModel
from convoy_bitstreams import Catalogue, catalogue, floorplans
from convoy_device.cli import main
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.fabric.processor import ProcessorFabric
from convoy_device.fabric.pynq.fabric import PynqFabric
from convoy_device.sample_layers import sample
from convoy_device.selftest import LOOPS, SelfTest, Step
from convoy_device.selftest_report import Report, line_of, report_of
from convoy_hls.build import build
from convoy_schema.topology import Kind
from driven_chip import ModelChip
from served_kernels import serve_kernels

MODULES = [*(("west", kind) for kind in Kind), ("centre", Kind.DENSE)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return catalogue_in(tmp_path_factory.mktemp("images"), MODULES, ["fixed", "layers", "partitions"])


@pytest.fixture
def model(tmp_path: Path) -> ChipModel:
    if convoy_hls.unavailable():
        pytest.skip(convoy_hls.unavailable())
    model = ChipModel(tmp_path / "chip")
    serve_kernels(model, convoy_hls.Library(build()))
    return model


@pytest.fixture
def board(model: ChipModel, tmp_path: Path) -> Iterator[PynqFabric]:
    fabric = PynqFabric(
        ModelChip(model), tmp_path / "state", floorplans=floorplans(), paths=model.paths, waiting=FastTime().waiting
    )
    yield fabric
    fabric.close()


def outcomes(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.name: step.outcome for step in steps}


def test_samples_are_the_same_each_time_and_differ_by_seed() -> None:
    for kind in Kind:
        one, two, other = sample(kind), sample(kind), sample(kind, 2)
        assert one.layer.kind is kind
        assert all(np.array_equal(a, b) for a, b in zip(one.inputs, two.inputs, strict=True))
        assert not np.array_equal(one.inputs[0], other.inputs[0])
        assert one.layer.layer == two.layer.layer
    assert sample(Kind.DENSE).layer.layer.parameters != sample(Kind.DENSE, 2).layer.layer.parameters


def test_a_board_passes_with_milliseconds_of_each_phase(board: PynqFabric, images: Catalogue) -> None:
    told: list[Step] = []
    steps = SelfTest(board, images, told.append).run()
    assert told == list(steps)
    assert {step.outcome for step in steps} == {"passed"}, [line_of(step) for step in steps if step.outcome != "passed"]
    found = {step.name: step for step in steps}
    loaded = found["dense into west"].milliseconds
    assert list(loaded) == ["verify", "quiesce", "decouple", "load", "state", "identity", "recouple", "whole"]
    assert set(found["layer dense in west, first"].milliseconds) == {"pack", "parameter load", "run", "unpack", "whole"}
    assert "parameter load" not in found["layer dense in west, again"].milliseconds
    assert "parameter load" in found["layer dense in west, with new parameters"].milliseconds
    refused = [step.detail for step in steps if " image is refused in " in step.name]
    assert refused
    assert all("must not be loaded into partition" in detail for detail in refused)
    assert all(f"layer {kind.value}, first" in found for kind in Kind), "the fixed kernels"
    for size in LOOPS:
        assert found[f"DMA, {size >> 10} KiB there and back"].detail.endswith("MB/s each way")
    report = report_of(board, steps)
    assert report.passed
    assert "had not been run on a board" in " ".join(report.to_text().split())
    assert report.versions["model"] == "register model"


def test_what_fails_is_written_down_and_the_rest_goes_on(
    board: PynqFabric, model: ChipModel, images: Catalogue
) -> None:
    def break_after(step: Step) -> None:
        if step.name == "add into west":
            model.faults["identity"] = 0
        elif step.name == "average-pool into west":
            model.faults.clear()

    steps = SelfTest(board, images, break_after).run()
    found = outcomes(steps)
    assert found["add into west"] == "passed"
    assert found["average-pool into west"] == "failed"
    assert "layer average-pool in west, first" not in found
    assert found["dense into west"] == found["dense into centre"] == "passed"
    report = report_of(board, steps)
    assert not report.passed
    assert "FAILED" in report.to_text()
    (failed,) = (step for step in steps if step.outcome == "failed")
    assert failed.detail.startswith("fabric: west should hold a average-pool")
    assert "identity" in failed.milliseconds


def test_wrong_arithmetic_is_found(board: PynqFabric, model: ChipModel, images: Catalogue) -> None:
    right = model.compute

    def compute(*given: object) -> bytes:
        result = bytearray(right(*given))  # type: ignore[arg-type]
        if result and given[0] is Kind.ADD:
            result[0] ^= 1
        return bytes(result)

    model.compute = compute
    steps = SelfTest(board, images).run()
    failed = [step for step in steps if step.outcome == "failed"]
    assert failed
    assert all("add" in step.name and "1 of 1200 elements differ" in step.detail for step in failed)


def test_what_has_no_image_is_skipped_and_nothing_is_no_pass(board: PynqFabric) -> None:
    steps = SelfTest(board, catalogue()).run()
    assert outcomes(steps) == {
        "quiesce": "passed",
        "shell fixed": "skipped",
        "shell layers": "skipped",
        "shell partitions": "skipped",
    }
    assert "make bitstreams" in steps[1].detail
    assert not report_of(board, steps).passed


def test_an_emulated_board_passes(tmp_path: Path) -> None:
    fabric = EmulatedFabric(tmp_path, floorplans=floorplans(), offered=2)
    steps = SelfTest(fabric, catalogue()).run()
    fabric.close()
    found = outcomes(steps)
    assert set(found.values()) == {"passed"}
    for kind in Kind:
        for place in ("west", "centre"):
            assert f"{kind.value} into {place}" in found
            assert f"layer {kind.value} in {place}, again" in found
    assert report_of(fabric, steps).untried == ""


def test_a_processor_has_layers_only() -> None:
    steps = SelfTest(ProcessorFabric(), catalogue()).run()
    assert len(steps) == 1 + 3 * len(Kind)
    assert {step.outcome for step in steps} == {"passed"}


def test_the_report_has_medians_and_is_json() -> None:
    steps = (
        Step("a", "passed", "", {"load": 1.0}),
        Step("b", "passed", "", {"load": 3.0}),
        Step("c", "failed", "no", {"load": 100.0}),
    )
    report = Report("emulated", "part", "", {"python": "3.10"}, steps)
    assert report.medians() == {"load": 2.0}
    read = json.loads(report.to_json())
    assert read["passed"] is False
    assert [step["name"] for step in read["steps"]] == ["a", "b", "c"]
    assert read["median_milliseconds"] == {"load": 2.0}


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--fabric", "processor", "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "convoy-selftest.json").read_text())["fabric"] == "processor"
    assert "Self-test of fabric processor" in (tmp_path / "convoy-selftest.txt").read_text()
    assert "passed   layer conv2d, first" in capsys.readouterr().out


def test_the_command_takes_other_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").mkdir()
    arguments = ["selftest", "--fabric", "emulated", "--images", str(tmp_path / "none"), "--output", str(tmp_path)]
    assert main(arguments) == 1
    assert "skipped  shell fixed" in capsys.readouterr().out


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--fabric", "processor", "--output", str(tmp_path / "absent")]) == 2
    assert "--output must be a folder that is there" in capsys.readouterr().err
    assert main(["selftest", "--config", str(tmp_path / "absent.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_fabric_pynq_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--fabric", "pynq", "--output", str(tmp_path)]) == 1
    assert "fabric pynq needs" in capsys.readouterr().err

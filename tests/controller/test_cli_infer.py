"""`convoy infer` against a gateway that is really there, and what it says when none is. `system` has the fleet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from convoy_controller.cli import app
from gateway_fleet import SiteThread
from gateway_models import ARGMAX, DIGITS
from own_ports import own_port
from PIL import Image
from typer.testing import CliRunner

RUNNER = CliRunner()


class BrokerProcess(Protocol):
    url: str


@pytest.fixture
def address(broker: BrokerProcess) -> Iterator[str]:
    with SiteThread(broker.url) as site:
        yield site.address


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(2).integers(0, 256, (28, 28)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_it_prints_class_and_probabilities(address: str, picture: Path) -> None:
    done = RUNNER.invoke(app, ["infer", "--url", address, "--json", str(picture), str(picture)])
    assert done.exit_code == 0, done.output
    first, second = json.loads(done.stdout)
    assert first == second
    assert first.keys() == {"file", "class", "probability", "probabilities", "generation"}
    assert first["class"] == max(first["probabilities"], key=first["probabilities"].get)
    assert set(first["probabilities"]) == set(DIGITS)
    assert sum(first["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
    table = RUNNER.invoke(app, ["infer", "--url", address, "--top", "2", str(picture)])
    assert table.exit_code == 0
    assert table.stdout.count("%") == 2
    assert first["class"] in table.stdout


def test_a_model_that_ends_in_argmax_has_classes_and_no_probabilities(broker: BrokerProcess, picture: Path) -> None:
    pixels = np.asarray(Image.open(picture))[None, None]
    with SiteThread(broker.url, ending=ARGMAX) as site:
        fleet, models = site.site.fleet, site.site.service.models
        number = site.call(lambda: fleet.compute(models.converter(fleet.model).rows(pixels))).argmax()
        done = RUNNER.invoke(app, ["infer", "--url", site.address, "--json", str(picture)])
        table = RUNNER.invoke(app, ["infer", "--url", site.address, str(picture)])
    assert done.exit_code == table.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert found["class"] == DIGITS[number]
    assert (found["probability"], found["probabilities"]) == (None, {})
    assert DIGITS[number] in table.stdout
    assert "%" not in table.stdout


def test_many_files_go_in_several_requests(address: str, picture: Path) -> None:
    done = RUNNER.invoke(app, ["infer", "--url", address, "--json", *[str(picture)] * 130])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)) == 130


def test_an_image_of_another_size_is_resized_and_no_image_is_refused(address: str, tmp_path: Path) -> None:
    Image.new("RGB", (90, 40), (10, 200, 30)).save(tmp_path / "wide.jpg")
    assert RUNNER.invoke(app, ["infer", "--url", address, str(tmp_path / "wide.jpg")]).exit_code == 0
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "missing.png"):
        done = RUNNER.invoke(app, ["infer", "--url", address, str(tmp_path / name)])
        assert done.exit_code == 1
        assert name in done.output


def test_an_unknown_model_is_not_found_and_those_there_are_are_named(address: str, picture: Path) -> None:
    done = RUNNER.invoke(app, ["infer", "--url", address, "--model", "nosuch", str(picture)])
    assert done.exit_code == 3
    assert "models: digits 1" in done.output
    done = RUNNER.invoke(app, ["infer", "--url", address, "--version", "9", str(picture)])
    assert done.exit_code == 3


def test_without_a_gateway_it_says_so(picture: Path) -> None:
    url = f"http://127.0.0.1:{own_port()}"
    done = RUNNER.invoke(app, ["infer", "--url", url, "--timeout", "0.5", str(picture)])
    assert done.exit_code == 4
    assert "no gateway could be reached" in done.output


def test_a_malformed_address_and_no_file_at_all(picture: Path) -> None:
    assert RUNNER.invoke(app, ["infer", "--url", "ftp://x", str(picture)]).exit_code == 1
    assert RUNNER.invoke(app, ["infer"]).exit_code == 2

"""Requests that cannot be met: each ends in a sentence where its user looks, and the fleet serves on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import convoy
import numpy as np
import pytest
from convoy_controller.database.intents import request_deployment
from convoy_controller.errors import NotFoundError
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent
from patience import PATIENCE_S
from PIL import Image
from system_fleet import CLASSES, SHAPE, SystemFleet, pictures


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path_factory.mktemp("fleet")) as started:
        yield started.serve(2)


def run(fleet: SystemFleet, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convoy_controller", *map(str, arguments)]
    variables = {"CONVOY_HOME": str(fleet.home.root), "CONVOY_DATABASE": fleet.home.database_url, "COLUMNS": "200"}
    variables["CONVOY_URL"] = fleet.address
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )


def ask(fleet: SystemFleet, path: str, body: bytes | None = None) -> tuple[int, dict[str, str]]:
    host, _, port = fleet.address.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=PATIENCE_S)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def tensor(shape: list[int], data: list[float], datatype: str = "FP32", name: str = "t0") -> bytes:
    return json.dumps({"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}).encode()


@pytest.mark.parametrize("shape", [(1, 12), (2, 1, 11, 12), (1, 3, 12, 12), (0, 1, 12, 12)])
def test_an_image_of_the_wrong_shape_is_the_callers_error(fleet: SystemFleet, shape: tuple[int, ...]) -> None:
    with pytest.raises(convoy.InvalidInputError, match=r"shape \(n, 1, 12, 12\)"):
        fleet.client.infer(np.zeros(shape, np.uint8), "small")
    fleet.still_serves()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (tensor([1, 1, 11, 12], [0.0] * 132), "12"),
        (tensor([1, *SHAPE], [0.0] * 143), "size 143"),
        (tensor([1, *SHAPE], [0.0] * 144, "FP99"), "FP99"),
        (tensor([1, *SHAPE], [0.0] * 144, name="t9"), "t9"),
        (tensor([1, *SHAPE], [float("nan")] * 144), "NaN came"),
        (b"{", ""),
        (b"\xff\xfe", ""),
        (b"[]", ""),
        (b"{}", "inputs"),
    ],
)
def test_over_http_it_is_a_400_that_says_what_is_expected(fleet: SystemFleet, body: bytes, words: str) -> None:
    status, answer = ask(fleet, "/v2/models/small/infer", body)
    assert (status, answer["code"]) == (400, "invalid-input")
    assert words in answer["error"]
    fleet.still_serves()


def test_an_unknown_model_is_a_404_that_names_those_there_are(fleet: SystemFleet) -> None:
    for path in ("/v2/models/nosuch", "/v2/models/small/versions/9"):
        status, answer = ask(fleet, path)
        assert (status, answer["code"]) == (404, "unknown-model")
        assert "models: small 1" in answer["error"]
    with pytest.raises(convoy.UnknownModelError, match="models: small 1"):
        fleet.client.infer(pictures(1), "nosuch")
    fleet.still_serves()


def test_the_command_line_classifies_files(fleet: SystemFleet, tmp_path: Path) -> None:
    files = []
    for number, pixels in enumerate(pictures(3)):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels[0]).save(files[-1])
    done = run(fleet, "infer", "--json", *files)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    expected = [CLASSES[number] for number in fleet.client.infer(pictures(3), "small").array.argmax(axis=1)]
    assert [answer["class"] for answer in answers] == expected
    assert [answer["file"] for answer in answers] == [str(file) for file in files]
    assert answers[0]["probabilities"].keys() == set(CLASSES)


def test_the_command_line_says_what_there_is(fleet: SystemFleet, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    Image.fromarray(pictures(1)[0, 0]).save(picture)
    (tmp_path / "broken.png").write_bytes(b"no image")
    cases: list[tuple[int, str, tuple[str | Path, ...]]] = [
        (3, "models: small 1", ("infer", "--model", "nosuch", picture)),
        (3, "there is small", ("deploy", "nosuch")),
        (2, "'magic' is not one of", ("deploy", "small", "--method", "magic")),
        (1, "broken.png", ("infer", "--model", "small", tmp_path / "broken.png")),
        (1, "nowhere.png", ("infer", "--model", "small", tmp_path / "nowhere.png")),
    ]
    for code, words, arguments in cases:
        done = run(fleet, *arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert words in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
    fleet.still_serves()


def test_a_request_that_is_refused_changes_nothing(fleet: SystemFleet) -> None:
    before = fleet.serving_generation()
    with pytest.raises(NotFoundError, match="there is 1"):
        request_deployment(fleet.database, Intent("small", "small", "9", Method.ALLOCATE))
    with pytest.raises(NotFoundError, match="there is small"):
        request_deployment(fleet.database, Intent("other", "nosuch", "1", Method.ALLOCATE))
    assert fleet.serving_generation() == before
    fleet.still_serves()

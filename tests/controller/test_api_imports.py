"""Models over the REST API: taken as files, imported by a process of its own, and told of as an operation."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import convoy_models
import httpx
import numpy as np
import pytest
from api_client import Api, copied_fleet
from convoy_controller.api import importing
from convoy_controller.api.limits import Limits
from convoy_controller.database import operations
from convoy_controller.database.records import utc_now
from convoy_controller.errors import InUseError, NotFoundError
from database_samples import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = copied_fleet(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def api(fleet: Fleet, tmp_path: Path) -> Api:
    return Api(fleet.database, tmp_path)


def samples() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=np.random.default_rng(1).integers(0, 256, (32, 1, 28, 28)).astype(np.uint8))
    return file.getvalue()


def upload(api: Api, model: bytes, calibration: bytes, **fields: Any) -> httpx.Response:
    files = {"model": ("m.onnx", model), "calibration": ("c.npz", calibration)}
    return api.call("POST", "/models", files=files, data={"name": "lenet", **fields})


def ended(api: Api, location: str) -> Any:
    deadline = time.monotonic() + 90
    while True:
        found = api.get(location.removeprefix("/api/v1"))
        if found["state"] != "running":
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.long
def test_a_model_is_imported_and_what_is_none_says_why(api: Api, tmp_path: Path):
    lenet = convoy_models.SHIPPED["lenet5"].path.read_bytes()
    taken = upload(api, lenet, samples(), classes=[str(digit) for digit in range(10)])
    assert taken.status_code == 202, taken.text
    broken = upload(api, b"no model", samples(), name="broken")
    assert broken.status_code == 202
    third = upload(api, lenet, samples(), name="third")
    assert (third.status_code, third.json()["code"]) == (409, "in-use")
    done, failed = ended(api, taken.headers["location"]), ended(api, broken.headers["location"])
    assert (done["state"], done["kind"], done["subject"]) == ("done", "import-model", "lenet:1"), done
    assert done["result"]["layers"] >= 5
    assert done["result"]["agreement"]["layer_steps"] <= 1
    assert api.get("/models/lenet/1")["class_names"] == [str(digit) for digit in range(10)]
    assert (failed["state"], failed["code"]) == ("failed", "import-refused")
    assert failed["message"]
    assert [line["state"] for line in api.get("/operations")["items"]] == ["failed", "done"]
    deadline = time.monotonic() + 10
    while list((tmp_path / "uploads").iterdir()):  # nothing of the files stays
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("fields", "without"),
    [
        ({"name": "No Name"}, ""),
        ({"version": "../.."}, ""),
        ({"scale": "nan"}, ""),
        ({"scale": "1e99"}, ""),
        ({"classes": ["\x00"]}, ""),
        ({}, "model"),
        ({}, "calibration"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_done(api: Api, fields: dict[str, Any], without: str):
    files = {key: ("f", b"x") for key in ("model", "calibration") if key != without}
    response = api.call("POST", "/models", files=files, data={"name": "lenet", **fields})
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert api.get("/operations")["items"] == []


def test_an_upload_has_a_bound_of_its_own(fleet: Fleet, tmp_path: Path):
    api = Api(fleet.database, tmp_path, limits=Limits(upload_bytes=10_000, rate_per_s=1e6, burst=10**6))
    response = upload(api, b"x" * 20_000, samples())
    assert (response.status_code, response.json()["code"]) == (413, "body-too-large")

    async def parts():  # type: ignore[no-untyped-def]
        yield b'--b\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\n'
        for _ in range(20):
            yield b"x" * 1000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    chunked = api.call("POST", "/models", content=parts(), headers=headers)
    assert (chunked.status_code, chunked.json()["code"]) == (413, "body-too-large")
    torn = api.call("POST", "/models", content=b"--b\r\nnonsense", headers=headers)
    assert torn.status_code in (400, 422)


def test_a_process_that_dies_is_a_failure_and_one_that_is_silent_is_lost(
    api: Api, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importing.sys, "executable", "/bin/false")
    response = upload(api, b"x", samples())
    failed = ended(api, response.headers["location"])
    assert (failed["state"], failed["code"]) == ("failed", "import-died")
    now = utc_now()
    number = operations.begin(fleet.database, "import-model", "x:1", "me", now - timedelta(minutes=5))
    assert api.get(f"/operations/{number}")["state"] == "lost"
    for _ in range(operations.MOST_AT_ONCE):
        operations.begin(fleet.database, "import-model", "x:1", "me", now)
    with pytest.raises(InUseError):
        operations.begin(fleet.database, "import-model", "x:1", "me", now)
    with pytest.raises(NotFoundError):
        operations.operation(fleet.database, 9999, now)


def test_a_plan_is_asked_about_and_nothing_is_written(api: Api):
    body = {"model": "tiny", "profile": {"count": 2}, "method": "allocate"}
    found = api.call("POST", "/plan", json=body)
    assert found.status_code == 200, found.text
    assert found.json()["boards"] in (1, 2)
    assert found.json()["stages"][0]["layers"][0] == "first"
    assert api.call("POST", "/plan", json={"model": "tiny"}).json()["boards_there"] == 2
    assert api.call("POST", "/plan", json={"model": "none"}).status_code == 404
    assert api.call("POST", "/plan", json={**body, "profile": {"count": 2, "name": "none"}}).status_code == 404
    assert api.get("/audit")["items"] == []

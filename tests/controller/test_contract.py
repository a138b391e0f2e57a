"""The AsyncAPI document is what the code says, and its schemas take what the codec takes."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import pytest
import yaml
from convoy_controller.cli import app
from convoy_controller.contract import document
from convoy_controller.contract.schemas import schema_of, schemas
from convoy_schema import codec
from convoy_schema.channels import CHANNELS
from convoy_schema.errors import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from message_strategies import MESSAGES, RECORDS, full, places, strategy
from typer.testing import CliRunner, Result

FILE = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
SCHEMAS = schemas()
CLASSES = [cls for cls in (*MESSAGES, *RECORDS) if cls.__name__ in SCHEMAS]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


class Octets(str):
    """A byte string in what JSON has: a character for each byte."""


formats = jsonschema.FormatChecker(())


@formats.checks("binary")
def is_binary(value: object) -> bool:
    return isinstance(value, Octets)


@functools.cache
def validator(cls: type[Any]) -> Any:
    root = {"$ref": f"#/components/schemas/{cls.__name__}", "components": {"schemas": SCHEMAS}}
    return jsonschema.Draft7Validator(root, format_checker=formats)


def takes(cls: type[Any], body: Any) -> bool:
    """Whether the schema takes it."""
    return bool(validator(cls).is_valid(as_json(body)))


def as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return Octets(value.decode("latin-1")) if isinstance(value, bytes) else value


def whole(cls: type[Any]) -> Any:
    return {**full(cls), "v": [1, 1]} if cls in MESSAGES else full(cls)


def read(cls: type[Any], body: Any) -> Any:
    payload = msgpack.packb(body)
    return codec.decode(cls, payload) if cls in MESSAGES else codec.unpack(cls, payload)


def test_the_document_is_what_the_code_says_and_a_difference_is_shown(tmp_path: Path) -> None:
    assert document.difference(FILE.read_text(encoding="utf-8"), "docs/asyncapi.yaml") == ""
    stale = tmp_path / "stale.yaml"
    stale.write_text(FILE.read_text(encoding="utf-8").replace("x-qos: 0", "x-qos: 2", 1))
    done = run("contract", "--check", str(stale))
    assert done.exit_code == 1
    assert "-    x-qos: 2" in done.stderr
    assert "+    x-qos: 0" in done.stderr
    assert "convoy contract --output" in done.stderr
    assert run("contract", "--check", str(FILE)).exit_code == 0


def test_it_reads_back_as_it_was_and_every_reference_leads_somewhere() -> None:
    read_back = yaml.safe_load(document.text())
    assert read_back == json.loads(json.dumps(document.document())) == json.loads(run("contract", "--json").stdout)

    def follow(value: Any) -> int:
        if isinstance(value, list):
            return sum(map(follow, value))
        if not isinstance(value, dict):
            return 0
        found = 0
        if "$ref" in value:
            target: Any = read_back
            for step in value["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            found = 1
        return found + sum(map(follow, value.values()))

    assert follow(read_back) > 100
    assert set(read_back["channels"]) == {channel.name for channel in CHANNELS}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=3, deadline=None)
@given(st.data())
def test_the_schemas_take_every_message(cls: type[Any], data: st.DataObject) -> None:
    message = data.draw(strategy(cls))
    payload = codec.encode(message) if cls in MESSAGES else codec.pack(message)
    assert takes(cls, msgpack.unpackb(payload))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_schemas_refuse_what_the_codec_refuses(cls: type[Any]) -> None:
    """Field by field: one that is missing, of another type, or beyond its bound."""
    assert takes(cls, whole(cls))
    tried = 0
    for place in places(cls):
        for wrong in ({"?": [1]}, [[[]]], -1, 1e301, "\0" * 1001):
            body = whole(cls)
            place.put(body, wrong)
            try:
                read(cls, body)
            except (DecodeError, OverflowError):
                tried += 1
                assert not takes(cls, body), (place.label, wrong)
            else:
                assert takes(cls, body), (place.label, wrong)
    assert tried > 5


def test_a_type_that_the_codec_does_not_read_has_no_schema() -> None:
    with pytest.raises(TypeError, match="complex"):
        schema_of(complex)


@pytest.mark.long
def test_it_is_valid_by_the_specifications_own_schema(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the specification's own schema comes from there")
    done = subprocess.run(
        [
            "npm",
            "install",
            "--prefix",
            str(tmp_path),
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "@asyncapi/specs@6",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        pytest.skip(f"@asyncapi/specs cannot be had from npm: {done.stderr.strip()[-200:]}")
    folder = tmp_path / "node_modules" / "@asyncapi" / "specs" / "schemas"
    official = json.loads((folder / "3.0.0-without-$id.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(official)
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(found)] == []
    del found["channels"]["boardState"]["address"], found["info"]["title"]
    assert not validator.is_valid(found), "and it can tell"

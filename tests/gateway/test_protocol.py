"""What is read from a request, and how what cannot be is refused: no gateway, no broker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from convoy_controller.errors import InvalidInputError
from convoy_controller.gateway.protocol import fingerprint, read_request
from convoy_controller.gateway.tensors import Converter
from convoy_controller.gateway.waiting import PRIORITIES
from convoy_schema.bundle import verify
from gateway_models import TRUSTED, digits
from hypothesis import given
from hypothesis import strategies as st
from infer_requests import PIXELS, json_request


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    body = json_request(PIXELS[:1], "UINT8")
    change(body)
    return body


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b.update(inputs=[]), "one tensor, 'image'; 0 came"),
        (lambda b: b.pop("inputs"), "none came"),
        (lambda b: b["inputs"][0].update(name="x"), "input is 'image', 'x' came"),
        (lambda b: b["inputs"][0].update(datatype="INT64"), "FP32, UINT8, INT8, FP16, FP64, 'INT64' came"),
        (lambda b: b["inputs"][0].update(datatype=["FP32"]), "must be FP32"),
        (lambda b: b["inputs"][0].update(shape=[1, 784], data=[0] * 784), "(n, 1, 28, 28), (1, 784) came"),
        (lambda b: b["inputs"][0].update(shape="1"), "a list of 1 to 16 whole numbers"),
        (lambda b: b["inputs"][0].update(shape=[-1, 1, 28, 28]), "a list of 1 to 16 whole numbers"),
        (lambda b: b["inputs"][0].update(shape=[10**30] * 200), "whole numbers below 2147483648, [1e+30, "),
        (lambda b: b["inputs"][0].update(shape=[2**31 - 1] * 16), "is not"),
        (lambda b: b["inputs"][0].update(shape=[2, 1, 28, 28]), "is not UINT8 [2, 1, 28, 28]"),
        (lambda b: b["inputs"][0].update(data=[[1, 2], [3]]), "is not UINT8"),
        (lambda b: b["inputs"][0].update(data=["a"] * 784), "data must be numbers"),
        (lambda b: b["inputs"][0].update(data=[256] * 784), "whole numbers in [0, 255]"),
        (lambda b: b["inputs"][0].update(data=[0.5] * 784), "whole numbers in [0, 255]"),
        (lambda b: b["inputs"][0].update(data=[256.0] * 784), "whole numbers in [0, 255]"),
        (lambda b: b["inputs"][0].update(data=[float("nan")] * 784), "whole numbers in [0, 255]"),
        (lambda b: b["inputs"][0].update(data=[float("inf")] * 784), "whole numbers in [0, 255]"),
        (lambda b: b["inputs"][0].update(data=None), "must have data"),
        (lambda b: b["inputs"][0].update(parameters={"binary_data_size": 784}), "0 bytes came"),
        (lambda b: b["inputs"][0].update(parameters=[]), "must be a JSON object"),
        (lambda b: b.update(id=7), "id must be a string"),
        (lambda b: b.update(parameters={"timeout": "soon"}), "'timeout' must be a positive number"),
        (lambda b: b.update(parameters={"timeout_ms": -1}), "'timeout_ms' must be a positive number"),
        (lambda b: b.update(parameters={"priority": -1}), "'priority' must be a whole number from 0, '-1' came"),
        (lambda b: b.update(parameters={"priority": 1.5}), "'priority' must be a whole number"),
        (lambda b: b["inputs"][0].update(parameters={"shared_memory_region": "r"}), "is in shared memory"),
        (lambda b: b.update(outputs=[{"name": "logits", "parameters": {"classification": -1}}]), "number of classes"),
        (
            lambda b: b.update(outputs=[{"name": "logits", "parameters": {"classification": 1, "datatype": "INT8"}}]),
            "classification needs real outputs",
        ),
        (lambda b: b.update(parameters={"binary_data_output": 1}), "must be true or false"),
        (lambda b: b.update(outputs=[{"name": "y"}]), "output is 'logits', 'y' was asked for"),
        (lambda b: b.update(outputs=[]), "list of 1 to 2"),
        (lambda b: b.update(outputs=["logits"]), "'logits' was asked for"),
        (lambda b: b.update(outputs=[{"name": "logits", "parameters": {"datatype": "FP16"}}]), "FP32 or INT8"),
    ],
)
def test_a_callers_mistake_names_what_was_expected(change: Callable[[dict[str, Any]], object], words: str) -> None:
    body = json.dumps(broken(change)).encode()
    converter = Converter(verify(digits()[0], TRUSTED))
    with pytest.raises(InvalidInputError, match=re.escape(words)):
        converter.rows(read_request(body, None, "image", "logits").array)


def _spelled(**more: str) -> bytes:
    """A request whose fields beyond the usual ones are JSON as it is given."""
    text = json.dumps(json_request(PIXELS[:1], "UINT8"))[:-1]
    return "".join([text, *(f', "{name}": {value}' for name, value in more.items()), "}"]).encode()


@pytest.mark.parametrize("levels", [1000, 1015, 5000])
@pytest.mark.parametrize("field", ["id", "outputs", "parameters"])
def test_what_is_nested_too_deeply_even_to_be_told_is_refused(field: str, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    if field == "parameters":
        deep = f'{{"priority": {deep}}}'
    with pytest.raises(InvalidInputError):
        read_request(_spelled(**{field: deep}), None, "image", "logits")


@pytest.mark.parametrize("field", ["name", "shape", "datatype", "data"])
def test_neither_may_a_tensor_be_nested_so_deeply(field: str) -> None:
    text = json.dumps(broken(lambda body: body["inputs"][0].update({field: "DEEP"})))
    with pytest.raises(InvalidInputError):
        read_request(text.replace('"DEEP"', "[" * 1015 + "]" * 1015).encode(), None, "image", "logits")


def test_an_id_that_cannot_be_sent_back_is_refused() -> None:
    for spelled in ('"\\ud800"', '"\\udfff x"'):
        with pytest.raises(InvalidInputError, match="id must be a string"):
            read_request(_spelled(id=spelled), None, "image", "logits")
    assert read_request(_spelled(id='"\\ud83d\\ude80"'), None, "image", "logits").ident == "\U0001f680"


def test_numbers_of_any_length_count_or_are_refused() -> None:
    huge = 10**23
    read = read_request(_spelled(parameters=f'{{"priority": {huge}}}'), None, "image", "logits")
    assert read.priority == PRIORITIES
    wanted = f'[{{"name": "logits", "parameters": {{"classification": {huge}}}}}]'
    assert read_request(_spelled(outputs=wanted), None, "image", "logits").outputs[0].classes > 10**22
    digits = "9" * 5000
    with pytest.raises(InvalidInputError, match="must be at most the body's"):
        read_request(_spelled(), digits, "image", "logits")
    assert fingerprint("/", b"body", digits) == fingerprint("/", b"body", None)


def test_whole_numbers_may_be_written_with_a_point() -> None:
    body = json.dumps(broken(lambda b: b["inputs"][0].update(data=PIXELS[:1].astype(float).ravel().tolist()))).encode()
    read = read_request(body, None, "image", "logits").array
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, PIXELS[:1])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([0, 2**62, 2**62], "must be a list of 1 to 16 whole numbers below"),
        ([0] * 65, "must be a list of 1 to 16 whole numbers below"),
        ([0] + [2**31 - 1] * 15, "'image' cannot have the shape"),
    ],
)
def test_a_shape_that_no_array_has_is_refused_though_it_takes_no_bytes(shape: list[int], words: str) -> None:
    tensor = {"name": "image", "datatype": "INT8", "shape": shape, "parameters": {"binary_data_size": 0}}
    body = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(InvalidInputError, match=words):
        read_request(body, str(len(body)), "image", "logits")


@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=5)))
def test_garbage_is_refused_and_nothing_worse(body: bytes, header: str | None) -> None:
    with pytest.raises(InvalidInputError):
        read_request(body, header, "image", "logits")


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from(
                    ("inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "id", "timeout")
                ),
                inner,
                max_size=6,
            ),
        ),
        max_leaves=30,
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    with suppress(InvalidInputError):
        read_request(json.dumps(value).encode(), None, "image", "logits")

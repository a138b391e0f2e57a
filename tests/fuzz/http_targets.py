"""Targets of HTTP: bodies that a gateway reads, answers that a client reads, and the bytes of an answer itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import gateway_models
import numpy as np
from convoy import protocol as client
from convoy.async_connections import MalformedAnswerError, read_reply
from convoy.connections import MAX_ANSWER, Gateway, Reply
from convoy.errors import ClientError, ServerFailedError
from convoy.results import ModelInfo
from convoy.retry import Attempts
from convoy_controller.errors import BodyTooLargeError, InvalidInputError
from convoy_controller.gateway import protocol as gateway
from convoy_controller.gateway.descriptions import model_metadata
from convoy_controller.gateway.encodings import DEFLATE, GZIP, accepted, pack, unpack
from convoy_controller.gateway.tensors import Converter
from convoy_schema.bundle import verify
from mutation import change_tree, mutate_bytes, mutate_json, with_tokens
from target import target

#: The first two bytes of an input are the header's length; this one is no header.
_NO_HEADER = b"\xff\xff"
_CONVERTER = Converter(verify(gateway_models.digits()[0], gateway_models.TRUSTED))


def with_header(head: Any, tail: bytes) -> bytes:
    """A body of JSON and binary tensors, its header's length in front."""
    text = json.dumps(head).encode()
    return len(text).to_bytes(2, "big") + text + tail


def split(data: bytes) -> tuple[str | None, bytes]:
    """The header's value, and the body."""
    length = data[:2]
    if length == _NO_HEADER:
        return None, data[2:]
    if length[:1] == b"\xfe":
        return data[2:14].decode("latin-1"), data[14:]
    return str(int.from_bytes(length, "big")), data[2:]


def mutate_body(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """JSON changed where it branches, the tail and the header's length after it."""
    length, body = split(data)
    if chance.random() < 0.25:
        return mutate_bytes(chance, data, other)
    if length is None:
        return _NO_HEADER + mutate_json(chance, body, other[2:])
    at = int(length) if length.isascii() and length.isdigit() else 0
    head, tail = body[:at], body[at:]
    try:
        changed = json.dumps(change_tree(chance, json.loads(head))).encode()
    except (ValueError, RecursionError):
        changed = mutate_bytes(chance, head, other)
    if chance.random() < 0.2:
        tail = mutate_bytes(chance, tail, other)
    return min(len(changed), 0xFDFF).to_bytes(2, "big") + changed + tail


# The gateway's side --------------------------------------------------------------------------------------------------


def _requests() -> Iterator[bytes]:
    rows = np.zeros((2, 1, 28, 28), np.float32)
    info = ModelInfo("digits", "1", "image", "logits", (1, 28, 28), ())
    for array in (rows, rows.astype(np.uint8), rows.astype(np.int8)):
        body, headers = client.write_request(array, info, 2.0)
        yield int(headers[client.HEADER_LENGTH]).to_bytes(2, "big") + body
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 28, 28], "data": [7] * 784}
    outputs = [{"name": "logits", "parameters": {"datatype": "INT8", "binary_data": True}}]
    outputs.append({"name": "logits", "parameters": {"classification": 3}})
    whole = {"id": "one", "parameters": {"timeout": 30, "priority": 2}, "inputs": [tensor], "outputs": outputs}
    yield _NO_HEADER + json.dumps(whole).encode()
    for datatype, value in (("FP16", 1e300), ("FP64", 1e300), ("FP16", -1e-300)):
        tensor = {"name": "image", "datatype": datatype, "shape": [1, 1, 28, 28], "data": [value] * 784}
        yield _NO_HEADER + json.dumps({"inputs": [tensor]}).encode()
    for shape, data in (([2, 2], [[1, 2], [3]]), ([10**30], []), ([0, 10**15], []), ([3], [10**400]), ([1] * 70, [1])):
        head = {"inputs": [{"name": "image", "datatype": "FP32", "shape": shape, "data": data}]}
        yield _NO_HEADER + json.dumps(head).encode()
    for shape in ([0, 2**62, 2**62], [2**63, 0], [1] * 70, [0] * 65):
        tensor = {"name": "image", "datatype": "INT8", "shape": shape, "parameters": {"binary_data_size": 0}}
        yield with_header({"inputs": [tensor]}, b"")
    yield _NO_HEADER + b'{"inputs":' + b"[" * 3000
    yield _NO_HEADER + b'{"id":"\\ud800","inputs":[{"name":"\\ud800"}]}'
    yield _NO_HEADER + b'{"parameters":{"timeout":' + b"9" * 400 + b"}}"
    yield _NO_HEADER + b"\xef\xbb\xbf{}"
    yield b"\xfe\0" + "²".encode("latin-1") + bytes(11) + b"{}"


@target("gateway-body", InvalidInputError, seeds=_requests, mutate=mutate_body)
def gateway_body(data: bytes) -> object:
    """Up to the rows that are sent to boards."""
    length, body = split(data)
    gateway.fingerprint("/v2/models/digits/infer", body, length)
    request = gateway.read_request(body, length, "image", "logits")
    json.dumps(request.ident).encode()
    return _CONVERTER.rows(request.array)


# The client's side ---------------------------------------------------------------------------------------------------


def _answers() -> Iterator[bytes]:
    output = {"name": "logits", "datatype": "FP32", "shape": [2, 10]}
    yield with_header({"outputs": [{**output, "parameters": {"binary_data_size": 80}}]}, bytes(80))
    yield _NO_HEADER + json.dumps({"outputs": [{**output, "data": [0.5] * 20}]}).encode()
    for size in (-4, 2**63, 2**70, 3.5, "80", None, True):
        yield with_header({"outputs": [{**output, "parameters": {"binary_data_size": size}}]}, bytes(80))
    for shape in ([2, -1], [2, 2**62, 4], [2] * 70, [2.0, 10], "ab", [2, None], [[2], 10]):
        yield _NO_HEADER + json.dumps({"outputs": [{**output, "shape": shape, "data": [0.5] * 20}]}).encode()
    yield _NO_HEADER + json.dumps({"outputs": [{**output, "data": [10**400] * 20}]}).encode()
    yield _NO_HEADER + json.dumps({"outputs": [{**output, "data": {"a": 1}}]}).encode()
    yield _NO_HEADER + b"[" * 3000
    yield _NO_HEADER + b"[]"
    yield _NO_HEADER + b'{"outputs":[' + b"9" * 5000 + b"]}"


@target("client-answer", ServerFailedError, seeds=_answers, mutate=mutate_body)
def client_answer(data: bytes) -> object:
    """An answer that is taken has the rows that were asked for."""
    length, body = split(data)
    array, head = client.read_response(body, length, 2)
    assert array.dtype in (np.float32, np.int64)
    assert len(array) == 2
    assert isinstance(head, dict)
    return array


def _packed() -> Iterator[bytes]:
    for number, coding in enumerate((GZIP, DEFLATE)):
        whole = pack(bytes(5000), coding)
        for content in (whole, whole[:-1], whole + whole, b""):
            yield bytes([number]) + content
    yield b"\x02gzip;q=0, *;q=0.5, deflate"


@target("gateway-packed", InvalidInputError, BodyTooLargeError, seeds=_packed, mutate=mutate_bytes)
def gateway_packed(data: bytes) -> object:
    """A packed body, and an Accept-Encoding header; what is unpacked stays in its bound."""
    if data[:1] > b"\x01":
        return accepted(data[1:].decode("latin-1"))
    content = unpack(data[1:], (GZIP, DEFLATE)[data[:1] == b"\x01"], 4096)
    assert len(content) <= 4096
    return content


def _descriptions() -> Iterator[bytes]:
    model = verify(gateway_models.digits()[0], gateway_models.TRUSTED)
    whole = model_metadata(model, _CONVERTER, ["1"])
    yield json.dumps(whole).encode()
    for shape in ([-1, 2**70], [-1, "x"], "abc", [-1, 1e400], [-1, None], {"1": 2}):
        yield json.dumps({**whole, "inputs": [{**whole["inputs"][0], "shape": shape}]}).encode()
    yield json.dumps([{"name": "digits", "version": "1", "state": "READY"}]).encode()
    yield json.dumps({"error": "no", "code": "overload"}).encode()
    yield json.dumps({"versions": {"a": 1}, **whole, "parameters": []}).encode()
    yield b"[" * 3000
    yield b'{"error":' + b"9" * 5000 + b"}"
    yield b'{"a":' * 3000


@target("client-description", ServerFailedError, seeds=_descriptions, mutate=mutate_json, most_said=10_000)
def client_description(data: bytes) -> object:
    """A model's metadata, the list of models, and the sentence of an error: the same bytes as each of them."""
    assert len(client.sentence(data)) <= MOST_SENTENCE
    taken: list[object] = []
    refusal: ServerFailedError | None = None
    for read in (client.read_model, client.read_index):
        try:
            taken.append(read(data))
        except ServerFailedError as error:
            refusal = error
    if refusal is not None and not taken:
        raise refusal
    return taken


#: Characters of an error's sentence that a client shows.
MOST_SENTENCE = 1000
_STATUSES = (200, 400, 404, 429, 500, 503, 504)


def _replies() -> Iterator[bytes]:
    for status in _STATUSES:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 12\r\nRetry-After: 1\r\n"
        yield head.encode() + b'Retry-After-Ms: 250\r\n\r\n{"error":"x"}'
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\nrest"
    for value in (b"nan", b"inf", b"1e400", b"-5", b"\xb2", b"9" * 5000, b"1_0", b""):
        waits = b"Retry-After: " + value + b"\r\nRetry-After-Ms: " + value
        yield b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n" + waits + b"\r\n\r\n"


_http = with_tokens(b"\r\n", b"HTTP/1.1 ", b"Retry-After: ", b"chunked", b"ffffffff\r\n", b"-1", b"nan", b": ", b"\n ")


# An answer without a length is read at once, up to `MAX_ANSWER`; what http.client says of one is cut above.
@target(
    "client-http",
    OSError,
    http.client.HTTPException,
    seeds=_replies,
    mutate=_http,
    base_memory=2 * MAX_ANSWER,
    most_said=100_000,
)
def client_http(data: bytes) -> object:
    """The bytes of an HTTP answer; what the client's `Gateway` makes a broken connection of is documented there."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        connection = http.client.HTTPConnection("127.0.0.1", 1)
        connection.sock = ours
        try:
            reply = Gateway("http://127.0.0.1:1")._exchange(connection, "GET", "/v2", b"", {}, 1.0)
        finally:
            connection.close()
    return _attempted(reply)


@target(
    "client-async-http",
    OSError,
    EOFError,
    MalformedAnswerError,
    seeds=_replies,
    mutate=_http,
    base_memory=2 * MAX_ANSWER,
)
def client_async_http(data: bytes) -> object:
    """The same bytes as the asyncio client's connection reads them."""

    async def read() -> Reply:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return (await read_reply(reader))[0]

    return _attempted(asyncio.run(read()))


def _attempted(reply: Reply) -> object:
    """How long the client waits after that answer; a final one is an error of its own, which belongs to the client."""
    attempts = Attempts(1, 0, 30.0, random.Random(1))
    try:
        wait = attempts.answered(reply, 1.0)
    except ClientError as error:
        return error
    assert wait is None or 0 <= wait < 60
    return wait

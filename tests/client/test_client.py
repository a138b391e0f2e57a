"""The Python client against real gateways (uvicorn, Mosquitto, exact arithmetic), and its decisions by themselves."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import convoy
import numpy as np
import pytest
from convoy import retry
from convoy.connections import BrokenConnectionError, Gateway, Reply
from convoy.protocol import MAX_SENTENCE, as_rows, read_index, read_model, read_response, sentence
from convoy.results import ModelInfo, Result
from convoy.retry import FIRST_S, Attempts
from convoy_controller.gateway.session import Limits
from convoy_controller.local_fleet import wait_until
from convoy_schema.ending import Ending
from convoy_schema.errors import ConvoyError
from convoy_schema.fixedpoint import dequantise
from convoy_schema.names import Generation
from gateway_fleet import SiteThread
from gateway_models import ARGMAX, DIGITS, SOFTMAX
from hypothesis import given
from hypothesis import strategies as st
from mosquitto_process import MosquittoProcess
from own_ports import own_port
from patience import PATIENCE_S

PIXELS = np.random.default_rng(2).integers(0, 256, (4, 1, 28, 28)).astype(np.uint8)
INFO = ModelInfo("digits", "1", "image", "logits", (1, 28, 28), DIGITS)


@pytest.fixture
def site(broker: MosquittoProcess) -> Iterator[SiteThread]:
    with SiteThread(broker.url) as running:
        yield running


def test_an_array_becomes_classes_and_probabilities(site: SiteThread) -> None:
    with convoy.connect(site.address) as client:
        result = client.infer(PIXELS)
        fleet, converter = site.site.fleet, site.site.service.models.converter(site.site.fleet.model)
        topology = fleet.model.topology
        raw = site.call(lambda: fleet.compute(converter.rows(PIXELS)))
        logits = dequantise(raw, topology.tensor(topology.output))
        np.testing.assert_array_equal(result.array, logits)
        assert result.array.dtype == np.float32
        assert result.classes == DIGITS
        assert result.labels == [DIGITS[index] for index in logits.argmax(axis=1)]
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1.0, rtol=1e-5)
        assert (result.generation, result.model, result.version, result.gateway) == ("1-1", "digits", "1", site.address)
        assert len(result) == 4
        for same in (PIXELS[:, 0], PIXELS / 255, (PIXELS / 255).astype(np.float32)):
            np.testing.assert_array_equal(client.infer(same, "digits", "1").array, logits)
        np.testing.assert_array_equal(client.infer(PIXELS[0, 0]).array, logits[:1])
        assert client.models() == [("digits", "1")]
        assert client.model("digits").shape == (1, 28, 28)
        assert wait_until(client.is_ready, PATIENCE_S), "while answers are overdue it may be in doubt"


def test_each_of_two_deployments_of_one_model_is_asked_by_its_name(site: SiteThread) -> None:
    gateway, fleet = site.site.service, site.site.fleet
    site.call(lambda: fleet.order(fleet.feed(2, deployment="busy"), fleet.feed(1, deployment="digits")))
    assert wait_until(lambda: all(map(gateway.session.is_ready, ("busy", "digits"))), PATIENCE_S)
    with convoy.connect(site.address) as client:
        assert [client.infer(PIXELS, name).generation for name in ("busy", "digits")] == ["1-2", "1-1"]
        assert client.infer(PIXELS, "busy").model == "digits"
        site.call(lambda: fleet.silent.add(Generation(1, 2)))
        with ThreadPoolExecutor() as pool:
            stuck = [pool.submit(client.infer, PIXELS, "busy", timeout_s=2.0) for _ in range(4)]
            assert wait_until(lambda: gateway.session.pending == len(stuck), PATIENCE_S)
            assert client.infer(PIXELS, "digits").generation == "1-1", "another's overload is none of its own"
            assert all(isinstance(each.exception(), convoy.DeadlineExceededError) for each in stuck)


@pytest.mark.parametrize("ending", [SOFTMAX, ARGMAX])
def test_an_ending_is_neither_repeated_nor_forgotten(broker: MosquittoProcess, ending: Ending) -> None:
    with SiteThread(broker.url, ending=ending) as site, convoy.connect(site.address) as client:
        result = client.infer(PIXELS)
        fleet, converter = site.site.fleet, site.site.service.models.converter(site.site.fleet.model)
        raw = site.call(lambda: fleet.compute(converter.rows(PIXELS)))
        logits = dequantise(raw, fleet.model.topology.tensor("logits"))
        classes = logits.argmax(axis=1)
        np.testing.assert_array_equal(result.array, ending.apply(logits))
        assert (result.ending, client.model().output) == (ending.operation.value, ending.name)
        np.testing.assert_array_equal(result.top1, classes)
        assert result.labels == [DIGITS[index] for index in classes]
        if ending is SOFTMAX:
            np.testing.assert_array_equal(result.probabilities, result.array)
        else:
            assert result.array.dtype == np.int64
            with pytest.raises(convoy.InvalidInputError, match="without the ArgMax"):
                assert result.probabilities


def test_several_classes_a_row_have_no_one_label() -> None:
    result = Result(np.zeros((2, 3, 3), np.int64), (), "1-1", "map", "1", "", "argmax")
    with pytest.raises(convoy.InvalidInputError, match="9 classes a row"):
        assert result.labels


def test_mistakes_are_told_apart(site: SiteThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SLACK_S", PATIENCE_S)  # the gateway says it first, however busy the machine is
    with convoy.connect(site.address, timeout_s=PATIENCE_S) as client:
        with pytest.raises(convoy.InvalidInputError, match=r"\(n, 1, 28, 28\), \(4, 27, 28\) came"):
            client.infer(PIXELS[:, 0, 1:])
        with pytest.raises(convoy.InvalidInputError, match="int64 came: convert it"):
            client.infer(PIXELS.astype(np.int64))
        with pytest.raises(convoy.InvalidInputError, match="NaN"):
            client.infer(np.full((1, 1, 28, 28), np.nan))
        with pytest.raises(convoy.UnknownModelError, match="cats is not served here; models: digits 1"):
            client.infer(PIXELS, "cats")
        site.call(lambda: site.site.fleet.silent.add(Generation(1, 1)))
        with pytest.raises(convoy.DeadlineExceededError, match="no answer from shop"):
            client.infer(PIXELS, timeout_s=1.0)
    for kind in (convoy.InvalidInputError, convoy.UnknownModelError, convoy.DeadlineExceededError):
        assert issubclass(kind, ConvoyError)


@pytest.mark.parametrize(
    "url", ["gateway:8080", "ftp://g", "http://", "http://g:none", "", "http://[::1", "http://\u2100"]
)
def test_a_malformed_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(convoy.InvalidInputError):
        convoy.connect(url)


def test_no_gateway_is_said_when_the_time_is_up() -> None:
    client = convoy.connect(f"http://127.0.0.1:{own_port()}", timeout_s=0.5)
    started = time.monotonic()
    with pytest.raises(convoy.ConnectionFailedError, match="Connection refused"):
        client.infer(PIXELS)
    assert time.monotonic() - started < 15, "half of what a call takes that says nothing of its time"
    assert not client.is_ready()
    with pytest.raises(convoy.InvalidInputError):
        client.infer(PIXELS, timeout_s=-1)
    with pytest.raises(convoy.InvalidInputError):
        convoy.connect([])


def test_threads_share_a_client(site: SiteThread) -> None:
    with convoy.connect(site.address) as client, ThreadPoolExecutor(8) as pool:
        expected = client.infer(PIXELS).array
        results = list(pool.map(lambda _: client.infer(PIXELS).array, range(100)))
    for array in results:
        np.testing.assert_array_equal(array, expected)


def test_a_gateway_that_comes_back_is_found_again(broker: MosquittoProcess) -> None:
    port = own_port()
    client = convoy.connect(f"http://127.0.0.1:{port}", timeout_s=PATIENCE_S)
    with SiteThread(broker.url, port=port):
        first = client.infer(PIXELS)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.infer, PIXELS)  # the kept connection is dead, and nobody listens
        time.sleep(0.3)
        assert not waiting.done()
        with SiteThread(broker.url, port=port):
            np.testing.assert_array_equal(waiting.result(PATIENCE_S).array, first.array)
    client.close()


def test_another_gateway_takes_over(broker: MosquittoProcess) -> None:
    dead = f"http://127.0.0.1:{own_port()}"
    with (
        SiteThread(broker.url, "gateway-a") as one,
        SiteThread(broker.url, "gateway-b") as two,
        convoy.connect([one.address, dead, two.address], timeout_s=PATIENCE_S) as client,
    ):
        used = client.infer(PIXELS).gateway
        (first, other) = (one, two) if used == one.address else (two, one)
        first.__exit__(None, None, None)
        assert client.infer(PIXELS).gateway == other.address


def test_overload_is_waited_out(broker: MosquittoProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SLACK_S", PATIENCE_S)
    with (
        SiteThread(broker.url, limits=Limits(rows=4)) as site,
        convoy.connect(site.address, timeout_s=PATIENCE_S) as client,
    ):
        client.infer(PIXELS)
        site.call(lambda: setattr(site.site.fleet, "thinking_s", 0.02))
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(lambda _: client.infer(PIXELS).array, range(24)))
        assert len(results) == 24
        site.call(lambda: site.site.fleet.silent.add(Generation(1, 1)))
        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(client.infer, PIXELS, timeout_s=5)
            assert wait_until(lambda: site.call(lambda: site.site.service.session.pending) == 1, PATIENCE_S, 0.01)
            with pytest.raises(convoy.OverloadedError, match="holds 4 of at most 4 rows"):
                client.infer(PIXELS, timeout_s=1.0)
            with pytest.raises(convoy.DeadlineExceededError):
                holding.result()


#: Stands for a 200 whose sender dies before it has sent the whole body.
TORN = 1


class Odd(BaseHTTPRequestHandler):
    """A server that answers as it is told to."""

    replies: list[tuple[int, bytes]]
    keys: list[str | None]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.keys.append(self.headers.get("Idempotency-Key"))
        status, body = self.replies.pop(0) if self.replies else (200, b"[]")
        if status == 0:
            self.connection.close()  # in the middle of everything
            self.close_connection = True
            return
        if status == TORN:
            self.send_response(200)
            self.send_header("Content-Length", "20")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[Callable[[list[tuple[int, bytes]]], str]]:
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(replies: list[tuple[int, bytes]]) -> str:
        handler = type("Handler", (Odd,), {"replies": replies, "keys": []})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_broken_connections_and_busy_gateways_are_tried_again(odd: Callable[[list[tuple[int, bytes]]], str]) -> None:
    url = odd([(0, b""), (503, b'{"error": "not yet"}'), (429, b""), (502, b"<html>"), (0, b"")])
    with convoy.connect(url, timeout_s=PATIENCE_S) as client:
        assert client.models() == []


@pytest.mark.parametrize("begun", [b"", b"[]"])
def test_half_an_answer_is_no_answer(odd: Callable[[list[tuple[int, bytes]]], str], begun: bytes) -> None:
    url = odd([(TORN, begun), (TORN, begun)])
    with convoy.connect(url, timeout_s=PATIENCE_S) as client:
        assert client.models() == []


def test_what_is_final_is_raised_at_once(odd: Callable[[list[tuple[int, bytes]]], str]) -> None:
    url = odd([(400, b'{"error": "bad"}'), (500, b"oh"), (504, b'{"error": "late"}'), (200, b"junk"), (404, b"?")])
    with convoy.connect(url) as client:
        for kind, words in (
            (convoy.InvalidInputError, "bad"),
            (convoy.ServerFailedError, "oh"),
            (convoy.DeadlineExceededError, "late"),
            (convoy.ServerFailedError, "not of the protocol"),
            (convoy.UnknownModelError, r"\?"),
        ):
            with pytest.raises(kind, match=words):
                client.models()


def test_a_silent_gateway_is_given_up_in_time(odd: Callable[[list[tuple[int, bytes]]], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        gateway = Gateway(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(BrokenConnectionError, match="timed out"):
            gateway.request("GET", "/", b"", {}, 0.1)
        gateway.close()


def test_the_waits_grow_with_jitter_and_obey_the_gateway() -> None:
    attempts = Attempts(2, 0, 100.0, random.Random(1))
    assert attempts.broke("gone", 0.0) == 0.0  # the other one is asked at once
    assert attempts.gateway == 1
    assert 0 <= attempts.broke("gone", 0.0) <= FIRST_S
    assert attempts.gateway == 0
    busy = Reply(429, b"", {"retry-after-ms": "1500", "retry-after": "2"})
    assert attempts.answered(busy, 0.0) == 0.0
    wait = attempts.answered(busy, 0.0)
    assert wait is not None
    assert 1.5 <= wait <= 1.5 + 2 * FIRST_S
    assert attempts.answered(Reply(200, b"", {}), 0.0) is None
    assert attempts.answered(busy, 98.6) == 0.0
    with pytest.raises(convoy.OverloadedError):
        attempts.answered(busy, 98.6)
    assert attempts.answered(Reply(404, b"", {}), 0.0) == 0.0
    with pytest.raises(convoy.UnknownModelError):
        attempts.answered(Reply(404, b"", {}), 0.0)


@given(st.integers(0, 2**32), st.lists(st.sampled_from((200, 429, 503, None)), max_size=60), st.integers(1, 4))
def test_no_wait_ever_passes_the_deadline(seed: int, replies: list[int | None], gateways: int) -> None:
    attempts, now = Attempts(gateways, 0, 5.0, random.Random(seed)), 0.0
    for status in replies:
        assert attempts.patience(now) > 0
        try:
            if status is None:
                wait: float | None = attempts.broke("gone", now)
            else:
                wait = attempts.answered(Reply(status, b"", {"retry-after": "1"}), now)
        except (convoy.ConnectionFailedError, convoy.OverloadedError, convoy.UnavailableError):
            return
        if wait is None:
            return
        assert wait >= 0
        now += wait
        assert now < 5.0
        assert 0 <= attempts.gateway < gateways


@given(st.binary(max_size=60), st.one_of(st.none(), st.text(max_size=4)))
def test_garbage_from_a_gateway_is_a_server_error(body: bytes, header: str | None) -> None:
    for read in (lambda: read_response(body, header, 1), lambda: read_model(body), lambda: read_index(body)):
        try:
            found = read()
        except convoy.ServerFailedError:
            continue
        assert found == []  # the one thing that garbage can be


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 3000,
        b'{"outputs":[{"datatype":"FP32","shape":[1,1],"data":[%s]}]}' % (b"9" * 400),
        b'{"outputs":[{"datatype":"FP32","shape":[1],"parameters":{"binary_data_size":99999999999999999999}}]}',
        b'{"name":"n","inputs":[{"name":"x","shape":[-1,1e400]}],"outputs":[{"name":"y"}]}',
        b'{"name":"%s"}' % (b"n" * 9000),
    ],
    ids=["deep", "number", "size", "extent", "long"],
)
def test_an_answer_beyond_all_bounds_is_a_server_error(body: bytes) -> None:
    for read in (lambda: read_response(body, None, 1), lambda: read_model(body), lambda: read_index(body)):
        with pytest.raises(convoy.ServerFailedError) as caught:
            read()
        assert len(str(caught.value)) < 1000
    assert len(sentence(body)) <= MAX_SENTENCE
    assert len(sentence(b'{"error":"%s"}' % (b"no" * 9000))) == MAX_SENTENCE


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 2" + b"0" * 30_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_http_is_a_broken_connection(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        gateway = Gateway(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(BrokenConnectionError) as caught:
            gateway.request("GET", "/v2", b"", {}, PATIENCE_S)
        thread.join()
    assert len(str(caught.value)) < 500


def test_rows_are_completed_but_never_guessed() -> None:
    assert as_rows(np.zeros((28, 28), np.uint8), INFO).shape == (1, 1, 28, 28)
    assert as_rows(np.zeros((1, 28, 28), np.uint8), INFO).shape == (1, 1, 28, 28)
    assert as_rows(np.zeros((7, 28, 28)), INFO).dtype == np.float32
    colour = ModelInfo("photos", "1", "x", "y", (3, 8, 8), ())
    assert as_rows(np.zeros((3, 8, 8), np.int8), colour).shape == (1, 3, 8, 8)
    for wrong in (np.zeros((8, 8, 3), np.uint8), np.zeros((0, 3, 8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8), 5.0):
        with pytest.raises(convoy.InvalidInputError):
            as_rows(wrong, colour)


def test_a_result_without_class_names_gives_numbers() -> None:
    result = Result(np.array([[0.0, 2.0], [800.0, -800.0]], np.float32), (), "1-1", "m", "1", "http://g")
    assert result.labels == ["1", "0"]
    assert result.top1.tolist() == [1, 0]
    np.testing.assert_allclose(result.probabilities[1], [1.0, 0.0])

"""The load that `convoy bench serve` puts on a server: it counts what comes back, and believes no answer unread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.bench import peer
from convoy_controller.bench.http_load import Spec, load
from convoy_controller.errors import DemoError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 1, 2, 2)).astype(np.uint8)


class Server(BaseHTTPRequestHandler):
    """Answers a picture with its first pixel's class, or as `odd` says for every so many requests."""

    protocol_version = "HTTP/1.1"
    odd: Callable[[int], tuple[int, dict[str, str]] | None]
    wrong: Callable[[int], bool]
    asked: list[float]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        split = int(self.headers.get("Inference-Header-Content-Length", len(content)))
        tensor = json.loads(content[:split])["inputs"][0]
        data = np.frombuffer(content[split:], np.uint8) if content[split:] else np.asarray(tensor["data"])
        self.asked.append(time.perf_counter())
        number = len(self.asked)
        odd = type(self).odd(number)
        if odd is not None:
            status, headers = odd
            self._reply(status, b"{}", headers)
            return
        scores = np.zeros((tensor["shape"][0], 3), np.float32)
        first = data.reshape(len(scores), -1)[:, 0].astype(int)
        scores[np.arange(len(scores)), (first + type(self).wrong(number)) % 3] = 1.0
        head = {"outputs": [{"name": "y", "datatype": "FP32", "shape": list(scores.shape)}]}
        if content[split:]:
            head["outputs"][0]["parameters"] = {"binary_data_size": scores.nbytes}  # type: ignore[assignment]
            text = json.dumps(head).encode()
            self._reply(200, text + scores.tobytes(), {"Inference-Header-Content-Length": str(len(text))})
        else:
            head["outputs"][0]["data"] = scores.ravel().tolist()
            self._reply(200, json.dumps(head).encode(), {})

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


Start = Callable[..., tuple[Spec, list[float]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []
    np.save(tmp_path / "pixels.npy", PIXELS)
    np.save(tmp_path / "classes.npy", PIXELS[:, 0, 0, 0].astype(np.int64) % 3)

    def begin(
        odd: Callable[[int], tuple[int, dict[str, str]] | None] = lambda number: None,
        wrong: Callable[[int], bool] = lambda number: False,
        **changes: object,
    ) -> tuple[Spec, list[float]]:
        asked: list[float] = []
        handler = type("Handler", (Server,), {"odd": staticmethod(odd), "wrong": staticmethod(wrong), "asked": asked})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        known = {"rows": 1, "is_binary": False, "seconds": 0.4, "connections": 2, "warm_up_s": 0.1, **changes}
        url, files = f"http://127.0.0.1:{server.server_port}", (tmp_path / "pixels.npy", tmp_path / "classes.npy")
        return Spec(url, "m", "x", str(files[0]), str(files[1]), **known), asked  # type: ignore[arg-type]

    yield begin
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("rows", "binary"), [(1, False), (2, True)])
def test_right_answers_are_counted_and_their_rate_is_that_of_the_window(
    start: Start, tmp_path: Path, rows: int, binary: bool
) -> None:
    spec, asked = start(rows=rows, is_binary=binary)
    found = load(spec, tmp_path)
    assert found.sent == found.answered == len(asked) > 10
    assert (found.wrong, found.refused, found.failed, found.hung) == (0, 0, 0, 0)
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.per_s <= found.answered / 0.4


def test_wrong_refused_and_failed_answers_are_told_apart(start: Start, tmp_path: Path) -> None:
    replies = {3: (429, {"Retry-After": "1"}), 5: (429, {}), 7: (503, {"Retry-After": "1"})}
    spec, _ = start(odd=replies.get, wrong=lambda number: number == 9)
    found = load(spec, tmp_path)
    assert (found.wrong, found.refused, found.blunt, found.failed) == (1, 2, 1, 1)
    assert found.answered + found.refused + found.failed == found.sent
    assert "503" in found.reasons[0]


def test_an_open_loop_sends_at_its_rate_whatever_comes_back(start: Start, tmp_path: Path) -> None:
    spec, asked = start(
        odd=lambda number: (429, {"Retry-After": "1"}) if number % 5 else None, rate=100.0, seconds=0.7, connections=16
    )
    found = load(spec, tmp_path)
    assert 45 < found.sent < 125  # 80 on average, by chance
    assert found.sent == len(asked) == found.answered + found.refused
    assert found.answered == found.sent // 5


def test_a_load_on_nobody_is_an_error(start: Start, tmp_path: Path) -> None:
    spec = Spec(
        "http://127.0.0.1:1", "m", "x", str(tmp_path / "pixels.npy"), str(tmp_path / "classes.npy"), 1, True, 0.1
    )
    with pytest.raises(DemoError, match=r"the load on http://127\.0\.0\.1:1 broke off"):
        load(spec, tmp_path)


def test_the_peers_files_are_there_and_its_ways_differ() -> None:
    for name in ("settings.json", "model-settings.json"):
        assert json.loads((peer.FILES / name).read_text(encoding="utf-8"))
    assert "mlserver" in (peer.FILES / "requirements.txt").read_text(encoding="utf-8")
    assert len({str(way) for way in peer.WAYS}) == len(peer.WAYS)
    assert str(peer.Way(2, 1, 64, 0.002)) == "2 workers, 1 threads, batches of 64 within 2 ms"

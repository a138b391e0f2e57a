"""A load on one endpoint of the V2 protocol, from a process of its own: closed loop or open loop, each answer checked.

`python -m convoy_controller.bench.http_load SPEC.json` prints what it counted as JSON. It writes requests and reads
answers over asyncio's transports itself, so that little of the machine goes to it; answers are read as JSON or tensors
only after the clock has stopped.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from convoy_controller.errors import DemoError

#: Seconds after the end within which everything that was sent must have an answer.
PATIENCE_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SPLIT = re.compile(rb"\r\ninference-header-content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Spec:
    """What to send: `pixels` names a file of uint8 (n, *shape), `classes` one of what each is to be answered with.

    `rate` in requests a second makes it an open loop: arrivals that find none of `connections` free wait in the
    generator, and are sent when one is. Else so many callers ask one after the other.
    """

    url: str
    model: str
    input: str
    pixels: str
    classes: str
    rows: int
    is_binary: bool
    seconds: float
    connections: int = 1
    rate: float = 0.0
    warm_up_s: float = 0.5


@dataclass
class Counted:
    """What came back. `wrong` answers are not of the class that they must be, `hung` requests never ended."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    #: Refusals that say nothing of when to come back.
    blunt: int = 0
    failed: int = 0
    wrong: int = 0
    hung: int = 0
    per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    #: Why requests failed, the first few.
    reasons: list[str] = field(default_factory=list)


def load(spec: Spec, folder: Path) -> Counted:
    """Run `spec` in a process of its own; raises `DemoError` when that ends badly."""
    file = folder / "load.json"
    file.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", __name__, str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"the load on {spec.url} broke off:\n{done.stderr[-2000:]}")
    return Counted(**json.loads(done.stdout))


@dataclass(slots=True)
class _Ticket:
    """One request, of the images from `first` on: when it was due, was sent and had its answer; 0 for not yet."""

    first: int
    due: float
    sent: float = 0.0
    ended: float = 0.0
    answer: bytes = b""


class _Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self, on_idle: Callable[[_Connection], None]) -> None:
        self._on_idle = on_idle
        self._buffer = bytearray()
        self._ticket: _Ticket | None = None
        self._need = -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, ticket: _Ticket, content: bytes) -> None:
        assert self.transport is not None
        self._ticket, ticket.sent = ticket, time.perf_counter()
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            self._need = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= self._need and self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            ticket.ended, ticket.answer = time.perf_counter(), bytes(self._buffer)
            self._buffer.clear()
            self._need = -1
            self._on_idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self._ticket is not None:
            self._ticket.ended, self._ticket.answer = time.perf_counter(), b""
            self._ticket = None
            self._on_idle(self)


class _Load:
    """One run."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.pixels: NDArray[np.uint8] = np.load(spec.pixels)
        self.classes: NDArray[np.int64] = np.load(spec.classes)
        parts = urlsplit(spec.url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.starts = range(0, len(self.pixels) - spec.rows + 1, spec.rows)
        self.requests = {start: self._request(start) for start in self.starts}
        self.tickets: list[_Ticket] = []
        self.idle: deque[_Connection] = deque()
        self.backlog: deque[_Ticket] = deque()
        self.until = float("inf")

    def _request(self, start: int) -> bytes:
        rows = self.pixels[start : start + self.spec.rows]
        tensor: dict[str, Any] = {"name": self.spec.input, "datatype": "UINT8", "shape": list(rows.shape)}
        tail, more = b"", ""
        head: dict[str, Any] = {"inputs": [tensor]}
        if self.spec.is_binary:
            tail = rows.tobytes()
            tensor["parameters"] = {"binary_data_size": len(tail)}
            head["parameters"] = {"binary_data_output": True}
        else:
            tensor["data"] = rows.ravel().tolist()
        text = json.dumps(head, separators=(",", ":")).encode()
        if self.spec.is_binary:
            more = f"Inference-Header-Content-Length: {len(text)}\r\n"
        kind = "application/octet-stream" if self.spec.is_binary else "application/json"
        lines = (
            f"POST /v2/models/{self.spec.model}/infer HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: {kind}\r\n"
            f"{more}Content-Length: {len(text) + len(tail)}\r\n\r\n"
        )
        return lines.encode() + text + tail

    async def connect(self, on_idle: Callable[[_Connection], None]) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(on_idle), self.host, self.port)
        return connection

    def ticket(self, due: float) -> _Ticket:
        made = _Ticket(self.starts[len(self.tickets) % len(self.starts)], due)
        self.tickets.append(made)
        return made

    async def closed(self) -> tuple[float, float]:
        """Callers that ask again as soon as they are answered; returns from when to when answers count."""
        finished = asyncio.Event()
        left = self.spec.connections

        def again(connection: _Connection) -> None:
            nonlocal left
            if time.perf_counter() < self.until and connection.transport is not None:
                due = self.ticket(time.perf_counter())
                connection.send(due, self.requests[due.first])
                return
            left -= 1
            if not left:
                finished.set()

        made = await asyncio.gather(*[self.connect(again) for _ in range(left)])
        began = time.perf_counter() + self.spec.warm_up_s
        self.until = began + self.spec.seconds
        for connection in made:
            again(connection)
        await asyncio.wait_for(finished.wait(), self.spec.seconds + PATIENCE_S)
        for connection in made:
            if connection.transport is not None:
                connection.transport.close()
        return began, self.until

    async def opened(self) -> tuple[float, float]:
        """Arrivals at random moments, whatever became of those before."""
        chance = random.Random(1)
        made = await asyncio.gather(*[self.connect(self._freed) for _ in range(self.spec.connections)])
        self.idle.extend(made)
        began = due = time.perf_counter() + 0.2
        self.until = began + self.spec.warm_up_s + self.spec.seconds
        while due < self.until:
            now = time.perf_counter()
            while due <= now:
                self.backlog.append(self.ticket(due))
                due += chance.expovariate(self.spec.rate)
            self._send()
            await asyncio.sleep(0.001)
        deadline = time.perf_counter() + PATIENCE_S
        while any(not ticket.ended for ticket in self.tickets) and time.perf_counter() < deadline:
            self._send()
            await asyncio.sleep(0.01)
        for connection in made:
            if connection.transport is not None:
                connection.transport.close()
        return began + self.spec.warm_up_s, self.until

    def _freed(self, connection: _Connection) -> None:
        if connection.transport is not None:
            self.idle.append(connection)
        self._send()

    def _send(self) -> None:
        while self.backlog and self.idle:
            ticket = self.backlog.popleft()
            self.idle.popleft().send(ticket, self.requests[ticket.first])

    def counted(self, began: float, until: float) -> Counted:
        found = Counted(sent=len(self.tickets))
        times = []
        for ticket in self.tickets:
            status = int(ticket.answer[9:12]) if ticket.answer else 0
            if not ticket.ended:
                found.hung += 1
            elif status == 200:
                found.answered += 1
                found.wrong += not self._is_right(ticket)
                if began <= ticket.ended < until:
                    times.append(ticket.ended - ticket.due)
            elif status == 429:
                found.refused += 1
                found.blunt += b"\r\nretry-after: " not in ticket.answer.lower()
            else:
                found.failed += 1
                found.reasons = [*found.reasons, ticket.answer[:300].decode("latin-1")][:5]
        found.per_s = len(times) / (until - began)
        if times:
            found.p50_ms, found.p99_ms = (float(value) * 1000 for value in np.quantile(times, (0.5, 0.99)))
        return found

    def _is_right(self, ticket: _Ticket) -> bool:
        head, _, body = ticket.answer.partition(b"\r\n\r\n")
        split = _SPLIT.search(head + b"\r\n")
        length = int(split[1]) if split else len(body)
        output = json.loads(body[:length])["outputs"][0]
        values = np.frombuffer(body[length:], "<f4") if split else np.asarray(output["data"])
        found = values.reshape(self.spec.rows, -1).argmax(axis=1)
        return bool((found == self.classes[ticket.first : ticket.first + self.spec.rows]).all())


def _main() -> None:
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    run = _Load(spec)
    began, until = asyncio.run(run.opened() if spec.rate else run.closed())
    print(json.dumps(asdict(run.counted(began, until))))


if __name__ == "__main__":
    _main()

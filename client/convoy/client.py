"""`connect` and `Client`: calls that go on until they are answered, over as many gateways as there are.

Every inference carries an idempotency key, so that a repetition at the same gateway joins what is in flight there; at
another one it is computed again, which is harmless, since inference is pure.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

from convoy.connections import BrokenConnectionError, Gateway, Reply
from convoy.errors import DeadlineExceededError, InvalidInputError, UnknownModelError
from convoy.protocol import HEADER_LENGTH, as_rows, read_index, read_model, read_response, write_request
from convoy.results import ModelInfo, Result
from convoy.retry import Attempts

#: Descriptions of models kept at most.
MAX_MODELS = 64

#: Sends a request to a gateway: (gateway, seconds left, seconds to wait for this answer).
_Send = Callable[[Gateway, float, float], Reply]


def connect(url: str | Sequence[str], *, timeout_s: float = 30.0) -> Client:
    """A client of the gateway at `url`, or of several that serve the same models.

    Nothing is sent yet, so a gateway that is down now may come up before the first call. `timeout_s` bounds each call,
    all its retries included. Raises `InvalidInputError` for a malformed address.
    """
    return Client([url] if isinstance(url, str) else list(url), timeout_s=timeout_s)


class Client:
    """Inference over one or more gateways. May be shared by threads; use it as a context, or `close` it."""

    def __init__(self, urls: Sequence[str], *, timeout_s: float = 30.0) -> None:
        if not urls:
            raise InvalidInputError("a client needs at least one gateway's URL")
        self._gateways = [Gateway(url) for url in urls]
        self._timeout_s = _positive(timeout_s)
        self._chance = random.Random(secrets.randbits(64))
        self._preferred = self._chance.randrange(len(self._gateways))  # so that clients spread over gateways
        self._models: dict[tuple[str | None, str | None], ModelInfo] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every kept connection."""
        for gateway in self._gateways:
            gateway.close()

    def infer(
        self, array: Any, model: str | None = None, version: str | None = None, *, timeout_s: float | None = None
    ) -> Result:
        """The network's answer to `array` (n, *shape): float32 real values, uint8 pixels, or int8 quantised.

        One sample may come without its batch, an image without its single channel. `model` may be left out when the
        gateway serves one only. Raises `InvalidInputError`, `UnknownModelError`, `OverloadedError`, `UnavailableError`,
        `ConnectionFailedError`, `DeadlineExceededError` or `ServerFailedError`.
        """
        deadline = self._deadline(timeout_s)
        try:
            return self._infer(array, model, version, deadline)
        except (InvalidInputError, UnknownModelError):
            self._forget(model, version)  # perhaps it was another model that we remembered
            raise

    def _infer(self, array: Any, model: str | None, version: str | None, deadline: float) -> Result:
        info = self._describe(model, version, deadline)
        rows = as_rows(array, info)
        path = _path(info.name, version) + "/infer"
        key = {"Idempotency-Key": secrets.token_hex(16)}

        def send(gateway: Gateway, left_s: float, patience_s: float) -> Reply:
            body, headers = write_request(rows, info, left_s)
            return gateway.request("POST", path, body, {**headers, **key}, patience_s)

        reply, gateway = self._call(send, deadline)
        outputs, head = read_response(reply.body, reply.headers.get(HEADER_LENGTH.lower()), len(rows))
        served = str(head.get("model_version", info.version))
        if served != info.version:
            # A newer version took over since we asked: its classes may be others.
            self._forget(model, version)
            info = self._describe(info.name, served, deadline)
        parameters = head.get("parameters")
        generation = parameters.get("generation", "") if isinstance(parameters, dict) else ""
        return Result(outputs, info.classes, str(generation), info.name, served, gateway.url, info.ending)

    def model(
        self, model: str | None = None, version: str | None = None, *, timeout_s: float | None = None
    ) -> ModelInfo:
        """What a model takes and gives; raises as `infer`."""
        return self._describe(model, version, self._deadline(timeout_s))

    def models(self, *, timeout_s: float | None = None) -> list[tuple[str, str]]:
        """(name, version) of every model that is served; raises as `infer`."""
        return self._list(self._deadline(timeout_s))

    def is_ready(self, *, timeout_s: float = 2.0) -> bool:
        """Whether some gateway serves a deployment now; never raises for one that does not."""
        for gateway in self._gateways:
            try:
                if gateway.request("GET", "/v2/health/ready", b"", {}, _positive(timeout_s)).status == 200:
                    return True
            except BrokenConnectionError:
                continue
        return False

    # Calls -----------------------------------------------------------------------------------------------------------

    def _describe(self, model: str | None, version: str | None, deadline: float) -> ModelInfo:
        with self._lock:
            known = self._models.get((model, version))
        if known is not None:
            return known
        name = model if model is not None else self._only_model(deadline)
        info = read_model(self._get(_path(name, version), deadline).body)
        with self._lock:
            if len(self._models) >= MAX_MODELS:
                self._models.clear()
            self._models[model, version] = info
        return info

    def _forget(self, model: str | None, version: str | None) -> None:
        with self._lock:
            self._models.pop((model, version), None)

    def _only_model(self, deadline: float) -> str:
        names = sorted({name for name, _ in self._list(deadline)})
        if len(names) != 1:
            raise UnknownModelError(f"say which model; the gateway serves {', '.join(names) or 'none'}", models=names)
        return names[0]

    def _list(self, deadline: float) -> list[tuple[str, str]]:
        return read_index(self._call(_plain("POST", "/v2/repository/index"), deadline)[0].body)

    def _get(self, path: str, deadline: float) -> Reply:
        return self._call(_plain("GET", path), deadline)[0]

    def _call(self, send: _Send, deadline: float) -> tuple[Reply, Gateway]:
        """Try until one gateway answers 200, something final is said, or the time is up."""
        attempts = Attempts(len(self._gateways), self._preferred, deadline, self._chance)
        while True:
            now = time.monotonic()
            left_s = attempts.remaining(now)
            if left_s <= 0:
                raise DeadlineExceededError("the time given was up before a gateway could answer")
            number = attempts.gateway
            gateway = self._gateways[number]
            wait: float | None
            try:
                reply = send(gateway, left_s, attempts.patience(now))
                wait = attempts.answered(reply, time.monotonic())
                if wait is None:
                    self._preferred = number
                    return reply, gateway
            except BrokenConnectionError as error:
                wait = attempts.broke(str(error), time.monotonic())
            time.sleep(wait)

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else _positive(timeout_s))


def _plain(method: str, path: str) -> _Send:
    return lambda gateway, left_s, patience_s: gateway.request(method, path, b"", {}, patience_s)


def _path(model: str, version: str | None) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _positive(seconds: float) -> float:
    if not 0 < seconds < 1e9:
        raise InvalidInputError(f"a timeout must be a positive number of seconds, {seconds!r} came")
    return float(seconds)

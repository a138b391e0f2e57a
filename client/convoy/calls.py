"""What a call consists of: exchanges with gateways and pauses between them, until there is an answer or an error.

No socket and no waiting: each call is a generator of steps, which `Client` and `AsyncClient` carry out alike. Every
inference carries an idempotency key, so that a repetition at the same gateway joins what is in flight there; at another
one it is computed again, which is harmless, since inference is pure.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from convoy.connections import BrokenConnectionError, Reply
from convoy.errors import InvalidInputError, UnknownModelError
from convoy.protocol import HEADER_LENGTH, as_rows, read_index, read_model, read_response, sentence, write_request
from convoy.results import GatewayStatus, ModelInfo, Result
from convoy.retry import Attempts

#: Descriptions of models kept at most.
MAX_MODELS = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Exchange:
    """Send this to gateway number `gateway` and await its answer, `timeout_s` at most for each step of it."""

    gateway: int
    method: str
    path: str
    timeout_s: float
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Wait before the next step."""

    seconds: float


#: Steps of a call. An `Exchange` gets its `Reply`, or a `BrokenConnectionError` thrown in; a `Pause` gets None.
Call: TypeAlias = Generator[Exchange | Pause, Reply | None, T]

#: Makes a request for a gateway: (gateway, seconds left, seconds to wait for this answer).
_Make = Callable[[int, float, float], Exchange]


class Calls:
    """The calls to a set of gateways, and what is remembered between them. May be shared by threads."""

    def __init__(self, urls: Sequence[str], timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not urls:
            raise InvalidInputError("a client needs at least one gateway's URL")
        self.urls = [url.rstrip("/") for url in urls]
        self._timeout_s = positive(timeout_s)
        self._clock = clock
        self._chance = random.Random(secrets.randbits(64))
        self._preferred = self._chance.randrange(len(urls))  # so that clients spread over gateways
        self._models: dict[tuple[str | None, str | None], ModelInfo] = {}
        self._lock = threading.Lock()

    def infer(
        self, array: Any, model: str | None, version: str | None, timeout_s: float | None, priority: int
    ) -> Call[Result]:
        """As `Client.infer`."""
        if isinstance(priority, bool) or not isinstance(priority, int) or priority < 0:
            raise InvalidInputError(f"a priority is a whole number from 0, {priority!r} came")
        deadline = self._deadline(timeout_s)
        try:
            return (yield from self._infer(array, model, version, deadline, priority))
        except (InvalidInputError, UnknownModelError):
            self._forget(model, version)  # perhaps it was another model that we remembered
            raise

    def _infer(
        self, array: Any, model: str | None, version: str | None, deadline: float, priority: int
    ) -> Call[Result]:
        info = yield from self._describe(model, version, deadline)
        rows = as_rows(array, info)
        asked = model if model is not None else info.name  # a deployment's name is not that of its model
        path = _path(asked, version) + "/infer"
        key = {"Idempotency-Key": secrets.token_hex(16)}

        def make(gateway: int, left_s: float, patience_s: float) -> Exchange:
            body, headers = write_request(rows, info, left_s, priority)
            return Exchange(gateway, "POST", path, patience_s, body, {**headers, **key})

        reply, gateway = yield from self._until_answered(make, deadline)
        outputs, head = read_response(reply.body, reply.headers.get(HEADER_LENGTH.lower()), len(rows))
        served = str(head.get("model_version", info.version))
        if served != info.version:
            # A newer version took over since we asked: its classes may be others.
            self._forget(model, version)
            info = yield from self._describe(asked, served, deadline)
        parameters = head.get("parameters")
        generation = parameters.get("generation", "") if isinstance(parameters, dict) else ""
        return Result(outputs, info.classes, str(generation), info.name, served, self.urls[gateway], info.ending)

    def model(self, model: str | None, version: str | None, timeout_s: float | None) -> Call[ModelInfo]:
        """As `Client.model`."""
        return (yield from self._describe(model, version, self._deadline(timeout_s)))

    def models(self, timeout_s: float | None) -> Call[list[tuple[str, str]]]:
        """As `Client.models`."""
        return (yield from self._list(self._deadline(timeout_s)))

    def status(self, gateway: int, timeout_s: float) -> Call[GatewayStatus]:
        """How one gateway does; never raises for one that does not answer."""
        url = self.urls[gateway]
        try:
            reply = yield Exchange(gateway, "GET", "/v2/health/ready", positive(timeout_s))
        except BrokenConnectionError as error:
            return GatewayStatus(url, False, str(error))
        assert reply is not None, "an exchange gets its reply"
        return GatewayStatus(url, reply.status == 200, "" if reply.status == 200 else sentence(reply.body))

    # Parts of calls --------------------------------------------------------------------------------------------------

    def _describe(self, model: str | None, version: str | None, deadline: float) -> Call[ModelInfo]:
        with self._lock:
            known = self._models.get((model, version))
        if known is not None:
            return known
        name = model if model is not None else (yield from self._only_model(deadline))
        reply, _ = yield from self._until_answered(_plain("GET", _path(name, version)), deadline)
        info = read_model(reply.body)
        with self._lock:
            if len(self._models) >= MAX_MODELS:
                self._models.clear()
            self._models[model, version] = info
        return info

    def _forget(self, model: str | None, version: str | None) -> None:
        with self._lock:
            self._models.pop((model, version), None)

    def _only_model(self, deadline: float) -> Call[str]:
        names = sorted({name for name, _ in (yield from self._list(deadline))})
        if len(names) != 1:
            raise UnknownModelError(f"say which model; the gateway serves {', '.join(names) or 'none'}", models=names)
        return names[0]

    def _list(self, deadline: float) -> Call[list[tuple[str, str]]]:
        reply, _ = yield from self._until_answered(_plain("POST", "/v2/repository/index"), deadline)
        return read_index(reply.body)

    def _until_answered(self, make: _Make, deadline: float) -> Call[tuple[Reply, int]]:
        """Try until one gateway answers 200, something final is said, or the time is up."""
        attempts = Attempts(len(self.urls), self._preferred, deadline, self._chance)
        while True:
            now = self._clock()
            left_s = attempts.remaining(now)
            if left_s <= 0:
                attempts.too_late()
            gateway = attempts.gateway
            wait: float | None
            try:
                reply = yield make(gateway, left_s, attempts.patience(now))
                assert reply is not None, "an exchange gets its reply"
                wait = attempts.answered(reply, self._clock())
                if wait is None:
                    self._preferred = gateway
                    return reply, gateway
            except BrokenConnectionError as error:
                wait = attempts.broke(str(error), self._clock())
            yield Pause(wait)

    def _deadline(self, timeout_s: float | None) -> float:
        return self._clock() + (self._timeout_s if timeout_s is None else positive(timeout_s))


def _plain(method: str, path: str) -> _Make:
    return lambda gateway, left_s, patience_s: Exchange(gateway, method, path, patience_s)


def _path(model: str, version: str | None) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def positive(seconds: float) -> float:
    """A timeout that makes sense; raises `InvalidInputError`."""
    if not 0 < seconds < 1e9:
        raise InvalidInputError(f"a timeout must be a positive number of seconds, {seconds!r} came")
    return float(seconds)

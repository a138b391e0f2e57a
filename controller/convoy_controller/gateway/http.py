"""The gateway's HTTP face: the Open Inference Protocol (KServe V2) as a Starlette application over a `GatewayService`.

Memory is bounded: a body, and all bodies together. Errors are `{"error": ..., "code": ...}` with the status that says
what a client may do about them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import Any

from convoy_schema.errors import ConvoyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from convoy_controller.errors import (
    BodyTooLargeError,
    DeadlineError,
    InvalidInputError,
    NotServingError,
    OverloadError,
    UnknownModelError,
)
from convoy_controller.gateway.idempotency import Answers
from convoy_controller.gateway.protocol import (
    HEADER_LENGTH,
    datatype_of,
    fingerprint,
    model_metadata,
    read_request,
    write_response,
)
from convoy_controller.gateway.service import GatewayService

log = logging.getLogger(__name__)

#: Bytes of one request's body, and of all bodies that are being read or answered.
MAX_BODY = 16 * 1024 * 1024
MAX_BODIES = 64 * 1024 * 1024
#: JSON longer than this is read in a thread, so that it does not hold up everyone else's frames.
LONG_JSON = 64 * 1024
MAX_KEY = 200
#: Seconds until a caller should come back when nothing better is known; a generation changes within this order.
RETRY_S = 0.25
EXTENSIONS = ("binary_tensor_data", "model_repository(index)", "idempotency_key")

_STATUS: dict[type[ConvoyError], int] = {
    InvalidInputError: 400,
    UnknownModelError: 404,
    BodyTooLargeError: 413,
    OverloadError: 429,
    NotServingError: 503,
    DeadlineError: 504,
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, ready to be sent, any number of times."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes it takes to keep."""
        return len(self.body) + 200

    @property
    def is_final(self) -> bool:
        """Whether a repetition of the request should get this very answer."""
        return self.status == 200


def create_app(service: GatewayService, *, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """The application; `service` must be running in the same event loop."""
    return _Face(service, clock).app()


class _Bodies:
    """Room for request bodies: each bounded, and all of them together."""

    def __init__(self) -> None:
        self._held = 0

    @contextlib.contextmanager
    def room(self) -> Iterator[list[int]]:
        taken = [0]
        try:
            yield taken
        finally:
            self._held -= taken[0]

    async def read(self, request: Request, taken: list[int]) -> bytes:
        announced = request.headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            raise InvalidInputError(f"Content-Length must be a number, {announced[:40]!r} came")
        if int(announced) > MAX_BODY:
            raise _too_large(int(announced))
        chunks: list[bytes] = []
        async for chunk in request.stream():
            taken[0] += len(chunk)
            self._held += len(chunk)
            if taken[0] > MAX_BODY:
                raise _too_large(taken[0])
            if self._held > MAX_BODIES:
                raise OverloadError(f"requests of {MAX_BODIES} bytes are being answered: try again later")
            chunks.append(chunk)
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]


def _too_large(size: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"a body may have {MAX_BODY} bytes, {size} came: send fewer rows at a time", limit=MAX_BODY
    )


class _Face:
    """The endpoints, each a method that returns an `Answer` or raises a `ConvoyError`."""

    def __init__(self, service: GatewayService, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._bodies = _Bodies()
        self._answers: Answers[Answer] = Answers()

    def app(self) -> Starlette:
        routes = [
            _route("/v2", self.server),
            _route("/v2/health/live", self.live),
            _route("/v2/health/ready", self.ready),
            _route("/v2/repository/index", self.index, "POST"),
        ]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                _route(path, self.model),
                _route(f"{path}/ready", self.model_ready),
                _route(f"{path}/infer", self.infer, "POST"),
            ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    async def server(self, request: Request) -> Answer:
        return _json({"name": "convoy", "version": metadata.version("convoy-fleet"), "extensions": list(EXTENSIONS)})

    async def live(self, request: Request) -> Answer:
        return Answer(200)

    async def ready(self, request: Request) -> Answer:
        service = self._service
        if any(service.session.is_serving(feed.intent.deployment) for feed, _ in service.served()):
            return Answer(200)
        where = "connected" if service.is_connected else "not connected"
        raise NotServingError(
            f"no deployment is served: the gateway is {where}, {len(service.served())} deployments known"
        )

    async def index(self, request: Request) -> Answer:
        """Triton's repository index: what there is, and whether it answers."""
        found: dict[tuple[str, str], bool] = {}
        for feed, model in self._service.served():
            key = feed.intent.model, feed.intent.version
            is_ready = model is not None and self._service.session.is_serving(feed.intent.deployment)
            found[key] = found.get(key, False) or is_ready
        return _json(
            [
                {"name": name, "version": version, "state": "READY" if is_ready else "UNAVAILABLE", "reason": ""}
                for (name, version), is_ready in sorted(found.items())
            ]
        )

    async def model(self, request: Request) -> Answer:
        name, version = _names(request)
        _, verified = self._service.resolve(name, version)
        versions = sorted({feed.intent.version for feed in self._service.feeds_of(name)})
        return _json(model_metadata(verified, self._service.models.converter(verified), versions))

    async def model_ready(self, request: Request) -> Answer:
        name, version = _names(request)
        if not self._service.is_ready(name, version):
            raise NotServingError(f"{name} is known, but no tested generation of it takes requests now")
        return Answer(200)

    async def infer(self, request: Request) -> Answer:
        name, version = _names(request)
        with self._bodies.room() as taken:
            body = await self._bodies.read(request, taken)
            work = partial(self._infer, name, version, body, request.headers.get(HEADER_LENGTH))
            key = request.headers.get("idempotency-key")
            if key is None:
                return await work()
            if not 1 <= len(key) <= MAX_KEY:
                raise InvalidInputError(f"an idempotency key has 1 to {MAX_KEY} characters, {len(key)} came")
            print_of = fingerprint(request.url.path, body, request.headers.get(HEADER_LENGTH))
            return await self._answers.once(key, print_of, self._clock, work)

    async def _infer(self, name: str, version: str | None, body: bytes, header_length: str | None) -> Answer:
        try:
            _, verified = self._service.resolve(name, version)
            bundle = verified.bundle
            arguments = body, header_length, bundle.input.name, bundle.answer, datatype_of(bundle.ending)
            if header_length is None and len(body) > LONG_JSON:
                read = await asyncio.to_thread(read_request, *arguments)
            else:
                read = read_request(*arguments)
            result = await self._service.infer(read.array, name, version, timeout_s=read.timeout_s)
            content, headers = write_response(read, result)
            return Answer(200, content, headers)
        except ConvoyError as error:
            return _error(error)


def _route(path: str, endpoint: Callable[[Request], Awaitable[Answer]], method: str = "GET") -> Route:
    async def respond(request: Request) -> Response:
        try:
            answer = await endpoint(request)
        except ConvoyError as error:
            answer = _error(error)
        except ClientDisconnect:
            answer = Answer(400)  # nobody is there to read it
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            answer = _json({"error": "the gateway failed; its log says why", "code": "internal"}, 500)
        return Response(answer.body, answer.status, headers=answer.headers)

    return Route(path, respond, methods=[method])


def _names(request: Request) -> tuple[str, str | None]:
    return request.path_params["model"], request.path_params.get("version")


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps(content, separators=(",", ":")).encode()
    return Answer(status, body, {"content-type": "application/json", **(headers or {})})


def _error(error: ConvoyError) -> Answer:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    headers: dict[str, str] = {}
    if status in (429, 503):
        wait = error.data.get("retry_after_s")
        seconds = float(wait) if isinstance(wait, (int, float)) else RETRY_S
        # Whole seconds for everyone, milliseconds for clients that can tell the difference.
        headers = {"retry-after": str(max(1, math.ceil(seconds))), "retry-after-ms": str(max(1, round(seconds * 1000)))}
    return _json({"error": str(error), "code": error.code}, status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentence = f"{request.method} {request.url.path[:200]}: no such endpoint; the protocol is KServe V2, under /v2"
    answer = _json({"error": sentence, "code": "http"}, status)
    return Response(answer.body, status, headers=answer.headers)

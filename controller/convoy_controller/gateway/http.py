"""The gateway's HTTP face: the Open Inference Protocol (KServe V2) as a Starlette application over a `GatewayService`.

Memory is bounded: a body, unpacked, and all bodies together. Errors are `{"error": ..., "code": ...}` with the status
that says what a client may do about them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
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
from convoy_controller.gateway.bodies import Bodies
from convoy_controller.gateway.descriptions import model_config, model_metadata, model_statistics, repository_index
from convoy_controller.gateway.encodings import LEAST_BYTES, accepted, pack
from convoy_controller.gateway.idempotency import Answers
from convoy_controller.gateway.protocol import HEADER_LENGTH, datatype_of, fingerprint, read_request, write_response
from convoy_controller.gateway.service import GatewayService
from convoy_controller.gateway.statistics import Served

log = logging.getLogger(__name__)

#: JSON longer than this is read, and an answer longer than this packed, in a thread, so that it does not hold up
#: everyone else's frames.
LONG_JSON = 64 * 1024
MAX_KEY = 200
#: Seconds until a caller should come back when nothing better is known; a generation changes within this order.
RETRY_S = 0.25
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository(index)",
    "schedule_policy",
    "statistics",
    "idempotency_key",
)

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


class _Face:
    """The endpoints, each a method that returns an `Answer` or raises a `ConvoyError`."""

    def __init__(self, service: GatewayService, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._bodies = Bodies()
        self._answers: Answers[Answer] = Answers()

    def app(self) -> Starlette:
        routes = [
            _route("/v2", self.server),
            _route("/v2/health/live", self.live),
            _route("/v2/health/ready", self.ready),
            _route("/v2/repository/index", self.index, "POST"),
            _route("/v2/models", self.models),
            _route("/v2/models/stats", self.statistics),
        ]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                _route(path, self.model),
                _route(f"{path}/ready", self.model_ready),
                _route(f"{path}/config", self.config),
                _route(f"{path}/stats", self.statistics),
                _route(f"{path}/infer", self.infer, "POST"),
            ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    async def server(self, request: Request) -> Answer:
        return _json({"name": "convoy", "version": metadata.version("convoy-fleet"), "extensions": list(EXTENSIONS)})

    async def live(self, request: Request) -> Answer:
        return _json({"live": True})

    async def ready(self, request: Request) -> Answer:
        self._service.offers.check_all_ready()
        return _json({"ready": True})

    async def index(self, request: Request) -> Answer:
        session = self._service.session
        known = [feed for feed, _ in self._service.offers.all()]
        names = [feed.intent.deployment for feed in known]
        reasons = ["" if session.is_ready(name) else session.why_not_ready(name) for name in names]
        return _json(repository_index(zip(known, reasons, strict=True)))

    async def models(self, request: Request) -> Answer:
        return _json({"models": sorted({feed.model.model for feed, _ in self._service.offers.all()})})

    async def model(self, request: Request) -> Answer:
        name, version = _names(request)
        _, verified = self._service.offers.resolve(name, version)
        versions = sorted({feed.model.version for feed in self._service.offers.feeds_of(name)})
        return _json(model_metadata(verified, self._service.models.converter(verified), versions))

    async def model_ready(self, request: Request) -> Answer:
        name, version = _names(request)
        self._service.offers.check_ready(name, version)
        return _json({"name": name, "ready": True})

    async def config(self, request: Request) -> Answer:
        service = self._service
        feed, verified = service.offers.resolve(*_names(request))
        contract = service.session.contract(feed.intent.deployment)
        batch = contract.rows_for(feed.serving) if contract is not None and feed.serving is not None else 1
        return _json(model_config(verified, service.models.converter(verified), batch, service.session.limits.rows))

    async def statistics(self, request: Request) -> Answer:
        """Of the model named, or of all; deployments of one version together."""
        service = self._service
        if "model" in request.path_params:
            feeds = service.offers.feeds_of(*_names(request))
        else:
            feeds = [feed for feed, _ in service.offers.all()]
        parts: dict[tuple[str, str], list[str]] = {}
        for feed in feeds:
            parts.setdefault((feed.model.model, feed.model.version), []).append(feed.intent.deployment)
        entries = []
        for (name, version), deployments in sorted(parts.items()):
            served = Served.merged([service.session.served(each) for each in deployments])
            last = max(service.answered_at.get(each, 0.0) for each in deployments)
            entries.append(model_statistics(name, version, served, last))
        return _json({"model_stats": entries})

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
            _, verified = self._service.offers.resolve(name, version)
            bundle = verified.bundle
            arguments = body, header_length, bundle.input.name, bundle.answer, datatype_of(bundle.ending)
            if header_length is None and len(body) > LONG_JSON:
                read = await asyncio.to_thread(read_request, *arguments)
            else:
                read = read_request(*arguments)
            result = await self._service.infer(
                read.array, name, version, timeout_s=read.timeout_s, priority=read.priority
            )
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
        return await _packed(answer, request.headers.get("accept-encoding"))

    return Route(path, respond, methods=[method])


async def _packed(answer: Answer, accept: str | None) -> Response:
    coding = accepted(accept) if accept is not None and len(answer.body) >= LEAST_BYTES else ""
    if not coding:
        return Response(answer.body, answer.status, headers=answer.headers)
    if len(answer.body) > LONG_JSON:
        body = await asyncio.to_thread(pack, answer.body, coding)
    else:
        body = pack(answer.body, coding)
    headers = {**answer.headers, "content-encoding": coding, "vary": "accept-encoding"}
    return Response(body, answer.status, headers=headers)


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
    found = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    asked = f"{request.method} {request.url.path[:200]}"
    if status == 405:
        sentence = f"{asked}: this endpoint takes {found.get('Allow', 'another method')}"
    else:
        sentence = f"{asked}: no such endpoint; the protocol is KServe V2, under /v2"
    answer = _json({"error": sentence, "code": "http"}, status, found)
    return Response(answer.body, status, headers=answer.headers)

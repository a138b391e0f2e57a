"""The gateway's HTTP face: the Open Inference Protocol (KServe V2) as an ASGI application over a `GatewayService`.

Beside it lie the gateway's metrics, for Prometheus.

`Inference` takes the infer requests; what is asked about models and the gateway itself goes through Starlette's routes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from importlib import metadata

from convoy_schema.errors import ConvoyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from convoy_controller.gateway.answers import (
    Answer,
    error_answer,
    internal_error,
    json_answer,
    packed,
    refused_endpoint,
)
from convoy_controller.gateway.descriptions import model_config, model_metadata, model_statistics, repository_index
from convoy_controller.gateway.inference import Inference, asked_for
from convoy_controller.gateway.service import GatewayService
from convoy_controller.gateway.statistics import Served
from convoy_controller.metrics.gateway import GatewayPages
from convoy_controller.metrics.page import CONTENT_TYPE

log = logging.getLogger(__name__)

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository(index)",
    "schedule_policy",
    "statistics",
    "idempotency_key",
)


def create_app(service: GatewayService, *, clock: Callable[[], float] = time.monotonic) -> ASGIApp:
    """The application; `service` must be running in the same event loop."""
    inference, others = Inference(service, clock), _Face(service).app()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_inference = scope["type"] == "http" and asked_for(scope["path"]) is not None
        await (inference if is_inference else others)(scope, receive, send)

    return app


class _Face:
    """The endpoints, each a method that returns an `Answer` or raises a `ConvoyError`."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._pages = GatewayPages(service)

    def app(self) -> Starlette:
        routes = [
            _route("/v2", self.server),
            _route("/v2/health/live", self.live),
            _route("/v2/health/ready", self.ready),
            _route("/v2/repository/index", self.index, "POST"),
            _route("/v2/models", self.models),
            _route("/v2/models/stats", self.statistics),
            _route("/metrics", self.metrics),
        ]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                _route(path, self.model),
                _route(f"{path}/ready", self.model_ready),
                _route(f"{path}/config", self.config),
                _route(f"{path}/stats", self.statistics),
            ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    async def server(self, request: Request) -> Answer:
        return json_answer(
            {"name": "convoy", "version": metadata.version("convoy-fleet"), "extensions": list(EXTENSIONS)}
        )

    async def live(self, request: Request) -> Answer:
        return json_answer({"live": True})

    async def ready(self, request: Request) -> Answer:
        self._service.offers.check_all_ready()
        return json_answer({"ready": True})

    async def index(self, request: Request) -> Answer:
        session = self._service.session
        known = [feed for feed, _ in self._service.offers.all()]
        names = [feed.intent.deployment for feed in known]
        reasons = ["" if session.is_ready(name) else session.why_not_ready(name) for name in names]
        return json_answer(repository_index(zip(known, reasons, strict=True)))

    async def models(self, request: Request) -> Answer:
        return json_answer({"models": sorted({feed.model.model for feed, _ in self._service.offers.all()})})

    async def model(self, request: Request) -> Answer:
        name, version = _names(request)
        _, verified = self._service.offers.resolve(name, version)
        versions = sorted({feed.model.version for feed in self._service.offers.feeds_of(name)})
        return json_answer(model_metadata(verified, self._service.models.converter(verified), versions))

    async def model_ready(self, request: Request) -> Answer:
        name, version = _names(request)
        self._service.offers.check_ready(name, version)
        return json_answer({"name": name, "ready": True})

    async def config(self, request: Request) -> Answer:
        service = self._service
        feed, verified = service.offers.resolve(*_names(request))
        contract = service.session.contract(feed.intent.deployment)
        batch = contract.rows_for(feed.serving) if contract is not None and feed.serving is not None else 1
        return json_answer(
            model_config(verified, service.models.converter(verified), batch, service.session.limits.rows)
        )

    async def metrics(self, request: Request) -> Answer:
        return Answer(200, self._pages.text(), {"content-type": CONTENT_TYPE})

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
        return json_answer({"model_stats": entries})


def _route(path: str, endpoint: Callable[[Request], Awaitable[Answer]], method: str = "GET") -> Route:
    async def respond(request: Request) -> Response:
        try:
            answer = await endpoint(request)
        except ConvoyError as error:
            answer = error_answer(error)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            answer = internal_error()
        answer = await packed(answer, request.headers.get("accept-encoding"))
        return Response(answer.body, answer.status, headers=answer.headers)

    return Route(path, respond, methods=[method])


def _names(request: Request) -> tuple[str, str | None]:
    return request.path_params["model"], request.path_params.get("version")


async def _http_error(request: Request, error: Exception) -> Response:
    found = error.headers or {} if isinstance(error, HTTPException) else {}
    answer = refused_endpoint(request.method, request.url.path, found.get("Allow"))
    return Response(answer.body, answer.status, headers=answer.headers)

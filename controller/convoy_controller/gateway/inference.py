"""The infer endpoint: from an ASGI request to a `GatewayService` and back, without a framework between.

All requests that matter pass here, so it takes them as the server gives them. Memory is bounded: a body, unpacked, and
all bodies together; see `bodies`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from convoy_schema.errors import ConvoyError
from starlette.types import Receive, Scope, Send

from convoy_controller.errors import InvalidInputError, NotServingError
from convoy_controller.gateway.answers import Answer, error_answer, internal_error, packed, refused_endpoint
from convoy_controller.gateway.bodies import Bodies, DisconnectedError
from convoy_controller.gateway.idempotency import Answers
from convoy_controller.gateway.protocol import HEADER_LENGTH, datatype_of, fingerprint, read_request, write_response
from convoy_controller.gateway.service import GatewayService

log = logging.getLogger(__name__)

#: JSON longer than this is read in a thread, so that it does not hold up everyone else's frames.
LONG_JSON = 64 * 1024
MAX_KEY = 200

_HEADER_LENGTH = HEADER_LENGTH.lower().encode()


def asked_for(path: str) -> tuple[str, str | None] | None:
    """Model and version of the path of an infer request; None for any other path."""
    parts = path.split("/")
    if parts[-1] != "infer" or parts[:3] != ["", "v2", "models"] or "" in parts[3:]:
        return None
    if len(parts) == 5:
        return parts[3], None
    return (parts[3], parts[5]) if len(parts) == 7 and parts[4] == "versions" else None


class Inference:
    """The endpoint as an ASGI application, for paths that `asked_for` takes."""

    def __init__(self, service: GatewayService, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._bodies = Bodies()
        self._answers: Answers[Answer] = Answers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            answer = await self._answer(scope, headers, receive)
        except ConvoyError as error:
            answer = self._refused(error)
        except DisconnectedError:
            self._service.outcomes["disconnected"] += 1
            return  # nobody is there to read it
        except asyncio.CancelledError:  # by the server alone, which has waited for long enough and is to stop
            answer = self._refused(NotServingError("this gateway stops: ask another, or again later"))
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            self._service.outcomes["internal"] += 1
            answer = internal_error()
        accept = headers.get(b"accept-encoding")
        if accept is not None:
            answer = await packed(answer, accept.decode("latin-1"))
        fields = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        fields.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Answer:
        found = asked_for(scope["path"])
        if found is None or scope["method"] != "POST":
            return refused_endpoint(scope["method"], scope["path"], None if found is None else "POST")
        with self._bodies.room(*self._service.offers.owners(*found)) as room:
            body = await self._bodies.read(headers, receive, room)
            length = headers.get(_HEADER_LENGTH)
            header_length = None if length is None else length.decode("latin-1")
            key = headers.get(b"idempotency-key")
            if key is None:
                return await self._infer(*found, body, header_length)
            if not 1 <= len(key) <= MAX_KEY:
                raise InvalidInputError(f"an idempotency key has 1 to {MAX_KEY} characters, {len(key)} came")
            print_of = fingerprint(scope["path"], body, header_length)
            work = partial(self._infer, *found, body, header_length)
            return await self._answers.once(key.decode("latin-1"), print_of, self._clock, work)

    async def _infer(self, name: str, version: str | None, body: bytes, header_length: str | None) -> Answer:
        try:
            feed, verified = self._service.offers.resolve(name, version)
            self._service.session.check_room(feed.intent.deployment)  # what would be refused is not read
            bundle = verified.bundle
            arguments = body, header_length, bundle.input.name, bundle.answer, datatype_of(bundle.ending)
            if header_length is None and len(body) > LONG_JSON:
                read = await asyncio.to_thread(read_request, *arguments)
            else:
                read = read_request(*arguments)
            result = await self._service.infer(
                read.array, name, version, timeout_s=read.timeout_s, priority=read.priority
            )
            content, fields = write_response(read, result)
            self._service.outcomes["answered"] += 1
            return Answer(200, content, fields)
        except ConvoyError as error:
            return self._refused(error)

    def _refused(self, error: ConvoyError) -> Answer:
        self._service.outcomes[error.code] += 1
        answer = error_answer(error)
        if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("an infer request failed", exc_info=error)  # no refusal: nobody should have met it here
        return answer

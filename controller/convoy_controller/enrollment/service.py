"""The enrolment service: HTTPS on a listener of its own, where boards get their first certificate and every later one.

Everyone may ask for the CA and send a claim; renewing needs the present certificate, shown in the handshake. Bodies are
small, an address that asks too often waits, refusals are JSON with a sentence, and nothing that a caller sends ends the
service.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import ssl
import time
from asyncio import BaseTransport
from collections.abc import Awaitable, Callable
from typing import Any

from convoy_schema.claims import BROKER_NAME, SECRET_BYTES
from convoy_schema.errors import ConvoyError
from cryptography import x509
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from convoy_controller.enrollment.authority import certificate_pem
from convoy_controller.enrollment.folder import TlsFolder
from convoy_controller.enrollment.office import Office
from convoy_controller.errors import AuthorityError, DatabaseError, EnrollmentError
from convoy_controller.throttle import Throttle

log = logging.getLogger(__name__)

#: Bytes of a request; a signing request in PEM has 500.
MAX_BODY = 16 * 1024
#: Requests of one address at once, and each second from then on: the CA's key and the database are not one caller's to
#: keep busy. A site's boards share an address, and may all be started together.
BURST, RATE_PER_S = 100.0, 5.0
#: Where the certificate of the caller is, DER, in what an application is told of a request.
PEER = "convoy.peer_certificate"


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP, which in addition tells the application what certificate the caller has shown."""

    def connection_made(self, transport: BaseTransport) -> None:
        """As uvicorn's, with the application told of the caller's certificate."""
        super().connection_made(transport)  # type: ignore[arg-type]
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        peer = None if secured is None else secured.getpeercert(binary_form=True)
        application = self.app

        async def told(scope: Any, receive: Any, send: Any) -> None:
            await application({**scope, PEER: peer}, receive, send)

        self.app = told


def server_context(folder: TlsFolder) -> ssl.SSLContext:
    """TLS 1.2 or later; a certificate may be shown, and then must be of our CA. Raises `AuthorityError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    file = folder.identity("enrollment")
    try:
        context.load_cert_chain(file)
        context.load_verify_locations(folder.ca)
    except (OSError, ssl.SSLError) as error:
        raise AuthorityError(
            f"{file} cannot be used: {error}; make it anew with `convoy ca issue enrollment`"
        ) from error
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def create_app(office: Office, trusted_key: str) -> Starlette:
    """The application; `trusted_key`, PEM, is the key that boards are told to trust bundles by."""
    service = _Service(office, trusted_key)
    return Starlette(
        routes=[
            Route("/v1/ca", service.admitted(service.ca), methods=["GET"]),
            Route("/v1/enroll", service.admitted(service.enroll), methods=["POST"]),
            Route("/v1/renewal", service.admitted(service.is_due), methods=["GET"]),
            Route("/v1/renew", service.admitted(service.renew), methods=["POST"]),
        ],
        exception_handlers={ConvoyError: _refused},
    )


class _Service:
    def __init__(self, office: Office, trusted_key: str) -> None:
        self._office = office
        self._trusted_key = trusted_key
        self._throttle = Throttle(BURST, RATE_PER_S)

    def admitted(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint, for who does not ask too often."""

        async def respond(request: Request) -> Response:
            wait_s = self._throttle.wait_s(_caller(request), time.monotonic())
            if wait_s:
                raise EnrollmentError(
                    f"too many requests from {_caller(request)}: again in {wait_s:.1f} s", status=429, wait_s=wait_s
                )
            return await endpoint(request)

        return respond

    async def ca(self, request: Request) -> Response:
        return PlainTextResponse(certificate_pem(self._office.authority.certificate))

    async def enroll(self, request: Request) -> Response:
        body = await _body(request)
        name, signing = _text(body, "name"), _text(body, "request").encode()
        try:
            secret = base64.b64decode(_text(body, "secret"), validate=True)
        except (ValueError, binascii.Error) as error:
            raise EnrollmentError("secret must be base64", status=400) from error
        if len(secret) != SECRET_BYTES:
            raise EnrollmentError(f"secret must have {SECRET_BYTES} bytes, {len(secret)} came", status=400)
        pem = await self._asked(lambda: self._office.enroll(name, secret, signing))
        log.info("board %s was enrolled from %s", name, _caller(request))
        settings = self._office.settings
        return JSONResponse(
            {
                "certificate": pem,
                "site": settings.site,
                "broker": settings.broker_url,
                "server_name": BROKER_NAME,
                "enrollment": settings.enrollment_address,
                "trusted_key": self._trusted_key,
            }
        )

    async def is_due(self, request: Request) -> Response:
        present = _present(request)
        return JSONResponse({"due": await self._asked(lambda: self._office.is_due(present))})

    async def renew(self, request: Request) -> Response:
        present = _present(request)
        signing = _text(await _body(request), "request").encode()
        pem = await self._asked(lambda: self._office.renew(present, signing))
        log.info("certificate %x was renewed from %s", present.serial_number, _caller(request))
        return JSONResponse({"certificate": pem})

    async def _asked(self, work: Callable[[], Any]) -> Any:
        """In a thread: keys and database take their time."""
        return await run_in_threadpool(work)


def _present(request: Request) -> x509.Certificate:
    shown: bytes | None = request.scope.get(PEER)
    if shown is None:
        raise EnrollmentError("show the present certificate, or enrol with a claim", status=401)
    return x509.load_der_x509_certificate(shown)


async def _body(request: Request) -> dict[str, Any]:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY:
            raise EnrollmentError(f"a request has at most {MAX_BODY} bytes", status=413)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise EnrollmentError(f"the request is not JSON: {error}", status=400) from error
    if not isinstance(found, dict):
        raise EnrollmentError("the request must be a JSON object", status=400)
    return found


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.isascii():
        raise EnrollmentError(f"{key} must be a string, {str(value)[:60]!r} came", status=400)
    return value


def _caller(request: Request) -> str:
    return request.client.host if request.client is not None else "an unknown address"


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConvoyError)
    status = error.data.get("status")
    if not isinstance(status, int):
        status = 503 if isinstance(error, DatabaseError) else 400
    log.warning("%s %s from %s was refused: %s", request.method, request.url.path, _caller(request), error)
    wait_s = error.data.get("wait_s")
    headers = {"retry-after": str(math.ceil(wait_s))} if isinstance(wait_s, float) else None
    return JSONResponse({"code": error.code, "error": str(error)}, status_code=status, headers=headers)

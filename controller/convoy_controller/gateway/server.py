"""The HTTP server round an application: uvicorn in the caller's own loop, on a port of its choice or of ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from convoy_controller.errors import GatewayError
from convoy_controller.gateway.http_protocol import HttpProtocol

#: Seconds that requests in flight get to finish when the server is to stop.
GRACE_S = 3
BACKLOG = 512


class _Server(uvicorn.Server):
    """Leaves signals to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    protocol: type[asyncio.Protocol] | None = None,
    sockets: bool = False,
) -> AsyncIterator[str]:
    """Serve `app` until the context ends; yields its address, `http://host:port`. `port` 0 takes a free one.

    `tls` encrypts it, `protocol` replaces uvicorn's own HTTP, `sockets` lets WebSockets through. Raises `GatewayError`
    where the address cannot be had.
    """
    sock = bind(host, port)
    config = uvicorn.Config(
        app,
        http=protocol or HttpProtocol,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        ws="auto" if sockets else "none",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    try:
        while not server.started and not running.done():
            await asyncio.sleep(0.005)
        if running.done():
            running.result()
        yield address_of(sock) if tls is None else address_of(sock).replace("http:", "https:", 1)
    finally:
        server.should_exit = True
        await running
        sock.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises `GatewayError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where it sees the protocol's number; without it each answer costs 44 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise GatewayError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", host=host, port=port
        ) from error
    return sock


def address_of(sock: socket.socket) -> str:
    """`http://host:port` under which this machine's own clients, or for a wildcard others, reach the socket."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

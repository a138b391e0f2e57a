"""A gateway as one process: service and HTTP server in one loop, until SIGTERM or SIGINT. The command line calls it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from convoy_schema.bundle import load_public_key
from convoy_schema.credentials import Credentials
from convoy_schema.resident import settle_memory
from convoy_schema.trust import Trust

from convoy_controller.gateway.http import create_app
from convoy_controller.gateway.server import serving
from convoy_controller.gateway.service import GatewayService
from convoy_controller.gateway.session import Limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GatewayConfig:
    """What a gateway must know: its name and site, the broker, the key it trusts, and where to listen."""

    name: str
    site: str
    broker: str
    trusted_key: Path
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    credentials: Credentials | None = None
    limits: Limits = field(default_factory=Limits)


def say(line: str) -> None:
    """Print at once, whatever stdout is: whoever started the process waits for the address."""
    print(line, flush=True)


def run_gateway(config: GatewayConfig, on_ready: Callable[[str], None] = say) -> None:
    """Run a gateway until SIGTERM or SIGINT; `on_ready` gets a line that ends with its address.

    Raises `SignatureError` for an unreadable key, `GatewayError` for an address in use, `LinkError` for a malformed
    broker URL, `NameTakenError` when another gateway takes the name.
    """
    settle_memory()
    uvloop.run(serve_gateway(config, on_ready))


async def serve_gateway(config: GatewayConfig, on_ready: Callable[[str], None] = say) -> None:
    """As `run_gateway`, in the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Outside the main thread there are no signals to handle: whoever runs us there cancels us.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
    trust = Trust(load_public_key(config.trusted_key), config.site)
    # Drawn anew for each incarnation, so that no id of an earlier one is ever taken for ours.
    session = secrets.randbits(62)
    service = GatewayService(
        config.name, config.site, config.broker, trust, session, limits=config.limits, credentials=config.credentials
    )
    running: asyncio.Task[None] | None = None
    try:
        async with serving(create_app(service), config.host, config.port) as address:
            service.address = address
            running = asyncio.create_task(service.run(), name="gateway")
            on_ready(f"gateway {config.name} listens on {address}")
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            log.info("gateway %s stops", config.name)
        # The server has let its requests finish by now; only then does the link go.
    finally:
        if running is not None:
            if running.done():
                running.result()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

"""Which fleet is meant, and a client of it: a URL with a token, or a home on this machine in this process."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from convoy_controller.api.version import version
from convoy_controller.api_client.client import ANSWER_S, CONNECT_S, FleetClient
from convoy_controller.errors import ConfigurationError
from convoy_controller.home import Home

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Elsewhere:
    """A fleet behind an API; the token is shown nowhere."""

    url: str
    token: str = field(default="", repr=False)

    @property
    def exposes_token(self) -> bool:
        """Whether the token would travel readable over a network."""
        parts = urlsplit(self.url)
        return bool(self.token) and parts.scheme == "http" and parts.hostname not in LOOPBACK


def check_url(url: str) -> str:
    """`url` without a slash at its end; raises `ConfigurationError` for what is no address of an API."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good, parts = False, None
    if not is_good or parts is None or parts.query or parts.fragment:
        raise ConfigurationError(f"{_without_password(url)!r} is no API's address: give one such as http://host:8081")
    if parts.username or parts.password:
        raise ConfigurationError("a user or password does not belong into an API's address: give the token apart")
    return url.rstrip("/").removesuffix("/api/v1")


def _without_password(url: str) -> str:
    scheme, mark, rest = url[:200].partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url[:100]


@contextmanager
def open_client(target: Home | Elsewhere, wait_s: float = ANSWER_S) -> Iterator[FleetClient]:
    """A client of that fleet for the length of the block; a server is given `wait_s` seconds for each answer.

    Raises `DatabaseError` for a home that cannot be opened.
    """
    if isinstance(target, Elsewhere):
        with FleetClient(_remote(target, wait_s), target.url) as client:
            yield client
        return
    from convoy_controller.api.access import InProcess as Owner
    from convoy_controller.api.app import create_app
    from convoy_controller.api.limits import Limits
    from convoy_controller.api_client.transport import BASE_URL, InProcess
    from convoy_controller.database.engine import open_database

    database = open_database(target.database_url)
    try:
        # Whoever could write to the files himself is not slowed down.
        unlimited = Limits(rate_per_s=1e9, burst=1_000_000_000)
        transport = InProcess(create_app(database, target, Owner(), limits=unlimited))
        http = httpx.Client(base_url=BASE_URL, transport=transport, timeout=None)
        with FleetClient(http, str(target.root)) as client:
            yield client
    finally:
        database.close()


def _remote(target: Elsewhere, wait_s: float) -> httpx.Client:
    headers = {"User-Agent": f"convoy/{version()}"}
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    verify = ssl.create_default_context() if target.url.startswith("https:") else False
    return httpx.Client(
        base_url=target.url,
        headers=headers,
        timeout=httpx.Timeout(wait_s, connect=min(wait_s, CONNECT_S)),
        verify=verify,
    )

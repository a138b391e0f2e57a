"""HTTP connections to one gateway, kept alive and lent to one thread at a time; standard library only.

It sends one request and reads one answer. Whether to try again, and where, is for `retry` and `client`.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from convoy.errors import InvalidInputError

#: Idle connections kept for one gateway.
MAX_IDLE = 32
#: Bytes of an answer.
MAX_ANSWER = 64 * 1024 * 1024
CONNECT_TIMEOUT_S = 3.0


class BrokenConnectionError(Exception):
    """No answer: the connection could not be made, broke, or stayed silent. Never leaves this package."""


@dataclass(frozen=True)
class Reply:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True)
class Address:
    """Where a gateway is: its URL, taken apart. `prefix` goes before every path."""

    url: str
    is_secure: bool
    host: str
    port: int
    authority: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises `InvalidInputError` for what is no gateway's URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidInputError(f"gateway {url[:200]!r}: {str(error)[:200]}", url=url) from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInputError(f"a gateway's URL has the form http://host:port, {url[:200]!r} came", url=url)
        is_secure = parts.scheme == "https"
        authority = parts.netloc.rpartition("@")[2]
        default = 443 if is_secure else 80
        return cls(url.rstrip("/"), is_secure, parts.hostname, port or default, authority, parts.path.rstrip("/"))


class Gateway:
    """One gateway's address and its idle connections. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        address = Address.parse(url)
        self.url = address.url
        self._secure = address.is_secure
        self._host, self._port = address.host, address.port
        self._prefix = address.prefix
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        """Send and await the answer, `timeout_s` at most for each step; raises `BrokenConnectionError`.

        A kept connection that the gateway had closed meanwhile is replaced without a word.
        """
        while True:
            connection, is_fresh = self._take(min(timeout_s, CONNECT_TIMEOUT_S))
            try:
                return self._exchange(connection, method, self._prefix + path, body, headers, timeout_s)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_fresh or isinstance(error, TimeoutError):
                    raise BrokenConnectionError(f"{self.url}: {str(error)[:200] or type(error).__name__}") from error

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    def _take(self, timeout_s: float) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            connection.connect()
            # A request leaves as two writes; with Nagle's algorithm the second would wait for an acknowledgement.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            raise BrokenConnectionError(f"{self.url}: {error.strerror or error}") from error
        return connection, True

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Reply:
        connection.sock.settimeout(timeout_s)
        connection.request(method, path, body or None, dict(headers))
        try:
            response = connection.getresponse()
            content = response.read(MAX_ANSWER + 1)
        except ValueError as error:  # a chunk of negative length
            raise http.client.HTTPException(f"an answer that is not HTTP: {error}") from error
        if len(content) > MAX_ANSWER:
            raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER} bytes")
        if response.length:
            # A gateway that died in the middle: read with a bound, http.client takes the torso for the whole.
            raise http.client.IncompleteRead(content, response.length)
        reply = Reply(response.status, content, {name.lower(): value for name, value in response.getheaders()})
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        return reply

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        with contextlib.suppress(OSError):
            connection.close()

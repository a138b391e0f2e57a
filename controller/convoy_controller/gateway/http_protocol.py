"""uvicorn's HTTP/1.1 with what it lacks: answers in one piece, heads that end, and no upgrade but to a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Piece = bytes | bytearray | memoryview

#: Bytes of a request's head, about: more is refused rather than kept until there is an end to it.
MAX_HEAD = 64 * 1024
#: Seconds for which what comes after a refusal is read and dropped.
LINGER_S = 1.0
_TOO_LONG = b'{"error":"the head of a request may have %d bytes","code":"head-too-large"}' % MAX_HEAD
_REFUSED = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)
_INVALID = "Invalid HTTP request received."
#: Headers of one hop that ask for another protocol.
_UPGRADING = frozenset((b"upgrade", b"http2-settings"))


class JoinedTransport:
    """A transport that sends what is written within one turn of the loop together.

    uvicorn writes an answer's head and body apart: two system calls, and a caller that is woken twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = transport
        self._loop = loop
        self._pieces: list[Piece] = []

    def write(self, data: Piece) -> None:
        """Send with whatever else is written in this turn."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._inner.is_closing():
            self._inner.write(b"".join(pieces))

    def release(self) -> asyncio.Transport:
        """Send what was written; returns the transport below."""
        self._flush()
        return self._inner

    def close(self) -> None:
        """Send what was written, and close."""
        self._flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    A request that offers another protocol beside HTTP, as Java's client and `curl --http2` do, is answered as if it did
    not (RFC 9110, 7.8). The parser would end it behind its head, and take its body for the next request.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._is_in_head = False
        self._head_bytes = 0
        self._is_refusing = False
        #: The head of a request that is to be read again, without the offer.
        self._plain_head = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(cast("asyncio.Transport", JoinedTransport(transport, self.loop)))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._unset_keepalive_if_required()
        if self._is_refusing:
            return
        self._head_bytes += len(data)
        while True:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                if not self._plain_head:
                    self._upgrade()
                    return
                data, self._plain_head = self._plain_head + data[upgrade.args[0] :], b""
                # A new one: this one may take the connection for closed.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError:
                self.logger.warning(_INVALID)
                self.send_400_response(_INVALID)
                return
        if self._is_in_head and self._head_bytes > MAX_HEAD:
            self._refuse_head()

    def _refuse_head(self) -> None:
        """Answer, and close when there was time to read it: who closes on what comes in resets the connection."""
        self._is_refusing = True
        self.transport.write(_REFUSED % (len(_TOO_LONG), _TOO_LONG))
        self.loop.call_later(LINGER_S, self.transport.close)

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self.transport = cast("JoinedTransport", self.transport).release()  # a WebSocket's protocol knows no other
            self.handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """See httptools."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._is_in_head = False
        if self._offers_another_protocol():
            self._plain_head = self._head_without_offer()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self._plain_head:
            super().on_message_complete()

    def _offers_another_protocol(self) -> bool:
        return bool(
            self.parser.should_upgrade() and not self._should_upgrade() and self.parser.get_method() != b"CONNECT"
        )

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                lines.append(b"connection: " + b", ".join(each for each in tokens if each.lower() not in _UPGRADING))
            elif name not in _UPGRADING:
                lines.append(name + b": " + value)
        return b"\r\n".join((*lines, b"", b""))

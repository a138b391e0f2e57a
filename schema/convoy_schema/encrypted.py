"""The same packets over TLS: the handshake, and a `PacketSocket` whose bytes are encrypted on their way.

OpenSSL works on two buffers in memory and never on the socket itself. So the event loop sees the socket as it is: what
is to be read shows in `select`, what waits to be written is ours, a handshake message in between (a new key, an alert)
leaves with the next push, and one read takes many records. Used by `link` alone.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from convoy_schema.credentials import Credentials, explain
from convoy_schema.errors import TlsError
from convoy_schema.packets import PacketSocket

#: Bytes asked of the kernel at once, and encrypted in one go: a few records of 16 KiB.
PIECE_BYTES = 64 * 1024


class EncryptedPacketSocket(PacketSocket):
    """Wraps a connected socket, which may block: the constructor does the handshake within `timeout_s` seconds.

    Raises `TlsError` with what came and what to do, `OSError` when the connection broke.
    """

    def __init__(self, sock: socket.socket, credentials: Credentials, host: str, timeout_s: float) -> None:
        super().__init__(sock)
        self._credentials = credentials
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = credentials.context().wrap_bio(
            self._incoming, self._outgoing, server_hostname=credentials.name_of(host)
        )
        self._cipher = memoryview(b"")
        self._failure: OSError | TlsError | None = None
        self._has_more = False
        self._shake_hands(time.monotonic() + timeout_s)
        peer = self._tls.getpeercert(binary_form=True)
        assert peer is not None, "a handshake with CERT_REQUIRED yields a certificate"
        credentials.check_dates(peer)

    @property
    def version(self) -> str:
        """As `TLSv1.3`."""
        return self._tls.version() or ""

    def close(self) -> None:
        """Say goodbye, as far as the kernel takes it, and close the socket below."""
        if self.fileno() >= 0 and not self.is_blocked:
            with contextlib.suppress(OSError):
                self._sock.setblocking(False)
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()  # writes our half, and then would wait for the other
                self._sock.send(self._outgoing.read())
        super().close()

    # The handshake ---------------------------------------------------------------------------------------------------

    def _shake_hands(self, deadline: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_handshake(deadline)
                self._receive_handshake(deadline)
            except ssl.SSLError as error:
                with contextlib.suppress(OSError):
                    self._send_handshake(deadline)  # the alert that tells the peer why
                raise TlsError(explain(error, self._credentials)) from error
            else:
                self._send_handshake(deadline)
                return

    def _send_handshake(self, deadline: float) -> None:
        content = self._outgoing.read()
        if content:
            self._sock.settimeout(_left(deadline))
            self._sock.sendall(content)

    def _receive_handshake(self, deadline: float) -> None:
        self._sock.settimeout(_left(deadline))
        try:
            content = self._sock.recv(PIECE_BYTES)
        except ConnectionError:
            content = b""
        if not content:
            raise TlsError(
                "the peer ended the connection in the middle of the TLS handshake: its log says why; perhaps it is the "
                "port for mqtt://"
            )
        self._incoming.write(content)

    # Reading ---------------------------------------------------------------------------------------------------------

    @property
    def has_more(self) -> bool:
        """Whether bytes wait in here that no `select` shows: then `fill` again without waiting."""
        return self._has_more

    def _receive(self, room: memoryview) -> int:
        """Decrypt into `room` until it is full or nothing is left; 0 when the peer has closed."""
        found = 0
        try:
            while found < len(room):
                found += self._decrypt(room[found:])
        except BlockingIOError:
            self._has_more = False
            if not found:
                raise
        except EOFError:
            self._has_more = False
        except OSError as error:
            self._failure = TlsError(explain(error, self._credentials)) if isinstance(error, ssl.SSLError) else error
            self._has_more = True  # so that it is told in the next call, after what came before it
            if not found:
                raise self._failure from error
        else:
            self._has_more = True
        self._answer()
        return found

    def _answer(self) -> None:
        """Send what the peer is owed, a new key or an alert; where it is gone, the next read says so."""
        if self._outgoing.pending and not self.is_corked and not self.is_blocked:
            with contextlib.suppress(OSError):
                self.push()

    def _decrypt(self, room: memoryview) -> int:
        """Some bytes; raises `BlockingIOError` where none are there, `EOFError` at the end, `ssl.SSLError`."""
        if self._failure is not None:
            raise self._failure
        while True:
            try:
                found = self._tls.read(len(room), room)
            except ssl.SSLWantReadError:
                content = self._sock.recv(PIECE_BYTES)
                if content:
                    self._incoming.write(content)
                else:
                    self._incoming.write_eof()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
                raise EOFError from error
            if not found:
                raise EOFError
            return int(found)

    # Writing ---------------------------------------------------------------------------------------------------------

    def push(self) -> None:
        """Encrypt and send what waits, as far as the kernel takes it; raises `OSError` when the connection broke."""
        while True:
            while self._cipher:
                try:
                    sent = self._sock.send(self._cipher)
                except BlockingIOError:
                    self.is_blocked = True
                    return
                except OSError:
                    self._hear_last_words()
                    raise
                self.unsent_bytes -= sent
                self._cipher = self._cipher[sent:]
            if not self._unsent and not self._outgoing.pending:
                self.is_blocked = False
                return
            self._encrypt()

    def _hear_last_words(self) -> None:
        """A peer that refuses us says why and closes; writing fails before that is read. Raises `TlsError` with it."""
        with contextlib.suppress(OSError, EOFError):
            try:
                while True:
                    self._decrypt(memoryview(bytearray(PIECE_BYTES)))
            except ssl.SSLError as error:
                raise TlsError(explain(error, self._credentials)) from error

    def _encrypt(self) -> None:
        """Some of what waits, whole pieces as long as they are few bytes, becomes what is to be sent next."""
        size = count = 0
        while count < len(self._unsent) and size < PIECE_BYTES:
            size += len(self._unsent[count])
            count += 1
        if size:
            content = b"".join(self._unsent[:count])
            for start in range(0, size, PIECE_BYTES):
                self._tls.write(memoryview(content)[start : start + PIECE_BYTES])
        del self._unsent[:count]
        self._cipher = memoryview(self._outgoing.read())
        self.unsent_bytes += len(self._cipher) - size


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no TLS handshake in time")
    return left

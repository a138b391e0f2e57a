"""Where the API and the controller's metrics listen for HTTP: address, port, and what encrypts it."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.errors import TlsError

from convoy_controller.database.engine import Database
from convoy_controller.database.tokens import has_tokens
from convoy_controller.errors import ExposedError


@dataclass(frozen=True)
class Listening:
    """Where to listen. `port` 0 takes a free one; `certificate` and `key` are PEM files, for HTTPS."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def context(self) -> ssl.SSLContext | None:
        """TLS 1.2 or later, or None; raises `TlsError`."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"{self.certificate} and {self.key or 'the key in it'} cannot be used: {error}; "
                "give a certificate and its key, both PEM"
            ) from error
        return context

    def check_exposure(self, database: Database, otherwise: str) -> None:
        """Refuse an address that others reach while there is no token: `ExposedError`, with what they could do."""
        if not self.is_loopback and not has_tokens(database):
            raise ExposedError(
                f"{self.host} is reached by others, and without a token {otherwise}: make one first with "
                "`convoy token create NAME --role admin`, or listen on 127.0.0.1",
                host=self.host,
            )

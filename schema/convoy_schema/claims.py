"""A claim: what a board is given, once, to get its first certificate; a line that can be copied or typed.

    board-1@192.168.1.5:8884/PIN

PIN is base64 of the CA's fingerprint (SHA-256), a secret that counts once, and a checksum against typing errors. The
fingerprint lets a board that has nothing yet know the right service from any other; dates and use are the service's to
judge. Beside it what both ends of enrolment must call alike.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from convoy_schema.errors import ClaimError, TopicError
from convoy_schema.names import check_name

#: Names in the certificates of broker and enrolment service, beside their hosts'; no board's certificate has one.
BROKER_NAME = "convoy-broker"
ENROLLMENT_NAME = "convoy-enrollment"
#: The service's port unless it is told another.
ENROLLMENT_PORT = 8884

FINGERPRINT_BYTES = 32
SECRET_BYTES = 16
_CHECK_BYTES = 4
_FORM = "the form is NAME@HOST:PORT/PIN, as `convoy board invite` prints it"


@dataclass(frozen=True)
class Claim:
    """Who is invited, where to, by which CA, and the secret."""

    name: str
    host: str
    port: int
    fingerprint: bytes
    secret: bytes

    def __str__(self) -> str:
        content = self.fingerprint + self.secret
        pin = base64.urlsafe_b64encode(content + _check(self.name, content)).decode("ascii").rstrip("=")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}@{host}:{self.port}/{pin}"


def parse_claim(text: str) -> Claim:
    """A claim from its line; raises `ClaimError` that shows the form, never the secret."""
    text = text.strip()
    try:
        parts = urlsplit(f"//{text}")
        name, host, port = check_name(parts.username or "", "board"), parts.hostname or "", parts.port
    except (ValueError, TopicError) as error:
        raise ClaimError(f"this is no claim ({error}): {_FORM}") from error
    pin = parts.path.removeprefix("/")
    if not host or not port or parts.query or parts.fragment:
        raise ClaimError(f"this is no claim (host or port is missing): {_FORM}")
    try:
        content = base64.b64decode(pin + "=" * (-len(pin) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise ClaimError(f"the claim of {name} was not copied whole (its PIN cannot be read): {_FORM}") from error
    check = content[FINGERPRINT_BYTES + SECRET_BYTES :]
    content = content[: FINGERPRINT_BYTES + SECRET_BYTES]
    if check != _check(name, content):
        raise ClaimError(f"the claim of {name} was not copied whole, or a character was changed: copy it again")
    return Claim(name, host, port, content[:FINGERPRINT_BYTES], content[FINGERPRINT_BYTES:])


def _check(name: str, content: bytes) -> bytes:
    return zlib.crc32(name.encode() + content).to_bytes(_CHECK_BYTES, "big")

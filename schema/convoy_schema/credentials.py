"""Who we are and whom we trust on an encrypted connection: a fleet's CA, our certificate and key, and the time.

Shared by the link, by enrolment, and by whoever asks a broker whether it is there. OpenSSL checks everything about the
peer during the handshake except dates, which it can only compare with the system's clock; a board's clock may say 1970.
Dates are checked here, right after the handshake and before a byte is sent, against the later of the clock and a
persisted floor: the newest date that the fleet's CA is known to have signed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from convoy_schema.errors import TlsError

log = logging.getLogger(__name__)

#: X509_V_FLAG_NO_CHECK_TIME of OpenSSL 1.1.0 and later; Python has no name for it.
_NO_CHECK_TIME = 0x200000
#: Certificates between a peer's and the one that signed itself, at most; a fleet's CA has none.
_MOST_ISSUERS = 4
#: Seconds of the last date there is, in the year 9999.
_LAST_DATE = 253_402_300_799


class TimeFloor:
    """The newest signed time ever seen, in seconds since 1970, kept in a file; without a file, as long as the process.

    Only what the fleet's CA has signed raises it, never a clock: one that was wrong once would lock the board out.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._seconds = 0
        if file is not None:
            try:
                found = int(file.read_text(encoding="ascii"))
                self._seconds = found if 0 <= found <= _LAST_DATE else 0
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                log.warning("%s is not a time in seconds (%s): beginning anew with 0", file, error)

    def __str__(self) -> str:
        return "the newest signed time seen here" if self._file is None else f"the newest signed time, in {self._file}"

    @property
    def seconds(self) -> int:
        """It is at least so late."""
        return self._seconds

    def raise_to(self, seconds: float) -> None:
        """Note a signed time; what is not newer changes nothing. A disk that cannot keep it is logged."""
        if int(seconds) <= self._seconds:
            return
        self._seconds = int(seconds)
        if self._file is not None:
            try:
                write_private(self._file, f"{self._seconds}\n".encode())
            except OSError as error:
                log.warning("%s cannot be written: %s", self._file, error)


@dataclass(frozen=True)
class Credentials:
    """Files, PEM, read anew for every connection, so that a renewed certificate needs no restart.

    `certificate` holds the key as well unless `key` names another file; without one we show none. `server_name` is the
    name that the peer's certificate must have, where it is not the host's.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    floor: TimeFloor = field(default_factory=TimeFloor, compare=False)
    clock: Callable[[], float] = field(default=time.time, compare=False)

    def context(self) -> ssl.SSLContext:
        """What a client needs for one connection; raises `TlsError` that names the file."""
        context = client_context(self.ca)
        if self.certificate is not None:
            self._show(context, self.certificate)
        return context

    def _show(self, context: ssl.SSLContext, certificate: Path) -> None:
        for file in (certificate, self.key or certificate):
            if not os.access(file, os.R_OK):
                raise TlsError(f"{file} cannot be read: it is to hold this side's certificate or key", file=str(file))
        try:
            context.load_cert_chain(certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            files = f"{certificate} does not hold" if self.key is None else f"{certificate} and {self.key} are not"
            raise TlsError(f"{files} a certificate and its key: {_reason(error)}", file=str(certificate)) from error
        own = load_certificates(certificate)[0]
        with contextlib.suppress(TlsError):  # one of another CA is the peer's to refuse, and proves no time to us
            self.note([own, *path_of(own, load_certificates(self.ca))])

    def name_of(self, host: str) -> str:
        """The name that the peer's certificate must have; raises `TlsError` for what cannot be one."""
        name = self.server_name or host
        try:
            name.encode("idna")
        except UnicodeError as error:
            raise TlsError(f"server name {name!r} cannot be one: {error}") from error
        if name.startswith(".") or "\0" in name:
            raise TlsError(f"server name {name!r} cannot be one")
        return name

    def check_name(self, name: str) -> None:
        """Refuse a certificate that is not for `name`, whose words a broker would drop in silence; `TlsError`."""
        if self.certificate is None:
            return
        found = common_name(load_certificates(self.certificate)[0])
        if found != name:
            raise TlsError(f"{self.certificate} is the certificate of {found!r}, and this is {name!r}: give it its own")

    def connect(self, host: str, port: int, timeout_s: float) -> ssl.SSLSocket:
        """A blocking connection, checked as a link's is; raises `TlsError` with what to do, `OSError`."""
        context = self.context()
        sock = socket.create_connection((host, port), timeout_s)
        try:
            encrypted = context.wrap_socket(sock, server_hostname=self.name_of(host))
        except ssl.SSLError as error:
            sock.close()
            raise TlsError(explain(error, self)) from error
        except BaseException:
            sock.close()
            raise
        try:
            self.check_dates(encrypted.getpeercert(binary_form=True) or b"")
        except BaseException:
            encrypted.close()
            raise
        return encrypted

    def note(self, certificates: Sequence[x509.Certificate]) -> None:
        """Signed by the CA, they prove that it is not earlier than the day from which they count."""
        for certificate in certificates:
            self.floor.raise_to(certificate.not_valid_before_utc.timestamp())

    def check_dates(self, peer: bytes) -> None:
        """Refuse a peer whose certificate (DER, verified by the handshake) or CA is past its end; raises `TlsError`.

        A start in the future is no reason to refuse: the CA signed it, so our clock is behind, and the floor is raised.
        """
        try:
            leaf = x509.load_der_x509_certificate(peer)
        except ValueError as error:
            raise TlsError(f"the peer's certificate cannot be read: {error}") from error
        path = [leaf, *path_of(leaf, load_certificates(self.ca))]
        self.note(path)
        clock = self.clock()
        now = max(clock, self.floor.seconds)
        for certificate in path:
            if certificate.not_valid_after_utc.timestamp() <= now:
                source = "this machine's clock" if clock >= self.floor.seconds else str(self.floor)
                raise TlsError(
                    f"the peer's certificate ({common_name(certificate)}) expired on "
                    f"{_day(certificate.not_valid_after_utc)}, and it is {_day(_date(now))} by {source}: renew it, or "
                    "set this clock right"
                )


def client_context(ca: Path) -> ssl.SSLContext:
    """Trusts `ca` and nobody else, from TLS 1.2 on, checks the name, leaves dates to `Credentials.check_dates`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(ca)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"{ca} is not the PEM file of a CA: {_reason(error)}", file=str(ca)) from error
    context.verify_flags |= _NO_CHECK_TIME
    return context


def load_certificates(file: Path) -> list[x509.Certificate]:
    """Every certificate in a PEM file; raises `TlsError`."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise TlsError(f"{file} holds no certificate in PEM: {error}", file=str(file)) from error


def path_of(leaf: x509.Certificate, trusted: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Who signed `leaf`, up to a certificate that signed itself, all of `trusted`; raises `TlsError`.

    Of what a peer sends beside its own certificate nothing is used: OpenSSL would not have looked at its dates.
    """
    path: list[x509.Certificate] = []
    current = leaf
    while len(path) < _MOST_ISSUERS:
        issuer = next((one for one in trusted if _issued(one, current)), None)
        if issuer is None:
            break
        path.append(issuer)
        if issuer.subject == issuer.issuer:
            return path
        current = issuer
    raise TlsError(
        f"the certificate of {common_name(leaf)} was not issued by a certificate in our CA file: if an intermediate "
        "issued it, add that one to the file"
    )


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name; '(no name)' without one."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else "(no name)"


def write_private(file: Path, content: bytes) -> None:
    """Write a file that its owner alone may read: whole or not at all, and on disk when this returns; `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


#: What a peer's alert says about us, by OpenSSL's name for it.
_ALERTS = {
    "CERTIFICATE_EXPIRED": "our certificate has expired: renew it, or enrol anew with a new claim",
    "CERTIFICATE_REVOKED": "our certificate was revoked: ask the fleet's owner",
    "UNKNOWN_CA": "our certificate is of another CA than the peer's: enrol with this fleet",
    "CERTIFICATE_REQUIRED": "the peer wants a certificate, and we have shown none",
    "BAD_CERTIFICATE": "the peer cannot use our certificate: enrol anew",
    "CERTIFICATE_UNKNOWN": "the peer does not accept our certificate: its log says why",
    "UNSUPPORTED_CERTIFICATE": "our certificate is not one for a client: enrol anew",
    "HANDSHAKE_FAILURE": "the peer and we have no cipher in common",
    "PROTOCOL_VERSION": "the peer does not speak TLS 1.2 or later: update it",
    "DECRYPT_ERROR": "our key does not fit our certificate: enrol anew",
}


def explain(error: ssl.SSLError, credentials: Credentials) -> str:
    """One line: what came, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused: {_verdict(error, credentials)}"
    reason = error.reason or ""
    for alert, sentence in _ALERTS.items():
        if reason.endswith(f"ALERT_{alert}"):
            return f"the peer refused us: {sentence} ({credentials.certificate})"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "what answers there does not speak TLS: is it the port for mqtt://?"
    return f"TLS failed: {_reason(error)}"


def _verdict(error: ssl.SSLCertVerificationError, credentials: Credentials) -> str:
    # Codes of OpenSSL's x509_vfy.h, stable since 1.0.2.
    if error.verify_code in (18, 19, 20, 21, 7):
        return f"it is not of our CA ({credentials.ca}): a foreign peer, or we were enrolled with another fleet"
    if error.verify_code in (62, 64):
        return f"{error.verify_message}: connect by a name that it has, or set server_name to one"
    if error.verify_code == 26:
        return "it is not one for a server: somebody else's certificate answers there"
    return error.verify_message


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _day(date: datetime) -> str:
    return f"{date:%Y-%m-%d %H:%M} UTC"

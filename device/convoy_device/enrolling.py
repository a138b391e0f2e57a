"""A board's first certificate, by a claim, and every later one, by the one before. Base dependencies only.

The private key is made here, with 0600, and leaves the board never. What the board shows is one file, key and
certificate together, so that both change at once and a power loss leaves the old pair or the new one.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convoy_schema.claims import ENROLLMENT_NAME, Claim
from convoy_schema.credentials import Credentials, TimeFloor, write_private
from convoy_schema.errors import TlsError
from convoy_schema.link import parse_url
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from convoy_device.errors import EnrollError

#: Seconds for each answer.
ANSWER_S = 15.0
#: Bytes of an answer that are read.
MAX_ANSWER = 64 * 1024


@dataclass(frozen=True)
class Enrolled:
    """What the service told a board at its enrolment."""

    site: str
    broker: str
    server_name: str
    enrollment: str
    trusted_key: str


def enroll(claim: Claim, ca: Path, identity: Path, floor: TimeFloor) -> Enrolled:
    """Use a claim: the CA goes to `ca`, key and certificate to `identity`. Raises `EnrollError`, `TlsError`.

    After a lost answer the same call goes on with the same key, for which the service repeats its answer.
    """
    content = _pinned_ca(claim)
    _write(ca, content)
    pending = identity.with_suffix(".pending")
    key = _pending_key(pending)
    credentials = Credentials(ca, server_name=ENROLLMENT_NAME, floor=floor)
    body = {
        "name": claim.name,
        "secret": base64.b64encode(claim.secret).decode("ascii"),
        "request": _request(key, claim.name),
    }
    answer = _ask(credentials, claim.host, claim.port, "POST", "/v1/enroll", body)
    _keep(identity, key, _text(answer, "certificate"), claim.name, ca)
    pending.unlink(missing_ok=True)
    return Enrolled(*(_text(answer, key) for key in ("site", "broker", "server_name", "enrollment", "trusted_key")))


def enroll_into(folder: Path, claim: Claim, floor: TimeFloor) -> Enrolled:
    """`enroll` with the files of a board in `folder`: ca.pem, NAME.pem and trusted.pem. Raises as `enroll`."""
    enrolled = enroll(claim, folder / "ca.pem", folder / f"{claim.name}.pem", floor)
    _write(folder / "trusted.pem", enrolled.trusted_key.encode("ascii", "replace"))
    return enrolled


def settings(name: str, enrolled: Enrolled, folder: Path = Path()) -> dict[str, str]:
    """What a board's configuration says once it is enrolled, its files being in `folder`."""
    return {
        "name": name,
        "site": enrolled.site,
        "broker": enrolled.broker,
        "trusted_key": str(folder / "trusted.pem"),
        "ca": str(folder / "ca.pem"),
        "certificate": str(folder / f"{name}.pem"),
        "server_name": enrolled.server_name,
        "enrollment": enrolled.enrollment,
    }


def renew(name: str, credentials: Credentials, address: str, *, always: bool = False) -> bool:
    """Renew the certificate of `credentials` at `address`, HOST:PORT, if it is due; whether it was.

    The service says whether it is due, since this board's clock may be wrong. Connections that stand are not touched:
    they use the new certificate when they are made anew. Raises `EnrollError`, `TlsError`, `OSError`.
    """
    if credentials.certificate is None or credentials.key is not None:
        raise EnrollError("only a certificate with its key in one file is renewed: set 'certificate', and no 'key'")
    host, port = parse_url(f"mqtts://{address}")
    there = Credentials(
        credentials.ca, credentials.certificate, None, ENROLLMENT_NAME, credentials.floor, credentials.clock
    )
    if not always and _ask(there, host, port, "GET", "/v1/renewal").get("due") is not True:
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    answer = _ask(there, host, port, "POST", "/v1/renew", {"request": _request(key, name)})
    _keep(credentials.certificate, key, _text(answer, "certificate"), name, credentials.ca)
    return True


# Keys and files ------------------------------------------------------------------------------------------------------


def _pending_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The key of an enrolment under way, made if there is none."""
    if file.exists():
        try:
            found = serialization.load_pem_private_key(file.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise EnrollError(f"{file} cannot be read ({error}): delete it, and ask for another claim") from error
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
    key = ec.generate_private_key(ec.SECP256R1())
    _write(file, _pem(key))
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _request(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _keep(identity: Path, key: ec.EllipticCurvePrivateKey, certificate: str, name: str, ca: Path) -> None:
    """Check what came before it takes the place of what works; key and certificate become one file."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode("ascii"))
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.read_bytes()))
        names = [one.value for one in found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    except Exception as error:
        raise EnrollError(f"the service sent what is no certificate of this fleet's CA: {error}") from error
    if found.public_key() != key.public_key() or names != [name]:
        raise EnrollError(f"the service sent a certificate for {names}, not for our key and the name {name}")
    _write(identity, _pem(key) + certificate.encode("ascii"))


def _write(file: Path, content: bytes) -> None:
    try:
        write_private(file, content)
    except OSError as error:
        raise EnrollError(f"{file} cannot be written: {error.strerror}") from error


# The service ---------------------------------------------------------------------------------------------------------


def _pinned_ca(claim: Claim) -> bytes:
    """The CA's certificate, asked of whoever answers and taken only with the fingerprint that the claim has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is told to that peer, and what it tells is checked here
    try:
        with (
            socket.create_connection((claim.host, claim.port), ANSWER_S) as sock,
            context.wrap_socket(sock, server_hostname=ENROLLMENT_NAME) as encrypted,
        ):
            content = _exchange(encrypted, claim.host, "GET", "/v1/ca", None)
    except ssl.SSLError as error:
        raise EnrollError(
            f"what answers at {claim.host}:{claim.port} is no enrolment service: {error.reason}"
        ) from error
    except OSError as error:
        raise EnrollError(f"no enrolment service answers at {claim.host}:{claim.port}: {error}") from error
    try:
        found = x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise EnrollError(f"what answers at {claim.host}:{claim.port} is no enrolment service of ours") from error
    if hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).digest() != claim.fingerprint:
        raise EnrollError(
            f"the CA at {claim.host}:{claim.port} is not the one that the claim names: another fleet's service, or "
            "somebody in between. Nothing was told to it"
        )
    return found.public_bytes(serialization.Encoding.PEM)


def _ask(
    credentials: Credentials, host: str, port: int, method: str, path: str, body: dict[str, str] | None = None
) -> dict[str, Any]:
    try:
        with credentials.connect(host, port, ANSWER_S) as sock:
            content = _exchange(sock, host, method, path, body)
    except ssl.SSLError as error:
        raise EnrollError(f"the enrolment service at {host}:{port} refuses this certificate: {error.reason}") from error
    except TlsError:
        raise
    except OSError as error:
        raise EnrollError(f"no enrolment service answers at {host}:{port}: {error}") from error
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise EnrollError(f"the enrolment service at {host}:{port} sent no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise EnrollError(f"the enrolment service at {host}:{port} sent {str(answer)[:60]!r} in place of an object")
    return answer


def _exchange(sock: ssl.SSLSocket, host: str, method: str, path: str, body: dict[str, str] | None) -> bytes:
    connection = http.client.HTTPConnection(host)
    connection.sock = sock
    content = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, content, {"Connection": "close", "Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER)
    except http.client.HTTPException as error:
        raise EnrollError(f"the enrolment service sent no HTTP: {error!r}") from error
    if response.status != http.client.OK:
        raise EnrollError(_refusal(response.status, answer), status=response.status)
    return answer


def _refusal(status: int, answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])[:500]
    except (ValueError, TypeError, KeyError):
        return f"the enrolment service answers with HTTP {status}"


def _text(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise EnrollError(f"the enrolment service left out {key}: is it of another version?")
    return value

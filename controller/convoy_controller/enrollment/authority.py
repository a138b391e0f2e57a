"""The fleet's certificate authority: one root key that signs every certificate itself, and the list of revoked ones.

P-256 everywhere: every TLS 1.2 peer takes it, Mosquitto's OpenSSL included. Dates come from the caller; nothing here
reads a clock, a file or the database.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from convoy_schema.claims import BROKER_NAME, ENROLLMENT_NAME
from convoy_schema.credentials import common_name
from convoy_schema.errors import TopicError
from convoy_schema.names import check_name
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from convoy_controller.errors import AuthorityError

#: How long certificates count. Boards renew theirs by themselves; the others are renewed by `convoy ca issue`.
CA_LIFE = timedelta(days=20 * 365)
SERVICE_LIFE = timedelta(days=5 * 365)
BOARD_LIFE = timedelta(days=90)
#: A certificate is renewed when no more than this part of its life is left.
RENEWAL_PART = 1 / 3
#: Certificates count from a little earlier: clocks of controller and broker differ.
SLACK = timedelta(minutes=5)


class Role(enum.Enum):
    """What a certificate's common name makes of its owner: that name, or one that begins with it and a hyphen."""

    BOARD = "board"
    CONTROLLER = "controller"
    GATEWAY = "gateway"
    BROKER = "broker"
    ENROLLMENT = "enrollment"
    BRIDGE = "bridge"

    @property
    def serves(self) -> bool:
        """Whether its certificate is for a server."""
        return self in (Role.BROKER, Role.ENROLLMENT)


def role_of(name: str) -> Role:
    """The role that goes with a common name; raises `AuthorityError` for what is no name of the contract.

    By prefix, so that no database has to know that the board `gateway` does not exist.
    """
    try:
        check_name(name)
    except TopicError as error:
        raise AuthorityError(str(error), name=name) from error
    for role in Role:
        if role is not Role.BOARD and (name == role.value or name.startswith(f"{role.value}-")):
            return role
    return Role.BOARD


def check_board_name(name: str) -> str:
    """`name`, if a board may have it; raises `AuthorityError`."""
    role = role_of(name)
    if role is not Role.BOARD:
        raise AuthorityError(
            f"a board cannot be called {name!r}: names that begin with {role.value!r} are those of a {role.value}",
            name=name,
        )
    return name


@dataclass(frozen=True)
class Issued:
    """A certificate, and the private key if it was made with it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None = None

    @property
    def name(self) -> str:
        """Its common name."""
        return common_name(self.certificate)

    @property
    def serial(self) -> str:
        """Its serial number, hexadecimal, as it is kept and shown."""
        return serial_of(self.certificate)

    def pem(self) -> bytes:
        """Key and certificate in one file, so that they are always replaced together."""
        return (b"" if self.key is None else key_pem(self.key)) + certificate_pem(self.certificate)


def serial_of(certificate: x509.Certificate) -> str:
    """A serial number as it is kept and shown."""
    return f"{certificate.serial_number:040x}"


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS 8, without a password: who may read the file may use it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate, 32 bytes."""
    return certificate.fingerprint(hashes.SHA256())


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it is to be renewed."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now <= life * RENEWAL_PART


class Authority:
    """Signs certificates and revocations."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @staticmethod
    def create(name: str, now: datetime, life: timedelta = CA_LIFE) -> Authority:
        """A new one; `name` is for people."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"Convoy CA {name}")
        usage = _usage(digital_signature=False, signs_certificates=True)
        certificate = (
            _begun(subject, subject, key.public_key(), now, life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return Authority(certificate, key)

    @staticmethod
    def parse(certificate: bytes, key: bytes) -> Authority:
        """From PEM; raises `AuthorityError`."""
        try:
            found = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError) as error:
            raise AuthorityError(f"the CA's certificate or key is not PEM: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
            raise AuthorityError("the CA's key does not belong to its certificate: restore both from one backup")
        return Authority(found, private)

    def key_pem(self) -> bytes:
        """The root key."""
        return key_pem(self._key)

    # Certificates ----------------------------------------------------------------------------------------------------

    def issue(self, name: str, hosts: Sequence[str], now: datetime, life: timedelta = SERVICE_LIFE) -> Issued:
        """A certificate with a new key for a service; `hosts` are names and addresses under which a server is found.

        Raises `AuthorityError` for a board's name.
        """
        role = role_of(name)
        if role is Role.BOARD:
            raise AuthorityError(
                f"{name!r} is a board's name: boards make their keys themselves (`convoy board invite {name}`)",
                name=name,
            )
        key = ec.generate_private_key(ec.SECP256R1())
        own = {Role.BROKER: (BROKER_NAME,), Role.ENROLLMENT: (ENROLLMENT_NAME,)}.get(role, ())
        return Issued(self._leaf(name, key.public_key(), now, life, (*own, *hosts), role.serves), key)

    def sign(self, request: bytes, name: str, now: datetime, life: timedelta = BOARD_LIFE) -> Issued:
        """A board's certificate for a signing request (DER or PEM) made with a key that only the board has.

        The name is ours to give; whatever else the request asks for is not looked at. Raises `AuthorityError`.
        """
        check_board_name(name)
        return Issued(self._leaf(name, request_key(request, name), now, life, (), False))

    def _leaf(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        now: datetime,
        life: timedelta,
        hosts: Sequence[str],
        serves: bool,
    ) -> x509.Certificate:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _begun(_subject(name), self.certificate.subject, key, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True, signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            names = [_general_name(host) for host in dict.fromkeys(hosts)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is one of ours."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    # Revocation ------------------------------------------------------------------------------------------------------

    def revocations(self, serials: Iterable[str], now: datetime) -> bytes:
        """The list of revoked certificates (a CRL, PEM).

        It lasts as long as the CA: a broker with a list past its date lets nobody in, and ours is a file that is
        replaced, not fetched.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(max(now - SLACK, self.certificate.not_valid_before_utc))
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for serial in sorted(serials):
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request_key(request: bytes, name: str) -> ec.EllipticCurvePublicKey:
    """The public key of a signing request that its private key has signed; raises `AuthorityError`."""
    try:
        load = x509.load_pem_x509_csr if request.startswith(b"-----") else x509.load_der_x509_csr
        found = load(request)
        valid = found.is_signature_valid
        key = found.public_key()
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:
        raise AuthorityError(f"the signing request of {name} cannot be read: {error}", name=name) from error
    if not valid:
        raise AuthorityError(f"the signing request of {name} was not signed by its own key", name=name)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError(f"the key of {name} must be one of P-256, as `convoy-device enroll` makes it", name=name)
    return key


def key_print(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key, hexadecimal: tells two keys apart."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, digital_signature: bool, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise AuthorityError(f"host {host!r} is neither a name nor an address: {error}", host=host) from error

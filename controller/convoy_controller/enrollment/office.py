"""What is asked of a fleet's CA, from the command line or over the enrolment service: one method for each.

Joins the folder, the CA and the database; takes the date from its clock and reads nothing of the network.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from convoy_schema.claims import SECRET_BYTES, Claim
from convoy_schema.credentials import common_name
from convoy_schema.link import parse_url
from cryptography import x509

from convoy_controller.database import certificate_records as records
from convoy_controller.database.engine import Database
from convoy_controller.database.records import utc_now
from convoy_controller.enrollment.authority import (
    BOARD_LIFE,
    Authority,
    Issued,
    Role,
    certificate_pem,
    check_board_name,
    fingerprint,
    is_due,
    key_print,
    request_key,
    role_of,
    serial_of,
)
from convoy_controller.enrollment.folder import Settings, TlsFolder, first_identities
from convoy_controller.errors import AuthorityError, EnrollmentError

#: How long a claim counts unless it is said otherwise.
CLAIM_LIFE = timedelta(hours=24)


class Office:
    """The CA at work. `board_life`: how long boards' certificates count."""

    def __init__(
        self,
        database: Database,
        folder: TlsFolder,
        *,
        board_life: timedelta = BOARD_LIFE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self.folder = folder
        self._board_life = board_life
        self._clock = clock
        self.authority: Authority = folder.authority()
        self.settings: Settings = folder.settings()

    @staticmethod
    def found(database: Database, folder: TlsFolder, settings: Settings, now: datetime) -> Office:
        """Make the CA, a certificate for each service, and the broker's files; raises `AuthorityError`."""
        folder.create(settings, now)
        office = Office(database, folder)
        for name, hosts in first_identities(settings):
            office.issue(name, hosts)
        office.write_broker_files()
        return office

    # For the owner ---------------------------------------------------------------------------------------------------

    def issue(self, name: str, hosts: tuple[str, ...] = ()) -> Path:
        """A new key and certificate for a service, in place of the ones it had; raises `AuthorityError`.

        A gateway that is new gets its section in the access rules.
        """
        now = self._clock()
        if not hosts:
            hosts = dict(first_identities(self.settings)).get(name, ())
        issued = self.authority.issue(name, hosts, now)
        records.add_service_certificate(self._database, _record(issued), now)
        path = self.folder.keep(issued)
        if role_of(name) is Role.GATEWAY and name not in self.settings.gateways:
            gateways = (*self.settings.gateways, name)
            self.settings = Settings(
                self.settings.site,
                self.settings.hosts,
                gateways,
                self.settings.broker_port,
                self.settings.enrollment_port,
            )
            self.folder.save(self.settings)
            self.write_broker_files()
        return path

    def invite(self, name: str, life: timedelta = CLAIM_LIFE, address: str = "") -> Claim:
        """A claim for a board; raises `AuthorityError` for a name that no board may have, `EnrollmentError`."""
        check_board_name(name)
        host, port = parse_url(f"mqtts://{address or self.settings.enrollment_address}")
        claim = Claim(name, host, port, fingerprint(self.authority.certificate), secrets.token_bytes(SECRET_BYTES))
        now = self._clock()
        records.add_claim(self._database, name, _hash(claim.secret), now, now + life)
        return claim

    def revoke(self, name: str, reason: str = "") -> int:
        """Revoke a name, for ever; how many certificates that were. The broker is to reload after this."""
        if role_of(name) not in (Role.BOARD, Role.GATEWAY, Role.BRIDGE):
            raise AuthorityError(
                f"{name} is not revoked, but made anew: `convoy ca issue {name}`; if its key was stolen, make a new CA",
                name=name,
            )
        serials = records.revoke(self._database, name, reason, self._clock())
        self.write_broker_files({name} if serials else set())
        return len(serials)

    def write_broker_files(self, names: set[str] | None = None) -> None:
        """The broker's list of revoked certificates and its access rules, anew; `names` are silenced as well."""
        serials, revoked = records.revocations(self._database)
        self.folder.write_broker_files(self.authority, serials, {*revoked, *(names or ())}, self._clock())

    # For boards ------------------------------------------------------------------------------------------------------

    def enroll(self, name: str, secret: bytes, request: bytes) -> str:
        """A board's first certificate (PEM); raises `EnrollmentError` or `AuthorityError`."""
        printed = key_print(request_key(request, name))
        now = self._clock()
        return records.use_claim(
            self._database, name, _hash(secret), printed, now, lambda: self._sign(request, name, now)
        )

    def renew(self, present: x509.Certificate, request: bytes) -> str:
        """A board's next certificate (PEM), for the one that it has shown; raises as `enroll`."""
        name = self._owner(present)
        now = self._clock()
        serial = serial_of(present)
        return records.renew_certificate(self._database, name, serial, now, lambda: self._sign(request, name, now))

    def is_due(self, present: x509.Certificate) -> bool:
        """Whether the certificate that a board has shown is to be renewed: by this clock, the board's may be wrong."""
        self._owner(present)
        return is_due(present, self._clock())

    def _owner(self, present: x509.Certificate) -> str:
        """The name of a board whose certificate counts; the handshake has checked dates and CA, and so do we."""
        name = common_name(present)
        if not self.authority.has_signed(present) or present.not_valid_after_utc <= self._clock():
            raise EnrollmentError(f"the certificate of {name} does not count: enrol with a claim", status=403)
        if serial_of(present) in self.folder.revoked_serials() or name in self.folder.revoked_names():
            raise EnrollmentError(f"{name} was revoked: ask the fleet's owner", status=403)
        try:
            return check_board_name(name)
        except AuthorityError as error:
            raise EnrollmentError(f"{error}; a service's is renewed by `convoy ca issue {name}`", status=403) from error

    def _sign(self, request: bytes, name: str, now: datetime) -> records.NewCertificate:
        return _record(self.authority.sign(request, name, now, self._board_life))


def _record(issued: Issued) -> records.NewCertificate:
    pem = certificate_pem(issued.certificate).decode("ascii")
    return records.NewCertificate(issued.serial, issued.name, issued.certificate.not_valid_after_utc, pem)


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()

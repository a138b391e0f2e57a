"""The folder HOME/tls: the CA, the services' certificates, what the broker is given, and what boards are told.

    ca.pem ca.key          the CA; the key is the fleet's most precious file
    NAME.pem               key and certificate of a service: broker, enrollment, controller, gateway, ...
    crl.pem acl            the broker's list of revoked certificates and its access rules
    fleet.json             site, gateways and addresses, as `convoy ca init` was told

Files only: whoever calls gives dates, and what the database knows.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from convoy_schema.claims import ENROLLMENT_PORT
from convoy_schema.credentials import write_private
from cryptography import x509

from convoy_controller.enrollment.authority import Authority, Issued, certificate_pem
from convoy_controller.enrollment.broker_files import access_rules
from convoy_controller.errors import AuthorityError

_SILENCED = re.compile(r"^user (\S+)\ntopic deny #$", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """What a fleet's certificates are for. The first of `hosts` is the one that boards are told."""

    site: str
    hosts: tuple[str, ...]
    gateways: tuple[str, ...] = ("gateway",)
    broker_port: int = 8883
    enrollment_port: int = ENROLLMENT_PORT

    @property
    def broker_url(self) -> str:
        """Where boards find the broker."""
        return f"mqtts://{_in_url(self.hosts[0])}:{self.broker_port}"

    @property
    def enrollment_address(self) -> str:
        """Where boards enrol, HOST:PORT."""
        return f"{_in_url(self.hosts[0])}:{self.enrollment_port}"


class TlsFolder:
    """That folder; nothing is made before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.path / "ca.pem"

    @property
    def exists(self) -> bool:
        """Whether there is a CA."""
        return self.ca.exists()

    def identity(self, name: str) -> Path:
        """File with a service's key and certificate."""
        return self.path / f"{name}.pem"

    # The CA ----------------------------------------------------------------------------------------------------------

    def create(self, settings: Settings, now: datetime) -> Authority:
        """Make the CA; raises `AuthorityError` when there is one: boards trust it, and would have to enrol anew."""
        if self.exists or (self.path / "ca.key").exists():
            raise AuthorityError(
                f"there is a CA in {self.path}: move it away to make a new one, for which every board enrols anew"
            )
        authority = Authority.create(settings.site, now)
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write("ca.key", authority.key_pem())
        self._write("fleet.json", json.dumps(dataclasses.asdict(settings), indent=1).encode() + b"\n")
        self._write("ca.pem", certificate_pem(authority.certificate))
        return authority

    def authority(self) -> Authority:
        """The CA; raises `AuthorityError`."""
        try:
            return Authority.parse(self.ca.read_bytes(), (self.path / "ca.key").read_bytes())
        except OSError as error:
            raise AuthorityError(
                f"there is no CA in {self.path} ({error.strerror}): make one with `convoy ca init`"
            ) from error

    def settings(self) -> Settings:
        """As the CA was made; raises `AuthorityError`."""
        file = self.path / "fleet.json"
        try:
            table = json.loads(file.read_text(encoding="utf-8"))
            hosts, gateways = tuple(table.pop("hosts")), tuple(table.pop("gateways"))
            return Settings(hosts=hosts, gateways=gateways, **table)
        except FileNotFoundError as error:
            raise AuthorityError(f"there is no CA in {self.path}: make one with `convoy ca init`") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuthorityError(f"{file} cannot be used: {error}; restore it from backup") from error

    def save(self, settings: Settings) -> None:
        """Change what the fleet's certificates are for."""
        self._write("fleet.json", json.dumps(dataclasses.asdict(settings), indent=1).encode() + b"\n")

    def keep(self, issued: Issued) -> Path:
        """Write a service's key and certificate."""
        self._write(f"{issued.name}.pem", issued.pem())
        return self.identity(issued.name)

    # What the broker is given ----------------------------------------------------------------------------------------

    def revoked_serials(self) -> tuple[str, ...]:
        """Those on the list that is there: what a lost database has forgotten stays revoked."""
        try:
            found = x509.load_pem_x509_crl((self.path / "crl.pem").read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise AuthorityError(f"{self.path / 'crl.pem'} cannot be read: {error}; restore it from backup") from error
        return tuple(f"{one.serial_number:040x}" for one in found)

    def revoked_names(self) -> tuple[str, ...]:
        """Those that the rules silence."""
        try:
            return tuple(_SILENCED.findall((self.path / "acl").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return ()

    def write_broker_files(
        self, authority: Authority, serials: Iterable[str], names: Iterable[str], now: datetime
    ) -> None:
        """The list of revoked certificates and the access rules, with what is revoked there already kept."""
        settings = self.settings()
        rules = access_rules(settings.site, settings.gateways, {*names, *self.revoked_names()})
        self._write("crl.pem", authority.revocations({*serials, *self.revoked_serials()}, now))
        self._write("acl", rules.encode())

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_private(self.path / name, content)
        except OSError as error:
            raise AuthorityError(f"{self.path / name} cannot be written: {error.strerror}") from error


def first_identities(settings: Settings) -> Sequence[tuple[str, tuple[str, ...]]]:
    """The services of a fleet, and the hosts that belong into their certificates."""
    here = ("localhost", "127.0.0.1", "::1")
    hosts = tuple(dict.fromkeys((*settings.hosts, *here)))
    return (
        ("broker", hosts),
        ("enrollment", hosts),
        ("controller", ()),
        *((name, ()) for name in settings.gateways),
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""A CA, certificates of every kind, and a real Mosquitto with the shipped configuration and access rules.

`Guarded` is that broker; `Guarded.link` is a link with any certificate, `Guarded.identity` makes one.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from convoy_controller.broker import find_mosquitto
from convoy_controller.enrollment.authority import BOARD_LIFE, Authority, Issued, Role, certificate_pem, role_of
from convoy_controller.enrollment.broker_files import access_rules, bridge_configuration, tls_configuration
from convoy_schema.credentials import Credentials, TimeFloor
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from patience import PATIENCE_S

SITE = "main"
DAY = timedelta(days=1)


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def signing_request(key: ec.EllipticCurvePrivateKey, name: str = "ignored") -> bytes:
    """As a board makes one; PEM."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def board_certificate(authority: Authority, name: str, now: datetime, life: timedelta = BOARD_LIFE) -> Issued:
    """A board's certificate with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Issued(authority.sign(signing_request(key), name, now, life).certificate, key)


class Guarded:
    """A broker on the shipped files, below `directory`; as a context it ends with the block."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int,
        site: str = SITE,
        gateways: tuple[str, ...] = ("gateway",),
        authority: Authority | None = None,
        bridge_to: str = "",
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self.site, self.gateways = port, site, gateways
        self.url = f"mqtts://127.0.0.1:{port}"
        self.authority = authority or Authority.create("test", utc_now())
        self._bridge_to = bridge_to
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(certificate_pem(self.authority.certificate))
        self.revoked: dict[str, list[str]] = {}
        self.issue("broker", hosts=("127.0.0.1", "localhost"))
        self.write_rules()
        self.write_revocations()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Guarded:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Files -----------------------------------------------------------------------------------------------------------

    def issue(self, name: str, hosts: tuple[str, ...] = (), now: datetime | None = None) -> Path:
        """A service's certificate and key."""
        return self._keep(self.authority.issue(name, hosts, now or utc_now()), f"{name}.pem")

    def identity(
        self,
        name: str,
        *,
        file: str = "",
        authority: Authority | None = None,
        now: datetime | None = None,
        life: timedelta = BOARD_LIFE,
    ) -> Path:
        """A file with a board's (or a service's) certificate and key; dates and CA as wanted."""
        signer = authority or self.authority
        if role_of(name) is Role.BOARD:
            issued = board_certificate(signer, name, now or utc_now(), life)
        else:
            issued = signer.issue(name, (), now or utc_now(), life)
        return self._keep(issued, f"{file or name}.pem")

    def forged(self, name: str) -> Path:
        """A certificate of our CA for a name that the CA itself would never give."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self.authority._leaf(name, key.public_key(), utc_now(), BOARD_LIFE, (), False)
        return self._keep(Issued(issued, key), f"forged-{len(list(self.directory.iterdir()))}.pem")

    def _keep(self, issued: Issued, name: str) -> Path:
        file = self.directory / name
        file.write_bytes(issued.pem())
        file.chmod(0o600)
        return file

    def write_rules(self, revoked: tuple[str, ...] = ()) -> None:
        """The shipped rules."""
        (self.directory / "acl").write_text(access_rules(self.site, self.gateways, revoked), encoding="utf-8")
        (self.directory / "acl").chmod(0o600)

    def write_revocations(self, *files: Path) -> None:
        """The list of revoked certificates: those in `files`."""
        serials = [f"{x509.load_pem_x509_certificate(file.read_bytes()).serial_number:x}" for file in files]
        (self.directory / "crl.pem").write_bytes(self.authority.revocations(serials, utc_now()))

    def credentials(self, identity: Path, server_name: str = "", floor: TimeFloor | None = None) -> Credentials:
        """To speak with `identity`, a file with certificate and key."""
        return Credentials(self.ca, identity, None, server_name, floor or TimeFloor())

    # The process -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        program = find_mosquitto()
        assert program is not None
        config = self.directory / "mosquitto.conf"
        config.write_text(self.configuration(), encoding="utf-8")
        with (self.directory / "mosquitto.log").open("ab") as output:
            self.process = subprocess.Popen([program, "-c", str(config)], stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                # It listens before it has read its certificates and taken its signals: a word that is no TLS is
                # answered by whoever has done so.
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                    probe.sendall(b"no TLS at all")
                    assert probe.recv(1000) is not None
                return
            except ConnectionResetError:
                return
            except OSError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.02)

    def configuration(self) -> str:
        bridge = bridge_configuration(self.directory, self.site, self._bridge_to) if self._bridge_to else ""
        return tls_configuration(self.directory, self.port, "127.0.0.1") + bridge

    def reload(self) -> None:
        """SIGHUP, and until the broker has read its files anew: for a pattern that names no user it warns each time."""
        assert self.process is not None
        mark = "controller/state' does not contain"
        before = self.log().count(mark)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_S
        while self.log().count(mark) == before:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self) -> str:
        return (self.directory / "mosquitto.log").read_text(errors="replace")

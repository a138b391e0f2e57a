"""A board and the real service: a claim counts once, a certificate renews itself, and every refusal is a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.database import certificate_records as records
from convoy_controller.database import queries
from convoy_controller.database.records import CertificateWay
from convoy_controller.database.views import EventLine
from convoy_controller.enrollment.authority import Authority
from convoy_controller.errors import AuthorityError, EnrollmentError, NotFoundError
from convoy_device import cli, config, enrolling
from convoy_device.enrolling import Enrolled, enroll, renew
from convoy_device.errors import EnrollError
from convoy_device.renewal import keep_fresh
from convoy_schema.bundle import public_pem
from convoy_schema.claims import Claim
from convoy_schema.credentials import Credentials, TimeFloor, load_certificates
from convoy_schema.errors import TlsError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from enrollment_service import Desk
from own_ports import own_port
from patience import PATIENCE_S
from sqlalchemy import text
from tls_broker import DAY, board_certificate, utc_now


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "home").mkdir()
    with Desk(tmp_path / "home") as service:
        yield service


def enrolled(claim: Claim, folder: Path) -> Enrolled:
    return enroll(claim, folder / "ca.pem", folder / f"{claim.name}.pem", TimeFloor(folder / "floor"))


def serial(file: Path) -> int:
    return load_certificates(file)[0].serial_number


def events_of(desk: Desk, kind: str) -> list[EventLine]:
    return [event for event in queries.events(desk.database) if event.kind == kind]


def shown(folder: Path, name: str = "board-1") -> Credentials:
    return Credentials(folder / "ca.pem", folder / f"{name}.pem")


# The first certificate -----------------------------------------------------------------------------------------------


def test_a_claim_becomes_a_certificate(desk: Desk, tmp_path: Path) -> None:
    told = enrolled(desk.claim(), tmp_path)
    assert told == Enrolled("main", "mqtts://127.0.0.1:8883", "convoy-broker", f"127.0.0.1:{desk.port}", "THE KEY")
    file = tmp_path / "board-1.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (certificate,) = load_certificates(file)
    assert desk.office.authority.has_signed(certificate)
    assert certificate.subject.rfc4514_string() == "CN=board-1"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert timedelta(days=89) < life < timedelta(days=91)
    shown(tmp_path).context()  # the key fits
    assert not (tmp_path / "board-1.pending").exists()
    assert b"PRIVATE" not in (desk.directory / "convoy.db").read_bytes(), "no board's key ever leaves it"
    (line,) = [one for one in records.certificates(desk.database) if one.name == "board-1"]
    assert (line.way, line.revoked_at) == (CertificateWay.CLAIM, None)
    kinds = [event.kind for event in queries.events(desk.database, board="board-1")]
    assert sorted(kinds) == ["board-enrolled", "board-invited"]


def test_a_claim_counts_once(desk: Desk, tmp_path: Path) -> None:
    claim = desk.claim()
    enrolled(claim, tmp_path / "first")
    with pytest.raises(EnrollError, match=r"the claim of board-1 was used on .* and counts once: ask for another"):
        enrolled(claim, tmp_path / "second")
    assert not (tmp_path / "second" / "board-1.pem").exists()
    (event,) = events_of(desk, "enrollment-refused")
    assert "was used on" in event.sentence


def test_a_lost_answer_is_repeated_for_the_same_key(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = desk.claim()

    def lost(*_: object) -> None:
        raise OSError("power lost")

    with monkeypatch.context() as patched:
        patched.setattr(enrolling, "_keep", lost)
        with pytest.raises(OSError, match="power lost"):
            enrolled(claim, tmp_path)
    assert stat.S_IMODE((tmp_path / "board-1.pending").stat().st_mode) == 0o600
    enrolled(claim, tmp_path)
    lines = [one for one in records.certificates(desk.database) if one.name == "board-1"]
    assert len(lines) == 1
    assert int(lines[0].serial, 16) == serial(tmp_path / "board-1.pem")


def test_an_expired_claim_is_refused(desk: Desk, tmp_path: Path) -> None:
    claim = desk.claim(life=timedelta(hours=1))
    desk.ahead = timedelta(hours=2)
    with pytest.raises(EnrollError, match=r"the claim of board-1 expired on .* UTC: ask for another"):
        enrolled(claim, tmp_path)


def test_a_claim_is_for_its_name_alone(desk: Desk, tmp_path: Path) -> None:
    claim = dataclasses.replace(desk.claim(), name="board-2")
    with pytest.raises(EnrollError, match="this claim is for board board-1, not for board-2"):
        enrolled(claim, tmp_path)
    for role in ("controller", "gateway", "gateway-2", "bridge-x"):
        with pytest.raises(EnrollError, match="is for board board-1"):
            enrolled(dataclasses.replace(claim, name=role), tmp_path)


def test_an_invented_claim_is_refused_and_fills_no_table(desk: Desk, tmp_path: Path) -> None:
    invented = dataclasses.replace(desk.claim(), secret=bytes(16))
    with pytest.raises(EnrollError, match="is not known here"):
        enrolled(invented, tmp_path)
    assert not events_of(desk, "enrollment-refused")


def test_a_claim_of_another_ca_tells_nothing_to_this_one(desk: Desk, tmp_path: Path) -> None:
    """In the middle or by mistake: the secret is sent only to the CA that the claim pins."""
    claim = dataclasses.replace(desk.claim(), fingerprint=bytes(32))
    with pytest.raises(EnrollError, match=r"the CA at .* is not the one that the claim names"):
        enrolled(claim, tmp_path)
    assert not (tmp_path / "ca.pem").exists()
    right = dataclasses.replace(claim, fingerprint=desk.claim("board-2").fingerprint)
    enrolled(right, tmp_path)  # it was not used up


def test_a_pinned_ca_in_front_of_a_foreign_service_tells_nothing(desk: Desk, tmp_path: Path) -> None:
    """Somebody in between can hand on the CA's certificate, which is public, and has no key for it."""
    claim = desk.claim()
    foreign = Authority.create("foreign", utc_now())
    file = tmp_path / "foreign.pem"
    file.write_bytes(foreign.issue("enrollment", ("127.0.0.1",), utc_now()).pem())
    heard: list[bytes] = []
    with between(desk, file, heard) as port, pytest.raises(TlsError, match="it is not of our CA"):
        enrolled(dataclasses.replace(claim, port=port), tmp_path)
    assert len(heard) == 1
    assert b"POST" not in heard[0]
    assert b"GET /v1/ca" in heard[0]


@contextlib.contextmanager
def between(desk: Desk, identity: Path, heard: list[bytes]) -> Iterator[int]:
    """One who answers in the service's place, and hands out the right CA's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    content = desk.office.folder.ca.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as sock:
                    if request := sock.recv(100_000):
                        heard.append(request)
                        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(PATIENCE_S)


def test_a_revoked_name_is_not_used_again(desk: Desk, tmp_path: Path) -> None:
    enrolled(desk.claim(), tmp_path)
    late = desk.claim()
    assert desk.office.revoke("board-1", "stolen") == 1
    with pytest.raises(EnrollmentError, match="board-1 was revoked, and a revoked name is not used again"):
        desk.claim()
    with pytest.raises(EnrollError, match="is not known here"):  # open claims went with it
        enrolled(late, tmp_path / "again")
    assert "user board-1\ntopic deny #" in (desk.directory / "tls" / "acl").read_text()
    with pytest.raises(NotFoundError):
        desk.office.revoke("board-9")
    for name in ("controller", "broker", "enrollment"):
        with pytest.raises(AuthorityError, match="made anew"):
            desk.office.revoke(name)


def test_no_board_gets_a_name_that_is_a_roles(desk: Desk) -> None:
    for name in ("controller", "gateway", "gateway-7", "broker", "bridge-main", "enrollment-x", "Upper", "a/b", ""):
        with pytest.raises(AuthorityError):
            desk.claim(name)
    desk.claim("gateways")  # only with a hyphen


def test_what_is_no_service_is_told(desk: Desk, tmp_path: Path) -> None:
    port = own_port()
    with pytest.raises(EnrollError, match=f"no enrolment service answers at 127.0.0.1:{port}"):
        enrolled(dataclasses.replace(desk.claim(), port=port), tmp_path)


# Later ones ----------------------------------------------------------------------------------------------------------


def test_a_certificate_is_renewed_when_the_service_says_so(desk: Desk, tmp_path: Path) -> None:
    told = enrolled(desk.claim(), tmp_path)
    file = tmp_path / "board-1.pem"
    first, key = serial(file), file.read_bytes().partition(b"-----BEGIN CERT")[0]
    assert not renew("board-1", shown(tmp_path), told.enrollment)
    desk.ahead = 61 * DAY
    assert renew("board-1", shown(tmp_path), told.enrollment)
    assert serial(file) != first
    assert file.read_bytes().partition(b"-----BEGIN CERT")[0] != key, "with a new key"
    shown(tmp_path).context()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (event,) = events_of(desk, "certificate-renewed")
    assert event.board == "board-1"


def test_only_a_present_certificate_renews(desk: Desk, tmp_path: Path) -> None:
    told = enrolled(desk.claim(), tmp_path)
    address = told.enrollment
    tls = desk.directory / "tls"
    with pytest.raises(EnrollError, match="show the present certificate"):
        enrolling._ask(
            Credentials(tls / "ca.pem", server_name="convoy-enrollment"), "127.0.0.1", desk.port, "GET", "/v1/renewal"
        )
    with pytest.raises(EnrollError, match="names that begin with 'controller'"):
        renew("controller", Credentials(tls / "ca.pem", tls / "controller.pem"), address, always=True)
    old = board_certificate(desk.office.authority, "board-1", utc_now() - 9 * DAY, 8 * DAY)
    foreign = board_certificate(Authority.create("foreign", utc_now()), "board-1", utc_now())
    for name, issued in (("old", old), ("foreign", foreign)):
        (tmp_path / f"{name}.pem").write_bytes(issued.pem())
        with pytest.raises((EnrollError, TlsError)):
            renew("board-1", Credentials(tls / "ca.pem", tmp_path / f"{name}.pem"), address, always=True)
    desk.office.revoke("board-1", "stolen")
    before = (tmp_path / "board-1.pem").read_bytes()
    with pytest.raises(EnrollError, match="board-1 was revoked"):
        renew("board-1", shown(tmp_path), address, always=True)
    assert (tmp_path / "board-1.pem").read_bytes() == before
    assert [one for one in records.certificates(desk.database) if one.way is CertificateWay.RENEWAL] == []


def test_what_a_lost_database_forgot_stays_revoked(desk: Desk, tmp_path: Path) -> None:
    told = enrolled(desk.claim(), tmp_path)
    enrolled(desk.claim("board-2"), tmp_path)
    desk.office.revoke("board-1")
    with desk.database.write() as db:
        db.execute(text("DELETE FROM certificates"))
        db.execute(text("DELETE FROM claims"))
    desk.office.write_broker_files()
    assert len(desk.office.folder.revoked_serials()) == 1
    assert desk.office.folder.revoked_names() == ("board-1",)
    with pytest.raises(EnrollError, match="board-1 was revoked"):
        renew("board-1", shown(tmp_path), told.enrollment, always=True)
    # A board that the table forgot goes on: the CA signed it.
    assert renew("board-2", shown(tmp_path, "board-2"), told.enrollment, always=True)


def test_a_running_board_asks_by_itself(desk: Desk, tmp_path: Path) -> None:
    told = enrolled(desk.claim(), tmp_path)
    first = serial(tmp_path / "board-1.pem")

    async def work() -> None:
        keeping = asyncio.create_task(
            keep_fresh(
                "board-1", shown(tmp_path), told.enrollment, random.Random(1), first_s=0.02, every_s=0.05, retry_s=0.05
            )
        )
        await asyncio.sleep(0.3)
        assert serial(tmp_path / "board-1.pem") == first, "not due"
        desk.ahead = 61 * DAY
        while serial(tmp_path / "board-1.pem") == first:
            await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), 2 * PATIENCE_S))


def test_a_service_that_is_away_is_asked_again(desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    enrolled(desk.claim(), tmp_path)
    address = f"127.0.0.1:{own_port()}"

    async def work() -> None:
        chance = random.Random(1)
        keeping = asyncio.create_task(
            keep_fresh("board-1", shown(tmp_path), address, chance, first_s=0.01, every_s=99, retry_s=0.01)
        )
        while caplog.text.count("was not renewed: no enrolment service answers") < 2:
            await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), 2 * PATIENCE_S))


# The listener --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "is not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"{}", 400, "name must be a string"),
        (b'{"name": "board-1", "request": "x", "secret": "?"}', 400, "secret must be base64"),
        (b'{"name": "board-1", "request": "x", "secret": "AAAA"}', 400, "secret must have 16 bytes"),
        (
            b'{"name": "board-1", "request": "x", "secret": "AAAAAAAAAAAAAAAAAAAAAA=="}',
            400,
            "signing request of board-1 cannot be read",
        ),
        (b'{"name": "' + b"x" * 20_000, 413, "has at most 16384 bytes"),
    ],
)
def test_rubbish_is_refused_and_ends_nothing(
    desk: Desk, tmp_path: Path, body: bytes, status: int, sentence: str
) -> None:
    ca = desk.directory / "tls" / "ca.pem"
    with Credentials(ca).connect("127.0.0.1", desk.port, PATIENCE_S) as sock:
        sock.sendall(b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        sock.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = b""
        while more := sock.recv(10_000):
            answer += more
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert sentence in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    enrolled(desk.claim(), tmp_path)


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_leaves_a_board_that_can_run(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = str(desk.claim())
    folder = tmp_path / "board"
    assert cli.main(["enroll", "--claim", claim, "--directory", str(folder)]) == 0
    assert "board board-1 is enrolled with site main" in capsys.readouterr().out
    board = config.load(folder / "board.toml")
    assert (board.name, board.site, board.server_name) == ("board-1", "main", "convoy-broker")
    assert board.enrollment == f"127.0.0.1:{desk.port}"
    assert (folder / "trusted.pem").read_text() == "THE KEY"
    assert config.credentials(board) is not None
    (folder / "trusted.pem").write_bytes(public_pem(Ed25519PrivateKey.generate()))
    assert cli.main(["check", "--config", str(folder / "board.toml")]) == 0
    assert "certificate of board-1, until 20" in capsys.readouterr().out
    assert cli.main(["renew", "--config", str(folder / "board.toml"), "--if-due"]) == 0
    assert "it is not due yet" in capsys.readouterr().out
    assert cli.main(["renew", "--config", str(folder / "board.toml")]) == 0
    assert "was renewed" in capsys.readouterr().out
    assert cli.main(["enroll", "--claim", claim[:-3], "--directory", str(folder)]) == 1
    assert "was not copied whole" in capsys.readouterr().err
    assert cli.main(["enroll", "--claim", str(desk.claim("board-2")), "--directory", str(folder)]) == 2
    assert "is another board's" in capsys.readouterr().err

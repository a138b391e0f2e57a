"""A whole fleet on certificates: invited, enrolled, renewed under traffic, and one board revoked in the middle of it.

Every part is the real one, started as `convoy up --tls` starts it: Mosquitto on the shipped files, the enrolment
service, controller, gateway, and three boards that enrol by their own command. One of them believes in 1970.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.request import urlopen

import pytest
from convoy_controller.broker import find_mosquitto
from convoy_controller.cli.running import prepare_tls
from convoy_controller.database import certificate_records
from convoy_controller.enrollment.folder import TlsFolder
from convoy_controller.enrollment.office import Office
from convoy_controller.local_fleet import wait_until
from convoy_schema.credentials import Credentials, load_certificates
from link_bench import Peer, play, until
from own_ports import own_port
from patience import PATIENCE_S
from scraped import samples, value
from system_fleet import SystemFleet
from tls_broker import board_certificate, utc_now
from wrong_clock import WrongClock, library

BOARDS = ("board-1", "board-2", "board-3")
#: Seconds after which a revoked board is not heard any more.
SILENCED_S = 5.0


class EncryptedFleet(SystemFleet):
    """`serve_encrypted` brings it to serve on three enrolled boards."""

    def command(self, *arguments: object, module: str = "convoy_controller", prefix: Sequence[str] = ()) -> str:
        """Run `convoy` (or the board's command) as its own process; what it printed."""
        found = subprocess.run(
            [*prefix, sys.executable, "-m", module, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout.strip()

    def convoy(self, *arguments: object) -> str:
        return self.command(*arguments, "--home", self.home.root, "--database", self.home.database_url)

    def serve_encrypted(self) -> EncryptedFleet:
        self.publish()
        ports = ("--broker-port", own_port(), "--enrollment-port", own_port())
        self.convoy("ca", "init", "--site", self.local.site, "--host", "127.0.0.1", *ports)
        self.local.start_secure_broker("127.0.0.1")
        self.local.start_enrollment()
        self.local.start_controller(metrics_port=0)
        self.local.start_gateway()
        self.wait_log("enrollment", "enrolment listens on")
        for name in BOARDS:
            asleep = self.asleep() if name == "board-2" else ()
            self.enroll(name, asleep)
            self.start_enrolled(name, asleep)
        self.deploy(boards=3)
        return self

    def folder(self, board: str) -> Path:
        return self.directory / "enrolled" / board

    def asleep(self) -> Sequence[str]:
        """What makes a process believe in 1970, where that can be had."""
        return WrongClock(self.directory / "clock", "@1970-01-01 00:00:10").prefix if library() else ()

    def enroll(self, board: str, prefix: Sequence[str] = ()) -> None:
        claim = self.convoy("board", "invite", board)
        arguments = ("enroll", "--claim", claim, "--directory", self.folder(board))
        self.command(*arguments, module="convoy_device", prefix=prefix)

    def start_enrolled(self, board: str, prefix: Sequence[str] = ()) -> None:
        command = [
            *prefix,
            sys.executable,
            "-m",
            "convoy_device",
            "run",
            "--config",
            str(self.folder(board) / "board.toml"),
        ]
        self.local.processes.start(board, command, self.directory / "logs" / f"{board}.log", tier="boards")
        self.local.boards.append(board)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[EncryptedFleet]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    with EncryptedFleet(tmp_path) as running:
        yield running.serve_encrypted()


@pytest.mark.long
def test_it_serves_renews_and_revokes_and_loses_nothing(fleet: EncryptedFleet) -> None:
    fleet.still_serves()
    with urlopen(fleet.local.metrics, timeout=PATIENCE_S) as answer:
        found = samples(answer.read())
    for holder in (*BOARDS, "controller", "gateway"):
        ends = value(found, "convoy_certificate_not_after_timestamp_seconds", holder=holder)
        assert ends is not None
        assert ends > time.time() + 80 * 86400
    assert ("1970-01-01" in fleet.log("board-2")) == (library() is not None)
    with fleet.traffic() as flow:
        # A new certificate under traffic: the connections that stand are not touched.
        file = fleet.folder("board-2") / "board-2.pem"
        before = load_certificates(file)[0].serial_number
        configuration = fleet.folder("board-2") / "board.toml"
        fleet.command("renew", "--config", configuration, module="convoy_device", prefix=fleet.asleep())
        assert load_certificates(file)[0].serial_number != before
        flow.wait_answers(50)
        assert "connection" not in fleet.log("board-2").lower()
        # From the next connection on it is used.
        fleet.local.processes.stop_one("board-2")
        fleet.start_enrolled("board-2", fleet.asleep())
        fleet.wait_serving(3)
        flow.wait_answers(50)
        # One is revoked: it is silenced within five seconds, and the others take over.
        fleet.convoy("board", "revoke", "board-3", "--reason", "stolen")
        begun = time.monotonic()
        assert wait_until(lambda: "board-3" not in fleet.online(), PATIENCE_S, 0.02)
        took = time.monotonic() - begun
        print(f"from the command's end to offline: {took:.1f} s")
        assert "its certificate was revoked at" in fleet.why("board-3")
        assert "for 'stolen'" in fleet.why("board-3")
        fleet.wait_serving(2)
        flow.wait_answers(50)
        summary = flow.check()
    print(summary)
    assert fleet.local.processes.poll(time.monotonic()) == []
    assert took < 2 * SILENCED_S, "it is silent, and three pulses are missed"
    assert {line.name for line in certificate_records.certificates(fleet.database) if line.revoked_at} == {"board-3"}
    assert "stolen" in fleet.wait_event("board-revoked").sentence


def test_a_revoked_board_is_silent_from_the_reload_on(tmp_path: Path) -> None:
    """Measured at a witness: from the command's end to the last message that is let through, at most five seconds."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    with EncryptedFleet(tmp_path) as fleet:
        fleet.convoy("ca", "init", "--site", "main", "--host", "127.0.0.1", "--broker-port", own_port())
        fleet.local.start_secure_broker("127.0.0.1")
        tls = fleet.home.tls
        office = Office(fleet.database, TlsFolder(tls))
        identity = tmp_path / "board-3.pem"
        issued = board_certificate(office.authority, "board-3", utc_now())
        identity.write_bytes(issued.pem())
        certificate_records.add_service_certificate(
            fleet.database,
            certificate_records.NewCertificate(
                issued.serial, "board-3", issued.certificate.not_valid_after_utc, issued.pem().decode()
            ),
            utc_now(),
        )
        topic = "convoy/1/main/boards/board-3/pulse"

        async def work() -> None:
            witness = Peer(
                fleet.local.url, "w", filters=(topic,), credentials=Credentials(tls / "ca.pem", tls / "controller.pem")
            )
            board = Peer(fleet.local.url, "board-3:control", credentials=Credentials(tls / "ca.pem", identity))
            last = 0.0

            def heard(*_: object) -> None:
                nonlocal last
                last = time.monotonic()

            witness.on_message = heard
            async with witness.running(), board.running():

                async def chatter() -> None:
                    while True:
                        board.link.publish(topic, b"x")
                        await asyncio.sleep(0.002)

                chattering = asyncio.create_task(chatter())
                await until(lambda: last)
                await asyncio.to_thread(fleet.convoy, "board", "revoke", "board-3")
                done = time.monotonic()
                await until(lambda: time.monotonic() - max(done, last) > 1.5)  # it is silent
                chattering.cancel()
                await asyncio.gather(chattering, return_exceptions=True)
                print(f"last message {last - done:+.3f} s after the command")
                assert last - done < SILENCED_S
                assert board.connections == 1
                assert not board.losses, "it is silenced, not cut: Mosquitto closes no connection for a revocation"

        play(work)


def test_one_command_makes_it_all(tmp_path: Path) -> None:
    """`convoy up --tls` makes the CA at its first start and keeps it at the next."""
    with EncryptedFleet(tmp_path) as fleet:
        assert prepare_tls(fleet.home, "main", (), own_port()) == "main"
        ca = (fleet.home.tls / "ca.pem").read_bytes()
        assert prepare_tls(fleet.home, "other", ("10.0.0.1",), 1) == "main"
        assert (fleet.home.tls / "ca.pem").read_bytes() == ca

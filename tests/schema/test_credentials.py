"""Files of an identity, and the time that certificates prove."""

from __future__ import annotations

import logging
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.enrollment.authority import Authority, certificate_pem
from convoy_schema.credentials import Credentials, TimeFloor, load_certificates, path_of, write_private
from convoy_schema.errors import TlsError
from tls_broker import board_certificate, utc_now


def test_a_floor_only_rises_and_survives(tmp_path: Path) -> None:
    file = tmp_path / "state" / "floor"
    floor = TimeFloor(file)
    assert floor.seconds == 0
    floor.raise_to(1000.9)
    floor.raise_to(900)
    assert floor.seconds == TimeFloor(file).seconds == 1000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"soon", b"-5", b"\xff", b"1e9", b"99 99", b"9" * 30])
def test_a_damaged_floor_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "floor").write_bytes(content)
    assert TimeFloor(tmp_path / "floor").seconds == 0


def test_a_disk_that_keeps_nothing_is_told_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    floor = TimeFloor(tmp_path / "absent")
    floor._file = tmp_path / "file" / "floor"
    with caplog.at_level(logging.WARNING):
        floor.raise_to(7)
    assert floor.seconds == 7
    assert "cannot be written" in caplog.text


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "identity.pem"
    write_private(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_each_file_that_is_not_what_it_should_be_is_named(tmp_path: Path) -> None:
    authority, now = Authority.create("test", utc_now()), utc_now()
    ca, board, other, text = (tmp_path / name for name in ("ca.pem", "board.pem", "other.pem", "text.pem"))
    ca.write_bytes(certificate_pem(authority.certificate))
    board.write_bytes(board_certificate(authority, "board-1", now).pem())
    other.write_bytes(board_certificate(authority, "board-2", now).pem())
    text.write_text("hello")
    Credentials(ca, board).context()
    for given, named in (
        (Credentials(text, board), "text.pem is not the PEM file of a CA"),
        (Credentials(tmp_path / "gone", board), "gone is not the PEM file of a CA: No such file"),
        (Credentials(ca, text), "text.pem does not hold a certificate and its key"),
        (Credentials(ca, board, other), "are not a certificate and its key: key values mismatch"),
        (Credentials(ca, tmp_path / "gone", board), "gone cannot be read"),
    ):
        with pytest.raises(TlsError, match=named):
            given.context()


def test_a_path_ends_at_a_trusted_certificate_that_signed_itself() -> None:
    now = utc_now()
    authority, foreign = Authority.create("test", now), Authority.create("test", now)
    leaf = board_certificate(authority, "board-1", now).certificate
    assert path_of(leaf, [foreign.certificate, authority.certificate]) == [authority.certificate]
    for trusted in ([], [foreign.certificate], [leaf]):
        with pytest.raises(TlsError, match="was not issued by a certificate in our CA file"):
            path_of(leaf, trusted)


@pytest.mark.parametrize("name", [".", "a..b", ".example", "x" * 70, "a\0b"])
def test_a_server_name_that_cannot_be_one_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(TlsError, match="cannot be one"):
        Credentials(tmp_path / "ca.pem", server_name=name).name_of("10.0.0.1")


def test_a_peers_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for content in (b"", b"\x30\x03\x02\x01\x01"):
        with pytest.raises(TlsError, match="cannot be read"):
            Credentials(tmp_path / "ca.pem").check_dates(content)


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("x")
    with pytest.raises(TlsError, match=r"x\.pem holds no certificate in PEM"):
        load_certificates(tmp_path / "x.pem")


def test_a_certificate_of_another_ca_proves_no_time(tmp_path: Path) -> None:
    """Or whoever is enrolled with a foreign fleet, whose clock is wrong, would carry that here."""
    now = utc_now()
    ours, foreign = Authority.create("ours", now), Authority.create("foreign", now + timedelta(days=9000))
    ca, board = tmp_path / "ca.pem", tmp_path / "board.pem"
    ca.write_bytes(certificate_pem(ours.certificate))
    board.write_bytes(board_certificate(foreign, "board-1", now + timedelta(days=9000)).pem())
    credentials = Credentials(ca, board)
    credentials.context()
    assert credentials.floor.seconds == 0

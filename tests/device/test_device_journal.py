import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_device.journal import FIELDS, JournalHandler, encode, is_journal, priority
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S


def parse(datagram: bytes) -> dict[str, str]:
    """What journald reads: NAME=value lines, or NAME, eight bytes of length and the value."""
    entry = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        entry[name.decode()] = value.decode()
        datagram = rest
    return entry


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z_]{0,20}", fullmatch=True), st.text(max_size=300), max_size=6))
def test_whatever_a_field_holds_arrives(entry: dict[str, str]) -> None:
    expected = {name: value.encode(errors="replace").decode() for name, value in entry.items()}
    assert parse(encode(entry)) == expected


def test_a_field_has_a_bound() -> None:
    assert len(encode({"MESSAGE": "x" * 1_000_000})) < 20_000


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that is listened to as journald's is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(PATIENCE_S)
        yield listening


def test_a_record_brings_its_own_fields_and_the_process_the_rest(journald: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler({"board": "board-1"}, str(tmp_path / "socket"))
    logger = logging.Logger("convoy_device.daemon")
    logger.addHandler(handler)
    extra = {FIELDS: {"deployment": "lenet", "generation": "1-17", "step": "testing"}}
    logger.warning("board %s\nin two lines", "board-1", extra=extra)
    entry = parse(journald.recv(65536))
    assert entry["MESSAGE"] == "board board-1\nin two lines"
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "convoy-device"
    assert entry["LOGGER"] == "convoy_device.daemon"
    assert entry["CODE_FUNC"] == "test_a_record_brings_its_own_fields_and_the_process_the_rest"
    assert entry["CONVOY_BOARD"] == "board-1"
    assert (entry["CONVOY_DEPLOYMENT"], entry["CONVOY_GENERATION"], entry["CONVOY_STEP"]) == (
        "lenet",
        "1-17",
        "testing",
    )
    handler.close()


def test_a_trace_travels_in_the_message(journald: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler({}, str(tmp_path / "socket"))
    logger = logging.Logger("x")
    logger.addHandler(handler)
    try:
        raise ValueError("so it was")
    except ValueError:
        logger.exception("it failed")
    entry = parse(journald.recv(65536))
    assert entry["MESSAGE"].startswith("it failed\nTraceback")
    assert entry["MESSAGE"].endswith("ValueError: so it was")
    assert entry["PRIORITY"] == "3"
    handler.close()


def test_a_journal_that_does_not_keep_up_loses_lines_and_holds_nobody(journald: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler({}, str(tmp_path / "socket"))
    logger = logging.Logger("x")
    logger.addHandler(handler)
    sent = 0
    while not handler.lost:
        sent += 1
        assert sent < 10_000
        logger.info("line %d", sent)
    assert parse(journald.recv(65536))["MESSAGE"] == "line 1"
    logger.info("there is room again")
    assert handler.lost == 1
    handler.close()


def test_priorities_are_those_of_syslog() -> None:
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    assert [priority(level) for level in levels] == [7, 6, 4, 3, 2]


def test_only_the_very_stream_that_is_named_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        there = os.fstat(file.fileno())
        assert is_journal(f"{there.st_dev}:{there.st_ino}", file.fileno())
        assert not is_journal(f"{there.st_dev}:{there.st_ino + 1}", file.fileno())
        assert not is_journal("", file.fileno())
    assert not is_journal("1:1", 987_654)


def test_a_process_whose_stderr_is_no_journal_writes_text() -> None:
    script = (
        "import logging; from convoy_device.journal import set_up_logging as s; s('info', {}); logging.info('hello')"
    )
    environment = {**os.environ, "JOURNAL_STREAM": "1:1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr.endswith("INFO    hello\n")


def test_a_journal_that_does_not_listen_is_said_and_text_goes_on(tmp_path: Path) -> None:
    script = (
        "import logging, os; from convoy_device.journal import set_up_logging\n"
        "there = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{there.st_dev}:{there.st_ino}'\n"
        f"set_up_logging('info', {{}}, {str(tmp_path / 'nobody')!r}); logging.info('hello')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "does not take log entries" in done.stderr
    assert done.stderr.endswith("INFO    hello\n")

"""Log lines with fields of their own, through the journal's native protocol; plain text where stderr is no journal.

A record carries its fields as `extra={"convoy": {"deployment": ..., ...}}`; they become CONVOY_DEPLOYMENT and so on, so
that `journalctl CONVOY_GENERATION=1-17` finds what belongs together. The protocol is described at
systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "convoy-device"
#: Attribute of a log record.
FIELDS = "convoy"
#: Bytes of a field that are kept: a datagram above the socket's buffer (about 200 KiB) would not go out at all.
MOST_FIELD = 16 * 1024
#: Seconds that the event loop may wait for the journal with each record.
_SEND_S = 0.1
_TEXT = "%(asctime)s %(levelname)-7s %(message)s"


class JournalHandler(logging.Handler):
    """Sends records to the journal at `path`; `fields` go with each of them unless the record has its own."""

    def __init__(self, fields: Mapping[str, str], path: str = SOCKET) -> None:
        super().__init__()
        self._fields = dict(fields)
        #: Records that the journal did not take in time.
        self.lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_SEND_S)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`: a journal that does not keep up loses lines, so that the daemon does not wait."""
        try:
            self._socket.send(encode(self._entry(record)))
        except TimeoutError:
            self.lost += 1
        except Exception:
            self.handleError(record)

    def _entry(self, record: logging.LogRecord) -> dict[str, str]:
        own: Mapping[str, object] = getattr(record, FIELDS, {})
        fields = {**self._fields, **{name: str(value) for name, value in own.items()}}
        return {
            "MESSAGE": self.format(record),
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            **{f"CONVOY_{name.upper()}": value for name, value in fields.items()},
        }

    def close(self) -> None:
        """See `logging.Handler`."""
        self._socket.close()
        super().close()


def encode(entry: Mapping[str, str]) -> bytes:
    """One datagram: NAME=value, or where the value has lines NAME, its length and the value."""
    parts = []
    for name, text in entry.items():
        value = text.encode(errors="replace")[:MOST_FIELD]
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


def priority(level: int) -> int:
    """Syslog's priority of a level of `logging`."""
    for bound, found in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= bound:
            return found
    return 7


def is_journal(stream: str, descriptor: int) -> bool:
    """Whether `descriptor` is the very stream that JOURNAL_STREAM (device:inode) names: it may have been redirected."""
    try:
        there = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{there.st_dev}:{there.st_ino}"


def set_up_logging(level: str, fields: Mapping[str, str], path: str = SOCKET) -> None:
    """Log to the journal if stderr leads there, else as text to stderr; once a process."""
    handler: logging.Handler | None = None
    if is_journal(os.environ.get("JOURNAL_STREAM", ""), 2):
        try:
            handler = JournalHandler(fields, path)
            handler.setFormatter(logging.Formatter("%(message)s"))
        except OSError as error:
            print(f"{path} does not take log entries ({error}); they go to stderr as text", file=sys.stderr)
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])

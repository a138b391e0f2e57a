"""The last records of a board's log, kept in memory for whoever asks for them (`convoy logs BOARD`).

A ring for each board, bounded in records and in bytes; a handler of `logging` for the process, which gives each record
to the ring of the board that it speaks of. Passwords in URLs and private keys are struck out before anything is kept.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convoy_schema.messages.logs import (
    MOST_FIELD,
    MOST_RECORDS,
    MOST_SENTENCE,
    BoardLog,
    LogLevel,
    LogRecord,
)

from convoy_device.journal import FIELDS

#: Records that a board keeps, and bytes of text; the boards of one process share `PROCESS_BYTES`.
KEPT_RECORDS = 500
KEPT_BYTES = 128 * 1024
PROCESS_BYTES = 1024 * 1024
#: Bytes of text in one message, and what a record costs beside its texts.
MESSAGE_BYTES = 48 * 1024
RECORD_BYTES = 120

#: Whom a line speaks of: "board board-1: ...", "board-1: ..." or a connection of its, "board-1:control:...".
_speaks_of = re.compile(r"(?:board )?([a-z0-9-]{1,63})(?:[: ]|$)")
_secrets = (
    (re.compile(r"(://[^:/@\s]*):[^@\s]*@"), r"\1:***@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), "***"),
)


def redacted(text: str) -> str:
    """`text` without passwords in URLs and without private keys."""
    for pattern, instead in _secrets:
        text = pattern.sub(instead, text)
    return text


@dataclass(frozen=True)
class Kept:
    """A record as it is kept; `at` in monotonic seconds."""

    number: int
    at: float
    level: LogLevel
    logger: str
    sentence: str
    fields: tuple[str, str, str]
    size: int


class LogRing:
    """One board's. Records come from any thread; `session` names their numbers, which go on when a daemon begins anew
    in the same process.
    """

    def __init__(self, most_records: int = KEPT_RECORDS, most_bytes: int = KEPT_BYTES) -> None:
        self.session = 1 + secrets.randbits(62)
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._kept: deque[Kept] = deque()
        self._bytes = 0
        self._newest = 0
        self._lock = threading.Lock()

    def add(self, level: LogLevel, logger: str, sentence: str, fields: Mapping[str, str], now: float) -> None:
        """Keep a record, in place of the oldest ones where there is no room."""
        sentence, logger = redacted(sentence)[:MOST_SENTENCE], logger[:MOST_FIELD]
        texts = (fields.get("deployment", ""), fields.get("generation", ""), fields.get("step", ""))
        short = (texts[0][:MOST_FIELD], texts[1][:MOST_FIELD], texts[2][:MOST_FIELD])
        size = RECORD_BYTES + sum(len(text.encode(errors="replace")) for text in (sentence, logger, *short))
        with self._lock:
            self._newest += 1
            self._kept.append(Kept(self._newest, now, level, logger, sentence, short, size))
            self._bytes += size
            while len(self._kept) > self._most_records or (self._bytes > self._most_bytes and len(self._kept) > 1):
                self._bytes -= self._kept.popleft().size

    def after(self, session: int, number: int, now: float) -> BoardLog:
        """As many of the records behind `number` of that session as one message takes, the oldest first."""
        known = number if session == self.session else 0
        with self._lock:
            kept = tuple(self._kept)
            newest = self._newest
        records: list[LogRecord] = []
        size = 0
        for each in kept:
            if each.number <= known:
                continue
            size += each.size
            if len(records) == MOST_RECORDS or (size > MESSAGE_BYTES and records):
                break
            age_ms = max(0, int((now - each.at) * 1000))
            records.append(LogRecord(each.number, age_ms, each.level, each.logger, each.sentence, *each.fields))
        return BoardLog(self.session, kept[0].number if kept else 0, newest, tuple(records))


class RingHandler(logging.Handler):
    """Gives every record of the process to the ring of its board; one that names none of them, to all."""

    def __init__(self, rings: Mapping[str, LogRing], clock: Callable[[], float]) -> None:
        super().__init__()
        self._rings = dict(rings)
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            own: Mapping[str, object] = getattr(record, FIELDS, {})
            fields = {name: str(value) for name, value in own.items()}
            sentence = _sentence(record)
            level, now = level_of(record.levelno), self._clock()
            for ring in self._whose(fields.get("board", ""), sentence):
                ring.add(level, record.name, sentence, fields, now)
        except Exception:
            self.handleError(record)

    def _whose(self, board: str, sentence: str) -> tuple[LogRing, ...]:
        if len(self._rings) > 1:
            named = _speaks_of.match(sentence)
            for name in (board, named.group(1) if named else ""):
                if name in self._rings:
                    return (self._rings[name],)
        return tuple(self._rings.values())


def level_of(number: int) -> LogLevel:
    """The level of the contract for one of `logging`."""
    for bound, level in (
        (logging.ERROR, LogLevel.ERROR),
        (logging.WARNING, LogLevel.WARNING),
        (logging.INFO, LogLevel.INFO),
    ):
        if number >= bound:
            return level
    return LogLevel.DEBUG


def _sentence(record: logging.LogRecord) -> str:
    """The message, and of an exception what it was and where it came from; the whole trace stays on the board."""
    sentence = record.getMessage()
    if not record.exc_info or record.exc_info[1] is None:
        return sentence
    error, trace = record.exc_info[1], record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    return f"{sentence}: {type(error).__name__}: {error}{where}"


def rings_for(boards: tuple[str, ...]) -> dict[str, LogRing]:
    """A ring for each board of this process, which share what it may take."""
    most = min(KEPT_BYTES, max(RECORD_BYTES, PROCESS_BYTES // max(1, len(boards))))
    return {board: LogRing(most_bytes=most) for board in boards}

"""What a board's daemon said of itself lately, sent when the controller asks (`Order.COLLECT_LOG`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar

from convoy_schema.bounds import Size
from convoy_schema.names import Count

#: Characters of a record's sentence, and of each of its other texts.
MOST_SENTENCE = 2000
MOST_FIELD = 100
#: Records in one message.
MOST_RECORDS = 100

_Field = Annotated[str, Size(MOST_FIELD)]


class LogLevel(enum.Enum):
    """How much a record matters, the least first."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class LogRecord:
    """One line of a board's log. `number` grows within a session; `age_ms` is how long ago it was when it was sent,
    because a board's clock may be wrong. The last three are '' where they do not apply.
    """

    number: Count
    age_ms: Count
    level: LogLevel
    logger: _Field
    sentence: Annotated[str, Size(MOST_SENTENCE)]
    deployment: _Field = ""
    generation: _Field = ""
    step: _Field = ""


@dataclass(frozen=True)
class BoardLog:
    """board -> controller, when asked: the records after the number that was asked for, the oldest first.

    `session` is that of the numbers, drawn when they begin. The board still has the numbers `oldest` to `newest`; where
    `records` end before `newest`, asking again gives more. Both are 0 while there are none.
    """

    MAX_BYTES: ClassVar[int] = 64 * 1024

    session: Count
    oldest: Count
    newest: Count
    records: Annotated[tuple[LogRecord, ...], Size(MOST_RECORDS)]

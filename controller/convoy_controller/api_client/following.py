"""Server-sent events out of an answer's lines, and a connection that is made anew behind the last event that came."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from convoy_controller.api_client.structure import structured
from convoy_controller.database.views import EventLine
from convoy_controller.errors import ApiAnswerError, ApiUnavailableError, ApiUnreachableError

#: Seconds before a connection that was lost is made anew.
AGAIN_S = 1.0
#: Characters of one message, at most.
MOST_MESSAGE = 1024 * 1024


@dataclass(frozen=True)
class Notice:
    """Something about the stream itself that a reader should know."""

    sentence: str


@dataclass(frozen=True)
class Message:
    """One server-sent event."""

    kind: str
    data: Any


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """The messages in the lines of a stream; comments are dropped. Raises `ApiAnswerError` for what is none."""
    kind, data, size = "", [""], 0
    data.clear()
    for line in lines:
        size += len(line)
        if size > MOST_MESSAGE:
            raise ApiAnswerError("the server's stream of changes has a message without an end: is it a convoy API?")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not line:
            if data:
                yield Message(kind, _parsed("\n".join(data)))
            kind, size = "", 0
            data.clear()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiAnswerError("the server's stream of changes is not JSON: is it a convoy API?") from error


def follow(connect: Callable[[int], AbstractContextManager[Iterable[str]]], after: int) -> Iterator[EventLine | Notice]:
    """Every event behind number `after`, for ever; `connect` opens the stream behind a number.

    A connection that is lost is made anew, and a `Notice` says so once; raises what else keeps it from being made.
    """
    is_lost = False
    while True:
        try:
            with connect(after) as lines:
                for message in messages(lines):
                    is_lost = False
                    if message.kind == "event":
                        event = structured(EventLine, message.data)
                        after = max(after, event.id)
                        yield event
                    elif message.kind == "gap":
                        after = int(message.data.get("newest", after))
                        yield Notice("some of what happened is not kept any more: events between are missing")
        except (ApiUnreachableError, ApiUnavailableError) as error:
            if not is_lost:
                yield Notice(f"{error}; trying again")
            is_lost = True
        time.sleep(AGAIN_S)

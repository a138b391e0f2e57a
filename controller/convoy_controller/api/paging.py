"""The one form of every list: at most `limit` items, and a cursor for the next ones that callers do not look into."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from convoy_controller.api.problems import CursorError

#: Items of a page unless told otherwise, and at most.
USUAL, MOST = 100, 1000
MOST_CURSOR = 400
#: The key of a list's last item: what the next page begins after.
Key = tuple[str | int, ...]

T = TypeVar("T")
Item = TypeVar("Item")


class PageQuery(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MOST, description="Items at most.")] = USUAL
    cursor: Annotated[
        str | None, Field(max_length=MOST_CURSOR, description="`next` of the page before; the same filters with it.")
    ] = None

    def after(self, kind: str, *types: type) -> Key | None:
        """The key that this page begins after, None: from the beginning; raises `CursorError`."""
        return None if self.cursor is None else decode(kind, self.cursor, types)


class Page(BaseModel, Generic[Item]):
    """A part of a list. `next` is null on the last page."""

    items: list[Item]
    next: str | None = Field(None, description="Cursor of the next page; null when there is none.")


def encode(kind: str, key: Key) -> str:
    """A cursor of the list `kind`."""
    return base64.urlsafe_b64encode(json.dumps([kind, *key], separators=(",", ":")).encode()).decode().rstrip("=")


def decode(kind: str, cursor: str, types: Sequence[type]) -> Key:
    """The key within a cursor of the list `kind`, of values of `types`; raises `CursorError`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error) as error:
        raise _refusal(cursor) from error
    if not isinstance(found, list) or len(found) != len(types) + 1 or found[0] != kind:
        raise _refusal(cursor)
    for value, wanted in zip(found[1:], types, strict=True):
        if type(value) is not wanted or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            raise _refusal(cursor)
    return tuple(found[1:])


def _refusal(cursor: str) -> CursorError:
    return CursorError(
        "cursor must be `next` of a page of this list, another text came: begin without a cursor",
        expected="`next` of a page of this list",
        came=cursor[:60],
        action="begin without a cursor",
    )


def cut(
    kind: str, query: PageQuery, found: Sequence[T], key: Callable[[T], Key], types: Sequence[type]
) -> tuple[list[T], str | None]:
    """The page of `found`, which is whole and in the order of `key`, and the cursor of the next one."""
    after: Any = query.after(kind, *types)
    rest = list(found) if after is None else [each for each in found if key(each) > after]
    return shortened(kind, query, rest, key)


def shortened(kind: str, query: PageQuery, rest: Sequence[T], key: Callable[[T], Key]) -> tuple[list[T], str | None]:
    """`rest`, of which one more than `limit` shows that there is a next page, cut to the limit."""
    items = list(rest[: query.limit])
    return items, encode(kind, key(items[-1])) if len(rest) > query.limit else None

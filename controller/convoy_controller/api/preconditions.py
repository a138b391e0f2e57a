"""ETags of what owners want: the revision of an intent, so that nobody overwrites what he has not seen."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from fastapi import Header

from convoy_controller.api.problems import ApiError
from convoy_controller.database.expectations import Expected

MOST_HEADER = 1000
_TAG = re.compile(r'(W/)?"([!#-~\x80-\xff]*)"')
_REVISION = re.compile(r"[0-9]{1,18}")

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=MOST_HEADER,
        description="ETags of what is to be changed, or * for whatever is there.",
        examples=['"17"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=MOST_HEADER, description="* where nothing must be there yet."),
]


class PreconditionError(ApiError):
    """If-Match or If-None-Match is not what it can be."""

    code: ClassVar[str] = "precondition"
    status: ClassVar[int] = 400


def etag(revision: int) -> str:
    """The ETag of an intent revision."""
    return f'"{revision}"'


def expected(if_match: str | None, if_none_match: str | None = None, must_say: bool = False) -> Expected:
    """What the headers say; raises `PreconditionError` for what they cannot."""
    if if_none_match is not None:
        if if_none_match.strip() != "*" or if_match is not None:
            raise PreconditionError(
                f"If-None-Match can only be *, and not together with If-Match; {if_none_match[:60]!r} came",
                expected="If-None-Match: *",
                came=if_none_match[:60],
            )
        return Expected(absent=True)
    if if_match is None:
        return Expected(must_say=must_say)
    if if_match.strip() == "*":
        return Expected(present=True)
    return Expected(revisions=_revisions(if_match))


def _revisions(text: str) -> frozenset[int]:
    """Of a list of ETags; one that is not ours, or a weak one, matches nothing."""
    found = set()
    for part in text.split(","):
        tag = _TAG.fullmatch(part.strip())
        if tag is None:
            raise PreconditionError(
                f"If-Match must be ETags in double quotes, or *; {text[:60]!r} came",
                expected="ETags in double quotes, or *",
                came=text[:60],
            )
        if tag[1] is None and _REVISION.fullmatch(tag[2]):
            found.add(int(tag[2]))
    return frozenset(found)

"""What all bodies share: names, dates, generations, and how a view becomes one."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, TypeVar

from convoy_schema.names import NAME_PATTERN, Generation
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

Self = TypeVar("Self", bound="Answer")


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Generation) else value


def _shown(value: datetime) -> str:
    return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dated(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a date with its time zone, as 2030-01-31T12:00:00Z")
    if not 1970 <= value.year < 9000:
        raise ValueError("a date from 1970 to 8999")
    return value


GENERATION = r"^(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})$"
#: "EPOCH-COUNTER", as in 1-17.
GenerationText = Annotated[str, BeforeValidator(_text), Field(pattern=GENERATION, examples=["1-17"])]
#: ISO 8601 in UTC, to the millisecond.
Date = Annotated[
    datetime,
    PlainSerializer(_shown, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2030-01-31T12:00:00.000Z"]}),
]
#: A date that a caller gives.
GivenDate = Annotated[datetime, AfterValidator(_dated)]
#: A name of the wire contract: 1 to 63 of a-z, 0-9 and '-'.
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$", examples=["board-1"])]
#: SHA-256, lower-case hexadecimal.
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
#: Text that people read; no control characters, which PostgreSQL would not keep.
Line = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Answer(BaseModel):
    """A body that goes out; made from a view's fields of the same names."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    @classmethod
    def of(cls: type[Self], view: object) -> Self:
        """From a frozen dataclass of the database."""
        return cls.model_validate(view)


class Given(BaseModel):
    """A body that comes in: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

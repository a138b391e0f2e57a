"""The one form of every error: RFC 9457, with our stable `code`, what was expected, what came, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from convoy_schema.errors import ConvoyError, TopicError, shown
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from convoy_controller.errors import (
    BlobError,
    CatalogueError,
    ControllerError,
    DatabaseBusyError,
    DatabaseFullError,
    DatabaseReplacedError,
    DatabaseUnreachableError,
    DatasetError,
    ImportRefusedError,
    InUseError,
    KeyFileError,
    NameUsedError,
    NotFoundError,
    PlanError,
    ProfileError,
    StaleError,
    UnsaidError,
)

log = logging.getLogger(__name__)

#: Media type of an error.
PROBLEM = "application/problem+json"
#: Faults of one request that are listed.
MOST_FAULTS = 32
#: Seconds after which a caller should come back when the database was away.
RETRY_S = 1

_STATUS: tuple[tuple[type[ConvoyError], int], ...] = (
    (NotFoundError, 404),
    (InUseError, 409),
    (NameUsedError, 409),
    (StaleError, 412),
    (UnsaidError, 428),
    (TopicError, 422),
    (CatalogueError, 422),
    (PlanError, 422),
    (ProfileError, 422),
    (ImportRefusedError, 422),
    (DatasetError, 422),
    (DatabaseBusyError, 503),
    (DatabaseUnreachableError, 503),
    (DatabaseFullError, 503),
    (DatabaseReplacedError, 503),
    (BlobError, 503),
    (KeyFileError, 503),
)

_DESCRIBED = {
    400: "The request is not of the form that it should be.",
    401: "No token came, or one that does not count.",
    403: "The token's role does not allow it.",
    404: "What was named is not known.",
    405: "The path is known, this method on it is not.",
    409: "It is in use, or somebody else's.",
    412: "It has changed since it was read: read it again.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "A parameter or the body is not what is taken; each fault is listed.",
    428: "It is there already: say in If-Match which revision is to be replaced.",
    429: "Too many requests: come back after Retry-After seconds.",
    503: "The database or the blob store cannot be used now: come back after Retry-After seconds.",
}


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Where it is: query, path, header or body, and the keys below.")
    expected: str
    came: str


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable and for programs; `detail` is for people and says what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:convoy:problem:not-found",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "there is no deployment 'digit': see `convoy deployments`",
                    "instance": "/api/v1/deployments/digit",
                    "code": "not-found",
                    "retryable": False,
                    "expected": None,
                    "came": None,
                    "action": None,
                    "errors": [],
                }
            ]
        }
    )

    type: str = Field(description="urn:convoy:problem: and the code.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str
    instance: str = Field(description="The path that was asked.")
    code: str
    retryable: bool = Field(description="Whether the same request may succeed later.")
    expected: str | None = None
    came: str | None = None
    action: str | None = Field(None, description="What to do about it.")
    errors: list[Fault] = Field(default_factory=list, description="Every fault of a request that was not understood.")


class ApiError(ControllerError):
    """A request that is refused by the API itself; `status` is its HTTP status."""

    code: ClassVar[str] = "request"
    status: ClassVar[int] = 400

    def __init__(self, message: str, *, expected: str = "", came: str = "", action: str = "", **data: object) -> None:
        super().__init__(message, **data)
        self.expected, self.came, self.action = expected, came, action

    @property
    def headers(self) -> Mapping[str, str]:
        """What its answer carries beside the body."""
        return {}


class CursorError(ApiError):
    """A cursor is not one that this list gave out."""

    code = "cursor"
    status = 400


def described(status: int) -> str:
    """What a status means in this API."""
    return _DESCRIBED[status]


def status_of(error: ConvoyError) -> int:
    """The HTTP status that an error deserves; 500 for one that no caller brought about."""
    if isinstance(error, ApiError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a response."""
    return Response(problem.model_dump_json().encode(), problem.status, headers=dict(headers or {}), media_type=PROBLEM)


def problem_of(error: ConvoyError, path: str) -> Problem:
    """An error in the API's form."""
    status = status_of(error)
    own = error if isinstance(error, ApiError) else None
    return Problem(
        type=f"urn:convoy:problem:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(error)[:2000],
        instance=path,
        code=error.code,
        retryable=error.retryable or status in (429, 503),
        expected=(own.expected or None) if own else None,
        came=(own.came or None) if own else None,
        action=(own.action or None) if own else None,
    )


def refused(error: ConvoyError, path: str) -> Response:
    """The answer to a request that ended in `error`."""
    problem = problem_of(error, path)
    headers = dict(error.headers) if isinstance(error, ApiError) else {}
    if problem.status == 503:
        headers.setdefault("Retry-After", str(RETRY_S))
    if problem.status >= 500:
        log.error("%s: %s", path, error, exc_info=problem.status == 500)
    return answer(problem, headers)


async def on_convoy_error(request: Request, error: Exception) -> Response:
    """Handler of `ConvoyError`."""
    assert isinstance(error, ConvoyError)
    _note(request, error.code)
    return refused(error, request.url.path)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Handler of what does not fit the declared parameters and bodies."""
    assert isinstance(error, RequestValidationError)
    _note(request, "invalid")
    found = [
        Fault(
            where=".".join(str(part)[:60] for part in each["loc"])[:200],
            expected=str(each["msg"])[:300],
            came=shown(each.get("input")),
        )
        for each in error.errors()[:MOST_FAULTS]
    ]
    first = found[0]
    return answer(
        _plain_problem(
            request,
            422,
            "invalid",
            f"{first.where}: {first.expected}, {first.came} came: mend what `errors` lists and send it again",
            errors=found,
        )
    )


async def on_http(request: Request, error: Exception) -> Response:
    """Handler of what the framework itself refuses: bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = "body-too-large" if status == 413 else "request"
    _note(request, code)
    detail = f"the request cannot be read: {str(error.detail)[:200]}"
    return answer(_plain_problem(request, status, code, detail), error.headers)


async def on_failure(request: Request, error: Exception) -> Response:
    """Handler of a mistake of ours."""
    _note(request, "internal")
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(_plain_problem(request, 500, "internal", "a mistake of ours: see the log of `convoy api`"))


def _note(request: Request, code: str) -> None:
    """Tell the audit what a write ended in."""
    call = getattr(request.state, "call", None)
    if call is not None:
        call.trail.code = code


def _plain_problem(request: Request, status: int, code: str, detail: str, errors: list[Fault] | None = None) -> Problem:
    fields: dict[str, Any] = {"errors": errors or []}
    return Problem(
        type=f"urn:convoy:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path[:300],
        code=code,
        retryable=status in (429, 503),
        **fields,
    )

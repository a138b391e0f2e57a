"""What is made of a request that was not answered as it should be: an error with the server's sentence and its code."""

from __future__ import annotations

from typing import Any

import httpx
from convoy_schema.errors import ConvoyError

from convoy_controller.errors import (
    ApiAnswerError,
    ApiRefusedError,
    ApiStaleError,
    ApiUnavailableError,
    ApiUnreachableError,
    ApiUsageError,
    NotFoundError,
)

#: Bytes of an error's body that are read.
MOST_BODY = 64 * 1024
_BY_STATUS: dict[int, type[ConvoyError]] = {
    401: ApiRefusedError,
    403: ApiRefusedError,
    404: NotFoundError,
    412: ApiStaleError,
    422: ApiUsageError,
    428: ApiStaleError,
    503: ApiUnavailableError,
}
#: Of what a server cannot take, what is wrong with the names and values that were typed, by code.
_USAGE = frozenset({"topic", "invalid", "profile", "cursor", "request", "floorplan"})


def error_of(response: httpx.Response) -> ConvoyError:
    """The error in an answer whose status says that it is one; the body has been read."""
    problem = _problem(response)
    status = response.status_code
    code, detail = str(problem.get("code", "")), str(problem.get("detail", ""))[:2000]
    if not detail:
        detail = f"{response.request.url.host} answered {status} {response.reason_phrase}: is it a convoy API?"
    kind = _BY_STATUS.get(status, ApiAnswerError)
    if status == 404 and code == "no-such-path":
        kind = ApiAnswerError
    if status == 422 and code not in _USAGE:
        kind = ApiAnswerError
    return kind(detail, answered=code or None, status=status)


def _problem(response: httpx.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("content-type", "") or len(response.content) > MOST_BODY:
        return {}
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def unreachable(url: str, error: Exception) -> ApiUnreachableError:
    """Nobody answered."""
    why = str(error) or type(error).__name__
    return ApiUnreachableError(f"the API at {url} cannot be reached: {why[:200]}; is `convoy api` running there?")

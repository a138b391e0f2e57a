"""HTTP answers of a gateway before they are sent: status, body, headers; errors as the protocol writes them."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from typing import Any

from convoy_schema.errors import ConvoyError

from convoy_controller.errors import (
    BodyTooLargeError,
    DeadlineError,
    InvalidInputError,
    NotServingError,
    OverloadError,
    UnknownModelError,
)
from convoy_controller.gateway.encodings import LEAST_BYTES, accepted, pack

#: An answer longer than this is packed in a thread, so that it does not hold up everyone else's frames.
LONG_ANSWER = 64 * 1024
#: Seconds until a caller should come back when nothing better is known; a generation changes within this order.
RETRY_S = 0.25

_STATUS: dict[type[ConvoyError], int] = {
    InvalidInputError: 400,
    UnknownModelError: 404,
    BodyTooLargeError: 413,
    OverloadError: 429,
    NotServingError: 503,
    DeadlineError: 504,
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, ready to be sent, any number of times."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes it takes to keep."""
        return len(self.body) + 200

    @property
    def is_final(self) -> bool:
        """Whether a repetition of the request should get this very answer."""
        return self.status == 200


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """`content` as JSON."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Answer(status, body, {"content-type": "application/json", **(headers or {})})


def error_answer(error: ConvoyError) -> Answer:
    """`{"error": ..., "code": ...}` with the status that says what a client may do about it."""
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    headers: dict[str, str] = {}
    if status in (429, 503):
        wait = error.data.get("retry_after_s")
        seconds = float(wait) if isinstance(wait, (int, float)) else RETRY_S
        # Whole seconds for everyone, milliseconds for clients that can tell the difference.
        headers = {"retry-after": str(max(1, math.ceil(seconds))), "retry-after-ms": str(max(1, round(seconds * 1000)))}
    return json_answer({"error": str(error), "code": error.code}, status, headers)


def refused_endpoint(method: str, path: str, allowed: str | None) -> Answer:
    """There is no such endpoint, or it takes other methods, which `allowed` names."""
    asked = f"{method} {path[:200]}"
    if allowed is not None:
        sentence = f"{asked}: this endpoint takes {allowed}"
        return json_answer({"error": sentence, "code": "http"}, 405, {"allow": allowed})
    sentence = f"{asked}: no such endpoint; the protocol is KServe V2, under /v2"
    return json_answer({"error": sentence, "code": "http"}, 404)


def internal_error() -> Answer:
    """The gateway's own fault; its log says which."""
    return json_answer({"error": "the gateway failed; its log says why", "code": "internal"}, 500)


async def packed(answer: Answer, accept: str | None) -> Answer:
    """`answer` in a coding that an Accept-Encoding header takes, where that is worth it."""
    coding = accepted(accept) if accept is not None and len(answer.body) >= LEAST_BYTES else ""
    if not coding:
        return answer
    if len(answer.body) > LONG_ANSWER:
        body = await asyncio.to_thread(pack, answer.body, coding)
    else:
        body = pack(answer.body, coding)
    return Answer(answer.status, body, {**answer.headers, "content-encoding": coding, "vary": "accept-encoding"})

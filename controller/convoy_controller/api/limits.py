"""How much may be sent, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convoy_controller.api.problems import ApiError


@dataclass(frozen=True)
class Limits:
    """`body_bytes` bounds JSON, `upload_bytes` a model with its samples; `rate_per_s` and `burst` are a caller's."""

    body_bytes: int = 1024 * 1024
    upload_bytes: int = 512 * 1024 * 1024
    rate_per_s: float = 100.0
    burst: int = 200


class TooLargeError(ApiError):
    """A body exceeds its bound."""

    code = "body-too-large"
    status: ClassVar[int] = 413


class TooManyError(ApiError):
    """A caller asks more often than is answered."""

    code = "too-many-requests"
    status: ClassVar[int] = 429
    retryable = True

    @property
    def headers(self) -> dict[str, str]:
        """When to come back."""
        return {"Retry-After": "1"}

"""How much may be sent, and how often. The bucket is deterministic: it is told the time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from convoy_controller.api.problems import ApiError

#: Callers whose rate is remembered; the one that was quiet longest is forgotten first.
MOST_CALLERS = 10_000


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


class Buckets:
    """A token bucket for each caller."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate, self._burst = rate_per_s, float(burst)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, now: float) -> bool:
        """Whether `caller` may have one more request at `now` (monotonic seconds)."""
        left, at = self._left.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        may = left >= 1.0
        self._left[caller] = (left - 1.0 if may else left, now)
        if len(self._left) > MOST_CALLERS:
            self._left.popitem(last=False)
        return may

"""When to try again, and where: the decisions behind every call, without a socket or a clock of their own.

One `Attempts` accompanies one call over all its gateways until its deadline. `now` is monotonic seconds.
"""

from __future__ import annotations

import random
from typing import NoReturn

from convoy.connections import Reply
from convoy.errors import (
    ClientError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidInputError,
    OverloadedError,
    ServerFailedError,
    UnavailableError,
    UnknownModelError,
)
from convoy.protocol import sentence

#: Seconds: the first bound of the random wait after every gateway was tried once, and the last.
FIRST_S = 0.05
MOST_S = 2.0
#: A gateway that says nothing for so long is left for another, or asked again; its key joins what is in flight there.
SILENCE_S = 10.0
#: A gateway that says itself that the time is up says why, so it is given a moment longer.
SLACK_S = 0.25

_AGAIN: dict[int, type[ClientError]] = {429: OverloadedError, 503: UnavailableError, 502: UnavailableError}


class Attempts:
    """The tries of one call over `gateways` gateways, beginning with number `first`."""

    def __init__(self, gateways: int, first: int, deadline: float, chance: random.Random) -> None:
        self.gateway = first
        self._gateways = gateways
        self._deadline = deadline
        self._chance = chance
        self._tried = 0
        self._unknown_to: set[int] = set()
        self._failure: ClientError | None = None

    def remaining(self, now: float) -> float:
        """Seconds left."""
        return self._deadline - now

    def too_late(self) -> NoReturn:
        """Raise why there is no answer, now that the time is up: what the last try met, where there was one."""
        raise self._failure or DeadlineExceededError("the time given was up before a gateway could answer")

    def patience(self, now: float) -> float:
        """Seconds to wait for an answer of this try."""
        return max(0.001, min(SILENCE_S, self.remaining(now) + SLACK_S))

    def answered(self, reply: Reply, now: float) -> float | None:
        """None when `reply` is the answer; else the seconds to wait before the next try.

        Raises what is final: the caller's mistakes, a deadline, an internal error.
        """
        if reply.status == 200:
            return None
        words = sentence(reply.body)
        if reply.status == 404:
            return self._unknown(UnknownModelError(words))
        if reply.status == 504:
            raise DeadlineExceededError(words)
        kind = _AGAIN.get(reply.status)
        if kind is None:
            if 400 <= reply.status < 500:
                raise InvalidInputError(f"the gateway refused the request ({reply.status}): {words}")
            raise ServerFailedError(f"the gateway failed ({reply.status}): {words}")
        return self._next(kind(words), _told_to_wait(reply), now)

    def _unknown(self, error: UnknownModelError) -> float:
        """Final once every gateway has said so."""
        self._unknown_to.add(self.gateway)
        if len(self._unknown_to) == self._gateways:
            raise error
        self.gateway = next(n for n in range(self._gateways) if n not in self._unknown_to)
        return 0.0

    def broke(self, reason: str, now: float) -> float:
        """Seconds to wait before the next try after a broken connection; raises when no time is left."""
        return self._next(ConnectionFailedError(f"no gateway could be reached: {reason}"), 0.0, now)

    def _next(self, error: ClientError, told_s: float, now: float) -> float:
        self._tried += 1
        self._failure = error
        self.gateway = (self.gateway + 1) % self._gateways
        if self._tried % self._gateways:
            wait = 0.0  # another gateway is there to ask at once
        else:
            rounds = min(self._tried // self._gateways - 1, 10)
            # Full jitter on top of what we were told: clients that were turned away together come back apart.
            wait = told_s + self._chance.uniform(0, min(MOST_S, FIRST_S * 2.0**rounds))
        if now + wait >= self._deadline:
            raise error
        return wait


def _told_to_wait(reply: Reply) -> float:
    """Seconds of Retry-After-Ms or Retry-After; 0 when there is neither."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = reply.headers.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 9:
            return int(text) * unit
    return 0.0

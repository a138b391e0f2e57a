"""Every answer in the order in which it came, beside the ledger that judges it, for tests that ask when and by whom."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from convoy_simulator.ledger import Account, Ledger, References
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """One answer, as it reached a caller; times are monotonic seconds."""

    number: int
    sent_at: float
    came_at: float
    generation: str
    gateway: str
    #: The network that gives exactly this; '' if none does.
    network: str


class Timeline:
    """Thread-safe. All requests are for one model, and there was always capacity for them."""

    def __init__(self, model: str, references: References) -> None:
        self._model = model
        self._ledger = Ledger(references)
        self._sent: dict[int, float] = {}
        self._answers: list[Answer] = []
        self._lock = threading.Lock()

    def sends(self, number: int, deadline: float, now: float) -> None:
        """The request of that number leaves."""
        with self._lock:
            self._ledger.sends(number, self._model, deadline, now)
            self._sent[number] = now

    def comes(self, number: int, logits: NDArray[np.generic], generation: str, gateway: str, now: float) -> None:
        """An answer."""
        with self._lock:
            network = self._ledger.comes(number, logits, generation, now)
            self._answers.append(Answer(number, self._sent[number], now, generation, gateway, network))

    def fails(self, number: int, error: str, now: float) -> None:
        """An error instead of an answer."""
        with self._lock:
            self._ledger.fails(number, error, True, now)

    @property
    def settled(self) -> int:
        """Requests that came to an end."""
        with self._lock:
            return self._ledger.settled

    @property
    def generations(self) -> set[str]:
        """Those that have answered."""
        return {generation for _, generation in self.account(0.0).generations}

    def answers(self) -> list[Answer]:
        """All answers so far, in the order in which they came."""
        with self._lock:
            return list(self._answers)

    def recovered_s(self, since: float, *, besides: str | None = None) -> float | None:
        """Seconds from `since` to the first answer to a request sent later, of another generation than `besides`."""
        for answer in self.answers():
            if answer.came_at > since and answer.generation != besides and (besides or answer.sent_at > since):
                return answer.came_at - since
        return None

    def account(self, now: float) -> Account:
        """As the ledger's."""
        with self._lock:
            return self._ledger.account(now)

"""What callers sent and what came back, kept by them alone: no counter of the product is asked.

Every request carries one numbered image, and every image is another one, so an answer that was meant for somebody else
shows. At the end each number must have exactly one answer, equal to the last bit to what one of the networks gives in
one process; which one is kept, for tests in which networks take each other's place. Times are monotonic seconds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """One answer, as it reached a caller."""

    number: int
    sent_at: float
    came_at: float
    generation: str
    gateway: str
    #: The network that gives exactly this; '' if none does.
    network: str


@dataclass(frozen=True)
class Account:
    """What became of every request."""

    sent: int
    answered: int
    lost: int
    failed: int
    duplicated: int
    wrong: int
    slowest_s: float
    generations: dict[str, int]
    errors: dict[str, int]

    @property
    def faults(self) -> tuple[int, int, int, int]:
        """(lost, failed, duplicated, wrong): all must be 0."""
        return self.lost, self.failed, self.duplicated, self.wrong


@dataclass
class CrashLedger:
    """Thread-safe. `expected` holds each network's reference logits (images, classes), float32, by its name."""

    expected: Mapping[str, NDArray[np.float32]]
    _sent: dict[int, float] = field(default_factory=dict)
    _answers: list[Answer] = field(default_factory=list)
    _failed: dict[int, str] = field(default_factory=dict)
    _wrong: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sends(self, number: int, now: float) -> None:
        """The request of that number leaves; a number leaves once."""
        with self._lock:
            assert number not in self._sent, f"image {number} was sent already"
            self._sent[number] = now

    def comes(self, number: int, logits: NDArray[np.float32], generation: str, gateway: str, now: float) -> None:
        """An answer (rows, classes): one row, with the bits of a reference, or it is wrong."""
        network = next((name for name in self.expected if self._is_of(name, number, logits)), "")
        with self._lock:
            self._answers.append(Answer(number, self._sent[number], now, generation, gateway, network))
            if not network:
                self._wrong.add(number)

    def _is_of(self, network: str, number: int, logits: NDArray[np.float32]) -> bool:
        reference = self.expected[network][number : number + 1]
        return logits.shape == reference.shape and logits.astype("<f4").tobytes() == reference.tobytes()

    def fails(self, number: int, error: str) -> None:
        """An error instead of an answer."""
        with self._lock:
            self._failed[number] = error

    @property
    def settled(self) -> int:
        """Requests that came to an end."""
        with self._lock:
            return len(self._answers) + len(self._failed)

    def answers(self) -> list[Answer]:
        """All answers so far, in the order in which they came."""
        with self._lock:
            return sorted(self._answers, key=lambda answer: answer.came_at)

    def recovered_s(self, since: float, *, besides: str | None = None) -> float | None:
        """Seconds from `since` to the first answer to a request sent later, of another generation than `besides`."""
        for answer in self.answers():
            if answer.came_at > since and answer.generation != besides and (besides or answer.sent_at > since):
                return answer.came_at - since
        return None

    def account(self) -> Account:
        """The account, once nothing more is awaited: what has neither answer nor error by now is lost."""
        with self._lock:
            times = Counter(answer.number for answer in self._answers)
            return Account(
                sent=len(self._sent),
                answered=len(times),
                lost=len(self._sent.keys() - times.keys() - self._failed.keys()),
                failed=len(self._failed),
                duplicated=sum(count - 1 for count in times.values()) + len(times.keys() & self._failed.keys()),
                wrong=len(self._wrong),
                slowest_s=max((answer.came_at - answer.sent_at for answer in self._answers), default=0.0),
                generations=dict(Counter(answer.generation for answer in self._answers)),
                errors=dict(Counter(self._failed.values())),
            )

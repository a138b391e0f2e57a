"""What was sent and what came back, kept by the caller alone: it trusts no counter of the fleet.

Every image has a number. At the end each must have exactly one answer, equal to the last bit to what the quantised
network gives in one process.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convoy_controller.datasets import UNLABELLED


@dataclass(frozen=True)
class Summary:
    """What became of all images. `wrong` differ from the reference; accuracy is None when no image has a label."""

    images: int
    answered: int
    correct: int
    labelled: int
    lost: int
    failed: int
    duplicated: int
    wrong: int
    throughput_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float
    generations: dict[str, int]
    errors: dict[str, int]

    @property
    def accuracy(self) -> float | None:
        """Share of labelled images whose class is right."""
        return self.correct / self.labelled if self.labelled else None


@dataclass
class Ledger:
    """Thread-safe. `expected` holds the reference logits (images, classes), `labels` the true classes."""

    labels: NDArray[np.int64]
    expected: NDArray[np.float32]
    _sent: dict[int, float] = field(default_factory=dict)
    _answers: Counter[int] = field(default_factory=Counter)
    _classes: dict[int, int] = field(default_factory=dict)
    _latencies: list[float] = field(default_factory=list)
    _generations: Counter[str] = field(default_factory=Counter)
    _first: dict[str, float] = field(default_factory=dict)
    _errors: Counter[str] = field(default_factory=Counter)
    _failed: set[int] = field(default_factory=set)
    _wrong: int = 0
    _last_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, numbers: range, now: float) -> None:
        """These images leave now (monotonic seconds)."""
        with self._lock:
            self._sent.update((number, now) for number in numbers)

    def answered(self, numbers: range, logits: NDArray[np.float32], generation: str, now: float) -> None:
        """Answers (rows, classes) for these images, computed by `generation`."""
        differs = (logits.view(np.uint32) != self.expected[numbers.start : numbers.stop].view(np.uint32)).any(axis=1)
        with self._lock:
            self._answers.update(numbers)
            self._classes.update(zip(numbers, logits.argmax(axis=1).tolist(), strict=True))
            self._latencies += [now - self._sent[numbers.start]] * len(numbers)
            self._generations[generation] += len(numbers)
            self._first.setdefault(generation, now)
            self._wrong += int(differs.sum())
            self._last_at = max(self._last_at, now)

    def failed(self, numbers: range, error: str, now: float) -> None:
        """An error instead of answers."""
        with self._lock:
            self._failed.update(numbers)
            self._errors[error] += len(numbers)
            self._last_at = max(self._last_at, now)

    @property
    def done(self) -> int:
        """Images that have an answer or an error."""
        with self._lock:
            return len(self._classes) + len(self._failed)

    def class_of(self, number: int) -> int | None:
        """The class answered for an image; None while there is none."""
        with self._lock:
            return self._classes.get(number)

    def first_answer_after(self, at: float, before: frozenset[str]) -> tuple[float, str] | None:
        """When, after `at`, the first answer of a generation not among `before` came; and that generation."""
        with self._lock:
            found = [(when, name) for name, when in self._first.items() if name not in before and when >= at]
        return min(found) if found else None

    @property
    def generations(self) -> frozenset[str]:
        """Generations that have answered so far."""
        with self._lock:
            return frozenset(self._generations)

    def summary(self) -> Summary:
        """The account, once nothing more is awaited: what has neither answer nor error by now is lost."""
        with self._lock:
            took = self._last_at - min(self._sent.values()) if self._sent and self._last_at else 0.0
            labelled = [n for n in self._sent if self.labels[n] != UNLABELLED]
            latencies = np.array(self._latencies or [0.0]) * 1000
            return Summary(
                images=len(self._sent),
                answered=len(self._classes),
                correct=sum(self._classes.get(n) == int(self.labels[n]) for n in labelled),
                labelled=len(labelled),
                lost=len([n for n in self._sent if n not in self._classes and n not in self._failed]),
                failed=len(self._failed),
                duplicated=sum(count - 1 for count in self._answers.values()),
                wrong=self._wrong,
                throughput_per_s=len(self._classes) / took if took else 0.0,
                latency_p50_ms=float(np.percentile(latencies, 50)),
                latency_p99_ms=float(np.percentile(latencies, 99)),
                generations=dict(self._generations),
                errors=dict(self._errors),
            )

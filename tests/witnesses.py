"""Callers who keep every answer whole, for tests in which what is right changes while they ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import convoy
import numpy as np
from convoy_controller.local_fleet import wait_until
from numpy.typing import NDArray
from patience import PATIENCE_S


@dataclass(frozen=True)
class Answer:
    """What one caller got for the image of number `image`; times are monotonic seconds."""

    image: int
    sent_at: float
    came_at: float
    generation: str
    logits: NDArray[np.float32]


class Witnesses:
    """Threads that ask about one image after the other, round and round, for the length of the context."""

    def __init__(self, addresses: Sequence[str], model: str, images: NDArray[np.uint8], callers: int = 4) -> None:
        self._images, self._model = images, model
        self._clients = [convoy.connect(list(addresses), timeout_s=PATIENCE_S) for _ in range(callers)]
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(callers)]
        self._stopping = threading.Event()
        self._answers: list[Answer] = []
        self._sent = 0
        self._lock = threading.Lock()
        self.errors: list[str] = []

    def __enter__(self) -> Witnesses:
        for thread in self._threads:
            thread.start()
        self.wait_answers(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for client in self._clients:
            client.close()

    @property
    def answers(self) -> list[Answer]:
        """In the order in which they came."""
        with self._lock:
            return list(self._answers)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was sent has its one answer."""
        with self._lock:
            return self._sent == len(self._answers) > 0 and not self.errors

    def wait_answers(self, count: int) -> None:
        """Until so many more have come."""
        target = len(self.answers) + count
        assert wait_until(lambda: len(self.answers) >= target, PATIENCE_S, 0.01), (len(self.answers), self.errors)

    def _ask(self, caller: int) -> None:
        client, image = self._clients[caller], caller
        while not self._stopping.is_set():
            image = (image + len(self._clients)) % len(self._images)
            sent_at = time.monotonic()
            with self._lock:
                self._sent += 1
            try:
                found = client.infer(self._images[image : image + 1], self._model)
            except convoy.ClientError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                return
            answer = Answer(image, sent_at, time.monotonic(), found.generation, found.array)
            with self._lock:
                self._answers.append(answer)

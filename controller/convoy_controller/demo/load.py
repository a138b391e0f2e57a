"""Sends the images through the Python client, as a program of a user's would: a few callers at once, one image each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import convoy
import numpy as np
from numpy.typing import NDArray

from convoy_controller.demo.ledger import Ledger


class Load:
    """Callers that share one queue of images. `start` it, then look at the ledger until `is_done`."""

    def __init__(
        self,
        addresses: Sequence[str],
        images: NDArray[np.uint8],
        ledger: Ledger,
        *,
        callers: int = 8,
        rows: int = 1,
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = convoy.connect(list(addresses), timeout_s=timeout_s)
        self._images = images
        self._ledger = ledger
        self._rows = rows
        self._clock = clock
        self._next = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._call, name=f"caller-{n}", daemon=True) for n in range(callers)]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        """Whether every caller has come to its end."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Send no more, wait for what is under way."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._client.close()

    def _take(self) -> range:
        with self._lock:
            first = self._next
            self._next = min(first + self._rows, len(self._images))
            return range(first, self._next)

    def _call(self) -> None:
        while not self._stopping.is_set() and (numbers := self._take()):
            self._ledger.sent(numbers, self._clock())
            try:
                result = self._client.infer(self._images[numbers.start : numbers.stop])
            except convoy.ClientError as error:
                self._ledger.failed(numbers, str(error), self._clock())
            else:
                self._ledger.answered(numbers, result.array, result.generation, self._clock())

"""A gentle stream of images after the account, so that whoever looks at the fleet sees it at work."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import convoy
import numpy as np
from numpy.typing import NDArray

#: Seconds between requests, and images in one.
EVERY_S = 0.1
ROWS = 4


class Trickle:
    """A thread of its own from `start` to `stop`. What fails is not tried again: the account was before."""

    def __init__(self, addresses: Sequence[str], images: NDArray[np.uint8], timeout_s: float = 5.0) -> None:
        self._client = convoy.connect(list(addresses), timeout_s=timeout_s)
        self._images = images
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trickle", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        first = 0
        while not self._stopping.wait(EVERY_S):
            chosen = np.arange(first, first + ROWS) % len(self._images)
            first = int(chosen[-1]) + 1
            try:
                self._client.infer(self._images[chosen])
            except convoy.ClientError:
                continue

"""How a command that goes on until Ctrl-C ends."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C ends the block and is no failure; in a script's background too, where it would be ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        yield

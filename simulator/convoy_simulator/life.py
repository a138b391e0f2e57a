"""One life of a process: from its start until it ends, or until it is ended in the middle of something."""

from __future__ import annotations

from collections.abc import Callable


class EndedError(BaseException):
    """The process has ended here. Nobody catches it: code that would go on does not."""


class Life:
    """Counts what the process does to the world, and ends before the step that `end_before` gives (None: never).

    `on_end` is called then, once; it is for whoever starts the process again.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.is_over = False
        self.steps = 0
        self.end_before: int | None = None
        self._on_end = on_end

    def step(self, what: str) -> None:
        """About to do something that others see or that lasts; raises `EndedError` when it must not be done."""
        if self.is_over:
            raise EndedError(what)
        self.steps += 1
        if self.end_before is not None and self.steps >= self.end_before:
            self.end()
            raise EndedError(what)

    def end(self) -> None:
        """Do nothing any more."""
        if not self.is_over:
            self.is_over = True
            self._on_end()

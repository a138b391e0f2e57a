"""One life of a process: from its start until it ends, or until it is ended in the middle of something."""

from __future__ import annotations

from collections.abc import Callable


class EndedError(BaseException):
    """The process has ended here. Nobody catches it: code that would go on does not."""


#: Steps after which nothing is different when power fails.
_PASSING = frozenset({"publish", "read", "lock"})


class Life:
    """Ends, if it is told to, in the middle of what the process does to the world.

    `on_end` is called then, once; it is for whoever starts the process again.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.is_over = False
        self._left: int | None = None
        self._counts_lasting = False
        self._on_end = on_end

    def end_before(self, step: int, *, lasting: bool = False) -> None:
        """End before the `step`-th one from now (1: the next), or of those alone that leave something behind."""
        self._left, self._counts_lasting = step, lasting

    def spare(self) -> None:
        """It came to no such step: let it live."""
        self._left = None

    def step(self, what: str) -> None:
        """About to do something that others see or that lasts; raises `EndedError` when it must not be done."""
        if self.is_over:
            raise EndedError(what)
        if self._left is None or (self._counts_lasting and what in _PASSING):
            return
        self._left -= 1
        if self._left <= 0:
            self.end()
            raise EndedError(what)

    def end(self) -> None:
        """Do nothing any more."""
        if not self.is_over:
            self.is_over = True
            self._on_end()

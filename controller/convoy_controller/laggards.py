"""Boards that go on following older orders than they were told last: whom to tell once more.

A broker may lose what it retains, and the late words of a controller whose reign is over may stand where newer ones
stood; a board that was away then follows what it finds. Deterministic; called by `service` with every pulse.
"""

from __future__ import annotations

from convoy_controller.rarely import is_to_be_repeated

Number = tuple[int, int]


class Laggards:
    """Counts, by board, the pulses in a row that were behind. Numbers are (epoch, revision)."""

    def __init__(self) -> None:
        self._behind: dict[str, int] = {}

    def is_to_be_told(self, board: str, follows: Number, told: Number, interval_s: float) -> bool:
        """Whether the pulse that came is one to answer; pulses come each `interval_s`."""
        if follows >= told:
            self._behind.pop(board, None)
            return False
        count = self._behind[board] = self._behind.get(board, 0) + 1
        return is_to_be_repeated(count, interval_s)

    def forget(self) -> None:
        """Another reign begins."""
        self._behind.clear()

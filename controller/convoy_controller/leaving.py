"""Boards that their owner takes out of service: drained for good, or until they have restarted.

A deterministic core beside the reconciler: it knows what owners wish of boards and what boards last said, and answers
who may be placed upon, and by which token a board is to restart. A restart that is not forced waits until the board
holds nothing; it is over when the board says that it began by that token.
"""

from __future__ import annotations

from convoy_controller.database.records import BoardWish, NewEvent
from convoy_controller.registry import Registry


class Leaving:
    """What owners wish of boards. `heed` takes a wish; the reconciler asks the rest in every step."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._wishes: dict[str, BoardWish] = {}
        #: Restarts that this reign has seen under way, by board.
        self._under_way: dict[str, str] = {}

    def heed(self, wish: BoardWish) -> None:
        """An owner wishes this; it replaces what he wished of that board before."""
        self._wishes[wish.board] = wish

    def forget(self, board: str) -> None:
        """The board is gone for good."""
        self._wishes.pop(board, None)
        self._under_way.pop(board, None)

    def boards(self) -> list[str]:
        """Boards that take no part, by name: nothing is placed on them, and what they hold is to move."""
        return [board for board in sorted(self._wishes) if self.leaves(board)]

    def leaves(self, board: str) -> bool:
        """Whether that board takes no part now."""
        wish = self._wishes.get(board)
        return wish is not None and (wish.drained or (self._is_pending(board) and not wish.forced))

    def why(self, board: str) -> str:
        """Of one that leaves, in words."""
        wish = self._wishes[board]
        return f"{board} is drained" if wish.drained else f"{board} is to restart"

    def wished(self) -> list[str]:
        """Boards of which their owner wishes anything, by name."""
        return sorted(self._wishes)

    def restarts(self, board: str) -> bool:
        """Whether that board has yet to restart."""
        return self._is_pending(board)

    def token(self, board: str, is_free: bool, told: str) -> str:
        """What the board is to be told: its new token once it holds nothing, or at once when forced; else as `told`."""
        wish = self._wishes.get(board)
        if wish is None:
            return told
        if not wish.restart_token:
            return ""
        return wish.restart_token if is_free or wish.forced or not self._is_pending(board) else told

    def news(self) -> list[NewEvent]:
        """Restarts that have ended since this was asked last."""
        found = []
        for board in sorted({*self._under_way, *self._wishes}):
            token = self._under_way.get(board)
            if self._is_pending(board):
                self._under_way[board] = self._wishes[board].restart_token
            elif token is not None:
                del self._under_way[board]
                if board in self._wishes and self._wishes[board].restart_token == token:
                    found.append(NewEvent("board-restarted", f"{board} has restarted as asked", board=board))
        return found

    def _is_pending(self, board: str) -> bool:
        wish = self._wishes.get(board)
        if wish is None or not wish.restart_token:
            return False
        record = self._registry.boards.get(board)
        reported = None if record is None else record.reported
        return reported is None or reported.restarted != wish.restart_token

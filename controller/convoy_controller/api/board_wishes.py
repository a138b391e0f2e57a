"""Routes of what owners want of single boards: drained, restarted, labelled."""

from __future__ import annotations

from fastapi import APIRouter

from convoy_controller.api.context import Calling, Here
from convoy_controller.api.roles import needs
from convoy_controller.api.shapes.base import Name
from convoy_controller.api.shapes.boards import BoardWishes, GivenLabels, GivenRestart
from convoy_controller.database import board_wishes
from convoy_controller.database.expectations import Change
from convoy_controller.database.records import TokenRole, utc_now

router = APIRouter(prefix="/boards", tags=["boards"])
VIEWER, OPERATOR = TokenRole.VIEWER, TokenRole.OPERATOR


def _answered(here: Here, call: Calling, board: str, change: Change) -> BoardWishes:
    call.trail.before, call.trail.after = change.before, change.after
    return BoardWishes.of(board_wishes.board_wishes(here.database, board))


@router.get("/{board}/wishes", **needs(VIEWER, "get_board_wishes", 404))
def get_board_wishes(here: Here, board: Name) -> BoardWishes:
    """Whether it is to be drained or to restart, and its labels."""
    return BoardWishes.of(board_wishes.board_wishes(here.database, board))


@router.put("/{board}/drain", **needs(OPERATOR, "drain_board", 404, writes=True))
def drain_board(here: Here, call: Calling, board: Name) -> BoardWishes:
    """Take it out of every deployment, and place nothing on it; what it serves is served elsewhere first."""
    return _answered(here, call, board, board_wishes.drain_board(here.database, board, utc_now()))


@router.delete("/{board}/drain", **needs(OPERATOR, "undrain_board", 404, writes=True))
def undrain_board(here: Here, call: Calling, board: Name) -> BoardWishes:
    """Let it take part again."""
    return _answered(here, call, board, board_wishes.undrain_board(here.database, board, utc_now()))


@router.post("/{board}/restart", status_code=202, **needs(OPERATOR, "restart_board", 404, writes=True))
def restart_board(here: Here, call: Calling, board: Name, body: GivenRestart) -> BoardWishes:
    """Have its daemon start anew, once: drained first unless forced, and back in service by itself."""
    change = board_wishes.restart_board(here.database, board, utc_now(), body.token or "", body.forced)
    return _answered(here, call, board, change)


@router.put("/{board}/labels", **needs(OPERATOR, "label_board", 404, writes=True))
def label_board(here: Here, call: Calling, board: Name, body: GivenLabels) -> BoardWishes:
    """Give it labels, in place of those it has; boards are listed by them."""
    return _answered(here, call, board, board_wishes.label_board(here.database, board, body.labels))

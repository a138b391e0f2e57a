"""TCP ports of the loopback interface that are the test's own: nobody else is given one, whether it is used or not."""

from __future__ import annotations

import socket
from collections import deque

from convoy_controller.broker import hold_port

#: Ports that are held at the same time; a test needs a few, and what an earlier test held may go.
MOST = 64
_held: deque[socket.socket] = deque()


def own_port() -> int:
    """Nobody listens there until the test does, and again whenever it has stopped."""
    _held.append(hold_port())
    if len(_held) > MOST:
        _held.popleft().close()
    return int(_held[-1].getsockname()[1])

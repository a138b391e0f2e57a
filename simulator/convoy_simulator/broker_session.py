"""One client's session at the broker: its subscriptions, and the window and queue of messages on their way to it.

The window is Mosquitto 2.0.11's own, which is not the one of its manual: a PUBACK for the n-th message on its way sends
as many as are missing behind n - 1 to the limit. In order, each PUBACK therefore sends `max_inflight_messages` more,
until the queue is empty. A PUBACK for nothing opens the window by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from convoy_simulator.broker_limits import NO_LIMIT, Limits
from convoy_simulator.mqtt_packets import Publish, Will

#: Message numbers are 1 to this.
MOST_MID = 65_535


class Session:
    """A client, connected or away. It decides what is sent when; the broker sends."""

    __slots__ = (
        "_limits",
        "clean",
        "client_id",
        "connection",
        "count",
        "heard_at",
        "inflight",
        "keepalive_s",
        "last_mid",
        "left_at",
        "pending",
        "plain_size",
        "queued",
        "quota",
        "size",
        "subscriptions",
        "unwritten",
        "user",
        "will",
    )

    def __init__(self, limits: Limits, client_id: str, user: str, clean: bool) -> None:
        self._limits = limits
        self.client_id, self.user, self.clean = client_id, user, clean
        self.keepalive_s = 0
        self.will: Will | None = None
        #: None while the client is away.
        self.connection: int | None = None
        #: When the last of it was heard, and when it went.
        self.heard_at = self.left_at = 0.0
        self.subscriptions: dict[str, int] = {}
        #: Sent and not acknowledged; to be sent with the next that is; behind the window.
        self.inflight: deque[Publish] = deque()
        self.pending: list[Publish] = []
        self.queued: deque[Publish] = deque()
        self.quota = limits.max_inflight_messages
        #: Messages of QoS 1 in all three, the bytes of what is there at any QoS, and those of QoS 0 among them.
        self.count = self.size = self.plain_size = 0
        self.last_mid = 0
        #: Packets that the socket has not taken, the one that it took in part among them.
        self.unwritten = 0

    def next_mid(self) -> int:
        """Counted for what is dropped, too."""
        self.last_mid = self.last_mid + 1 if self.last_mid < MOST_MID else 1
        return self.last_mid

    # What is to be sent ----------------------------------------------------------------------------------------------

    def add_plain(self, message: Publish) -> bool:
        """Take a message of QoS 0 to be sent; False if it is dropped."""
        if self.connection is None or not self.takes_plain():
            return False
        self.pending.append(message)
        self.size += len(message.payload)
        self.plain_size += len(message.payload)
        return True

    def takes_plain(self) -> bool:
        """Whether a message of QoS 0 is sent rather than dropped."""
        limits = self._limits
        if not limits.max_inflight_messages or not limits.max_queued_messages:
            return True
        if limits.max_queued_bytes and self.size >= limits.max_queued_bytes:
            return False
        return self.unwritten - 1 < limits.max_queued_messages

    def add_numbered(self, message: Publish) -> bool:
        """Take a message of QoS 1 to be sent or to wait; False if it is dropped."""
        is_there = self.connection is not None
        if is_there and (self.quota > 0 or not self._limits.max_inflight_messages):
            self.pending.append(message)
        elif self._may_wait(self._limits.max_inflight_messages if is_there else 0):
            self.queued.append(message)
        else:
            return False
        self.quota = max(0, self.quota - 1)
        self.count += 1
        self.size += len(message.payload)
        return True

    def _may_wait(self, inflight: int) -> bool:
        limits = self._limits
        if self.count - inflight >= (limits.max_queued_messages or NO_LIMIT):
            return False
        return self.size - self.plain_size < (limits.max_queued_bytes or NO_LIMIT)

    def open_window(self) -> None:
        """Let what waits behind the window through as far as the quota goes."""
        while self.queued and (self.quota or not self._limits.max_inflight_messages):
            self._let_through()

    def take_pending(self) -> list[Publish]:
        """What is to be sent now."""
        messages, self.pending = self.pending, []
        self.inflight.extend(message for message in messages if message.qos)
        self.size -= self.plain_size
        self.plain_size = 0
        return messages

    def _let_through(self) -> None:
        self.pending.append(self.queued.popleft())
        self.quota = max(0, self.quota - 1)

    # What the client says and does -----------------------------------------------------------------------------------

    def acknowledged(self, mid: int) -> None:
        """A PUBACK; `take_pending` has what follows."""
        most = self._limits.max_inflight_messages
        self.quota = min(most, self.quota + 1)
        ahead = self._forget(mid)
        while self.queued and (not most or ahead < most):
            self._let_through()
            ahead += 1

    def _forget(self, mid: int) -> int:
        """How many messages on their way were before the one acknowledged, or all if there is none."""
        for index, message in enumerate(self.inflight):
            if message.mid == mid:
                del self.inflight[index]
                self._subtract(message)
                return index
        for index, message in enumerate(self.pending):
            if message.mid == mid:
                del self.pending[index]
                self._subtract(message)
                return len(self.inflight) + index
        return len(self.inflight) + len(self.pending)

    def _subtract(self, message: Publish) -> None:
        self.count -= 1
        self.size -= len(message.payload)

    def resume(self) -> None:
        """The client is back: what it had not acknowledged comes again, marked as such."""
        again = [message._replace(dup=True) for message in self.inflight]
        self.pending = again + self.pending
        self.inflight.clear()
        self.quota = max(0, self._limits.max_inflight_messages - sum(1 for message in self.pending if message.qos))
        self.open_window()

    def keep(self, is_allowed: Callable[[Publish], bool]) -> None:
        """Forget what waits and is not allowed; its places in the window are not given back."""
        for message in [message for message in (*self.pending, *self.queued) if not is_allowed(message)]:
            self._subtract(message)
        self.pending = [message for message in self.pending if is_allowed(message)]
        self.queued = deque(message for message in self.queued if is_allowed(message))

    def copied(self) -> Session:
        """The same session of a client that is away, as a snapshot has it."""
        other = Session(self._limits, self.client_id, self.user, self.clean)
        other.subscriptions = dict(self.subscriptions)
        other.inflight, other.pending, other.queued = deque(self.inflight), list(self.pending), deque(self.queued)
        other.count, other.size, other.plain_size = self.count, self.size, self.plain_size
        other.last_mid, other.left_at = self.last_mid, self.left_at
        return other

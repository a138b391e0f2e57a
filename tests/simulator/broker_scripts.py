"""Random scripts of what clients do to a broker, and their shrinking. A script is a value: it runs on any broker."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from convoy_simulator.broker_limits import Limits
from convoy_simulator.mqtt_packets import Connect, Disconnect, Packet, Publish, Subscribe, Unsubscribe, Will

#: Sockets of a script; any of them may connect under any of the ids.
SLOTS = 5
_IDS = ("ann", "bob", "cat", "dan")
_TOPICS = ("a", "a/b", "a/b/c", "a/c", "/a", "a/", "b", "b/b", "b//c", "$x/a", "$x/b/c", "own/ann", "own/bob/x", "open")
_FILTERS = (
    *("#", "+", "+/#", "a/#", "a/+", "a/b", "a/b/#", "a/b/c", "+/b", "+/+", "+/b/+", "/+", "/#", "+/", "a", "b", "b/#"),
    *(
        "b/+/c",
        "b//c",
        "$x/#",
        "$x/+",
        "+/a",
        "a/+/#",
        "own/#",
        "own/+",
        "own/ann",
        "own/+/x",
        "open",
        "nobody/says/this",
    ),
)
_BAD: tuple[Packet, ...] = (
    Publish("a/+", b"!", 0, False),
    Publish("", b"!", 0, False),
    Publish("a", b"!", 1, False, 0),
    Subscribe(9, (("a/#/b", 0),)),
    Subscribe(9, (("a", 1), ("b+", 1))),
    Subscribe(9, ()),
    Unsubscribe(9, ()),
    Unsubscribe(9, ("",)),
    Connect("ann", True, 60),
    Publish("a", b"x" * 700, 0, False),
)
RULES = """\
topic read open
user ann
topic deny a/c
topic readwrite a/#
topic write $x/#
user cat
topic readwrite #
topic deny own/#
pattern readwrite own/%u
pattern read own/%u/#
pattern write own/+/x
pattern read $x/+
pattern readwrite b/#
pattern readwrite $fill/+
"""


class Join(NamedTuple):
    """Connect on a slot, cutting what was there."""

    slot: int
    connect: Connect


class Say(NamedTuple):
    """Send packets without waiting for answers between them."""

    slot: int
    packets: tuple[Packet, ...]


class Acknowledge(NamedTuple):
    """PUBACK of some of what came and is not acknowledged, by place; -1 is of a number that nobody sent."""

    slot: int
    places: tuple[int, ...]


class Cut(NamedTuple):
    """The connection ends without DISCONNECT."""

    slot: int


class Stall(NamedTuple):
    """Stop reading, and be sent messages until the socket is full."""

    slot: int


class Resume(NamedTuple):
    """Read what there is."""

    slot: int


class Kill(NamedTuple):
    """The broker is killed and started; `keep`: just after it saved its state."""

    keep: bool


Step = Join | Say | Acknowledge | Cut | Stall | Resume | Kill


class Script(NamedTuple):
    """Steps for a broker of these limits; `is_persistent`: that has a file for its state."""

    limits: Limits
    is_persistent: bool
    steps: tuple[Step, ...]


_LIMITS = (
    Limits(max_inflight_messages=3, max_queued_messages=5),
    Limits(max_inflight_messages=1, max_queued_messages=3),
    Limits(max_inflight_messages=2, max_queued_messages=4, max_queued_bytes=60),
    Limits(max_inflight_messages=4, max_queued_messages=0, max_queued_bytes=90),
    Limits(max_inflight_messages=0, max_queued_messages=4),
    Limits(max_inflight_messages=20, max_queued_messages=1000),
    Limits(max_inflight_messages=3, max_queued_messages=2, max_packet_size=500, max_connections=5),
    Limits(20, 10_000, 67_108_864, 1_000_000),  # as shipped
)


def random_script(seed: int, steps: int = 40) -> Script:
    """The script of that seed."""
    chance = random.Random(seed)
    limits = chance.choice(_LIMITS)
    is_guarded = chance.random() < 0.25
    if is_guarded:
        limits = limits._replace(rules=RULES)
    is_persistent = chance.random() < 0.2
    return Script(limits, is_persistent, tuple(_Author(chance, is_guarded, is_persistent, limits).write(steps)))


class _Author:
    def __init__(self, chance: random.Random, is_guarded: bool, is_persistent: bool, limits: Limits) -> None:
        self._chance, self._is_guarded, self._is_persistent = chance, is_guarded, is_persistent
        #: A full socket takes large messages, and a window of any size more memory than it is worth.
        self._may_stall = not limits.max_packet_size and 0 < limits.max_queued_messages < 100
        self._said = self._mid = 0
        self._stalled: int | None = None
        #: Filters of anybody, so that some that are given up were subscribed to.
        self._subscribed = ["#"]

    def write(self, steps: int) -> list[Step]:
        script: list[Step] = [self._join(slot) for slot in range(3)]
        while len(script) < steps:
            script.append(self._step(self._chance.randrange(SLOTS)))
        return script

    def _step(self, slot: int) -> Step:
        chance = self._chance
        if self._stalled is not None and chance.random() < 0.15:
            return Say(slot, tuple(self._publish(f"$fill/{self._stalled}") for _ in range(chance.choice((1, 3, 8)))))
        kind = chance.random()
        if kind < 0.13:
            return self._left(slot, self._join(slot))
        if kind < 0.17:
            return self._left(slot, Cut(slot))
        if kind < 0.34:
            return Say(slot, tuple(self._subscribe() for _ in range(chance.choice((1, 1, 2)))))
        if kind < 0.38:
            filters = self._filters() + [chance.choice(self._subscribed) for _ in range(2)]
            return Say(slot, (Unsubscribe(self._next_mid(), tuple(filters)),))
        if kind < 0.40:
            return self._left(slot, Say(slot, (Disconnect(),)))
        if kind < 0.42:
            # What follows a bad packet is not read; for a full socket that would cut off what it has taken.
            after = () if slot == self._stalled else (self._publish(),)
            return self._left(slot, Say(slot, (chance.choice(_BAD), *after)))
        if kind < 0.56:
            return Acknowledge(
                slot, tuple(chance.choice((0, 0, 0, 1, 2, 5, -1)) for _ in range(chance.randrange(1, 5)))
            )
        if kind < 0.60 and self._may_stall:
            if self._stalled is None:
                self._stalled = slot
                return Stall(slot)
            resumed, self._stalled = self._stalled, None
            return Resume(resumed)
        if kind < 0.62:
            self._stalled = None
            return Kill(self._is_persistent and chance.random() < 0.7)
        count = 1 if slot == self._stalled else chance.choice((1, 1, 2, 4, 12))
        return Say(slot, tuple(self._publish() for _ in range(count)))

    def _left(self, slot: int, step: Step) -> Step:
        if slot == self._stalled:
            self._stalled = None
        return step

    def _join(self, slot: int) -> Join:
        chance = self._chance
        will = None
        if chance.random() < 0.5:
            payload = self._payload() if chance.random() < 0.9 else b""
            will = Will(chance.choice(_TOPICS), payload, chance.randrange(2), chance.random() < 0.4)
        user = chance.choice(("", *_IDS)) if self._is_guarded else ""
        client_id = chance.choice(_IDS) if chance.random() < 0.97 else ""
        return Join(slot, Connect(client_id, chance.random() < 0.6, 0, will, user))

    def _filters(self) -> list[str]:
        return [self._chance.choice(_FILTERS) for _ in range(self._chance.choice((1, 1, 2, 4)))]

    def _subscribe(self) -> Subscribe:
        filters = tuple((text, self._chance.choice((0, 1, 1, 2))) for text in self._filters())
        self._subscribed += [text for text, _ in filters]
        return Subscribe(self._next_mid(), filters)

    def _publish(self, topic: str = "") -> Publish:
        chance = self._chance
        qos, retain = chance.choice((0, 1, 1)), chance.random() < 0.35
        payload = b"" if retain and chance.random() < 0.25 else self._payload()
        return Publish(topic or chance.choice(_TOPICS), payload, qos, retain, self._next_mid() if qos else 0)

    def _payload(self) -> bytes:
        self._said += 1
        return b"%d" % self._said + b"." * self._chance.choice((0, 0, 3, 20, 130))

    def _next_mid(self) -> int:
        self._mid += 1
        return self._mid


def shrink(script: Script, fails: Callable[[Script], bool]) -> Script:
    """A shorter script that fails as well: without any step, or packet of a step, that the failure does not need."""
    size = max(1, len(script.steps) // 2)
    while True:
        start = 0
        while start < len(script.steps):
            shorter = script._replace(steps=script.steps[:start] + script.steps[start + size :])
            if fails(shorter):
                script = shorter
            else:
                start += size
        if size == 1:
            return _shrink_packets(script, fails)
        size //= 2


def _shrink_packets(script: Script, fails: Callable[[Script], bool]) -> Script:
    for index in range(len(script.steps)):
        place = 0
        while isinstance(step := script.steps[index], Say) and place < len(step.packets) > 1:
            fewer = step._replace(packets=step.packets[:place] + step.packets[place + 1 :])
            shorter = script._replace(steps=(*script.steps[:index], fewer, *script.steps[index + 1 :]))
            if fails(shorter):
                script = shorter
            else:
                place += 1
    return script

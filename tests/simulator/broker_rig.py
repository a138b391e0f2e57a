"""Runs a script on the model and on a real Mosquitto, step by step, and compares what each connection is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from broker_scripts import SLOTS, Acknowledge, Cut, Join, Kill, Resume, Say, Script, Stall, Step
from convoy_simulator.broker import Broker, Effect, Send
from convoy_simulator.broker_limits import Limits
from convoy_simulator.mqtt_packets import Connect, Packet, Puback, Publish, Subscribe, size_of
from mosquitto_side import NEEDLESS, WITNESS, Heard, RealSide, filling

#: Runs of a script until one in which no full socket took more.
TRIALS = 5


class UnsettledError(Exception):
    """A socket that was full took more: this run of the script says nothing."""


class ModelSide:
    """The model with connections like those of the real one."""

    def __init__(self, limits: Limits, make: Callable[[Limits], Broker] = Broker) -> None:
        self.broker = make(limits)
        self._connections: dict[int, int] = {}
        #: By slot that does not read: packets that its socket has not taken.
        self._unwritten: dict[int, int] = {}
        #: And how much it had been sent before.
        self._stalled_at: dict[int, int] = {}
        self._next = 0
        self._packets: dict[int, list[Packet]] = {slot: [] for slot in range(SLOTS + 1)}

    def join(self, slot: int, connect: Connect) -> None:
        self.cut(slot)
        self._next += 1
        self._connections[slot] = self._next
        self.say(slot, (connect,))

    def say(self, slot: int, packets: tuple[Packet, ...]) -> None:
        for packet in packets:
            if slot in self._connections:
                self._carry_out(self.broker.received(self._connections[slot], packet, 0.0))

    def cut(self, slot: int) -> None:
        self._packets[slot].clear()
        self._unwritten.pop(slot, None)
        if slot in self._connections:
            self._carry_out(self.broker.lost(self._connections.pop(slot), 0.0))

    def stall(self, slot: int, sent: int, taken: int) -> None:
        """That many messages were sent, and that many bytes of them taken."""
        self._stalled_at[slot] = len(self._packets[slot])
        for _ in range(sent):
            self.say(WITNESS, filling(slot, 1))
            self.say(slot, (NEEDLESS,))
        self.take(slot, taken)

    def take(self, slot: int, taken: int) -> None:
        """The socket has taken that many bytes since it stalled."""
        if slot in self._connections:
            sizes = accumulate(map(size_of, self._packets[slot][self._stalled_at[slot] :]))
            self._unwritten[slot] = sum(size > taken for size in sizes)
            self.broker.unwritten(self._connections[slot], self._unwritten[slot])

    def resume(self, slot: int) -> None:
        self._unwritten.pop(slot, None)
        if slot in self._connections:
            self.broker.unwritten(self._connections[slot], 0)

    def kill(self, keep: bool) -> None:
        if keep:
            self.broker.save()
        self.broker.restart(keep, 0.0)
        for slot in list(self._packets):
            self._connections.pop(slot, None)
            self.cut(slot)

    def heard(self, slot: int) -> Heard:
        """Since it was last asked."""
        heard = Heard(tuple(self._packets[slot]), slot not in self._connections)
        self._packets[slot].clear()
        return heard

    def is_closed(self, slot: int) -> bool:
        return slot not in self._connections

    def _carry_out(self, effects: list[Effect]) -> None:
        slots = {connection: slot for slot, connection in self._connections.items()}
        for effect in effects:
            slot = slots.get(effect.connection)
            if slot is None:
                continue
            if isinstance(effect, Send):
                self._packets[slot].append(effect.packet)
                if self._unwritten.get(slot):
                    self._unwritten[slot] += 1
            else:
                del self._connections[slot]
                if lost := self._unwritten.pop(slot, 0):
                    del self._packets[slot][-lost:]


class Difference(NamedTuple):
    """The first step after which the two do not agree, and what each slot was sent on either side."""

    step: int
    slot: int
    model: Heard
    real: Heard


class Comparison:
    """One script on both; `run` gives the first difference, or None."""

    def __init__(self, script: Script, directory: Path, make: Callable[[Limits], Broker] = Broker) -> None:
        self._script = script
        self._model = ModelSide(script.limits, make)
        self._real = RealSide(directory, script)
        self._owed: dict[int, list[int]] = {slot: [] for slot in range(SLOTS + 1)}
        #: Who does not read, and the bytes that their sockets have taken.
        self._stalled: dict[int, int] = {}

    def run(self) -> Difference | None:
        try:
            self._join(WITNESS, Connect("witness", True, 0, None, "cat"))
            for index, step in enumerate(self._script.steps):
                self._look_at_full()
                self._take(step)
                if self._look_at_full():
                    raise UnsettledError
                difference = self._compare(index)
                if difference is not None:
                    return difference
            return None
        finally:
            self._real.stop()

    def _look_at_full(self) -> bool:
        """Tell the model if a socket that was full has taken more since."""
        is_changed = False
        for slot, before in self._stalled.items():
            taken = None if self._model.is_closed(slot) else self._real.taken(slot)
            if taken not in (None, before):
                is_changed = True
                self._stalled[slot] = taken
                self._model.take(slot, taken)
        return is_changed

    def _join(self, slot: int, connect: Connect) -> None:
        self._owed[slot] = []
        self._stalled.pop(slot, None)
        self._model.join(slot, connect)
        self._real.join(slot, connect)

    def _take(self, step: Step) -> None:
        match step:
            case Join(slot, connect):
                self._join(slot, connect)
            case Say(slot, packets):
                self._say(slot, packets)
            case Acknowledge(slot, places):
                self._say(slot, tuple(Puback(self._owed_mid(slot, place)) for place in places))
            case Cut(slot):
                self._stalled.pop(slot, None)
                self._model.cut(slot)
                self._real.cut(slot)
            case Stall(slot):
                self._say(slot, (Subscribe(65_000, ((f"$fill/{slot}", 0),)),))
                sent, taken = self._real.stall(slot)
                self._model.stall(slot, sent, taken)
                self._stalled[slot] = taken
                if not taken:
                    self._resume(slot)
            case Resume(slot):
                self._resume(slot)
            case Kill(keep):
                self._stalled.clear()
                self._model.kill(keep)
                self._real.kill(keep)
                self._join(WITNESS, Connect("witness", True, 0, None, "cat"))

    def _say(self, slot: int, packets: tuple[Packet, ...]) -> None:
        if not self._model.is_closed(slot) or slot not in self._stalled:
            self._model.say(slot, packets)
            self._real.say(slot, packets)

    def _resume(self, slot: int) -> None:
        self._stalled.pop(slot, None)
        self._model.resume(slot)
        self._real.resume(slot)

    def _owed_mid(self, slot: int, place: int) -> int:
        owed = self._owed[slot]
        return owed.pop(place % len(owed)) if owed and place >= 0 else NEEDLESS.mid

    def _compare(self, index: int) -> Difference | None:
        """What a client that does not read is sent is looked at when it reads again."""
        for slot in range(SLOTS + 1):
            if slot in self._stalled:
                continue
            model, real = self._model.heard(slot), self._real.heard(slot)
            if model != real:
                return Difference(index, slot, model, real)
            self._owed[slot] += [packet.mid for packet in real.packets if isinstance(packet, Publish) and packet.qos]
        return None


def compare(script: Script, directory: Path, make: Callable[[Limits], Broker] = Broker) -> Difference | None:
    """The first difference between the model that `make` makes and Mosquitto, or None.

    Raises `UnsettledError` if a full socket took more in each of several runs.
    """
    for _ in range(TRIALS - 1):
        with contextlib.suppress(UnsettledError):
            return Comparison(script, directory, make).run()
    return Comparison(script, directory, make).run()

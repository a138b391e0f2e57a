"""What a sized fleet is measured by: when each board is ready, and what passes the broker in each second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from convoy_schema import codec
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.boards import Phase, Reported

from convoy_simulator.broker import Broker
from convoy_simulator.mqtt_packets import Packet, Publish
from convoy_simulator.network import Line

#: What a report of a board that is ready cannot do without.
_READY = Phase.READY.value.encode()
#: Who a task works for.
_whose: ContextVar[str] = ContextVar("whose", default="")


@dataclass
class Second:
    """One second of the broker's, and how many boards were ready at its end."""

    packets: int
    bytes: int
    ready: int
    controller_s: float
    database_s: float


@dataclass
class Meter:
    """`watch` is told of every packet; `sample` runs beside the fleet."""

    broker: Broker
    boards: frozenset[str]
    clock: Callable[[], float]
    #: When each board was ready first since `forget`.
    ready_at: dict[str, float] = field(default_factory=dict)
    seconds: list[Second] = field(default_factory=list)
    #: Seconds of a core here that the controller's tasks took, and that its database is reckoned to have taken.
    controller_s: float = 0.0
    database_s: float = 0.0
    least_counter: int = 0
    newest_counter: int = 0

    def forget(self, *, next_generation: bool) -> None:
        """Begin anew; with `next_generation` only what is newer than anything so far counts."""
        self.ready_at.clear()
        if next_generation:
            self.least_counter = self.newest_counter + 1

    def watch(self, name: str, packet: Packet, is_up: bool) -> None:
        """A packet that the broker takes from, or sends to, the machine of that name."""
        if not is_up or name not in self.boards or name in self.ready_at:
            return
        # A look at the bytes spares reading most of them.
        if isinstance(packet, Publish) and packet.topic.endswith("/reported") and _READY in packet.payload:
            self._reported(name, packet.payload)

    def _reported(self, name: str, payload: bytes) -> None:
        try:
            reported = codec.decode(Reported, payload)
        except ConvoyError:
            return
        for report in reported.assignments:
            self.newest_counter = max(self.newest_counter, report.generation.counter)
            if report.phase is Phase.READY and report.generation.counter >= self.least_counter:
                self.ready_at[name] = self.clock()

    async def sample(self) -> None:
        """Until cancelled."""
        before, spent, written = self.broker.traffic(), self.controller_s, self.database_s
        while True:
            await asyncio.sleep(1.0)
            now = self.broker.traffic()
            packets = now.packets_received + now.packets_sent - before.packets_received - before.packets_sent
            size = now.bytes_received + now.bytes_sent - before.bytes_received - before.bytes_sent
            took = self.controller_s - spent, self.database_s - written
            self.seconds.append(Second(packets, size, len(self.ready_at), *took))
            before, spent, written = now, self.controller_s, self.database_s

    # The controller's own time ---------------------------------------------------------------------------------------

    def time_controller(self, loop: asyncio.AbstractEventLoop, line: Line) -> None:
        """From now on, count the seconds of this machine that the controller takes: its tasks, and what comes in."""
        line.through = self._take

        def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **how: Any) -> asyncio.Task[Any]:
            if _whose.get() == "controller":
                coroutine = _Timed(coroutine, self)
            return asyncio.Task(coroutine, loop=loop, **how)

        loop.set_task_factory(factory)

    def _take(self, arrives: Callable[[Packet], None], packet: Packet) -> None:
        began = time.process_time()
        arrives(packet)
        self.controller_s += time.process_time() - began


class _Timed(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are timed."""

    def __init__(self, inner: Coroutine[Any, Any, Any], meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def send(self, value: Any) -> Any:
        began = time.process_time()
        try:
            return self._inner.send(value)
        finally:
            self._meter.controller_s += time.process_time() - began

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]


def works_for_controller() -> None:
    """Tasks that are made in this context are the controller's."""
    _whose.set("controller")

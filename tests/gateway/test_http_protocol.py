"""Answers in one piece: what is written within one turn of the loop goes out together, before the connection closes."""

from __future__ import annotations

import asyncio

from convoy_controller.gateway.joined import JoinedTransport


class Wire(asyncio.Transport):
    """What was sent, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("there", 80)})
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written behind the end"
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_what_is_written_in_one_turn_is_sent_as_one_piece() -> None:
    async def work() -> None:
        wire = Wire()
        transport = JoinedTransport(wire, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        assert wire.sent == []
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)
        assert wire.sent == [b"head body", b"next"]

    asyncio.run(work())


def test_closing_sends_what_was_written_and_nothing_after_it() -> None:
    async def work() -> None:
        wire = Wire()
        transport = JoinedTransport(wire, asyncio.get_running_loop())
        transport.write(b"last")
        transport.close()
        transport.write(b"too late")
        await asyncio.sleep(0)
        assert (wire.sent, wire.closed) == ([b"last"], True)

    asyncio.run(work())


def test_whatever_else_is_asked_of_it_is_the_transports_own() -> None:
    async def work() -> None:
        transport = JoinedTransport(Wire(), asyncio.get_running_loop())
        assert transport.get_extra_info("peername") == ("there", 80)
        assert not transport.is_closing()

    asyncio.run(work())

"""Two real Mosquittos on the shipped files, a site's and the central one: control passes, frames stay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from convoy_controller.broker import find_mosquitto
from link_bench import Peer, play, until
from own_ports import own_port
from patience import PATIENCE_S
from tls_broker import Guarded

PREFIX = "convoy/1/main/"
FRAME = PREFIX + "from/board-1/to/gateway/lenet5/1-1/1"
UP = ("state", "pulse", "capability", "reported", "want", "log")
DOWN = ("desired", "command")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[Guarded, Guarded]]:
    """The site's, and the central one."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    centre = Guarded(tmp_path / "centre", port=own_port())
    site = Guarded(tmp_path / "site", port=own_port(), authority=centre.authority, bridge_to=f"127.0.0.1:{centre.port}")
    site.issue("bridge-main")
    with centre, site:
        yield site, centre


@contextlib.asynccontextmanager
async def three(site: Guarded, centre: Guarded) -> AsyncIterator[tuple[Peer, Peer, Peer]]:
    """A board and a gateway on the site, the controller at the centre, once the bridge stands."""

    def peer(broker: Guarded, name: str) -> Peer:
        return Peer(broker.url, name, filters=("#",), credentials=broker.credentials(broker.identity(name)))

    async with (
        peer(site, "board-1").running() as board,
        peer(site, "gateway").running() as gateway,
        peer(centre, "controller").running() as controller,
    ):
        await stands(board, controller)
        yield board, gateway, controller


async def stands(board: Peer, controller: Peer, seconds: float = PATIENCE_S) -> None:
    """Until the bridge carries both ways."""
    deadline = asyncio.get_running_loop().time() + seconds
    before = len(board.payloads(PREFIX + "boards/board-1/command"))
    heard = len(controller.payloads(PREFIX + "boards/board-1/pulse"))
    while (
        len(controller.payloads(PREFIX + "boards/board-1/pulse")) == heard
        or len(board.payloads(PREFIX + "boards/board-1/command")) == before
    ):
        assert asyncio.get_running_loop().time() < deadline, "the bridge does not come to stand"
        board.link.publish(PREFIX + "boards/board-1/pulse", b"?")
        controller.link.publish(PREFIX + "boards/board-1/command", b"?")
        await asyncio.sleep(0.1)


def test_control_passes_both_ways_and_frames_stay(brokers: tuple[Guarded, Guarded]) -> None:
    site, centre = brokers

    async def work() -> None:
        async with three(site, centre) as (board, gateway, controller):
            for leaf in UP:
                board.link.publish(PREFIX + f"boards/board-1/{leaf}", b"up", qos=1)
            for leaf in ("state", "reported"):
                gateway.link.publish(PREFIX + f"gateways/gateway/{leaf}", b"up", qos=1)
            for topic in (
                *(f"boards/board-1/{leaf}" for leaf in DOWN),
                "gateways/gateway/desired",
                "controller/state",
                "models/lenet5/1",
                "models/trust",
                "artifacts/00ff",
                "artifacts/00ff/0",
            ):
                controller.link.publish(PREFIX + topic, b"down", qos=1)
            board.link.publish(FRAME, b"a frame", qos=1)
            await until(lambda: len([1 for *_, p, _ in controller.received if p == b"up"]) == len(UP) + 2)
            await until(lambda: len([1 for *_, p, _ in board.received if p == b"down"]) == 7)
            await until(lambda: len([1 for *_, p, _ in gateway.received if p == b"down"]) == 6)
            assert gateway.payloads(FRAME) == [b"a frame"]
            # At the centre a gateway that may hear such frames hears none: none came so far.
            async with Peer(
                centre.url, "gateway", filters=("#",), credentials=centre.credentials(centre.identity("gateway"))
            ).running() as other:
                board.link.publish(FRAME, b"another", qos=1)
                board.link.publish(PREFIX + "boards/board-1/state", b"marker", qos=1)
                await until(lambda: b"marker" in controller.payloads(PREFIX + "boards/board-1/state"))
                await other.settle()
                assert other.payloads(FRAME) == []
            # Nothing that went up came back down.
            await board.settle()
            states = board.payloads(PREFIX + "boards/board-1/state")
            assert states == [b"up", b"marker"]

    play(work)


def test_what_is_retained_passes_to_those_who_come_later(brokers: tuple[Guarded, Guarded]) -> None:
    site, centre = brokers

    async def work() -> None:
        async with three(site, centre) as (board, _, controller):
            controller.link.publish(PREFIX + "boards/board-2/desired", b"hold this", qos=1, retain=True)
            board.link.publish(PREFIX + "boards/board-1/capability", b"I can", qos=1, retain=True)
            await until(lambda: controller.payloads(PREFIX + "boards/board-1/capability"))
            async with Peer(
                site.url, "board-2", filters=("#",), credentials=site.credentials(site.identity("board-2"))
            ).running() as late:
                await until(lambda: (PREFIX + "boards/board-2/desired", b"hold this", True) in late.received)

    play(work)


def test_a_site_goes_on_without_the_centre_and_the_line_comes_back(brokers: tuple[Guarded, Guarded]) -> None:
    site, centre = brokers

    async def work() -> None:
        async with three(site, centre) as (board, gateway, controller):
            centre.stop()
            await until(lambda: controller.losses)
            board.link.publish(FRAME, b"alone", qos=1)
            await until(lambda: gateway.payloads(FRAME) == [b"alone"])
            centre.start()
            await until(lambda: controller.connections == 2)
            # The wait before the next attempt is random, and grows.
            await stands(board, controller, 2 * PATIENCE_S)
            assert board.connections == gateway.connections == 1

    play(work)


def test_a_bridge_with_a_boards_certificate_carries_nothing(tmp_path: Path) -> None:
    """What a site's broker may say is the certificate's, at the centre."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    centre = Guarded(tmp_path / "centre", port=own_port())
    site = Guarded(tmp_path / "site", port=own_port(), authority=centre.authority, bridge_to=f"127.0.0.1:{centre.port}")
    site.identity("board-9", file="bridge-main")

    async def work() -> None:
        board = Peer(site.url, "board-1", credentials=site.credentials(site.identity("board-1")))
        controller = Peer(
            centre.url, "controller", filters=("#",), credentials=centre.credentials(centre.identity("controller"))
        )
        async with board.running(), controller.running():
            await until(lambda: "u'board-9'" in centre.log())
            with pytest.raises(AssertionError, match="does not come to stand"):
                await stands(board, controller, 2)
            assert controller.received == [] or all("command" in one[0] for one in controller.received)

    with centre, site:
        play(work)

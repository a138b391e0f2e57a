"""What a restart costs the network: nothing large is sent again, and what a broker forgot is said again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.local_fleet import CONTROLLER, GATEWAY, wait_until
from convoy_schema import codec
from convoy_schema.messages.boards import BoardState, Presence
from convoy_schema.messages.gateways import ControllerState
from crash_harness import BOARDS, BROKER, RESTART_AFTER_S, SECOND_GATEWAY, CrashFleet
from system_fleet import PATIENCE_S, Intruder


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


def test_a_controller_that_restarts_sends_no_block_again(fleet: CrashFleet) -> None:
    fleet.serve_all()
    with Intruder(fleet.local.url) as witness, fleet.callers() as flow:
        witness.subscribe(fleet.topics.block("+", "+"), fleet.topics.controller_state())
        fleet.strike(CONTROLLER)
        flow.wait_answers(30)
        fleet.local.processes.restart(CONTROLLER)
        assert wait_until(lambda: len(fleet.events("in-charge")) == 2, PATIENCE_S, 0.05)
        fleet.wait_boards(*BOARDS)
        flow.wait_answers(120)
        heard = witness.all_heard()
        blocks = [topic for topic, _ in heard if topic != fleet.topics.controller_state()]
        assert blocks == []
        states = [codec.decode(ControllerState, payload) for topic, payload in heard]
        assert max(state.published.artifacts for state in states) < stored_bytes(fleet.home.blobs)
    # The same witness would have seen them: a board that starts with nothing gets its blocks.
    with Intruder(fleet.local.url) as witness:
        witness.subscribe(fleet.topics.block("+", "+"))
        fleet.local.start_board("board-4")
        fleet.deploy(boards=4)
        assert wait_until(lambda: witness.heard.qsize() > 0, PATIENCE_S)


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def retained(fleet: CrashFleet) -> dict[str, bytes]:
    """What a newcomer is told at once, by topic."""
    found: dict[str, bytes] = {}
    with Intruder(fleet.local.url) as witness:
        witness.subscribe(f"{fleet.topics.prefix}+/+/+", f"{fleet.topics.prefix}+/+")
        witness.settle()
        found.update(witness.all_heard())
    return found


@pytest.mark.long
def test_a_broker_that_forgot_everything_is_told_again(fleet: CrashFleet) -> None:
    fleet.serve_all()
    topics, generation = fleet.topics, fleet.serving_generation()
    expected = {
        *(topics.board(board, leaf) for board in BOARDS for leaf in ("state", "capability", "desired", "reported")),
        *(
            topics.gateway(gateway, leaf)
            for gateway in (GATEWAY, SECOND_GATEWAY)
            for leaf in ("state", "desired", "reported")
        ),
        topics.controller_state(),
        topics.model("small", "1"),
    }
    assert wait_until(lambda: set(retained(fleet)) >= expected, PATIENCE_S), expected - set(retained(fleet))
    before = set(retained(fleet))
    manifests = {topic for topic in before if topic.startswith(f"{topics.prefix}artifacts/")}
    assert manifests
    with fleet.callers() as flow:
        fleet.strike(BROKER)
        wait_until(lambda: False, RESTART_AFTER_S)
        fleet.local.processes.restart(BROKER)
        flow.wait_answers(120)
        fleet.wait_boards(*BOARDS)
        assert wait_until(lambda: set(retained(fleet)) >= expected | manifests, PATIENCE_S), (
            expected | manifests
        ) - set(retained(fleet))
        there = retained(fleet)
        for board in BOARDS:
            state = codec.decode(BoardState, there[topics.board(board, "state")])
            assert state.presence is Presence.ONLINE
    assert flow.timeline.generations == {generation}
    fleet.wait_serving(3)
    assert fleet.serving_generation() == generation

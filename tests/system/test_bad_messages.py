"""Garbage on every topic, at a fleet of real processes: each side says what it refused, and the fleet serves on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from convoy_controller.database import queries
from convoy_controller.local_fleet import wait_until
from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.frames import Frame, TensorData
from convoy_schema.messages.boards import (
    BoardState,
    Capability,
    Command,
    Order,
    Presence,
    Published,
    Pulse,
    Reported,
    Want,
)
from convoy_schema.messages.desired import Desired
from convoy_schema.messages.gateways import ControllerState, GatewayDesired, GatewayReported, GatewayState
from convoy_schema.messages.logs import BoardLog
from system_fleet import PATIENCE_S, Intruder, SystemFleet

KINDS = ("garbage", "truncated", "oversize", "wrong-type", "wrong-version")
BOARD, GATEWAY = "board-1", "gateway"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path_factory.mktemp("fleet")) as started:
        yield started.serve(2)


@pytest.fixture
def intruder(fleet: SystemFleet) -> Iterator[Intruder]:
    with Intruder(fleet.local.url) as talker:
        yield talker


def spoiled(message: codec.Message, kind: str) -> bytes:
    """`message`, spoiled in one way."""
    good = codec.encode(message)
    if kind == "garbage":
        return b"\xc1\xff\x00 no such message"
    if kind == "truncated":
        return good[: len(good) // 2]
    if kind == "oversize":
        return good + bytes(type(message).MAX_BYTES + 1 - len(good))
    body: dict[str, Any] = msgpack.unpackb(good)
    if kind == "wrong-version":
        body["v"] = [99, 99]
    else:
        body[next(key for key in body if key != "v")] = {"not": ["what", "it", "should", "be"]}
    return bytes(msgpack.packb(body))


#: What each kind of damage is called, in the sentence that its reader sees.
SAYS = {
    "garbage": "is not MessagePack",
    "truncated": "is not MessagePack",
    "oversize": "bytes, ",
    "wrong-type": " must be ",
    "wrong-version": "update this side",
}
PUBLISHED = Published()
PULSE = Pulse(1, 1, 1, 1000, 1, 1, (), PUBLISHED)
CAPABILITY = Capability(1, "part", "emulated", ("layers",), (), 1, 1, 1, "0")
TO_CONTROLLER: dict[str, codec.Message] = {
    f"boards/{BOARD}/state": BoardState(Presence.ONLINE, 1),
    f"boards/{BOARD}/pulse": PULSE,
    f"boards/{BOARD}/capability": CAPABILITY,
    f"boards/{BOARD}/reported": Reported(1, 1, 1, "", (), (), 1, 1),
    f"boards/{BOARD}/log": BoardLog(1, 0, 0, ()),
    f"gateways/{GATEWAY}/state": GatewayState(Presence.ONLINE, 1),
    f"gateways/{GATEWAY}/reported": GatewayReported(1, 1, 1, "", (), PUBLISHED),
    "controller/state": ControllerState(Presence.ONLINE, 1, 1),
}


@pytest.mark.parametrize("leaf", TO_CONTROLLER)
def test_the_controller_records_what_it_refused_and_the_fleet_serves(
    fleet: SystemFleet, intruder: Intruder, leaf: str
) -> None:
    generation = fleet.serving_generation()
    for kind in KINDS:
        intruder.publish(fleet.topics.prefix + leaf, spoiled(TO_CONTROLLER[leaf], kind))
        event = fleet.wait_event("refused", f"{leaf}: ")
        assert wait_until(lambda kind=kind: is_told(fleet, leaf, SAYS[kind]), PATIENCE_S), (kind, event)  # type: ignore[misc]
    fleet.still_serves()
    assert fleet.serving_generation() == generation


def is_told(fleet: SystemFleet, leaf: str, words: str) -> bool:
    return any(f"{leaf}: " in event.sentence and words in event.sentence for event in fleet.events("refused"))


@pytest.mark.parametrize("topic", ["boards/Board_1/state", f"boards/{BOARD}/state", "gateways/-/reported"])
def test_a_topic_that_names_nobody_or_is_empty_does_no_harm(fleet: SystemFleet, intruder: Intruder, topic: str) -> None:
    intruder.publish(fleet.topics.prefix + topic, b"")
    if "Board_1" in topic:
        fleet.wait_event("refused", "Board_1")
    fleet.still_serves()


def test_a_want_that_cannot_be_read_or_met_is_in_the_controllers_log(fleet: SystemFleet, intruder: Intruder) -> None:
    topic = fleet.topics.board(BOARD, "want")
    for kind in KINDS:
        intruder.publish(topic, spoiled(Want(1, "0" * 64, (1,)), kind))
        fleet.wait_log("controller", f"{topic}: ")
    intruder.publish(topic, codec.encode(Want(1, "0" * 64, (1,))))
    log = fleet.wait_log("controller", "a board wants what cannot be sent")
    assert all(words in log for words in SAYS.values())
    fleet.still_serves()


# A board ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_says_that_it_cannot_read_what_it_should_do_and_goes_on(
    fleet: SystemFleet, intruder: Intruder, kind: str
) -> None:
    topic = fleet.topics.board(BOARD, "desired")
    intruder.subscribe(topic)
    good = intruder.hear(topic)
    intruder.publish(topic, spoiled(Desired(1, 1, ()), kind))
    said = ("the desired state could not be read", SAYS[kind])
    assert wait_until(lambda: all(words in fleet.why(BOARD) for words in said), PATIENCE_S), fleet.why(BOARD)
    fleet.still_serves()
    intruder.publish(topic, good)
    assert wait_until(lambda: "has all it should" in fleet.why(BOARD), PATIENCE_S), fleet.why(BOARD)


def refusals(fleet: SystemFleet) -> int:
    """Messages and frames that the board says it refused."""
    statistics = queries.board(fleet.database, BOARD).statistics
    return 0 if statistics is None else statistics.refused


def command() -> codec.Message:
    return Command(Order.REBIRTH)


def state() -> codec.Message:
    return BoardState(Presence.ONLINE, 1)


@pytest.mark.parametrize(("leaf", "message"), [("command", command), ("state", state)])
def test_a_board_counts_and_logs_other_messages_that_it_cannot_read(
    fleet: SystemFleet, intruder: Intruder, leaf: str, message: Callable[[], codec.Message]
) -> None:
    before = refusals(fleet)
    for kind in KINDS:
        intruder.publish(fleet.topics.board(BOARD, leaf), spoiled(message(), kind))
    assert wait_until(lambda: refusals(fleet) >= before + len(KINDS), PATIENCE_S), (before, refusals(fleet))
    # Counted so far was perhaps not all that came before.
    topic = fleet.topics.board(BOARD, leaf)

    def is_logged(words: str) -> bool:
        return any(f"refused on {topic}" in line and words in line for line in fleet.log(BOARD).splitlines())

    assert wait_until(lambda: all(map(is_logged, SAYS.values())), PATIENCE_S), fleet.log(BOARD)
    fleet.still_serves()


def frame(fleet: SystemFleet, **changes: Any) -> Frame:
    """A frame that the board of the first stage would take, but for `changes`."""
    line = fleet.deployment()
    assert line.generation is not None
    data = (TensorData("t0", (1, 1, 12, 12), bytes(144)),)
    return Frame(
        **{
            **{"deployment": "small", "generation": line.generation, "stage": 0, "gateway": "elsewhere"},
            **{"batch": (1, 1), "requests": (1,), "budget_ms": 1000.0, "tensors": data},
            **changes,
        }
    )


def first_board(fleet: SystemFleet) -> str:
    return fleet.plan().stages[0].replicas[0].board


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_refuses_frames_that_it_cannot_read(fleet: SystemFleet, intruder: Intruder, kind: str) -> None:
    made, board = frame(fleet), first_board(fleet)
    before = refusals(fleet) if board == BOARD else -1
    topic = fleet.topics.frame("elsewhere", board, made.deployment, made.generation, made.stage)
    for _ in range(3):
        intruder.publish(topic, spoiled(made, kind))
    if before >= 0:
        assert wait_until(lambda: refusals(fleet) >= before + 3, PATIENCE_S)
    fleet.wait_log(board, f"frame on {topic}")
    fleet.wait_log(board, SAYS[kind])
    fleet.still_serves()


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("shape", {"tensors": (TensorData("t0", (1, 1, 12, 11), bytes(132)),)}),
        ("shape", {"tensors": (TensorData("t0", (1, 1, 12, 12), bytes(143)),)}),
        ("shape", {"tensors": (TensorData("t9", (1, 1, 12, 12), bytes(144)),)}),
        ("shape", {"tensors": (TensorData("t0", (1, 1, 12, 12), bytes(144), "float32"),)}),
        ("shape", {"tensors": ()}),
        ("budget", {"budget_ms": 0.0}),
        ("sender", {"gateway": "someone-else"}),
        ("stage", {"stage": 1}),
        ("generation", {"deployment": "other"}),
    ],
)
def test_a_board_refuses_frames_that_are_not_for_it(
    fleet: SystemFleet, intruder: Intruder, reason: str, changes: dict[str, Any]
) -> None:
    made, board = frame(fleet, **changes), first_board(fleet)
    before = reasons(fleet, board).get(reason, 0)
    topic = fleet.topics.frame("elsewhere", board, "small", made.generation, 0)
    intruder.publish(topic, codec.encode(made))
    assert wait_until(lambda: reasons(fleet, board).get(reason, 0) == before + 1, PATIENCE_S), reasons(fleet, board)
    fleet.still_serves()


def reasons(fleet: SystemFleet, board: str) -> dict[str, int]:
    """Frames that the board's stage refused, by reason, out of its next pulse."""
    topic = fleet.topics.board(board, "pulse")
    with Intruder(fleet.local.url) as listener:
        listener.subscribe(topic)
        pulse = codec.decode(Pulse, listener.hear(topic))
    return dict(pulse.stages[0].refused)


def test_an_intruders_frame_for_a_generation_that_is_gone_is_counted(fleet: SystemFleet, intruder: Intruder) -> None:
    made = frame(fleet)
    before = refusals(fleet)
    topic = fleet.topics.frame("elsewhere", BOARD, "small", type(made.generation)(0, 77), 0)
    intruder.publish(topic, codec.encode(made))
    assert wait_until(lambda: refusals(fleet) > before, PATIENCE_S)
    fleet.still_serves()


# A gateway ----------------------------------------------------------------------------------------------------------


def announcement() -> codec.Message:
    return ModelAnnouncement(b"bundle", b"signature" * 8, b"topology", b"in", b"out")


@pytest.fixture
def newcomer(fleet: SystemFleet) -> Iterator[str]:
    """Another gateway, whose counters begin at nought."""
    name = "newcomer"
    fleet.local.start_gateway(name)
    try:
        fleet.wait_log(name, "small 1 is verified")
        yield name
    finally:
        fleet.local.processes.stop_one(name)
        del fleet.local.gateways[name]


def test_a_gateway_counts_and_logs_what_it_cannot_read(fleet: SystemFleet, intruder: Intruder, newcomer: str) -> None:
    made = frame(fleet, gateway=newcomer, stage=2)
    topics: dict[str, codec.Message] = {
        fleet.topics.gateway(newcomer, "desired"): GatewayDesired(1, 1, ()),
        fleet.topics.gateway(newcomer, "state"): GatewayState(Presence.ONLINE, 1),
        fleet.topics.frame("board-9", newcomer, "small", made.generation, 2): made,
        fleet.topics.model("small", "1"): announcement(),
    }
    for topic, message in topics.items():
        for kind in KINDS:
            intruder.publish(topic, spoiled(message, kind))
    log = fleet.wait_log(newcomer, "refused (decode, 16 so far)")
    fleet.wait_log(newcomer, "refused (protocol-version, 4 so far)")
    assert re.search(rf"refused \(decode, 1 so far\): \S+/gateways/{newcomer}/desired: \w+ is not MessagePack", log)
    fleet.still_serves()


def test_an_answer_that_nobody_asked_for_reaches_no_caller(fleet: SystemFleet, intruder: Intruder) -> None:
    with fleet.traffic() as traffic:
        made = frame(fleet, gateway=GATEWAY, stage=2)
        wrong = TensorData("t6", (1, 10), bytes(10))
        topic = fleet.topics.frame("board-2", GATEWAY, "small", made.generation, 2)
        for number in range(50):
            forged = frame(fleet, gateway=GATEWAY, stage=2, batch=(number, number), tensors=(wrong,))
            intruder.publish(topic, codec.encode(forged), wait=False)
        traffic.wait_answers(100)
    traffic.check()

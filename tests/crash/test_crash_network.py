"""A board's line is cut, in a network namespace, while requests flow, and later mended: nobody who asks may notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from convoy_controller.broker import HOST, answers, find_mosquitto, mosquitto_configuration
from convoy_controller.local_fleet import wait_until
from convoy_schema.bundle import Method
from convoy_simulator.real.veth_line import VethLine, obstacle
from crash_harness import BROKER, SECOND_GATEWAY, CrashFleet
from own_ports import own_port
from system_fleet import PATIENCE_S, Intruder

#: Seconds that a board may cost whose line is cut.
SILENT_S = 6.0
FAR = "board-3"


@pytest.fixture
def line() -> Iterator[VethLine]:
    if why := obstacle():
        pytest.skip(why)
    with VethLine() as made:
        yield made


@pytest.fixture
def fleet(tmp_path: Path, line: VethLine) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


def serve(fleet: CrashFleet, line: VethLine) -> None:
    """Two boards beside the broker, the third at the far end of the line."""
    mosquitto = find_mosquitto()
    if mosquitto is None:
        pytest.skip("Mosquitto is not installed")
    port = own_port()
    # The development configuration, which is for the loopback alone, and the line's end beside it.
    lines = mosquitto_configuration(port).splitlines()
    at = next(number for number, text in enumerate(lines) if text.startswith("listener "))
    lines.insert(at, f"listener {port} {line.near}")
    file = fleet.directory / "mosquitto.conf"
    file.write_text("\n".join(lines) + "\n")
    fleet.local.processes.start(BROKER, [mosquitto, "-c", file], fleet.directory / "logs" / f"{BROKER}.log")
    fleet.local.processes.wait_ready(BROKER, lambda: answers(HOST, port) and answers(line.near, port), PATIENCE_S)
    fleet.start(2, f"mqtt://{HOST}:{port}")
    fleet.local.start_gateway(SECOND_GATEWAY)
    fleet.local.start_boards(FAR, 1, {"broker": f"mqtt://{line.near}:{port}"}, prefix=line.prefix)
    fleet.deploy(Method.ALLOCATE, 3)


@pytest.mark.long
@pytest.mark.parametrize("end", ["near", "far"])
def test_a_cut_line_costs_less_than_six_seconds_and_its_board_adds_nothing_when_it_is_back(
    fleet: CrashFleet, line: VethLine, end: str
) -> None:
    serve(fleet, line)
    cut, mend = (line.cut_near, line.mend_near) if end == "near" else (line.cut_far, line.mend_far)
    before = fleet.serving_generation()
    assert FAR in {board for stage in fleet.plan().stages for board in (r.board for r in stage.replicas)}
    with Intruder(fleet.local.url) as witness, fleet.callers() as flow:
        seconds = flow.wait_recovered(cut(), before)
        print(f"line cut at the {end} end: {seconds:.2f} s")
        fleet.wait_serving(2)
        flow.wait_answers(60)
        witness.subscribe(f"{fleet.topics.prefix}from/{FAR}/#")
        mended = mend()
        # The daemon is the same one, and neither its connection nor what it held need have ended meanwhile.
        fleet.wait_serving(3)
        flow.wait_answers(60)
        late = [answer for answer in flow.timeline.answers() if answer.came_at > mended and answer.generation == before]
        assert late == []
        now = fleet.serving_generation()
        assert wait_until(lambda: any(f"/{now}/" in topic for topic, _ in witness.all_heard()), PATIENCE_S)
        # What it had taken, or what lay in the broken connection, may leave it once; nothing new follows.
        spoken = [topic for topic, _ in witness.all_heard() if f"/{before}/" in topic]
        assert len(spoken) <= 64, spoken
    assert seconds < SILENT_S

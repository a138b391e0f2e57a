"""SIGKILL in every phase: systemd brings the daemon back, and it comes to the right state with nothing damaged."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest
from convoy_schema.messages.boards import Phase
from machine import UNIT, Machine, clean
from service_fleet import ASSIGNMENT, BOARD, MODEL, ServiceFleet, play, service_fleet

PHASES = (Phase.IDLE, Phase.FETCHING, Phase.VERIFYING, Phase.CONFIGURING, Phase.LOADING, Phase.TESTING, Phase.READY)
#: Seconds that the daemon runs between two looks at how far it is, during which it stands still.
STEP_S = 0.004
#: Kills that may come too late, for one that hits.
MISSES = 8
#: Kills while fetching are spread over so many blocks, of the 15 and more that the model has.
BLOCKS = 14


async def strike(board: ServiceFleet, phase: Phase, turn: int) -> bool:
    """Bring the board up from nothing, and kill it in `phase`; whether the last thing that it said was that phase.

    It is led step by step, so that a phase is not over before it is heard of; `turn` lets it get a little further.
    """
    machine = board.machine
    await board.inside(clean, machine)
    board.forget()
    await board.start()
    await board.until_active()
    pid = machine.main_pid
    victim = machine.outside(pid)
    board.place()
    enough = 1 + 3 * turn % BLOCKS if phase is Phase.FETCHING else 0
    while True:
        os.kill(victim, signal.SIGSTOP)
        last = await board.inside(last_phase, machine, pid)
        beyond = PHASES.index(last) - PHASES.index(phase)
        if beyond > 0 or (beyond == 0 and board.fleet.sent_blocks.total() >= enough):
            break
        os.kill(victim, signal.SIGCONT)
        await asyncio.sleep(STEP_S)
    if phase is Phase.READY:
        os.kill(victim, signal.SIGCONT)
        await serve_until(board, 3 * turn + 1)
    os.kill(victim, signal.SIGKILL)
    return bool(last is phase)


async def serve_until(board: ServiceFleet, answers: int) -> None:
    """Frames in plenty, though never more than its queue takes, of which so many have been answered."""
    inputs = {MODEL.topology.input: MODEL.values[MODEL.topology.input]}
    results = board.fleet.results
    results.clear()
    sent = 0

    def have_come() -> bool:
        nonlocal sent
        while sent < len(results) + 20:
            sent += 1
            board.fleet.feed(ASSIGNMENT, BOARD, inputs, sent)
        return len(results) >= answers

    await board.until(have_come, "answers")


def last_phase(machine: Machine, pid: int) -> Phase:
    """The phase that a daemon was in when it last said one."""
    machine.run("journalctl", "--sync")
    said = machine.run("journalctl", "--no-pager", "-n", "1", "-o", "json", f"_PID={pid}", "CONVOY_GENERATION=1-1")
    return Phase(json.loads(said)["CONVOY_STEP"]) if said else Phase.IDLE


async def returns(board: ServiceFleet, phase: Phase, session: int, cursor: str) -> None:
    """The right state, by the right way."""
    await board.until_serving(session)
    board.check_whole()
    await board.until_active()
    pid = board.machine.main_pid
    said = [entry["MESSAGE"] for entry in board.machine.journal(cursor, _PID=str(pid), _SYSTEMD_UNIT=UNIT)]
    quiesced = [number for number, line in enumerate(said) if "DMA stands still" in line]
    steps = [number for number, line in enumerate(said) if "demo 1-1 is" in line]
    assert quiesced, said
    assert steps, said
    assert quiesced[0] < steps[0], "it is quiesced before anything else is done"
    if phase in (Phase.LOADING, Phase.TESTING, Phase.READY):
        assert "the fabric holds shell partitions: west conv2d" in said[quiesced[0]]


async def kill_in(machine: Machine, url: str, phase: Phase, times: int) -> None:
    async with service_fleet(machine, url) as board:
        hits = 0
        for _ in range(times * MISSES):
            cursor = machine.cursor()
            hit = await strike(board, phase, hits)
            reported = board.fleet.reported.get(BOARD)
            await returns(board, phase if hit else Phase.FETCHING, reported.session if reported else 0, cursor)
            hits += hit
            if hits == times:
                return
        raise AssertionError(f"{hits} of {times} kills hit phase {phase.value}")


@pytest.mark.parametrize("phase", PHASES[1:], ids=[phase.value for phase in PHASES[1:]])
def test_a_daemon_that_is_killed_comes_back_to_the_right_state(installed: Machine, broker: Any, phase: Phase) -> None:
    play(lambda: kill_in(installed, broker.url, phase, 2))


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES[1:], ids=[phase.value for phase in PHASES[1:]])
def test_twenty_times(installed: Machine, broker: Any, phase: Phase) -> None:
    play(lambda: kill_in(installed, broker.url, phase, 20))

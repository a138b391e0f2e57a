"""Trials side by side on one real broker: each board a process of its own, on a site of its own, behind its own tap."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convoy_controller.conformance.board_trial import BoardTrial, try_board
from convoy_controller.conformance.keys import trial_keys
from convoy_controller.conformance.verdicts import Outcome, Report
from own_ports import own_port

BOARD = "board-1"
BROKEN = Path(__file__).with_name("broken_boards.py")


@dataclass(frozen=True)
class Candidate:
    """A board to try: what is planted in it ('' for nothing), and the rules it is tried by (none for all)."""

    fault: str = ""
    fabric: str = "processor"
    rules: tuple[str, ...] = ()


def failed(report: Report) -> set[str]:
    """Numbers of the rules that failed."""
    return {verdict.rule for verdict in report.verdicts if verdict.outcome is Outcome.FAILED}


def told(report: Report) -> str:
    """What to read when a trial came out otherwise than it should."""
    return "\n".join(
        f"{each.rule} {each.outcome.value}: expected {each.expected}; came {each.came} {each.why}"
        for each in report.verdicts
        if each.outcome is not Outcome.PASSED
    )


def run_trials(url: str, directory: Path, candidates: Mapping[str, Candidate], at_once: int) -> dict[str, Report]:
    """Try them all, `at_once` of them at a time; reports by name."""

    async def all_of_them() -> list[Report]:
        turns = asyncio.Semaphore(at_once)

        async def in_turn(name: str, candidate: Candidate) -> Report:
            async with turns:
                return await _try(url, directory / name, name, candidate)

        return await asyncio.gather(*(in_turn(name, candidate) for name, candidate in candidates.items()))

    return dict(zip(candidates, asyncio.run(all_of_them()), strict=True))


async def _try(url: str, folder: Path, name: str, candidate: Candidate) -> Report:
    folder.mkdir(parents=True)
    tap = ("127.0.0.1", own_port())
    keys = trial_keys(folder / "keys")
    trial = BoardTrial(url, name, BOARD, keys, rules=candidate.rules, tap=tap, may_stop=True)
    config = folder / "board.toml"
    settings = {
        "name": BOARD,
        "site": name,
        "broker": f"mqtt://{tap[0]}:{tap[1]}",
        "state_dir": str(folder / "state"),
        "trusted_key": str(keys.trusted),
        "fabric": candidate.fabric,
    }
    config.write_text("".join(f'{key} = "{value}"\n' for key, value in settings.items()))
    program: Sequence[str] = ("-m", "convoy_device") if not candidate.fault else (str(BROKEN), candidate.fault)
    with (folder / "board.log").open("wb") as log:
        board = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            "run",
            "--config",
            str(config),
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        return await try_board(trial, lambda text: None)
    finally:
        if board.returncode is None:
            board.terminate()
        try:
            await asyncio.wait_for(board.wait(), 10)
        except asyncio.TimeoutError:
            board.kill()

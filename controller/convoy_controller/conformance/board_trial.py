"""A trial of one board: the scenarios in their order, each within its time."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convoy_bitstreams import catalogue, catalogue_with
from convoy_schema.credentials import Credentials
from convoy_schema.link import parse_url

from convoy_controller.conformance import (
    board_artifacts,
    board_bundles,
    board_frames,
    board_generations,
    board_orders,
    board_presence,
)
from convoy_controller.conformance.board_bench import BoardBench
from convoy_controller.conformance.board_rules import BOARD_RULES
from convoy_controller.conformance.keys import TrialKeys
from convoy_controller.conformance.rules import LACKING, Means
from convoy_controller.conformance.running import Say, StuckError, chosen, in_time
from convoy_controller.conformance.tap import Tap
from convoy_controller.conformance.trial_models import footing, small
from convoy_controller.conformance.verdicts import Ledger, Report
from convoy_controller.conformance.wire import Wire
from convoy_controller.errors import NotFoundError

#: Seconds that anything may take which no scenario bounds more tightly.
SCENARIO_S = 60.0


@dataclass(frozen=True)
class BoardTrial:
    """What is tried: `wait_s` is how long the board may take to come; `tap` is (host, port) to listen on."""

    url: str
    site: str
    board: str
    keys: TrialKeys
    credentials: Credentials | None = None
    rules: Sequence[str] = ()
    tap: tuple[str, int] | None = None
    may_stop: bool = False
    images: Path | None = None
    wait_s: float = 60.0


@dataclass(frozen=True)
class _Scenario:
    name: str
    rules: tuple[str, ...]
    run: Callable[[BoardBench], Awaitable[None]]


def _span(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"B{number}" for number in range(first, last + 1))


#: Rules that are judged by everything that was said.
_ALWAYS = ("B2", "B8", "B9")
_SCENARIOS = (
    _Scenario("restating", ("B4", "B5", "B7"), board_presence.restating),
    _Scenario("pulses", ("B6",), board_presence.pulsing),
    _Scenario("orders", _span(12, 17), board_orders.orders),
    _Scenario("frames", _span(34, 45), board_frames.frames),
    _Scenario("generations", _span(47, 49), board_generations.generations),
    _Scenario("artifacts", _span(28, 33), board_artifacts.artifacts),
    _Scenario("bundles", (*_span(20, 27), "B50"), board_bundles.bad_bundles),
    _Scenario("cut connections", ("B1", "B3", "B19", "B46"), board_presence.cutting),
    _Scenario("garbage", ("B18",), board_orders.garbage),
    _Scenario("name taken", ("B10",), board_presence.name_taken),
)


def scenario_rules() -> set[str]:
    """Numbers of the rules that some scenario judges."""
    return {"B11", *_ALWAYS, *(rule for scenario in _SCENARIOS for rule in scenario.rules)}


async def try_board(trial: BoardTrial, say: Say) -> Report:
    """Try every rule, or those named; raises `LinkError` without a broker, `NotFoundError` for an unknown rule."""
    rules = chosen(BOARD_RULES, trial.rules)
    ledger = Ledger(rules)
    wanted = {rule.number for rule in rules}
    prefix = f"convoy/1/{trial.site}"
    filters = (f"{prefix}/boards/+/+", f"{prefix}/from/+/to/#")
    if trial.tap is None:
        async with Wire(trial.url, trial.site, "trial", filters, trial.credentials) as wire:
            return await _run(trial, wire, ledger, wanted, None, say)
    async with Tap(*trial.tap, parse_url(trial.url)) as tap:
        say(f"the tap to the broker is at {trial.tap[0]}:{trial.tap[1]}: connect the board there")
        async with Wire(trial.url, trial.site, "trial", filters, trial.credentials) as wire:
            return await _run(trial, wire, ledger, wanted, tap, say)


async def _run(trial: BoardTrial, wire: Wire, ledger: Ledger, wanted: set[str], tap: Tap | None, say: Say) -> Report:
    bench = BoardBench(trial.board, wire, ledger, trial.keys, f"trial-{secrets.token_hex(3)}", tap)
    began = bench.now()
    stuck = ""
    try:
        say(f"waiting for board {trial.board}, which must trust {trial.keys.trusted} ({trial.keys.fingerprint})")
        await board_presence.meet(bench, trial.wait_s)
        began = bench.now()
        await _settle(trial, bench, say)
        for scenario in _SCENARIOS:
            await _try(trial, bench, scenario, wanted, say)
    except (StuckError, NotFoundError) as error:
        stuck = str(error)
        say(stuck)
    finally:
        board_presence.judge_all(bench)
        bench.desire()
        bench.clear()
    if stuck:
        if bench.capability is None:
            ledger.check("B7", False, "an answer to a rebirth", stuck)
        ledger.untried(wanted, stuck)
    return Report("board", trial.board, round(bench.now() - began, 1), ledger.verdicts())


async def _settle(trial: BoardTrial, bench: BoardBench, say: Say) -> None:
    """The way onto this board, and a first assignment that everything else rests on."""
    assert bench.capability is not None
    images = catalogue() if trial.images is None else catalogue_with(trial.images)
    bench.way = footing(bench.capability, images)
    bench.model = small(bench.name, bench.keys.signer, bench.way)
    say(f"bringing a first network up, method {bench.way.method.value}")
    await board_orders.bring_up(bench)


async def _try(trial: BoardTrial, bench: BoardBench, scenario: _Scenario, wanted: set[str], say: Say) -> None:
    rules = [rule for rule in scenario.rules if rule in wanted]
    if not rules:
        return
    tapped = bench.tap is not None and bench.tap.is_used
    means = {rule.number: rule.means for rule in BOARD_RULES}
    for rule in list(rules):
        if (means[rule] is Means.TAP and not tapped) or (means[rule] is Means.MAY_STOP and not trial.may_stop):
            bench.ledger.untried([rule], LACKING[means[rule]])
            rules.remove(rule)
    if not rules:
        return
    say(f"{scenario.name}: {', '.join(rules)}")
    why = await in_time(scenario.run(bench), SCENARIO_S)
    if why:
        say(f"{scenario.name}: {why}")
        bench.ledger.untried(rules, why)
    if scenario.run is not board_presence.name_taken and not await bench.is_alive(10.0):
        raise StuckError(f"it does not answer any more since: {scenario.name}")

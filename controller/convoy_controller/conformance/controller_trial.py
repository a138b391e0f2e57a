"""A trial of one controller: the fleet comes, somebody deploys, and the scenarios follow in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.bundle import load_public_key
from convoy_schema.credentials import Credentials
from convoy_schema.link import parse_url
from convoy_schema.trust import Trust

from convoy_controller.conformance import controller_scenarios as scenarios
from convoy_controller.conformance.controller_bench import ControllerBench
from convoy_controller.conformance.controller_rules import CONTROLLER_RULES
from convoy_controller.conformance.rules import LACKING, Means
from convoy_controller.conformance.running import Say, StuckError, chosen, in_time
from convoy_controller.conformance.tap import Tap
from convoy_controller.conformance.verdicts import Ledger, Report
from convoy_controller.conformance.wire import Wire

#: Seconds that a scenario may take; and after it, until a controller that lives must have said a word.
SCENARIO_S = 90.0
ALIVE_S = 10.0
#: Rules that are judged by everything that is said while the fleet comes to serve, and later.
_ALWAYS = ("C2", "C5", "C6", "C7", "C8", "C9", "C13", "C14", "C15", "C16", "C17")


@dataclass(frozen=True)
class ControllerTrial:
    """What is tried: `wait_s` is how long it may take to come, and then how long somebody may take to deploy."""

    url: str
    site: str
    credentials: Credentials | None = None
    rules: Sequence[str] = ()
    tap: tuple[str, int] | None = None
    trusted: Path | None = None
    wait_s: float = 60.0


@dataclass(frozen=True)
class _Scenario:
    name: str
    rules: tuple[str, ...]
    run: Callable[[ControllerBench], Awaitable[None]]


_SCENARIOS = (
    _Scenario("its own words", ("C1", "C3"), scenarios.words),
    _Scenario("artifacts", ("C10", "C11", "C12"), scenarios.artifacts),
    _Scenario("false alarms", ("C19", "C24"), scenarios.false_alarms),
    _Scenario("deaths", ("C18", "C20"), scenarios.deaths),
    _Scenario("cut connections", ("C4", "C21", "C22"), scenarios.cutting),
    _Scenario("garbage", ("C23",), scenarios.garbage),
    _Scenario("rivals", ("C25", "C26"), scenarios.rivals),
    _Scenario("a higher epoch", ("C27",), scenarios.higher_epoch),
)


def scenario_rules() -> set[str]:
    """Numbers of the rules that some scenario judges."""
    return {*_ALWAYS, *(rule for scenario in _SCENARIOS for rule in scenario.rules)}


async def try_controller(trial: ControllerTrial, say: Say) -> Report:
    """Try every rule, or those named; raises `LinkError` without a broker, `NotFoundError` for an unknown rule."""
    rules = chosen(CONTROLLER_RULES, trial.rules)
    ledger = Ledger(rules)
    wanted = {rule.number for rule in rules}
    filters = (f"convoy/1/{trial.site}/#",)
    if trial.tap is None:
        async with Wire(trial.url, trial.site, "trial", filters, trial.credentials) as wire:
            return await _run(trial, wire, ledger, wanted, None, say)
    async with Tap(*trial.tap, parse_url(trial.url)) as tap:
        say(f"the tap to the broker is at {trial.tap[0]}:{trial.tap[1]}: connect the controller there")
        async with Wire(trial.url, trial.site, "trial", filters, trial.credentials) as wire:
            return await _run(trial, wire, ledger, wanted, tap, say)


async def _run(
    trial: ControllerTrial, wire: Wire, ledger: Ledger, wanted: set[str], tap: Tap | None, say: Say
) -> Report:
    trust = None if trial.trusted is None else Trust(load_public_key(trial.trusted), trial.site)
    bench = ControllerBench(wire, ledger, trust, tap)
    if trust is None:
        ledger.untried(["C9"], LACKING[Means.KEY])
    beating = asyncio.create_task(bench.beat())
    began = bench.now()
    try:
        say("waiting for a controller that is in charge")
        await scenarios.meet(bench, trial.wait_s)
        began = bench.now()
        names = ", ".join(bench.boards)
        say(f"now deploy a small network with parameters over two of {names}: convoy deploy MODEL --boards 2")
        await scenarios.come_to_serve(bench, trial.wait_s)
        for scenario in _SCENARIOS:
            await _try(bench, scenario, wanted, say)
    except StuckError as error:
        say(str(error))
        ledger.untried(wanted, str(error))
        if not bench.states:
            ledger.check("C1", False, "a word of a controller that is in charge", str(error))
    finally:
        beating.cancel()
        for board in bench.boards.values():
            board.end()
            board.go()
        bench.gateway.go()
    return Report("controller", trial.site, round(bench.now() - began, 1), ledger.verdicts())


async def _try(bench: ControllerBench, scenario: _Scenario, wanted: set[str], say: Say) -> None:
    tapped = bench.tap is not None and bench.tap.is_used
    means = {rule.number: rule.means for rule in CONTROLLER_RULES}
    rules = [rule for rule in scenario.rules if rule in wanted]
    lacking = [rule for rule in rules if means[rule] is Means.TAP and not tapped]
    bench.ledger.untried(lacking, LACKING[Means.TAP])
    rules = [rule for rule in rules if rule not in lacking]
    if not rules:
        return
    say(f"{scenario.name}: {', '.join(rules)}")
    why = await in_time(scenario.run(bench), SCENARIO_S)
    if why:
        say(f"{scenario.name}: {why}")
        bench.ledger.untried(rules, why)
    if bench.serving is None:
        raise StuckError(f"nothing serves since: {scenario.name}")
    since = bench.now()
    if not await bench.wire.until(lambda: bench.states_since(since), ALIVE_S):
        raise StuckError(f"it says nothing any more since: {scenario.name}")

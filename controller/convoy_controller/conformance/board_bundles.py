"""Bundles that must not run: signed by a stranger, altered, mixed, revoked, with wrong golden values or contents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convoy_schema.artifacts import Manifest, pack
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Assignment
from convoy_schema.signing import Floor, SigningKey, Statements, set_floor

from convoy_controller.conformance.board_bench import BoardBench
from convoy_controller.conformance.trial_models import TrialModel, altered, mixed, restated, small

#: Seconds within which every bad bundle must have been refused.
REFUSED_S = 10.0
#: Seconds after that in which none may become ready after all.
LATER_S = 0.7


@dataclass(frozen=True)
class _Bad:
    rule: str
    what: str
    model: TrialModel
    announcement: Any


async def bad_bundles(bench: BoardBench) -> None:
    """All of them at once, beside a good one."""
    serving = bench.held[:1]
    cases = list(_cases(bench))
    good = _model(bench, "good")
    bench.announce(good)
    placed: list[Assignment] = []
    for case in cases:
        bench.announce(case.model, announcement=case.announcement)
        placed.append(bench.assignment(case.model, f"trial-{case.rule.lower()}", bundle=case.announcement.digest))
    _lie_about_contents(bench, next(case.model for case in cases if case.rule == "B26"))
    beside = bench.assignment(good, "trial-good")
    bench.desire(*placed, beside)
    goes_on = await bench.until_ready(beside)
    await bench.wire.until(lambda: all(_refusal(bench, each) for each in placed), REFUSED_S)
    await asyncio.sleep(LATER_S)
    for case, assignment in zip(cases, placed, strict=True):
        phases = [report.phase for report in bench.reports(assignment.key)]
        bench.ledger.check(
            case.rule, Phase.READY not in phases, f"{case.what} never becomes ready", "it was reported ready"
        )
        told = _refusal(bench, assignment) or Phase.READY in phases
        bench.ledger.check(
            "B27", bool(told), f"{case.what} reported as failed, with code and message", bench.story(assignment)
        )
    bench.ledger.check("B27", goes_on, "a good assignment beside them becomes ready", bench.story(beside))
    await _revoke(bench, good, beside)
    await bench.hold(*serving)


def _refusal(bench: BoardBench, assignment: Assignment) -> bool:
    return any(
        report.phase is Phase.FAILED and report.code and report.message for report in bench.reports(assignment.key)
    )


def _model(bench: BoardBench, word: str, **more: Any) -> TrialModel:
    assert bench.way is not None
    return small(f"{bench.name}-{word}", more.pop("signer", bench.keys.signer), bench.way, **more)


def _cases(bench: BoardBench) -> Iterator[_Bad]:
    stranger = SigningKey(bench.keys.stranger)
    foreign = _model(bench, "foreign", signer=stranger)
    yield _Bad("B20", "a bundle of a key that nobody delegated", foreign, foreign.announcement)
    changed = _model(bench, "altered")
    yield _Bad("B21", "an altered bundle", changed, altered(changed, bench.keys.signer))
    first = _model(bench, "mixed")
    yield _Bad("B22", "a bundle with another's topology", first, mixed(first))
    below = _model(bench, "below", serial=4)
    _floor(bench, below, 5)
    yield _Bad("B23", "a bundle below its floor", below, below.announcement)
    lying = _model(bench, "golden", lie=True)
    yield _Bad("B25", "a stage that misses its golden values", lying, lying.announcement)
    false = _model(bench, "contents")
    yield _Bad("B26", "an artifact of another content", false, false.announcement)


async def _forge(bench: BoardBench, model: TrialModel, assignment: Assignment) -> None:
    """A floor above what serves, of somebody whom nobody trusts."""
    _floor(bench, model, model.bundle.serial + 1, SigningKey(bench.keys.stranger))
    await asyncio.sleep(LATER_S)
    answered = await bench.answered(bench.send(bench.frame(assignment, bench.inputs(assignment))))
    bench.ledger.check(
        "B50",
        answered and bench.phase(assignment) is Phase.READY,
        "ready, and answers, whatever a stranger's floor says",
        bench.story(assignment) if answered else "no answer to a good frame",
    )


def _floor(bench: BoardBench, model: TrialModel, lowest: int, signer: SigningKey | None = None) -> None:
    floor = set_floor(Floor(model.bundle.model, lowest, 1), signer or bench.keys.signer)
    bench.say(bench.topics.trust(), Statements((), (floor,)), retain=True)


def _lie_about_contents(bench: BoardBench, model: TrialModel) -> None:
    """A manifest whose blocks are right, and unpack to other bytes."""
    digest = next(layer.parameters for layer in model.topology.layers if layer.parameters)
    manifest, content = pack(restated(model.blobs[digest]))
    false = Manifest(digest, manifest.size, manifest.packed_size, manifest.hashes)
    bench.packed[digest] = false, content
    bench.say(bench.topics.manifest(digest), false, retain=True)


async def _revoke(bench: BoardBench, model: TrialModel, assignment: Assignment) -> None:
    """A floor above what serves."""
    if bench.phase(assignment) is not Phase.READY:
        return
    bench.model, known = model, bench.model
    frame = bench.send(bench.frame(assignment, bench.inputs(assignment)))
    if await bench.answered(frame):
        await _forge(bench, model, assignment)
        _floor(bench, model, model.bundle.serial + 1)
        stopped = await bench.wire.until(lambda: bench.phase(assignment) is not Phase.READY, 3.0)
        late = bench.send(bench.frame(assignment, bench.inputs(assignment)))
        answered = await bench.answered(late, seconds=1.0)
        bench.ledger.check(
            "B24",
            stopped and not answered,
            "not ready any more, and no answer, once the floor is above it",
            "it answers on" if answered else bench.story(assignment),
        )
    bench.model = known

"""Brings every deployment from where it is to where its owner wants it, one step at a time.

A deterministic core: it reads the registry and `now`, and returns effects in the order in which they must happen. A
generation is saved before anyone hears of it; it is staged on the boards, tested end to end by the gateways, then fed;
the old one drains and goes. Where a board cannot hold both, the old one leaves first (a pause). It plans nothing
itself: an effect asks for a plan, and an input brings it (`planned`). It publishes nothing itself (`service`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from convoy_schema.bundle import VerifiedModel
from convoy_schema.messages.boards import AssignmentReport
from convoy_schema.messages.desired import Desired, Intent
from convoy_schema.names import Generation

from convoy_controller.candidate import (
    Candidate,
    PlanAnswer,
    PlanRequest,
    must_pause,
)
from convoy_controller.conditions import Condition, condition, has_dead_stage, is_drained, probe_verdict
from convoy_controller.database.records import (
    BoardWish,
    DeploymentState,
    GenerationState,
    NewEvent,
    Severity,
)
from convoy_controller.deployment import DeploymentRecord, Exclusion, is_better, is_stale
from convoy_controller.effects import (
    Decision,
    DeploymentChanged,
    Effect,
    PlanWanted,
    Record,
    SaveGeneration,
)
from convoy_controller.eligibility import Eligibility
from convoy_controller.leaving import Leaving
from convoy_controller.placement import Placement
from convoy_controller.registry import Registry
from convoy_controller.sentences import listed, sentence_of
from convoy_controller.tallies import Cause, Tallies
from convoy_controller.telling import Telling

#: Seconds a board of a serving generation may be there without being ready (it restarts) before it is planned around.
READY_GRACE_S = 3.0
#: Seconds without any progress after which a staged generation is given up.
STAGING_S = 60.0
#: Seconds for the gateways' end-to-end test.
PROBE_S = 15.0
#: Seconds after which an old generation goes even though a gateway still waits for it: its requests are retried.
DRAIN_S = 30.0
#: Seconds that a better plan must stay possible before traffic is moved for it.
SETTLE_S = 2.0
#: Seconds for which a board that refused an assignment for good is left out.
EXCLUDE_S = 300.0
#: Why a plan is made although the present one serves well.
BETTER = "better"
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 30.0


class Reconciler:
    """All deployments of a fleet. The counters begin where the last saved ones ended."""

    def __init__(
        self, registry: Registry, *, epoch: int, counter: int, revision: int, tallies: Tallies | None = None
    ) -> None:
        self._registry = registry
        self.tallies = tallies or Tallies()
        self._epoch = epoch
        self._counter = counter
        self._models: dict[tuple[str, str], VerifiedModel] = {}
        #: Why a model in the catalogue must not be deployed.
        self._unfit: dict[tuple[str, str], str] = {}
        self._deployments: dict[str, DeploymentRecord] = {}
        self._late: dict[tuple[str, Generation], float] = {}
        self._leaving = Leaving(registry)
        self._eligibility = Eligibility(registry, self._leaving, self._models)
        self._telling = Telling(registry, self._leaving, self._models, epoch=epoch, revision=revision)
        self._effects: list[Effect] = []
        #: Placements of all deployments; None when one has changed since they were gathered.
        self._gathered: list[Placement] | None = None

    @property
    def deployments(self) -> Mapping[str, DeploymentRecord]:
        """Deployments by name, to be read only."""
        return self._deployments

    # What happens ----------------------------------------------------------------------------------------------------

    def model_available(self, model: VerifiedModel) -> None:
        """A model version can be deployed from now on."""
        key = (model.bundle.model, model.bundle.version)
        self._models[key] = model
        if self._unfit.pop(key, None) is not None:
            for record in self._deployments.values():
                if key == (record.intent.model, record.intent.version):
                    record.retry_at = 0.0

    def model_refused(self, name: str, version: str, reason: str) -> None:
        """Boards would refuse it, for that reason: it is not deployed any more; what serves is left to the boards."""
        self._models.pop((name, version), None)
        self._unfit[name, version] = reason

    def wanted(self, intent: Intent) -> None:
        """An owner wants this; a deployment of that name changes to it."""
        record = self._deployments.get(intent.deployment)
        if record is None:
            self._deployments[intent.deployment] = DeploymentRecord(intent)
            return
        if record.intent != intent or record.removed:
            record.intent, record.removed, record.fallback = intent, False, None
        # Asked for again, even unchanged: what was given up is tried anew, and what was said is said again.
        record.excluded.clear()
        record.retry_at, record.failures, record.said, record.refused = 0.0, 0, None, None

    def planned(self, answer: PlanAnswer) -> None:
        """A plan that `PlanWanted` asked for; the next step takes it, or drops it if it is stale and asks anew."""
        record = self._deployments.get(answer.request.intent.deployment)
        if record is not None and record.asked == answer.request:
            record.asked, record.answer = None, answer

    def unwanted(self, name: str) -> None:
        """An owner wants that deployment gone."""
        if name in self._deployments:
            self._deployments[name].removed = True

    def heed(self, wish: BoardWish) -> None:
        """An owner wants a board drained or restarted, or back in service."""
        self._leaving.heed(wish)

    def restore(self, placements: Iterable[Placement], holders: Iterable[str], now: float) -> None:
        """What was live when an earlier controller stopped, and the boards that may still hold something."""
        for placement in placements:
            record = self._deployments.setdefault(placement.intent.deployment, DeploymentRecord(placement.intent))
            if placement.state is GenerationState.SERVING:
                record.serving = placement
            elif placement.state is GenerationState.DRAINING:
                record.draining.append(placement)
                record.drain_since = now
            else:
                record.next, record.next_since, record.progress_at = placement, now, now
        self._gathered = None
        self._telling.restore(holders)

    def forget(self, name: str) -> None:
        """A board or gateway is gone for good: what it was told is void, and one that comes back is told anew."""
        self._telling.forget(name)
        self._leaving.forget(name)

    @property
    def desired(self) -> Mapping[str, Desired]:
        """What each board was told last, to be read only."""
        return self._telling.desired

    @property
    def generation(self) -> Generation:
        """The newest one that was made."""
        return Generation(self._epoch, self._counter)

    @property
    def revision(self) -> int:
        """The newest number given to what a board or gateway is told."""
        return self._telling.revision

    def restate(self) -> list[Decision]:
        """Everything retained, again: after a connect the broker may have forgotten it."""
        return self._telling.restate()

    # The step --------------------------------------------------------------------------------------------------------

    def reconcile(self, now: float) -> list[Effect]:
        """The next step of everything, and the effects it takes. Repeated without news it yields none."""
        self._effects = []
        for name in sorted(self._deployments):
            record = self._deployments[name]
            if record.removed:
                self._remove(record, now)
            else:
                self._advance(record, now)
                self._say(record, now)
        gone = [name for name, record in self._deployments.items() if record.removed and not record.placements()]
        for name in gone:
            del self._deployments[name]
            self.tallies.removed(name)
            self._effects.append(DeploymentChanged(name, DeploymentState.REMOVED, ""))
        self._effects += [Record(event) for event in self._leaving.news()]
        self._effects += self._telling.tell(self._deployments)
        effects, self._effects = self._effects, []
        return effects

    def _advance(self, record: DeploymentRecord, now: float) -> None:
        if record.next is not None:
            self._advance_next(record, record.next, now)
        self._retire_drained(record, now)
        if record.next is None:
            self._consider(record, now)

    def _remove(self, record: DeploymentRecord, now: float) -> None:
        if record.next is not None:
            self._save(record.next, GenerationState.ABANDONED, "the deployment was removed")
            record.next = None
        if record.serving is not None:
            record.draining.append(self._save(record.serving, GenerationState.DRAINING, "the deployment was removed"))
            record.serving, record.drain_since = None, now
        self._retire_drained(record, now)
        self._declare(record, DeploymentState.REMOVING, "")

    # The next generation ---------------------------------------------------------------------------------------------

    def _advance_next(self, record: DeploymentRecord, placement: Placement, now: float) -> None:
        if placement.intent not in (record.intent, record.fallback):
            self._abandon(record, "something else is wanted now", now, again_s=0.0)
            return
        leaver = next((board for board in placement.boards if self._leaving.leaves(board)), None)
        if leaver is not None:
            self._abandon(record, self._leaving.why(leaver), now, again_s=0.0)
            return
        if placement.state is GenerationState.QUEUED:
            self._wait_for_boards(record, placement, now)
            return
        for board in placement.boards:
            how, report = condition(self._registry, board, placement)
            if how is Condition.GONE:
                self._abandon(record, f"board {board} went away", now, again_s=0.0)
                return
            if how is Condition.FAILED and report is not None:
                self._blame(record, board, report, now)
                return
        if placement.state is GenerationState.STAGED:
            self._await_ready(record, placement, now)
        else:
            self._await_probe(record, placement, now)

    def _wait_for_boards(self, record: DeploymentRecord, placement: Placement, now: float) -> None:
        old = record.serving
        if old is not None:
            # Of one that lost a stage nothing can come back: what it held is retried on its successor.
            is_over = has_dead_stage(self._registry, old) or is_drained(self._registry, old, self._telling.feeds)
            if not is_over and now - record.next_since < DRAIN_S:
                return
            self._save(old, GenerationState.RETIRED, f"made room for generation {placement.generation}")
            record.serving, record.fallback = None, old.intent
        record.next = self._save(placement, GenerationState.STAGED)
        record.next_since = record.progress_at = now

    def _await_ready(self, record: DeploymentRecord, placement: Placement, now: float) -> None:
        seen = {board: condition(self._registry, board, placement) for board in placement.boards}
        if all(how is Condition.READY for how, _ in seen.values()):
            record.next = self._save(placement, GenerationState.PROBING)
            record.next_since = now
            return
        progress = tuple(report for _, report in seen.values())
        if progress != record.progress:
            record.progress, record.progress_at = progress, now
        elif now - record.progress_at > STAGING_S:
            late = next(board for board, (how, _) in seen.items() if how is not Condition.READY)
            report = seen[late][1]
            where = "" if report is None else f" in {report.phase.value}"
            reason = f"board {late} made no progress for {STAGING_S:.0f} s{where}"
            self._exclude(record, late, now + EXCLUDE_S, reason, False)
            self._abandon(record, reason, now, board=late, code="stalled")

    def _await_probe(self, record: DeploymentRecord, placement: Placement, now: float) -> None:
        verdicts = [probe_verdict(gateway, placement) for gateway in self._registry.online_gateways()]
        if not verdicts:
            record.next_since = now  # nobody can test yet: the clock starts with the first gateway
            return
        wrong = next((message for passed, message in verdicts if passed is False), None)
        if wrong is not None:
            self._abandon(record, f"the end-to-end test failed: {wrong}", now)
        elif all(passed for passed, _ in verdicts):
            self._switch(record, placement, now)
        elif now - record.next_since > PROBE_S:
            self._abandon(record, f"the end-to-end test took more than {PROBE_S:.0f} s", now)

    def _switch(self, record: DeploymentRecord, placement: Placement, now: float) -> None:
        old = record.serving
        if old is not None and has_dead_stage(self._registry, old):
            self._save(old, GenerationState.RETIRED, f"lost a board, replaced by {placement.generation}")
        elif old is not None:
            record.draining.append(self._save(old, GenerationState.DRAINING, f"replaced by {placement.generation}"))
            record.drain_since = now
        record.serving = self._save(placement, GenerationState.SERVING)
        record.next, record.better_since = None, None
        record.failures, record.retry_at = 0, 0.0
        if placement.intent == record.intent:
            record.fallback = None
        sentence = f"{record.intent.deployment} is served by generation {placement.generation}"
        self._record("serving", sentence, record, generation=placement.generation)

    def _blame(self, record: DeploymentRecord, board: str, report: AssignmentReport, now: float) -> None:
        reason = f"board {board}: {report.code}: {report.message}"
        until = now + (RETRY_MOST_S if report.retryable else EXCLUDE_S)
        self._exclude(record, board, until, reason, report.retryable)
        self._abandon(record, reason, now, board=board, code=report.code)

    def _exclude(self, record: DeploymentRecord, board: str, until: float, reason: str, may_pass: bool) -> None:
        # A restarted board speaks in a new session, and gets a new chance with it.
        record.excluded[board] = Exclusion(self._registry.board(board).session, until, reason, may_pass)

    def _abandon(
        self,
        record: DeploymentRecord,
        reason: str,
        now: float,
        *,
        board: str | None = None,
        code: str = "",
        again_s: float | None = None,
    ) -> None:
        placement = record.next
        if placement is None:
            return
        self._save(placement, GenerationState.ABANDONED, reason)
        self.tallies.abandoned[record.intent.deployment] += 1
        sentence = f"generation {placement.generation} of {record.intent.deployment} was given up: {reason}"
        severity = Severity.WARNING if again_s == 0.0 else Severity.ERROR
        self._record("abandoned", sentence, record, severity, board, placement.generation, {"code": code})
        record.next = None
        if again_s is None:
            again_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2**record.failures)
            record.failures = min(record.failures + 1, 10)
        record.retry_at = now + again_s

    def _retire_drained(self, record: DeploymentRecord, now: float) -> None:
        for placement in list(record.draining):
            if has_dead_stage(self._registry, placement):
                reason = "lost a board while it drained"
            elif is_drained(self._registry, placement, self._telling.feeds):
                reason = "drained"
            elif now - record.drain_since > DRAIN_S:
                reason = f"not drained within {DRAIN_S:.0f} s; what was left is retried on its successor"
            else:
                continue
            record.draining.remove(placement)
            self._save(placement, GenerationState.RETIRED, reason)

    # What to do next -------------------------------------------------------------------------------------------------

    def _consider(self, record: DeploymentRecord, now: float) -> None:
        """Ask for a plan if the present generation does not do: none, broken, not what is wanted, or improvable.

        The plan comes later, by `planned`, and is taken if what it rests upon has not changed meanwhile.
        """
        reason = self._why_plan(record, now)
        answer, record.answer = record.answer, None
        if reason is None or now < record.retry_at:
            return
        request = self._request(record, now)
        if request is None or request == record.refused or (reason == BETTER and request == record.declined):
            return
        if answer is None or is_stale(record, answer, request):
            if record.asked is None:
                record.asked = request
                self._effects.append(PlanWanted(request))
            return
        record.dropped = 0
        if answer.candidate is None:
            record.refused = request
            self._fail(record, answer.error)
        else:
            self._take(record, answer.candidate, reason, now)

    def _request(self, record: DeploymentRecord, now: float) -> PlanRequest | None:
        """What a plan would rest upon now; None, and said why, when there is nothing to plan with."""
        intent = record.fallback or record.intent
        model = self._models.get((intent.model, intent.version))
        if model is None:
            record.retry_at = now + RETRY_MOST_S
            unknown = f"model {intent.model} version {intent.version} is not in the catalogue"
            self._fail(record, self._unfit.get((intent.model, intent.version), unknown))
            return None
        live = self._live()
        names = self._eligibility.usable(record, intent, live, now)
        if not names:
            state = DeploymentState.PENDING if record.serving is None else DeploymentState.SERVING
            self._declare(record, state, self._eligibility.why_none(record, intent, model, live, now))
            return None
        return self._eligibility.request(record, intent, model, names, live, now)

    def _take(self, record: DeploymentRecord, candidate: Candidate, reason: str, now: float) -> None:
        """Make the next generation of a plan."""
        generation = Generation(self._epoch, self._counter + 1)
        placement = candidate.placed(generation, reason)
        if record.serving is not None:
            if reason == BETTER and not is_better(placement, record.serving):
                record.better_since, record.declined = now, candidate.request
                return
            if candidate.crowded or must_pause(self._registry, record.serving, placement):
                placement = replace(placement, state=GenerationState.QUEUED)
        self._counter += 1
        self._gathered = None
        record.next, record.next_since, record.progress_at, record.progress = placement, now, now, ()
        self._effects.append(SaveGeneration(placement))
        self.tallies.planned(record.intent.deployment, self._cause(record, reason))
        self._record("planned", sentence_of(placement), record, generation=generation)

    def _fail(self, record: DeploymentRecord, message: str) -> None:
        state = DeploymentState.SERVING if self._serves(record) else DeploymentState.FAILED
        if record.said != (state, message):
            sentence = f"{record.intent.deployment} cannot be placed: {message}"
            self._record("no-plan", sentence, record, Severity.ERROR)
            self.tallies.failed[record.intent.deployment] += 1
        self._declare(record, state, message)

    def _why_plan(self, record: DeploymentRecord, now: float) -> str | None:
        serving = record.serving
        if serving is None:
            return "nothing serves"
        if record.fallback is None and serving.intent != record.intent:
            return "something else is wanted"
        lost = [board for board in serving.boards if self._is_lost(board, serving, now)]
        if lost:
            self.tallies.lost(record.intent.deployment, min(map(self._registry.lost_since, lost)))
            return f"lost {', '.join(lost)}"
        self.tallies.whole(record.intent.deployment, now)
        leavers = [self._leaving.why(board) for board in serving.boards if self._leaving.leaves(board)]
        if leavers:
            return ", ".join(leavers)
        intent = record.fallback or record.intent
        names = self._eligibility.usable(record, intent, self._live(), now)
        extra = [board for board in names if board not in serving.boards]
        if not extra or (intent.boards and len(serving.boards) >= intent.boards):
            record.better_since = None
            return None
        if record.better_since is None:
            record.better_since = now
        return BETTER if now - record.better_since >= SETTLE_S else None

    def _cause(self, record: DeploymentRecord, reason: str) -> Cause:
        """`reason` in one word."""
        if self.tallies.recovering(record.intent.deployment) is not None:
            return Cause.LOST
        if record.serving is None:
            return Cause.INITIAL
        if record.fallback is None and record.serving.intent != record.intent:
            return Cause.CHANGED
        return Cause.BETTER if reason == BETTER else Cause.LEAVING

    def _is_lost(self, board: str, placement: Placement, now: float) -> bool:
        """Gone, failed, or there but not ready for longer than a restart takes."""
        how, _ = condition(self._registry, board, placement)
        if how is Condition.COMING:
            return now - self._late.setdefault((board, placement.generation), now) > READY_GRACE_S
        self._late.pop((board, placement.generation), None)
        return how.is_dead

    def _live(self) -> list[Placement]:
        if self._gathered is None:
            self._gathered = [each for record in self._deployments.values() for each in record.placements()]
        return self._gathered

    # Saying ----------------------------------------------------------------------------------------------------------

    def _say(self, record: DeploymentRecord, now: float) -> None:
        serving, following = record.serving, record.next
        if following is not None:
            generation = f"generation {following.generation}"
            if following.state is GenerationState.QUEUED:
                self._declare(record, DeploymentState.PAUSED, f"{generation} waits for the old one to drain")
            else:
                self._declare(record, DeploymentState.STAGING, f"{generation} is {following.state.value}")
            return
        said = None if record.said is None else record.said[0]
        # What cannot be replaced and cannot answer either has failed, and that was said.
        if serving is None or (said is DeploymentState.FAILED and not self._serves(record)):
            return
        generation = f"generation {serving.generation}"
        if record.said is None or said is not DeploymentState.SERVING or generation in record.said[1]:
            names = self._eligibility.usable(record, record.intent, self._live(), now)
            absent = self._eligibility.absent(record.intent, names)
            waits = f"; waits for {listed(absent)}" if absent else ""
            self._declare(record, DeploymentState.SERVING, generation + waits)

    def _serves(self, record: DeploymentRecord) -> bool:
        """Whether it may still answer."""
        return record.serving is not None and not has_dead_stage(self._registry, record.serving)

    def _declare(self, record: DeploymentRecord, state: DeploymentState, message: str) -> None:
        if record.said != (state, message):
            record.said = (state, message)
            self._effects.append(DeploymentChanged(record.intent.deployment, state, message))

    def _record(
        self,
        kind: str,
        sentence: str,
        record: DeploymentRecord,
        severity: Severity = Severity.INFO,
        board: str | None = None,
        generation: Generation | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        event = NewEvent(kind, sentence, severity, board, record.intent.deployment, generation, data or {})
        self._effects.append(Record(event))

    def _save(self, placement: Placement, state: GenerationState, reason: str = "") -> Placement:
        moved = replace(placement, state=state, reason=reason or placement.reason)
        self._gathered = None
        self._effects.append(SaveGeneration(moved))
        if state in (GenerationState.RETIRED, GenerationState.ABANDONED):
            self._late = {key: at for key, at in self._late.items() if key[1] != placement.generation}
        return moved

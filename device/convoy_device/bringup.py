"""Bringing assignments up, one phase after the other, whatever happened before: deterministic, no I/O.

Level-triggered: `advance` compares what a record needs with what is there and asks for the next step; a repeat is
harmless. The agent calls it after every event. Nothing here speaks MQTT.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from convoy_schema.bundle import ModelAnnouncement, VerifiedModel
from convoy_schema.errors import ConvoyError, FloorError
from convoy_schema.messages.boards import PartitionReport, Phase
from convoy_schema.messages.desired import Assignment, Role
from convoy_schema.signing import Statements
from convoy_schema.trust import Trust

from convoy_device import placement, verification
from convoy_device.effects import (
    Activate,
    Configure,
    Deactivate,
    Effect,
    FabricEffect,
    Key,
    LoadLayers,
    LoadShell,
    SaveModel,
    SelfTest,
    VerifyArtifacts,
)
from convoy_device.errors import ArtifactDamagedError, ShellMismatchError
from convoy_device.fabric import FabricFacts
from convoy_device.verification import StagePlan

#: Seconds before a retryable failure is tried again: doubles from the first to the last.
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0

_ORDER = {Role.SERVING: 0, Role.STAGED: 1, Role.DRAINING: 2}
#: Phases in which a stage counts on the shell and the modules that it was configured with.
_OCCUPYING = (Phase.LOADING, Phase.TESTING, Phase.READY)


@dataclass
class Record:
    """One assignment and how far it is. `pending` is the effect whose answer it waits for."""

    assignment: Assignment
    phase: Phase = Phase.IDLE
    step: str = ""
    plan: StagePlan | None = None
    pending: Effect | None = None
    is_verified: bool = False
    error: ConvoyError | None = None
    attempts: int = 0
    retry_at: float = 0.0

    def again(self) -> None:
        """Start from what is there; the plan stays, since it depends on nothing that can change."""
        self.phase, self.step, self.error = Phase.IDLE, "", None
        self.pending, self.is_verified = None, False

    def enter(self, phase: Phase, step: str, pending: Effect | None = None) -> None:
        """Be in `phase`, waiting for `pending` if there is one."""
        self.phase, self.step, self.pending = phase, step, pending


class BringUp:
    """Every assignment of a board."""

    def __init__(self, facts: FabricFacts, trust: Trust) -> None:
        self._facts = facts
        self._records: dict[Key, Record] = {}
        self._models: dict[str, VerifiedModel] = {}
        #: Models on disk that were revoked, by digest: known without another announcement.
        self._revoked: dict[str, FloorError] = {}
        #: Who may sign, and how low a bundle may be, as far as this board has heard.
        self.trust = trust
        self._fabric_effect: FabricEffect | None = None
        #: Digests in the store.
        self.artifacts: set[str] = set()
        #: None until the fabric was read.
        self.shell: str | None = None
        self.partitions: tuple[PartitionReport, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """In the order in which they matter: serving, staged, draining."""
        return tuple(self._records.values())

    # What was sent ---------------------------------------------------------------------------------------------------

    def restore(self, models: Iterable[ModelAnnouncement], artifacts: Iterable[str]) -> None:
        """Take what is on disk; models are verified again, since a disk is not a signature."""
        self.artifacts = set(artifacts)
        for announcement in models:
            try:
                model = verification.verify_model(announcement, self.trust, announcement.digest)
            except FloorError as error:
                self._revoked[announcement.digest] = error
                continue
            except ConvoyError:
                continue  # asked for again if an assignment needs it
            self._models[model.digest] = model

    def desire(self, assignments: Iterable[Assignment]) -> list[Effect]:
        """Hold these and nothing else."""
        before, self._records = self._records, {}
        for assignment in sorted(assignments, key=lambda a: (_ORDER[a.role], a.key)):
            record = before.get(assignment.key)
            if record is not None and dataclasses.replace(record.assignment, role=assignment.role) == assignment:
                record.assignment = assignment
                self._records[assignment.key] = before.pop(assignment.key)
            else:
                self._records[assignment.key] = Record(assignment)
        bundles = {record.assignment.bundle for record in self.records}
        self._models = {digest: model for digest, model in self._models.items() if digest in bundles}
        self._revoked = {digest: error for digest, error in self._revoked.items() if digest in bundles}
        return [Deactivate(key) for key in before]

    def wants_model(self, model: str, version: str) -> bool:
        """Whether some record waits for that announcement."""
        return any(_is_of(record, model, version) for record in self._waiting())

    def models_wanted(self) -> list[tuple[str, str]]:
        """(model, version) of every announcement that is waited for."""
        intents = (record.assignment.intent for record in self._waiting())
        return list(dict.fromkeys((intent.model, intent.version) for intent in intents))

    def _waiting(self) -> list[Record]:
        return [record for record in self.records if record.assignment.bundle not in self._models]

    def announce(self, model: str, version: str, announcement: ModelAnnouncement, now: float) -> list[Effect]:
        """Verify an announcement for every record that waits for it."""
        effects: list[Effect] = []
        if announcement.delegation is not None and self.wants_model(model, version):
            effects += self.learn(Statements((announcement.delegation,)), now)[0]
        for record in self._waiting():
            if not _is_of(record, model, version):
                continue
            try:
                found = verification.verify_model(announcement, self.trust, record.assignment.bundle)
            except ConvoyError as error:
                self.fail(record, error, now)
                continue
            record.again()
            if found.digest not in self._models:
                self._models[found.digest] = found
                effects.append(SaveModel(found.digest, announcement))
        return effects

    def learn(self, statements: Statements, now: float) -> tuple[list[Effect], tuple[ConvoyError, ...]]:
        """Believe what the root says; what runs and was revoked stops. Also returns why some of it is not believed.

        A delegation that is replaced ends nothing that runs: its bundles were good when they were verified.
        """
        self.trust, refused = self.trust.learn(statements)
        effects: list[Effect] = []
        for record in self.records:
            model = self._models.get(record.assignment.bundle)
            try:
                if model is not None:
                    self.trust.check_floor(model.bundle.model, model.bundle.version, model.bundle.serial)
            except FloorError as error:
                self.fail(record, error, now)
                effects.append(Deactivate(record.assignment.key))
                self._revoked[record.assignment.bundle] = error
        self._models = {digest: model for digest, model in self._models.items() if digest not in self._revoked}
        return effects, refused

    # What was done ---------------------------------------------------------------------------------------------------

    def done(self, effect: Effect) -> list[Effect]:
        """An effect succeeded."""
        record = self._answered(effect)
        if record is None:
            # Its assignment went away meanwhile: what was loaded for it must go too.
            if isinstance(effect, LoadLayers):
                successor = self._records.get(effect.plan.key)
                if successor is None or successor.phase not in _OCCUPYING:
                    return [Deactivate(effect.plan.key)]
            return []
        if isinstance(effect, VerifyArtifacts):
            record.is_verified = True
        elif isinstance(effect, LoadLayers):
            record.enter(Phase.TESTING, "")
        elif isinstance(effect, SelfTest):
            record.enter(Phase.READY, "")
            record.attempts = 0
            return [Activate(record.assignment)]
        return []

    def failed(self, effect: Effect, error: ConvoyError, now: float) -> list[Effect]:
        """An effect failed; the record that waited for it fails, and comes back if a retry can help."""
        if isinstance(error, ArtifactDamagedError):
            self.artifacts.discard(str(error.data.get("digest", "")))
        record = self._answered(effect)
        if record is None:
            return []
        had_layers = record.phase is Phase.TESTING
        self.fail(record, error, now)
        return [Deactivate(record.assignment.key)] if had_layers else []

    def _answered(self, effect: Effect) -> Record | None:
        if effect is self._fabric_effect:
            self._fabric_effect = None
        for record in self.records:
            if record.pending is effect:
                record.pending = None
                return record
        return None

    def fail(self, record: Record, error: ConvoyError, now: float) -> None:
        """Be failed: for ever, or until a retry."""
        record.enter(Phase.FAILED, "")
        record.error = error
        record.retry_at = now + min(RETRY_MOST_S, RETRY_FIRST_S * 2**record.attempts)
        record.attempts = min(record.attempts + 1, 20)

    def fail_fetching(self, digest: str, error: ConvoyError, now: float) -> None:
        """An artifact cannot be fetched: fail what waits for it."""
        for record in self.records:
            if record.phase is Phase.FETCHING and digest in self.missing_of(record):
                self.fail(record, error, now)

    # What is next ----------------------------------------------------------------------------------------------------

    def missing_of(self, record: Record) -> list[str]:
        """Digests that the record needs and the store lacks."""
        return [digest for digest in self.needs_of(record) if digest not in self.artifacts]

    def needs_of(self, record: Record) -> tuple[str, ...]:
        """Digests that the record needs as the fabric is now; none before its model is known."""
        plan = record.plan
        if plan is None:
            return ()
        shell = (plan.shell_image,) if plan.shell_image is not None and self.shell != plan.shell else ()
        return (*shell, *plan.needs)

    def missing(self) -> list[str]:
        """Digests to fetch, the most urgent first."""
        fetching = [record for record in self.records if record.phase is Phase.FETCHING]
        return list(dict.fromkeys(digest for record in fetching for digest in self.missing_of(record)))

    def references(self) -> tuple[frozenset[str], frozenset[str]] | None:
        """Digests of (artifacts, models) in use; None while some record's needs are not known yet."""
        if any(record.plan is None for record in self.records):
            return None
        plans = [record.plan for record in self.records if record.plan is not None]
        artifacts = frozenset[str]().union(*(plan.artifacts for plan in plans))
        return artifacts, frozenset(record.assignment.bundle for record in self.records)

    def retries(self) -> list[float]:
        """When failed records are to be tried again."""
        return [record.retry_at for record in self.records if record.error is not None and record.error.retryable]

    def advance(self, now: float) -> list[Effect]:
        """Ask for the next step of every record that waits for nothing."""
        if self.shell is None:
            return []
        effects = []
        for record in self.records:
            if record.error is not None and record.error.retryable and now >= record.retry_at:
                record.again()
            if record.phase in (Phase.READY, Phase.FAILED) or record.pending is not None:
                continue
            try:
                effect = self._next(record)
            except ConvoyError as error:
                self.fail(record, error, now)
                continue
            if effect is not None:
                effects.append(effect)
        return effects

    def _next(self, record: Record) -> Effect | None:
        intent = record.assignment.intent
        if record.plan is None:
            model = self._models.get(record.assignment.bundle)
            if model is None:
                if record.assignment.bundle in self._revoked:
                    raise self._revoked[record.assignment.bundle]
                record.enter(Phase.FETCHING, f"waits for the announcement of {intent.model} {intent.version}")
                return None
            record.plan = verification.plan_stage(record.assignment, model, self._facts)
        missing = self.missing_of(record)
        if missing:
            record.is_verified = False
            record.enter(Phase.FETCHING, f"{len(missing)} artifacts to come")
            return None
        if not record.is_verified:
            record.enter(Phase.VERIFYING, "", VerifyArtifacts(record.plan))
            return record.pending
        if record.phase is Phase.TESTING:
            return self._use_fabric(record, Phase.TESTING, "golden values", SelfTest(record.plan))
        return self._configure(record, record.plan)

    def _configure(self, record: Record, plan: StagePlan) -> Effect | None:
        others = [
            (other, other.plan)
            for other in self.records
            if other is not record and other.phase in _OCCUPYING and other.plan is not None
        ]
        if self.shell != plan.shell:
            if plan.shell_image is None:
                raise ShellMismatchError(
                    f"the board holds shell {self.shell!r}, the stage needs {plan.shell!r}, "
                    f"and the bundle has no image of it for {self._facts.part}",
                    need=plan.shell,
                    have=self.shell,
                )
            users = [other for other, _ in others]
            if users:
                deployment, generation = users[0].assignment.key
                record.enter(Phase.CONFIGURING, f"waits: shell {self.shell!r} is in use by {deployment} {generation}")
                return None
            return self._use_fabric(
                record, Phase.CONFIGURING, f"shell {plan.shell}", LoadShell(plan.shell, plan.shell_image)
            )
        taken = placement.held([other for _, other in others], self.partitions)
        loads = placement.module_loads(plan, self.partitions, taken)
        if loads:
            step = ", ".join(f"{load.kind.value} into {load.partition}" for load in loads)
            return self._use_fabric(record, Phase.CONFIGURING, step[:400], Configure(loads))
        record.enter(Phase.LOADING, f"{plan.end - plan.start} layers", LoadLayers(plan))
        return record.pending

    def _use_fabric(self, record: Record, phase: Phase, step: str, effect: FabricEffect) -> Effect | None:
        if self._fabric_effect is not None:
            record.enter(phase, "waits for the fabric")
            return None
        self._fabric_effect = effect
        record.enter(phase, step, effect)
        return effect

    def blocked(self) -> str:
        """What keeps a configurable assignment from its shell, or ''."""
        waiting = (r.step for r in self.records if r.phase is Phase.CONFIGURING and r.step.startswith("waits: "))
        return next(waiting, "")


def _is_of(record: Record, model: str, version: str) -> bool:
    return (record.assignment.intent.model, record.assignment.intent.version) == (model, version)

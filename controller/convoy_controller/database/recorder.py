"""The controller's pen: everything it learns or decides goes through here into the database.

Synchronous, and used by one thread at a time. `with recorder.transaction():` makes one transaction of many calls, which
is how telemetry is written; a call outside it is a transaction of its own. What must be persisted before it is
published (generations, counters) is so when the call, or its transaction, returns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from convoy_schema import codec
from convoy_schema.messages.boards import AssignmentReport, Capability, Pulse, Reported
from convoy_schema.messages.gateways import GatewayReported
from convoy_schema.messages.logs import LogRecord
from convoy_schema.names import Generation
from sqlalchemy.orm import Session

from convoy_controller.database import (
    board_records,
    board_wishes,
    log_records,
    placement_records,
    restart,
    symptom_records,
)
from convoy_controller.database.engine import Database
from convoy_controller.database.records import (
    Asked,
    BoardPresence,
    BoardWish,
    Counters,
    DeploymentState,
    FleetState,
    GenerationState,
    LogOutcome,
    NewEvent,
    SavedDeployment,
    SavedGeneration,
    SavedModel,
    SymptomKind,
    utc_now,
)
from convoy_controller.database.telemetry_records import TelemetryWriter
from convoy_controller.errors import DeposedError


class Recorder:
    """Writes to one database. Every method may raise `DatabaseError`, and then nothing of its transaction is kept.

    `reign` is the epoch of the controller that writes: once another has opened a higher one, nothing is written
    (`DeposedError`), however late this one wakes in the middle of what it was about. 0: no reign, no such check. What
    was decided under one says so by `transaction(reign)`: the recorder's may be another when a thread comes to it.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._session: Session | None = None
        self._telemetry = TelemetryWriter()
        self._wrote_for = 0
        self.reign = 0

    @contextmanager
    def transaction(self, reign: int | None = None) -> Iterator[None]:
        """All calls inside the block stand or fall together; blocks may be nested, the outermost one commits.

        `reign`: under which what is written was decided; the recorder's unless given.
        """
        with self._write(reign):
            yield

    @contextmanager
    def _write(self, of_reign: int | None = None) -> Iterator[Session]:
        if self._session is not None:
            yield self._session
            return
        reign = self.reign if of_reign is None else of_reign
        try:
            with self._database.write() as session:
                if reign:
                    _check_reign(session, reign)
                if reign != self._wrote_for:  # another controller may have written meanwhile
                    self._telemetry, self._wrote_for = TelemetryWriter(), reign
                self._session = session
                try:
                    yield session
                    self._telemetry.write(session)
                finally:
                    self._session = None
        except BaseException:
            self._telemetry = TelemetryWriter()
            raise

    # What boards and gateways say

    def record_presence(self, board: str, presence: BoardPresence, session: int, reason: str = "") -> None:
        """A board came, went, or is not known to be there; sessions begin and end with it."""
        with self._write() as db:
            if board_records.presence(db, self._clock(), board, presence, session, reason):
                symptom_records.forgive(db, self._clock(), board)

    def record_capability(self, board: str, capability: Capability) -> None:
        """What a board is."""
        with self._write() as db:
            board_records.capability(db, self._clock(), board, capability)

    def record_desired(self, board: str, epoch: int, revision: int) -> None:
        """The number of what a board was told last."""
        with self._write() as db:
            board_records.desired(db, self._clock(), board, epoch, revision)

    def record_reported(self, board: str, reported: Reported) -> None:
        """Where a board is, and the phase of each of its assignments."""
        with self._write() as db:
            for deployment in board_records.reported(db, self._clock(), board, reported):
                symptom_records.forgive(db, self._clock(), board, deployment)

    def save_phase(self, board: str, report: AssignmentReport) -> bool:
        """How far one assignment is; False when no such assignment was saved. `record_reported` does this for all."""
        with self._write() as db:
            return board_records.phase(db, self._clock(), board, report) is not None

    def record_pulse(self, board: str, pulse: Pulse, at: datetime | None = None, packed: bytes = b"") -> None:
        """A board's latest statistics, received `at` (None: now); what they add to those before is history.

        `packed` is the message as it came, kept as it is rather than packed anew.
        """
        with self._write() as db:
            self._telemetry.pulse(db, at or self._clock(), board, pulse, packed or codec.pack(pulse))

    def record_gateway_presence(self, gateway: str, presence: BoardPresence, session: int) -> None:
        """A gateway came or went."""
        with self._write() as db:
            board_records.gateway_presence(db, self._clock(), gateway, presence, session)

    def record_gateway_reported(self, gateway: str, reported: GatewayReported, at: datetime | None = None) -> None:
        """What a gateway feeds, and how it does, received `at` (None: now)."""
        with self._write() as db:
            self._telemetry.report(db, at or self._clock(), gateway, reported)

    def record_log(self, board: str, session: int, records: Sequence[LogRecord], lost: int) -> None:
        """What a board's daemon said, as it was asked for it."""
        with self._write() as db:
            log_records.add_lines(db, self._clock(), board, session, records, lost)

    def answer_log_request(self, board: str, number: int, outcome: LogOutcome) -> None:
        """A request for a board's log has its answer."""
        with self._write() as db:
            log_records.answer(db, board, number, outcome)

    def forget_board(self, board: str) -> None:
        """Drop what was written of a board that its owner removed."""
        with self._write() as db:
            self._telemetry.forget_board(board)
            board_records.forget_board(db, self._clock(), board)

    def forget_gateway(self, gateway: str) -> None:
        """Drop a gateway that has been gone for long."""
        with self._write() as db:
            self._telemetry.forget_gateway(gateway)
            board_records.forget_gateway(db, gateway)

    def record_event(self, event: NewEvent) -> int:
        """A line of history; returns its number."""
        with self._write() as db:
            if event.kind == symptom_records.GIVEN_UP:
                symptom_records.give_up(db, self._clock(), event)
            return board_records.new_event(db, self._clock(), event)

    def record_symptom(self, board: str, kind: SymptomKind, ago_s: float, figures: dict[str, Any]) -> None:
        """Something is wrong with a board, since `ago_s` seconds ago unless it was so already."""
        with self._write() as db:
            symptom_records.begin(db, self._clock(), board, kind, ago_s, figures)

    def end_symptom(self, board: str, kind: SymptomKind) -> None:
        """It is over."""
        with self._write() as db:
            symptom_records.end(db, self._clock(), board, kind)

    # What the controller decides

    def next_revision(self) -> int:
        """The number for the next desired state; never given twice."""
        with self._write() as db:
            return placement_records.next_count(db, "revision")

    def next_generation_counter(self) -> int:
        """The counter for the next generation; never given twice."""
        with self._write() as db:
            return placement_records.next_count(db, "generation")

    def raise_counters(self, *, epoch: int = 0, revision: int = 0, generation: int = 0) -> Counters:
        """Lift counters to at least these numbers (heard from the fleet, or given out from memory); returns all."""
        with self._write() as db:
            return placement_records.raise_counters(db, epoch, revision, generation)

    def save_generation(self, placement: SavedGeneration) -> None:
        """A placement with all its assignments; to be called before any of it is published."""
        with self._write() as db:
            placement_records.save_generation(db, self._clock(), placement)

    def save_generation_state(
        self, deployment: str, generation: Generation, state: GenerationState, reason: str = ""
    ) -> None:
        """A generation moves on; without a `reason` the former one stays. Raises `NotFoundError`."""
        with self._write() as db:
            placement_records.generation_state(db, self._clock(), deployment, generation, state, reason)

    def save_deployment_state(self, deployment: str, state: DeploymentState, message: str = "") -> None:
        """How far a deployment is, and what its owner should know. Raises `NotFoundError`."""
        with self._write() as db:
            placement_records.deployment_state(db, self._clock(), deployment, state, message)
            if state is DeploymentState.REMOVED:
                symptom_records.forgive_all(db, self._clock(), deployment)

    # What the controller reads

    def asked(self) -> Asked:
        """How far owners have come in what they ask for."""
        with self._database.read() as db:
            return restart.asked(db)

    def intents_since(self, revision: int) -> tuple[SavedDeployment, ...]:
        """Deployments whose intent changed after `revision`, oldest change first; 0 gives all."""
        with self._database.read() as db:
            return restart.intents_since(db, revision)

    def wishes_since(self, revision: int) -> tuple[BoardWish, ...]:
        """What owners want of boards, as far as it changed after `revision`, oldest change first; 0 gives all."""
        with self._database.read() as db:
            return board_wishes.wishes_since(db, revision)

    def models_except(self, known: Collection[str]) -> tuple[SavedModel, ...]:
        """Model versions whose bundle digest is not in `known`: what another process has published meanwhile."""
        with self._database.read() as db:
            return restart.models_except(db, known)

    def load_state(self) -> FleetState:
        """Everything a restarting controller needs, in one consistent view."""
        with self._database.read() as db:
            return restart.load_state(db)


def _check_reign(session: Session, reign: int) -> None:
    newest = placement_records.epoch(session)
    if newest > reign:
        raise DeposedError(
            f"this controller's reign is epoch {reign}, another one has opened epoch {newest} here: "
            "nothing of the old reign is written",
            epoch=reign,
            newest=newest,
        )

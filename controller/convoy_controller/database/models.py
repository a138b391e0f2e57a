"""The tables. Current state has tables of its own; `events` and `sessions` are history and only ever appended to.

Imported by this folder alone. Every change here needs a migration: a test compares the two. Dates are UTC and for
people; epochs, revisions and counters decide.
"""

from __future__ import annotations

import enum
from datetime import datetime, timezone
from typing import Any, ClassVar

from convoy_schema.bundle import Method
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Cut, Objective
from convoy_schema.messages.logs import LogLevel
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from convoy_controller.database.records import (
    ArtifactKind,
    BoardPresence,
    CertificateWay,
    DeploymentState,
    GenerationState,
    LogOutcome,
    OperationState,
    RemovalKind,
    Severity,
    TokenRole,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, also where the database keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a naive datetime is a mistake of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a date needs its time zone, {value!r} came")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def by_value(kind: type[enum.Enum]) -> Enum:
    """A column type that stores an enum's value as text, so that a new member needs no migration."""
    return Enum(kind, values_callable=lambda members: [m.value for m in members], native_enum=False, length=32)


#: An automatic row number: SQLite counts only in INTEGER.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")
#: A name of the wire contract.
NAME = String(63)


class Base(DeclarativeBase):
    """Names every constraint, so that later migrations can refer to it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        datetime: UtcDateTime(),
        int: BigInteger(),
        bytes: LargeBinary(),
        dict[str, Any]: JSON(),
    }


class FleetFactsRow(Base):
    """One row, number 1: who this database is, and the counters that only grow."""

    __tablename__ = "fleet_facts"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    instance: Mapped[str] = mapped_column(String(36))
    created_at: Mapped[datetime]
    epoch: Mapped[int]
    revision: Mapped[int]
    generation: Mapped[int]
    intent: Mapped[int]


class BoardRow(Base):
    """A board as it was last heard; `first_seen` is empty for one that is only spoken of."""

    __tablename__ = "boards"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    session: Mapped[int]
    presence: Mapped[BoardPresence] = mapped_column(by_value(BoardPresence))
    presence_since: Mapped[datetime | None]
    presence_reason: Mapped[str] = mapped_column(Text)
    first_seen: Mapped[datetime | None]
    last_seen: Mapped[datetime | None]

    part: Mapped[str] = mapped_column(String(40))
    fabric: Mapped[str] = mapped_column(NAME)
    software: Mapped[str] = mapped_column(String(60))
    capability: Mapped[bytes | None]

    desired_epoch: Mapped[int]
    desired_revision: Mapped[int]
    desired_at: Mapped[datetime | None]

    reported_epoch: Mapped[int]
    reported_revision: Mapped[int]
    reported_at: Mapped[datetime | None]
    #: The restart token that its session began by.
    restarted: Mapped[str | None] = mapped_column(String(63))
    shell: Mapped[str] = mapped_column(NAME)
    blocked: Mapped[str] = mapped_column(Text)
    blocked_since: Mapped[datetime | None]
    degraded: Mapped[str] = mapped_column(Text)  # partitions that failed to configure, joined by commas
    degraded_since: Mapped[datetime | None]
    #: By kind (`SymptomKind`): since when (ISO 8601), and figures; NULL: none.
    symptoms: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    store_bytes: Mapped[int]
    store_quota: Mapped[int]
    reported: Mapped[bytes | None]

    __table_args__ = (Index("ix_boards_presence_name", "presence", "name"),)


class BoardWishRow(Base):
    """What an owner wants of a board beside what it runs, and what he calls it."""

    __tablename__ = "board_wishes"

    board: Mapped[str] = mapped_column(NAME, ForeignKey("boards.name"), primary_key=True)
    drained_at: Mapped[datetime | None]
    restart_token: Mapped[str] = mapped_column(String(63))
    restart_at: Mapped[datetime | None]
    forced: Mapped[bool] = mapped_column(Boolean)
    labels: Mapped[dict[str, Any]]
    revision: Mapped[int]

    __table_args__ = (Index("ix_board_wishes_revision", "revision"),)


class BoardGroupRow(Base):
    """A named set of boards."""

    __tablename__ = "board_groups"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    site: Mapped[str] = mapped_column(NAME)
    boards: Mapped[list[str]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    changed_at: Mapped[datetime]


class OperationRow(Base):
    """Long work that was asked for over the API. `beat_at` moves while somebody is at it."""

    __tablename__ = "operations"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(NAME)
    state: Mapped[OperationState] = mapped_column(by_value(OperationState))
    step: Mapped[str] = mapped_column(Text)
    done: Mapped[int]
    total: Mapped[int]
    result: Mapped[dict[str, Any]]
    code: Mapped[str] = mapped_column(String(60))
    message: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = ({"sqlite_autoincrement": True},)


class SessionRow(Base):
    """One run of a board's daemon."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    board: Mapped[str] = mapped_column(NAME, ForeignKey("boards.name"))
    session: Mapped[int]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        Index("ix_sessions_board_session", "board", "session", unique=True),
        Index("ix_sessions_board_id", "board", "id"),
        Index("ix_sessions_ended_at", "ended_at"),
    )


class BoardStatisticsRow(Base):
    """A board's latest pulse, overwritten by the next."""

    __tablename__ = "board_statistics"

    board: Mapped[str] = mapped_column(NAME, ForeignKey("boards.name"), primary_key=True)
    session: Mapped[int]
    at: Mapped[datetime]
    uptime_ms: Mapped[int]
    rss_bytes: Mapped[int]
    frames: Mapped[int]
    rows: Mapped[int]
    queued: Mapped[int]
    refused: Mapped[int]
    control_bytes: Mapped[int]
    activation_bytes: Mapped[int]
    pulse: Mapped[bytes]
    temperature_c: Mapped[float | None]


class GatewayRow(Base):
    """A gateway as it was last heard."""

    __tablename__ = "gateways"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    session: Mapped[int]
    presence: Mapped[BoardPresence] = mapped_column(by_value(BoardPresence))
    presence_since: Mapped[datetime | None]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(200))
    epoch: Mapped[int]
    revision: Mapped[int]
    reported: Mapped[bytes | None]


class ModelRow(Base):
    """A published version of a model; `announcement` is the whole encoded message."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[str] = mapped_column(NAME, primary_key=True)
    serial: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    announcement: Mapped[bytes]
    imported_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_models_digest", "digest", unique=True),
        Index("ix_models_imported_at", "imported_at"),
        Index("ix_models_name_serial", "name", "serial", unique=True),
    )


class ArtifactRow(Base):
    """An artifact in the blob store; `manifest` is the encoded message."""

    __tablename__ = "artifacts"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int]
    packed_size: Mapped[int]
    kind: Mapped[ArtifactKind] = mapped_column(by_value(ArtifactKind))
    manifest: Mapped[bytes]
    created_at: Mapped[datetime]


class ArtifactReferenceRow(Base):
    """A bundle that names an artifact; an artifact that none names may be cleared."""

    __tablename__ = "artifact_references"

    bundle: Mapped[str] = mapped_column(String(64), ForeignKey("models.digest"), primary_key=True)
    artifact: Mapped[str] = mapped_column(String(64), ForeignKey("artifacts.digest"), primary_key=True)

    __table_args__ = (Index("ix_artifact_references_artifact", "artifact"),)


class RemovalRow(Base):
    """What an owner removed: the proof that something is not there on purpose, rather than forgotten by a database."""

    __tablename__ = "removals"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    kind: Mapped[RemovalKind] = mapped_column(by_value(RemovalKind))
    name: Mapped[str] = mapped_column(NAME)
    version: Mapped[str] = mapped_column(NAME)  # '' for a board, as what follows
    serial: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    artifacts: Mapped[list[str]] = mapped_column(JSON)
    at: Mapped[datetime]

    __table_args__ = (Index("ix_removals_name", "name"),)


class CollectionRow(Base):
    """One clearing of what nobody refers to any more, asked for by an owner and done by the controller in charge."""

    __tablename__ = "collections"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    asked_at: Mapped[datetime]
    dry_run: Mapped[bool] = mapped_column(Boolean)
    orphans: Mapped[bool] = mapped_column(Boolean)
    done_at: Mapped[datetime | None]
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON)

    __table_args__ = (Index("ix_collections_done_at", "done_at"),)


class ClaimRow(Base):
    """An invitation of a board. Of its secret only the hash is kept; once used it names what it was used for."""

    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    key_print: Mapped[str | None] = mapped_column(String(64))
    serial: Mapped[str | None] = mapped_column(String(40))

    __table_args__ = (Index("ix_claims_name", "name"), Index("ix_claims_secret_hash", "secret_hash", unique=True))


class CertificateRow(Base):
    """A certificate that the fleet's CA issued; `way` says on what ground."""

    __tablename__ = "certificates"

    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    way: Mapped[CertificateWay] = mapped_column(by_value(CertificateWay))
    issued_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text)
    pem: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("ix_certificates_name", "name"), Index("ix_certificates_revoked_at", "revoked_at"))


class TokenRow(Base):
    """A token of the API. Of its secret only the hash is kept; a name is never given twice, for the audit's sake."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    role: Mapped[TokenRole] = mapped_column(by_value(TokenRole))
    lookup: Mapped[str] = mapped_column(String(12))
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_tokens_name", "name", unique=True), Index("ix_tokens_lookup", "lookup", unique=True))


class AuditRow(Base):
    """A write that came over the API, done or refused; `status` is empty while it is under way, or was when we died."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(NAME)
    role: Mapped[str] = mapped_column(String(32))  # '' for one who is not known
    peer: Mapped[str] = mapped_column(String(64))
    operation: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(200))
    before: Mapped[int | None]
    after: Mapped[int | None]
    status: Mapped[int | None]
    code: Mapped[str] = mapped_column(String(60))

    __table_args__ = (
        Index("ix_audit_at", "at"),
        Index("ix_audit_actor_id", "actor", "id"),
        Index("ix_audit_subject_id", "subject", "id"),
        {"sqlite_autoincrement": True},
    )


class DeploymentRow(Base):
    """The owner's intent, and how far it is. No foreign key to its model, which may be heard of later."""

    __tablename__ = "deployments"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    model: Mapped[str] = mapped_column(NAME)
    version: Mapped[str] = mapped_column(NAME)
    method: Mapped[Method] = mapped_column(by_value(Method))
    boards: Mapped[int]
    objective: Mapped[Objective] = mapped_column(by_value(Objective))
    cut: Mapped[Cut] = mapped_column(by_value(Cut))
    batch: Mapped[int]
    #: Separated by commas. None and the defaults are what rows have that were there before the columns.
    board_names: Mapped[str | None] = mapped_column(Text)
    replicas: Mapped[int] = mapped_column(server_default="0")
    spare: Mapped[int] = mapped_column(server_default="0")
    intent_revision: Mapped[int]
    wanted: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[DeploymentState] = mapped_column(by_value(DeploymentState))
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_deployments_intent_revision", "intent_revision"),
        Index("ix_deployments_changed_at", "changed_at"),
    )


class GenerationRow(Base):
    """A placement of a deployment."""

    __tablename__ = "generations"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    deployment: Mapped[str] = mapped_column(NAME, ForeignKey("deployments.name"))
    epoch: Mapped[int]
    counter: Mapped[int]
    state: Mapped[GenerationState] = mapped_column(by_value(GenerationState))
    reason: Mapped[str] = mapped_column(Text)
    plan: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    #: Digest of what it runs: the same for all its assignments. None while it has none.
    bundle: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        Index("ix_generations_bundle_state", "bundle", "state"),
        Index("ix_generations_created_at", "created_at"),
        Index("ix_generations_deployment_epoch_counter", "deployment", "epoch", "counter", unique=True),
        Index("ix_generations_state_changed_at", "state", "changed_at"),
    )


class AssignmentRow(Base):
    """One board's part of a generation: what it was told (`packed`), and how far it is."""

    __tablename__ = "assignments"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    generation_id: Mapped[int] = mapped_column(RowNumber, ForeignKey("generations.id"))
    board: Mapped[str] = mapped_column(NAME, ForeignKey("boards.name"))
    stage: Mapped[int]
    stages: Mapped[int]
    layers: Mapped[list[str]] = mapped_column(JSON)
    slots: Mapped[dict[str, Any]]  # partition -> kind
    packed: Mapped[bytes]
    phase: Mapped[Phase] = mapped_column(by_value(Phase))
    step: Mapped[str] = mapped_column(Text)
    done_bytes: Mapped[int]
    total_bytes: Mapped[int]
    code: Mapped[str] = mapped_column(String(60))
    message: Mapped[str] = mapped_column(Text)
    retryable: Mapped[bool] = mapped_column(Boolean)
    changed_at: Mapped[datetime]
    #: Since when it fails, tries again and fails; `code` and `message` stay meanwhile. NULL: it does not.
    failing_since: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_assignments_generation_id_board", "generation_id", "board", unique=True),
        Index("ix_assignments_board_id", "board", "id"),
    )


class EventRow(Base):
    """History, append-only; refers to boards and deployments by name, so that it outlives them."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    at: Mapped[datetime]
    severity: Mapped[Severity] = mapped_column(by_value(Severity))
    kind: Mapped[str] = mapped_column(String(60))
    board: Mapped[str | None] = mapped_column(NAME)
    deployment: Mapped[str | None] = mapped_column(NAME)
    generation: Mapped[str | None] = mapped_column(String(40))
    sentence: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]

    __table_args__ = (
        Index("ix_events_at", "at"),
        Index("ix_events_board_id", "board", "id"),
        Index("ix_events_deployment_id", "deployment", "id"),
        Index("ix_events_severity_id", "severity", "id"),
        Index("ix_events_kind_id", "kind", "id"),
        {"sqlite_autoincrement": True},  # a follower's place must never be given to a newer event
    )


class BoardLogRequestRow(Base):
    """How often a board's log was asked for and answered, and up to which record of which session it is here."""

    __tablename__ = "board_log_requests"

    board: Mapped[str] = mapped_column(NAME, primary_key=True)
    asked: Mapped[int]
    answered: Mapped[int]
    asked_at: Mapped[datetime]
    outcome: Mapped[LogOutcome | None] = mapped_column(by_value(LogOutcome))
    session: Mapped[int]
    newest: Mapped[int]
    #: Records that were gone from the board when it was asked last.
    lost: Mapped[int]

    __table_args__ = (Index("ix_board_log_requests_asked_at", "asked_at"),)


class BoardLogRow(Base):
    """A line of a board's log; by name, as events are. Its date is ours: what the board said of its age, taken back."""

    __tablename__ = "board_log_lines"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    board: Mapped[str] = mapped_column(NAME)
    session: Mapped[int]
    number: Mapped[int]
    at: Mapped[datetime]
    level: Mapped[LogLevel] = mapped_column(by_value(LogLevel))
    logger: Mapped[str] = mapped_column(String(100))
    sentence: Mapped[str] = mapped_column(Text)
    deployment: Mapped[str] = mapped_column(String(100))
    generation: Mapped[str] = mapped_column(String(100))
    step: Mapped[str] = mapped_column(String(100))

    __table_args__ = (
        Index("ix_board_log_lines_board_id", "board", "id"),
        Index("ix_board_log_lines_at", "at"),
        {"sqlite_autoincrement": True},  # a follower's place must never be given to a newer line
    )

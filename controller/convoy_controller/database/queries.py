"""The questions people and programs ask of the fleet, each a named function over one consistent view.

Each says which index carries it; a test reads the plans and refuses a scan of a table that grows. None writes.
Called by the command line, and by the HTTP API and dashboard later. All may raise `DatabaseError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from convoy_schema.names import Generation
from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from convoy_controller.database.engine import Database
from convoy_controller.database.explanations import explain, never_seen
from convoy_controller.database.models import (
    ArtifactReferenceRow,
    ArtifactRow,
    AssignmentRow,
    BoardRow,
    BoardStatisticsRow,
    DeploymentRow,
    EventRow,
    GatewayRow,
    GenerationRow,
    ModelRow,
    SessionRow,
)
from convoy_controller.database.records import BoardPresence, DeploymentState, GenerationState
from convoy_controller.database.rows import (
    assignments_of,
    board_detail,
    board_facts,
    board_rows,
    deployment_line,
    event_line,
    fleet_line,
    fleet_lines,
    live_counts,
    model_line,
    stage_line,
)
from convoy_controller.database.status import members
from convoy_controller.database.status_models import BoardConditionRow, BoardLabelRow
from convoy_controller.database.views import (
    CONDITION_RANKS,
    BoardDetail,
    Condition,
    DeploymentLine,
    EventLine,
    FleetLine,
    GatewayLine,
    GenerationLine,
    ModelLine,
    PlanView,
    Why,
)
from convoy_controller.errors import NotFoundError

#: Rows that a query over history returns at most, and unless told otherwise.
MOST_ROWS = 10_000
USUAL_ROWS = 100
#: Sessions shown of one board.
RECENT_SESSIONS = 10


@dataclass(frozen=True)
class BoardFilter:
    """Which boards are asked for; None asks for any. `label` is (key, value); `deployment` what matters most to it.

    `text` is what a name contains, '' anything; it is taken as it stands, and capitals are small letters.
    """

    presence: BoardPresence | None = None
    condition: Condition | None = None
    deployment: str | None = None
    group: str | None = None
    label: tuple[str, str] | None = None
    site: str | None = None
    text: str = ""


def fleet(
    database: Database, wanted: BoardFilter = BoardFilter(), limit: int = MOST_ROWS, after: str = ""
) -> tuple[FleetLine, ...]:
    """At most `limit` boards with their condition, by name, beyond `after`.

    Indexes: boards' key, `ix_boards_presence_name`, `ix_board_conditions_rank_board` or
    `ix_board_conditions_deployment_board`, the key of `board_group_members`, `ix_board_labels_key_value_board` for the
    names; for each of those the keys of boards, `board_conditions` and `board_statistics`. `text` is looked for in the
    names that the index holds, of which it may read all.
    """
    names = _names(wanted, after).limit(_bounded(limit)).subquery()
    with database.read() as db:
        rows = db.execute(fleet_lines().join(names, names.c[0] == BoardRow.name).order_by(BoardRow.name))
        return tuple(fleet_line(row) for row in rows)


def _names(wanted: BoardFilter, after: str) -> Select[tuple[str]]:
    """The names of the boards asked for, in order."""
    told = BoardConditionRow
    if wanted.condition is not None:
        query = select(told.board).where(told.rank == CONDITION_RANKS[wanted.condition])
    elif wanted.deployment is not None:
        query = select(told.board)
    else:
        query = select(BoardRow.name)
    name = query.selected_columns[0]
    if wanted.deployment is not None:
        query = query.where(told.deployment == wanted.deployment)
    if wanted.presence is not None and name.table is BoardRow.__table__:
        query = query.where(BoardRow.presence == wanted.presence)
    elif wanted.presence is not None:
        query = query.where(name.in_(select(BoardRow.name).where(BoardRow.presence == wanted.presence)))
    if wanted.group is not None or wanted.site is not None:
        query = query.where(name.in_(members(wanted.group, wanted.site)))
    if wanted.label is not None:
        key, value = wanted.label
        carries = select(BoardLabelRow.board).where(BoardLabelRow.key == key, BoardLabelRow.value == value)
        query = query.where(name.in_(carries))
    if wanted.text:
        query = query.where(name.contains(wanted.text.lower(), autoescape=True))
    return query.where(name > after).order_by(name)


def why(database: Database, board: str) -> Why:
    """Why that board is where it is; an unknown name gives condition `never-seen`. Indexes: as `fleet`, for one row."""
    with database.read() as db:
        row = db.execute(board_rows().where(BoardRow.name == board)).first()
    return never_seen(board) if row is None else explain(board_facts(row))


def board(database: Database, name: str) -> BoardDetail:
    """Everything known of one board; raises `NotFoundError`. Indexes: as `fleet`, for one board."""
    with database.read() as db:
        row = db.execute(board_rows().where(BoardRow.name == name)).first()
        if row is None:
            raise NotFoundError(never_seen(name).sentence + " See `convoy boards` for those that were.", board=name)
        sessions = db.scalars(
            select(SessionRow).where(SessionRow.board == name).order_by(SessionRow.id.desc()).limit(RECENT_SESSIONS)
        )
        return board_detail(row, sessions.all(), assignments_of(db, name), db.get(BoardStatisticsRow, name))


def deployments(
    database: Database,
    removed: bool = False,
    state: DeploymentState | None = None,
    model: str | None = None,
    limit: int = MOST_ROWS,
    after: str = "",
) -> tuple[DeploymentLine, ...]:
    """At most `limit` deployments by name, beyond `after`, and with `removed` those that ended as well.

    Indexes: deployments' key; `ix_generations_deployment_epoch_counter`, `ix_assignments_generation_id_board`.
    """
    row = DeploymentRow
    wanted = select(row).where(row.name > after).order_by(row.name).limit(_bounded(limit))
    if not removed:
        wanted = wanted.where(row.wanted | (row.state != DeploymentState.REMOVED))
    if state is not None:
        wanted = wanted.where(row.state == state)
    if model is not None:
        wanted = wanted.where(row.model == model)
    with database.read() as db:
        rows = db.scalars(wanted).all()
        counts = live_counts(db, [each.name for each in rows])
    return tuple(deployment_line(each, counts.get(each.name)) for each in rows)


def deployment(database: Database, name: str) -> DeploymentLine:
    """One deployment, ended or not; raises `NotFoundError`. Indexes: as `deployments`."""
    with database.read() as db:
        row = _known_deployment(db, name)
        return deployment_line(row, live_counts(db, [name]).get(name))


def generations(
    database: Database, deployment: str, limit: int = USUAL_ROWS, before: Generation | None = None
) -> tuple[GenerationLine, ...]:
    """A deployment's placements below `before`, newest first; raises `NotFoundError` for an unknown deployment.

    Indexes: `ix_generations_deployment_epoch_counter`, `ix_assignments_generation_id_board`.
    """
    boards = (
        select(func.count())
        .select_from(AssignmentRow)
        .where(AssignmentRow.generation_id == GenerationRow.id)
        .scalar_subquery()
    )
    wanted = select(GenerationRow, boards).where(GenerationRow.deployment == deployment)
    if before is not None:
        earlier = (GenerationRow.epoch < before.epoch) | (
            (GenerationRow.epoch == before.epoch) & (GenerationRow.counter < before.counter)
        )
        wanted = wanted.where(earlier)
    wanted = wanted.order_by(GenerationRow.epoch.desc(), GenerationRow.counter.desc()).limit(_bounded(limit))
    with database.read() as db:
        _known_deployment(db, deployment)
        rows = db.execute(wanted).all()
    return tuple(
        GenerationLine(
            row.deployment,
            Generation(row.epoch, row.counter),
            row.state,
            row.reason,
            count,
            row.created_at,
            row.changed_at,
        )
        for row, count in rows
    )


def plan(database: Database, deployment: str, generation: Generation | None = None) -> PlanView:
    """Who runs which layers: of that generation, else of the one that serves, else of the newest.

    Raises `NotFoundError` for an unknown deployment, or one that has not been placed yet.
    Indexes: `ix_generations_deployment_epoch_counter`, `ix_assignments_generation_id_board`.
    """
    wanted = select(GenerationRow).where(GenerationRow.deployment == deployment)
    if generation is not None:
        wanted = wanted.where(GenerationRow.epoch == generation.epoch, GenerationRow.counter == generation.counter)
    serves_first = case((GenerationRow.state == GenerationState.SERVING, 0), else_=1)
    with database.read() as db:
        _known_deployment(db, deployment)
        found = db.scalars(
            wanted.order_by(serves_first, GenerationRow.epoch.desc(), GenerationRow.counter.desc()).limit(1)
        ).first()
        if found is None:
            missing = "placement yet" if generation is None else f"generation {generation}"
            raise NotFoundError(
                f"deployment {deployment!r} has no {missing}: `convoy deployments` shows how far it is",
                deployment=deployment,
            )
        rows = db.execute(
            select(AssignmentRow, BoardRow.presence)
            .join(BoardRow, BoardRow.name == AssignmentRow.board)
            .where(AssignmentRow.generation_id == found.id)
            .order_by(AssignmentRow.stage, AssignmentRow.board)
        ).all()
    stages = tuple(stage_line(stage, list(group)) for stage, group in groupby(rows, key=lambda row: row[0].stage))
    return PlanView(deployment, Generation(found.epoch, found.counter), found.state, stages, found.plan)


def models(database: Database) -> tuple[ModelLine, ...]:
    """Every published model version, newest of each name first. Indexes: models' and references' keys."""
    sizes = (
        select(
            ArtifactReferenceRow.bundle,
            func.count().label("count"),
            func.sum(ArtifactRow.size).label("size"),
            func.sum(ArtifactRow.packed_size).label("packed"),
        )
        .join(ArtifactRow, ArtifactRow.digest == ArtifactReferenceRow.artifact)
        .group_by(ArtifactReferenceRow.bundle)
    )
    with database.read() as db:
        rows = db.scalars(select(ModelRow).order_by(ModelRow.name, ModelRow.serial.desc())).all()
        totals = {row.bundle: (int(row[1]), int(row[2]), int(row[3])) for row in db.execute(sizes)}
    return tuple(model_line(row, totals.get(row.digest, (0, 0, 0))) for row in rows)


def gateways(database: Database) -> tuple[GatewayLine, ...]:
    """Every gateway, by name. Index: gateways' key."""
    with database.read() as db:
        return tuple(
            GatewayLine(row.name, row.presence, row.address, row.session, row.epoch, row.revision, row.last_seen)
            for row in db.scalars(select(GatewayRow).order_by(GatewayRow.name))
        )


def events(
    database: Database,
    limit: int = USUAL_ROWS,
    after: int = 0,
    board: str | None = None,
    deployment: str | None = None,
    oldest_first: bool = False,
) -> tuple[EventLine, ...]:
    """The newest `limit` events numbered above `after`, in the order in which they happened.

    To follow, ask again with the last one's `id` and `oldest_first`: then the oldest come, so that none is skipped.
    Indexes: events' key, `ix_events_board_id`, `ix_events_deployment_id`.
    """
    wanted = select(EventRow).where(EventRow.id > after).limit(_bounded(limit))
    if board is not None:
        wanted = wanted.where(EventRow.board == board)
    if deployment is not None:
        wanted = wanted.where(EventRow.deployment == deployment)
    with database.read() as db:
        if oldest_first:
            rows: Iterable[EventRow] = db.scalars(wanted.order_by(EventRow.id)).all()
        else:
            rows = reversed(db.scalars(wanted.order_by(EventRow.id.desc())).all())
    return tuple(event_line(row) for row in rows)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MOST_ROWS))


def _known_deployment(db: Session, name: str) -> DeploymentRow:
    row = db.get(DeploymentRow, name)
    if row is None:
        raise NotFoundError(f"there is no deployment {name!r}: see `convoy deployments`", deployment=name)
    return row

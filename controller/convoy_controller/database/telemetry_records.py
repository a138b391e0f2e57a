"""How pulses and gateways' reports become samples, many in one statement. Called by `recorder` alone.

What came before is remembered, or read once. A writer is thrown away when a transaction was undone, or when others may
have written meanwhile: the next one begins with what the database knows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from convoy_schema.messages.boards import Pulse
from convoy_schema.messages.gateways import GatewayReported
from convoy_schema.names import Generation
from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from convoy_controller.database import board_records
from convoy_controller.database.increments import Columns, of_board, of_gateway
from convoy_controller.database.many_rows import ManyRows
from convoy_controller.database.models import AssignmentRow, BoardStatisticsRow, GatewayRow, GenerationRow
from convoy_controller.database.readable import readable
from convoy_controller.database.rollup import BOARDS, FEEDS, STAGES

#: Generations whose stages are remembered.
MOST_GENERATIONS = 1000
#: How long a board is believed to have no part in a generation's placement.
READ_AGAIN = timedelta(minutes=1)

_STATISTICS = cast("Table", BoardStatisticsRow.__table__)
_NEXT_PULSE = ManyRows(_STATISTICS, _STATISTICS.c.keys(), key="board")
_NEW_SAMPLES = {
    noun.name: ManyRows(noun.raw, [column.name for column in noun.raw.c if column.name != "id"])
    for noun in (BOARDS, STAGES, FEEDS)
}


class TelemetryWriter:
    """Of one recorder: what waits for the end of its transaction, and each board's and gateway's message before."""

    def __init__(self) -> None:
        self._pulses: dict[str, Pulse] = {}
        self._reports: dict[str, tuple[datetime, GatewayReported]] = {}
        self._stages: dict[tuple[str, Generation], tuple[datetime, dict[str, int]]] = {}
        self._latest: dict[str, tuple[datetime, Pulse, bytes]] = {}
        self._samples: dict[str, list[Columns]] = {name: [] for name in _NEW_SAMPLES}

    def forget_board(self, board: str) -> None:
        """It is no longer there; its samples stay, as its events do."""
        self._pulses.pop(board, None)
        self._latest.pop(board, None)

    def forget_gateway(self, gateway: str) -> None:
        """It is no longer there."""
        self._reports.pop(gateway, None)

    def pulse(self, db: Session, at: datetime, board: str, beat: Pulse, packed: bytes) -> None:
        """Take in a board's pulse, received at that date; `packed` is the same as bytes."""
        counted, stages = of_board(self._before(db, at, board, beat, packed), beat)
        for stage, columns in zip(beat.stages, stages, strict=True):
            columns["at"], columns["board"] = at, board
            columns["stage"] = self._stage(db, at, (stage.deployment, stage.generation), board)
        counted["at"], counted["board"] = at, board
        self._samples["stage"] += stages
        self._samples["board"].append(counted)
        self._pulses[board] = beat
        self._latest[board] = at, beat, packed

    def report(self, db: Session, at: datetime, gateway: str, said: GatewayReported) -> None:
        """Take in a gateway's report, received at that date."""
        former = self._reports.get(gateway) or self._saved_report(db, gateway)
        since, before = former or (at, None)
        rows = of_gateway(before, said, (at - since) // timedelta(milliseconds=1))
        self._samples["feed"] += [{"at": at, "gateway": gateway, **columns} for columns in rows]
        self._reports[gateway] = at, said
        board_records.gateway_reported(db, at, gateway, said)

    def write(self, db: Session) -> None:
        """Everything that waits, at the end of a transaction."""
        connection = db.connection()
        for name, rows in self._samples.items():
            _NEW_SAMPLES[name].write(connection, rows)
            rows.clear()
        latest = [{"board": board, **_statistics(*said)} for board, said in self._latest.items()]
        _NEXT_PULSE.write(connection, latest)
        self._latest.clear()

    def _before(self, db: Session, at: datetime, board: str, beat: Pulse, packed: bytes) -> Pulse | None:
        """The pulse before; where there was none the board gets its row."""
        known = self._pulses.get(board)
        if known is not None:
            return known
        query = select(BoardStatisticsRow.pulse).where(BoardStatisticsRow.board == board)
        former = db.scalar(query)
        if former is None:
            board_records.first_heard(db, at, board)
            db.connection().execute(insert(_STATISTICS).values(board=board, **_statistics(at, beat, packed)))
        return readable(Pulse, former)

    def _saved_report(self, db: Session, gateway: str) -> tuple[datetime, GatewayReported] | None:
        row = db.get(GatewayRow, gateway)
        said = None if row is None else readable(GatewayReported, row.reported)
        return None if row is None or said is None else (row.last_seen, said)

    def _stage(self, db: Session, at: datetime, key: tuple[str, Generation], board: str) -> int | None:
        """The number of the stage that the board runs of that generation; None where no placement says so."""
        read_at, placed = self._stages.get(key, (None, {}))
        if board not in placed and (read_at is None or abs(at - read_at) >= READ_AGAIN):
            if len(self._stages) >= MOST_GENERATIONS:
                self._stages.clear()
            placed = _placed(db, *key)
            self._stages[key] = at, placed
        return placed.get(board)


def _placed(db: Session, deployment: str, generation: Generation) -> dict[str, int]:
    rows = db.execute(
        select(AssignmentRow.board, AssignmentRow.stage)
        .join(GenerationRow, GenerationRow.id == AssignmentRow.generation_id)
        .where(
            GenerationRow.deployment == deployment,
            GenerationRow.epoch == generation.epoch,
            GenerationRow.counter == generation.counter,
        )
    )
    return {row.board: row.stage for row in rows}


def _statistics(at: datetime, beat: Pulse, packed: bytes) -> dict[str, Any]:
    return {
        "session": beat.session,
        "at": at,
        "uptime_ms": beat.uptime_ms,
        "rss_bytes": beat.rss_bytes,
        "frames": sum(stage.frames for stage in beat.stages),
        "rows": sum(stage.rows for stage in beat.stages),
        "queued": sum(stage.queued for stage in beat.stages),
        "refused": sum(beat.refused.values()) + sum(sum(stage.refused.values()) for stage in beat.stages),
        "control_bytes": beat.published.control,
        "activation_bytes": beat.published.activations,
        "pulse": packed,
        "temperature_c": beat.temperature_c,
    }

"""The tables of telemetry: what boards, stages and gateways' feeds did, raw, by the minute and by the hour.

A raw row is one pulse of a board (with a row for each stage in it), or one report of a gateway for each deployment.
Counters are stored as *increments* since the message before, of whatever run of the daemon: a restart makes no negative
one, and rows simply add up, over time and over boards. `elapsed_ms` is the time that the increments cover, so a rate is
`rows / elapsed`. Gauges are stored as they were, and rolled up as sum and maximum; a mean is `sum / samples`.

The raw rows' `id` is the order in which they were written, which is what the roll-up follows (`rollup`). In PostgreSQL
every table here, and `events`, is partitioned by RANGE of `at` (`partitions`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, Index, String
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from convoy_controller.database.models import NAME, Base, RowNumber

#: A generation as it is written, `EPOCH-COUNTER`; '' for none.
GENERATION = String(40)


class _Raw:
    """Of a table of samples as they came."""

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    #: When it was received, by the controller's clock.
    at: Mapped[datetime]


class _Rolled:
    """Of a table of minutes or hours; `at` is where they begin."""

    at: Mapped[datetime] = mapped_column(primary_key=True)
    samples: Mapped[int]


class _BoardCounts:
    """What a board counted; `starts` is 1 in the first sample of a run of its daemon."""

    starts: Mapped[int]
    elapsed_ms: Mapped[int]
    frames: Mapped[int]
    rows: Mapped[int]
    refused: Mapped[int]
    control_bytes: Mapped[int]
    artifact_bytes: Mapped[int]
    activation_bytes: Mapped[int]


class BoardSampleRow(_Raw, _BoardCounts, Base):
    """A board's pulse; counts are of all its stages."""

    __tablename__ = "board_samples"

    board: Mapped[str] = mapped_column(NAME)
    queued: Mapped[int]
    rss_bytes: Mapped[int]
    temperature_c: Mapped[float | None] = mapped_column(Float)

    __table_args__ = (
        Index("ix_board_samples_at", "at"),
        Index("ix_board_samples_board_at", "board", "at"),
        {"sqlite_autoincrement": True, "postgresql_partition_by": "RANGE (at)"},
    )


class _BoardRolled(_Rolled, _BoardCounts):
    board: Mapped[str] = mapped_column(NAME, primary_key=True)
    queued_sum: Mapped[int]
    queued_max: Mapped[int]
    rss_bytes_max: Mapped[int]
    #: Of the samples that have one: not every board has a sensor.
    temperature_sum: Mapped[float] = mapped_column(Float)
    temperature_samples: Mapped[int]
    temperature_max: Mapped[float | None] = mapped_column(Float)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805 - called with the class
        return (Index(None, "board", "at"), {"sqlite_with_rowid": False, "postgresql_partition_by": "RANGE (at)"})


class BoardMinuteRow(_BoardRolled, Base):
    """A minute of a board."""

    __tablename__ = "board_minutes"


class BoardHourRow(_BoardRolled, Base):
    """An hour of a board."""

    __tablename__ = "board_hours"


class _StageCounts:
    """What a board counted in one stage; `busy_us` of `elapsed_ms` it computed."""

    elapsed_ms: Mapped[int]
    frames: Mapped[int]
    rows: Mapped[int]
    busy_us: Mapped[int]
    refused: Mapped[int]


class StageSampleRow(_Raw, _StageCounts, Base):
    """One stage in a board's pulse; `stage` is empty where no placement says which one it is."""

    __tablename__ = "stage_samples"

    board: Mapped[str] = mapped_column(NAME)
    deployment: Mapped[str] = mapped_column(NAME)
    generation: Mapped[str] = mapped_column(GENERATION)
    stage: Mapped[int | None]
    queued: Mapped[int]
    residence_us: Mapped[int]

    __table_args__ = (
        Index("ix_stage_samples_at", "at"),
        Index("ix_stage_samples_board_at", "board", "at"),
        Index("ix_stage_samples_deployment_at", "deployment", "at"),
        {"sqlite_autoincrement": True, "postgresql_partition_by": "RANGE (at)"},
    )


class _StageRolled(_Rolled, _StageCounts):
    board: Mapped[str] = mapped_column(NAME, primary_key=True)
    deployment: Mapped[str] = mapped_column(NAME, primary_key=True)
    generation: Mapped[str] = mapped_column(GENERATION, primary_key=True)
    stage: Mapped[int | None]
    queued_sum: Mapped[int]
    queued_max: Mapped[int]
    #: Times frames: the mean is over frames, whatever pulses they fell into.
    residence_us_sum: Mapped[int]
    residence_us_max: Mapped[int]

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805 - called with the class
        return (
            Index(None, "board", "at"),
            Index(None, "deployment", "at"),
            {"sqlite_with_rowid": False, "postgresql_partition_by": "RANGE (at)"},
        )


class StageMinuteRow(_StageRolled, Base):
    """A minute of a stage on a board."""

    __tablename__ = "stage_minutes"


class StageHourRow(_StageRolled, Base):
    """An hour of a stage on a board."""

    __tablename__ = "stage_hours"


class _FeedCounts:
    """What a gateway counted for one deployment: requests, but for `retried` and `late`, which are frames."""

    elapsed_ms: Mapped[int]
    accepted: Mapped[int]
    answered: Mapped[int]
    failed: Mapped[int]
    retried: Mapped[int]
    late: Mapped[int]
    refused: Mapped[int]


class FeedSampleRow(_Raw, _FeedCounts, Base):
    """One deployment in a gateway's report; `generation` is the one that served then, '' when none did."""

    __tablename__ = "feed_samples"

    gateway: Mapped[str] = mapped_column(NAME)
    deployment: Mapped[str] = mapped_column(NAME)
    generation: Mapped[str] = mapped_column(GENERATION)
    in_flight: Mapped[int]
    waiting: Mapped[int]
    latency_p50_us: Mapped[int]
    latency_p99_us: Mapped[int]
    hop_us: Mapped[int]

    __table_args__ = (
        Index("ix_feed_samples_at", "at"),
        Index("ix_feed_samples_deployment_at", "deployment", "at"),
        {"sqlite_autoincrement": True, "postgresql_partition_by": "RANGE (at)"},
    )


class _FeedRolled(_Rolled, _FeedCounts):
    gateway: Mapped[str] = mapped_column(NAME, primary_key=True)
    deployment: Mapped[str] = mapped_column(NAME, primary_key=True)
    generation: Mapped[str] = mapped_column(GENERATION, primary_key=True)
    in_flight_sum: Mapped[int]
    in_flight_max: Mapped[int]
    waiting_sum: Mapped[int]
    waiting_max: Mapped[int]
    #: Times requests answered: the mean of the medians, over answers.
    latency_p50_us_sum: Mapped[int]
    #: Of the reports in which something was answered.
    latency_p99_us_max: Mapped[int]
    #: Of the samples in which one was measured.
    hop_us_sum: Mapped[int]
    hop_samples: Mapped[int]

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805 - called with the class
        return (Index(None, "deployment", "at"), {"sqlite_with_rowid": False, "postgresql_partition_by": "RANGE (at)"})


class FeedMinuteRow(_FeedRolled, Base):
    """A minute of a deployment at a gateway."""

    __tablename__ = "feed_minutes"


class FeedHourRow(_FeedRolled, Base):
    """An hour of a deployment at a gateway."""

    __tablename__ = "feed_hours"


class RollupMarkRow(Base):
    """Up to which raw row a table of minutes or hours has been filled; each is added to it once."""

    __tablename__ = "rollup_marks"

    target: Mapped[str] = mapped_column(NAME, primary_key=True)
    rolled_id: Mapped[int]


class AbsenceRow(Base):
    """A time in which a board was offline, or not known to be there; `ended_at` is empty while it lasts.

    Sessions do not tell: a board whose connection comes and goes stays in one session.
    """

    __tablename__ = "absences"

    id: Mapped[int] = mapped_column(RowNumber, primary_key=True)
    board: Mapped[str] = mapped_column(NAME)
    #: False: it was not known whether it was there, since the controller had lost the broker.
    is_certain: Mapped[bool]
    session: Mapped[int]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(String(2000))

    __table_args__ = (
        Index("ix_absences_board_began_at", "board", "began_at"),
        Index("ix_absences_ended_at", "ended_at"),
    )


#: Every table there is, these and those of `models`.
TABLES = Base.metadata

"""The tables behind the status queries: what is derived from the others, so that no question reads every row.

All of it is kept by `condition_records`, `condition_counts`, `groups`, `board_wishes` and `presence_hours` in the
transaction that changes what it is derived from, and can be made anew from there. Imported by this folder alone.
"""

from __future__ import annotations

from datetime import datetime

from convoy_schema.messages.boards import Phase
from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from convoy_controller.database.models import NAME, Base, by_value
from convoy_controller.database.records import CountScope
from convoy_controller.database.views import Condition


class BoardConditionRow(Base):
    """What `explanations` says of a board, as of the last change of anything that explains it.

    `rank` orders conditions, the worst first. `changed_at` is when the recorder saw this condition begin; `since` is
    what the sentence speaks of. `deployment` to `phase` are of the assignment that matters most.
    """

    __tablename__ = "board_conditions"

    board: Mapped[str] = mapped_column(NAME, ForeignKey("boards.name"), primary_key=True)
    rank: Mapped[int] = mapped_column(Integer)
    condition: Mapped[Condition] = mapped_column(by_value(Condition))
    wanted: Mapped[str] = mapped_column(Text)
    actual: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime | None]
    blocked_by: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    deployment: Mapped[str | None] = mapped_column(NAME)
    generation: Mapped[str | None] = mapped_column(String(40))
    stage: Mapped[int | None] = mapped_column(Integer)
    stages: Mapped[int | None] = mapped_column(Integer)
    phase: Mapped[Phase | None] = mapped_column(by_value(Phase))
    changed_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_board_conditions_rank_board", "rank", "board"),
        Index("ix_board_conditions_deployment_board", "deployment", "board"),
        Index("ix_board_conditions_changed_at_board", "changed_at", "board"),
    )


class ConditionCountRow(Base):
    """How many boards of the fleet, of a site or of a group are in one condition; `name` is '' for the fleet."""

    __tablename__ = "condition_counts"

    scope: Mapped[CountScope] = mapped_column(by_value(CountScope), primary_key=True)
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    condition: Mapped[Condition] = mapped_column(by_value(Condition), primary_key=True)
    boards: Mapped[int]


class GroupMemberRow(Base):
    """A board in a group: `board_groups.boards`, to be asked from both ends."""

    __tablename__ = "board_group_members"

    group_name: Mapped[str] = mapped_column(NAME, primary_key=True)
    board: Mapped[str] = mapped_column(NAME, primary_key=True)

    __table_args__ = (Index("ix_board_group_members_board", "board"),)


class BoardLabelRow(Base):
    """One label of a board: `board_wishes.labels`, to be asked by value."""

    __tablename__ = "board_labels"

    board: Mapped[str] = mapped_column(NAME, primary_key=True)
    key: Mapped[str] = mapped_column(NAME, primary_key=True)
    value: Mapped[str] = mapped_column(String(200))

    __table_args__ = (Index("ix_board_labels_key_value_board", "key", "value", "board"),)


class PresenceHourRow(Base):
    """What one hour changed in how many boards are online, offline or not known to be either.

    In the hour that starts at `at`, `online` more boards (or fewer) were online than before, and `online_s` is what
    each of those changes leaves of the hour, in seconds, added up; likewise the others. So the boards that are online
    when an hour starts are the sum over all earlier ones.
    """

    __tablename__ = "presence_hours"

    at: Mapped[datetime] = mapped_column(primary_key=True)
    online: Mapped[int]
    online_s: Mapped[float]
    offline: Mapped[int]
    offline_s: Mapped[float]
    unknown: Mapped[int]
    unknown_s: Mapped[float]

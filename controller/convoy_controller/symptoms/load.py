"""Too much to do: requests wait at the gateways while frames fill the slowest boards' queues, or are refused there.

A full window by itself is how a pipeline should be; what makes it too much is that more waits outside, for seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from convoy_schema.messages.boards import StagePulse

from convoy_controller.database.records import BoardPresence
from convoy_controller.registry import BoardRecord, GatewayRecord
from convoy_controller.symptoms.course import ABSENT, Evidence, Lack

#: Part of a deployment's queue that is taken when it is full, and while it still counts as full once it was.
FULL, STILL_FULL = 0.5, 0.25
#: A board whose queue is at least this part of the fullest one's is as slow.
AS_FULL = 0.5


@dataclass(frozen=True)
class Demand:
    """A deployment that is asked for more than it does: rows that wait, and frames queued of `room`, by board."""

    deployment: str
    waiting_rows: int
    room: int
    queued: Mapping[str, int]

    def is_full(self, part: float) -> bool:
        """Whether frames take that part of what may be under way."""
        return sum(self.queued.values()) >= part * self.room

    def slowest(self) -> frozenset[str]:
        """The boards before which frames wait."""
        most = max(self.queued.values(), default=0)
        return frozenset(name for name, queued in self.queued.items() if queued >= max(1, AS_FULL * most))


def demands(boards: Mapping[str, BoardRecord], gateways: Iterable[GatewayRecord]) -> list[Demand]:
    """Every deployment for which requests wait at some gateway."""
    waiting: dict[str, int] = {}
    for gateway in gateways:
        for feed in gateway.reported.feeds if gateway.reported is not None else ():
            if feed.serving is not None and feed.waiting_rows:
                waiting[feed.deployment] = waiting.get(feed.deployment, 0) + feed.waiting_rows
    found = []
    for deployment, rows in sorted(waiting.items()):
        stages = {name: stage for name, record in boards.items() if (stage := _stage(record, deployment)) is not None}
        room = max((stage.queued + stage.credits for stage in stages.values()), default=0)
        if room:
            found.append(Demand(deployment, rows, room, {name: stage.queued for name, stage in stages.items()}))
    return found


def _stage(record: BoardRecord, deployment: str) -> StagePulse | None:
    if record.presence is not BoardPresence.ONLINE or record.pulse is None:
        return None
    stages = [stage for stage in record.pulse.stages if stage.deployment == deployment]
    return max(stages, key=lambda stage: stage.generation, default=None)


class Refusals:
    """Frames that boards refused because their queue was full, from one look to the next."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, int]] = {}

    def fresh(self, record: BoardRecord) -> int:
        """How many since the last look; 0 for a board that was not looked at before, or began anew."""
        pulse = record.pulse
        if record.presence is not BoardPresence.ONLINE or pulse is None or not pulse.stages:
            self._counted.pop(record.name, None)
            return 0
        count = sum(stage.refused.get("queue", 0) for stage in pulse.stages)
        session, before = self._counted.get(record.name, (pulse.session, count))
        self._counted[record.name] = pulse.session, count
        return max(0, count - before) if session == pulse.session else 0


def overloaded(name: str, wanted: Iterable[Demand], refused: int, is_told: bool) -> Evidence | Lack:
    """Whether that board is asked for more than it does. Figures: deployment, waiting_rows, queued, room, refused."""
    for demand in wanted:
        is_slowest = name in demand.queued if is_told else name in demand.slowest()
        if is_slowest and demand.is_full(STILL_FULL if is_told else FULL):
            return Evidence(
                {
                    "deployment": demand.deployment,
                    "waiting_rows": demand.waiting_rows,
                    "queued": demand.queued[name],
                    "room": demand.room,
                    "refused": refused,
                }
            )
    if refused:
        return Evidence({"deployment": "", "waiting_rows": 0, "queued": 0, "room": 0, "refused": refused})
    return ABSENT

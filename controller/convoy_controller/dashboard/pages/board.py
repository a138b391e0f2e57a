"""The page of one board: why it is not at target and what to do, what it holds, how it does, what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from convoy_schema.messages.boards import PartitionReport, Phase
from convoy_schema.messages.logs import LogLevel
from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from convoy_controller.dashboard import board_sight
from convoy_controller.dashboard.board_sight import PRESENCE_DAYS, SPANS, BoardSight, LogSight, Presence, lasted
from convoy_controller.dashboard.chart import TimeChart
from convoy_controller.dashboard.layout import View, frame
from convoy_controller.dashboard.live import EVENTS
from convoy_controller.dashboard.parts import (
    SEVERITIES,
    Sign,
    button,
    bytes_text,
    condition_sign,
    date_text,
    duration_text,
    text,
)
from convoy_controller.dashboard.table import Column, Part, Row, Table, ago, deployment_link, progress, state, words
from convoy_controller.database.history import BoardPoint
from convoy_controller.database.log_records import request_log
from convoy_controller.database.records import LogOutcome
from convoy_controller.database.views import Assigned, BoardDetail, EventLine, LogLine, SessionLine

PATH = "/boards/{board}"
#: Seconds between looks at what moves without a mark: charts and log.
CHART_S = 5.0
LOG_S = 2.0

ASSIGNMENT_COLUMNS = (
    Column("Deployment"),
    Column("Stage"),
    Column("Layers", always=False),
    Column("Phase"),
    Column("Progress"),
    Column("For", always=False),
)
PARTITION_COLUMNS = (Column("Partition"), Column("Holds"), Column("Should hold", always=False), Column("State"))
ABSENCE_COLUMNS = (Column("Away since"), Column("For"), Column("How it ended", always=False), Column("Reason"))
SESSION_COLUMNS = (Column("Session"), Column("Began"), Column("Ended"), Column("Reason", always=False))
EVENT_COLUMNS = (Column("When"), Column("Severity"), Column("Kind", always=False), Column("What happened"))
LOG_COLUMNS = (Column("When"), Column("Level"), Column("From", always=False), Column("What it says"))

_PHASES = {Phase.READY: Sign("●", "good"), Phase.FAILED: Sign("■", "bad"), Phase.IDLE: Sign("○", "quiet")}
_LEVELS = {LogLevel.WARNING: Sign("▲", "warning"), LogLevel.ERROR: Sign("■", "bad")}
_QUIET, _BUSY = Sign("·", "quiet"), Sign("◔", "busy")
_OUTCOMES = {
    LogOutcome.COLLECTED: "",
    LogOutcome.OFFLINE: "It was offline when it was asked last, so nothing new came.",
    LogOutcome.SILENT: "It did not answer when it was asked last.",
}


def assignment_row(each: Assigned) -> Row:
    """An assignment: what the board is to run, and how far it is with it."""
    phase: list[Part] = [state(_PHASES.get(each.phase, _BUSY), each.phase.value)]
    phase += [words(each.step, block=True)] if each.step else []
    phase += [words(f"{each.message} (code {each.code})", block=True)] if each.code else []
    far: list[Part] = []
    if each.total_bytes and each.phase is Phase.FETCHING:
        told = f"{bytes_text(each.done_bytes)} of {bytes_text(each.total_bytes)}"
        far = [progress(each.done_bytes, each.total_bytes, f"Fetched: {told}"), words(told)]
    stage = f"{each.stage + 1} of {each.stages}, generation {each.generation}, {each.generation_state.value}"
    return Row(
        f"{each.deployment} {each.generation} {each.stage}",
        (deployment_link(each.deployment), stage, ", ".join(each.layers), phase, far, ago(each.since)),
    )


def partition_row(report: PartitionReport, wanted: str) -> Row:
    """A partition: what is in it, and what should be."""
    if report.degraded:
        told = state(Sign("▲", "warning"), "degraded")
    elif report.coupled:
        told = state(Sign("●", "good"), "in use")
    else:
        told = state(_QUIET, "cut off")
    return Row(report.partition, (report.partition, report.module.value if report.module else "blank", wanted, [told]))


def should_hold(assigned: tuple[Assigned, ...], partition: str) -> str:
    """The modules that its assignments ask for there."""
    return ", ".join(sorted({each.slots[partition] for each in assigned if partition in each.slots}))


def session_row(line: SessionLine) -> Row:
    """A run of its daemon."""
    ended = date_text(line.ended_at) or "it still lasts"
    return Row(line.session, (str(line.session), date_text(line.started_at), ended, line.reason))


def event_row(line: EventLine) -> Row:
    """Something that happened to it."""
    return Row(
        line.id,
        (date_text(line.at), [state(SEVERITIES[line.severity], line.severity.value)], line.kind, line.sentence),
    )


def log_row(line: LogLine) -> Row:
    """A line of its log."""
    told = state(_LEVELS.get(line.level, _QUIET), line.level.value)
    return Row(line.id, (date_text(line.at), [told], line.logger, line.sentence))


def presence_text(found: Presence) -> str:
    """How much it was there, in a sentence."""
    if found.share is None:
        return "Whether it was there is not known."
    away = sum(each.is_certain for each in found.absences)
    times = "once" if away == 1 else f"{away:,} times"
    told = f"There for {100 * found.share:.2f} % of the last {duration_text(found.known)}"
    return f"{told}, and away {times}." if away else f"{told}."


def throughput_text(points: Sequence[BoardPoint]) -> str:
    """The chart of rows, in a sentence."""
    if not points:
        return "Nothing was heard in this time."
    rates = [point.rows_per_s for point in points]
    return f"{rates[-1]:,.1f} a second last; at most {max(rates):,.1f}, on average {sum(rates) / len(rates):,.1f}."


def temperature_text(points: Sequence[BoardPoint]) -> str:
    """The chart of temperature, in a sentence."""
    found = [point.temperature_c for point in points if point.temperature_c is not None]
    highest = [point.temperature_max for point in points if point.temperature_max is not None]
    if not found:
        return "It has told no temperature in this time; an emulated board may have no sensor."
    return f"{found[-1]:.1f} °C last; at most {max([*highest, *found]):.1f} °C."


def facts_of(detail: BoardDetail) -> dict[str, str]:
    """What it is, by name of the fact; what is not known is left out."""
    facts, described, pulse = detail.facts, detail.capability, detail.statistics
    found = {
        "Part": facts.part,
        "Fabric": facts.fabric,
        "Shell": facts.shell,
        "Software": facts.software,
        "Session": f"{facts.session}, since {date_text(facts.session_started)}" if facts.session_started else "",
        "Clock": f"{described.clock_hz / 1e6:g} MHz" if described else "",
        "Store": f"{bytes_text(detail.store_bytes)} of {bytes_text(detail.store_quota)}" if detail.store_quota else "",
        "Daemon's memory": bytes_text(pulse.rss_bytes) if pulse else "",
        "First seen": date_text(facts.first_seen),
        "Last seen": date_text(facts.last_seen),
    }
    return {name: value for name, value in found.items() if value}


class Facts:
    """A list of names and values, made once and changed in place."""

    def __init__(self, name: str) -> None:
        self._list = text("dl").classes("convoy-facts").props(f'aria-label="{name}"')
        self._values: dict[str, Any] = {}

    def show(self, facts: dict[str, str]) -> None:
        """Show these; the order is that in which they came first."""
        for name, value in facts.items():
            if name not in self._values:
                with self._list, text("div") as pair:
                    text("dt", name)
                    self._values[name] = (pair, text("dd"))
            self._values[name][1].text = value
        for name, (pair, _) in self._values.items():
            pair.set_visibility(name in facts)


class BoardPage:
    """The page in one browser."""

    def __init__(self, view: View, board: str, span: str) -> None:
        self._view = view
        self._board = board
        self._span = span if span in SPANS else "hour"
        self._why()
        with ui.column().classes("convoy-section") as self._known:
            self._holdings()
            self._charts()
            self._presence()
        text("h2", "What happened")
        self._events = Table(EVENT_COLUMNS, f"Newest events of {board}", "Nothing that is kept has happened to it.")
        ui.link("All its events", f"/events?board={quote(board)}")
        with ui.column().classes("convoy-section") as self._logged:
            self._logs()

    async def begin(self) -> None:
        """Show the board, and go on showing it."""
        database, board = self._view.database, self._board
        keep = self._view.keep
        await keep(
            partial(board_sight.board_sight, database, board), self._show, on={"boards", "generations"}, every_s=30
        )
        await keep(partial(board_sight.recent_events, database, board), self._show_events, on={EVENTS})
        self._charted = await keep(self._read_chart, self._show_chart, every_s=CHART_S)
        await keep(partial(board_sight.presence, database, board), self._show_presence, on={"boards"}, every_s=60)
        self._log_reading = await keep(partial(board_sight.log_sight, database, board), self._show_log, every_s=LOG_S)

    # Why ------------------------------------------------------------------------------------------------------------

    def _why(self) -> None:
        with text("section").classes("convoy-why").props('aria-label="Why it is where it is"'):
            with text("p"):
                self._sign = text("span").classes("convoy-sign")
                self._since = text("span")
            self._sentence = text("p").props('role="status"').classes("convoy-summary")
            with text("p"):
                text("span", "To do: ").classes("convoy-todo")
                self._action = text("span")
            self._targets = Facts("What it should hold, and does")

    def _show(self, sight: BoardSight) -> None:
        why, detail = sight.why, sight.detail
        sign = condition_sign(why.condition)
        self._sign.text = f"{sign.glyph} {why.condition.value}"
        self._sign.classes(replace=f"convoy-sign {sign.tone}")
        self._since.text = f" since {date_text(why.since)}" if why.since else ""
        self._sentence.text = why.sentence
        self._action.text = why.action
        targets = {"Should hold": why.wanted, "Is": why.actual, "Blocked by": why.blocked_by}
        self._targets.show({name: value for name, value in targets.items() if value})
        self._known.set_visibility(detail is not None)
        if detail is not None:
            self._assigned.show(map(assignment_row, detail.assignments))
            self._partitions.show(
                partition_row(each, should_hold(detail.assignments, each.partition)) for each in detail.partitions
            )
            self._facts.show(facts_of(detail))
            self._sessions.show(map(session_row, detail.sessions))

    # What it holds and is ---------------------------------------------------------------------------------------------

    def _holdings(self) -> None:
        text("h2", "What it runs")
        self._assigned = Table(ASSIGNMENT_COLUMNS, "Assignments", "No deployment is placed on it.")
        text("h2", "Partitions")
        self._partitions = Table(PARTITION_COLUMNS, "Partitions", "It has told of no partition.")
        text("h2", "What it is")
        self._facts = Facts("What the board is")

    # How it does ------------------------------------------------------------------------------------------------------

    def _charts(self) -> None:
        text("h2", "Throughput and temperature")
        spans = {"hour": "the last hour", "day": "the last day", "month": "the last 30 days"}
        ui.select(spans, value=self._span, label="Time", on_change=self._choose_span).props(
            "outlined dense options-dense"
        ).classes("convoy-choice")
        with ui.row().classes("convoy-charts"):
            self._rows = TimeChart("Rows computed", "a second", "#1f77d0", area=True)
            self._warmth = TimeChart("Temperature", "°C", "#d9541e")

    def _read_chart(self) -> tuple[BoardPoint, ...]:
        return board_sight.over_time(self._view.database, self._board, self._span)

    def _show_chart(self, points: tuple[BoardPoint, ...]) -> None:
        self._rows.show(((point.at, point.rows_per_s) for point in points), throughput_text(points))
        self._warmth.show(((point.at, point.temperature_c) for point in points), temperature_text(points))

    async def _choose_span(self, event: ValueChangeEventArguments[str]) -> None:
        self._span = event.value
        self._view.remember(span=None if self._span == "hour" else self._span)
        await self._view.again(self._charted)

    # Presence ---------------------------------------------------------------------------------------------------------

    def _presence(self) -> None:
        text("h2", "Presence")
        self._there = text("p")
        self._absences = Table(ABSENCE_COLUMNS, f"Absences in the last {PRESENCE_DAYS} days", "")
        with ui.expansion("Runs of its daemon").props("dense").classes("convoy-more"):
            self._sessions = Table(SESSION_COLUMNS, "Runs of its daemon, the newest first", "None is known.")

    def _show_presence(self, found: Presence | None) -> None:
        self._there.text = "" if found is None else presence_text(found)
        absences = () if found is None else found.absences[-20:][::-1]
        self._absences.set_visibility(bool(absences))
        self._absences.show(
            Row(
                f"{number} {each.began_at}",
                (
                    date_text(each.began_at),
                    duration_text(lasted(each.began_at, each.ended_at)),
                    date_text(each.ended_at) or "it still lasts",
                    each.reason if each.is_certain else f"{each.reason} (not certain)",
                ),
            )
            for number, each in enumerate(absences)
        )

    def _show_events(self, lines: tuple[EventLine, ...]) -> None:
        self._events.show(map(event_row, lines))

    # Log --------------------------------------------------------------------------------------------------------------

    def _logs(self) -> None:
        text("h2", "Its log")
        with ui.row().classes("convoy-line"):
            button("Fetch the log", self._ask_log)
            self._log_told = ui.label().props('role="status"').classes("convoy-quiet")
        self._log = Table(LOG_COLUMNS, f"Log of {self._board}, the newest first", "Nothing of it has been fetched yet.")

    async def _ask_log(self) -> None:
        await run_in_threadpool(request_log, self._view.database, self._board)
        await self._view.again(self._log_reading)

    def _show_log(self, sight: LogSight | None) -> None:
        self._logged.set_visibility(sight is not None)
        if sight is None:
            return
        asked = sight.state
        if asked.asked > asked.answered:
            self._log_told.text = "Asked; it answers within a few seconds if it is there."
        else:
            self._log_told.text = "" if asked.outcome is None else _OUTCOMES[asked.outcome]
        self._log.show(log_row(line) for line in reversed(sight.lines))


async def board(request: Request, board: str, span: str = "hour") -> None:
    """The page of a board, known or not: of one that was never seen it says what that means."""
    with frame(request, board, f"/boards/{quote(board, safe='')}") as view:
        await BoardPage(view, board, span).begin()


def register() -> None:
    """Tell NiceGUI of it."""
    ui.page(PATH, response_timeout=20)(board)

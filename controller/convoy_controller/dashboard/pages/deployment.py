"""The page of one deployment: its pipeline drawn, throughput and latency over time, its generations and events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from convoy_controller.dashboard import deployment_sight
from convoy_controller.dashboard.chart import TimeChart
from convoy_controller.dashboard.deployment_sight import SPANS, DeploymentSight
from convoy_controller.dashboard.layout import View, frame
from convoy_controller.dashboard.live import EVENTS
from convoy_controller.dashboard.pages.deployments import ready_text, state_sign
from convoy_controller.dashboard.parts import SEVERITIES, Sign, date_text, text
from convoy_controller.dashboard.pipeline_drawing import PipelineDrawing, time_text
from convoy_controller.dashboard.table import Column, Row, Table, board_link, state
from convoy_controller.database.history import DeploymentPoint
from convoy_controller.database.records import GenerationState
from convoy_controller.database.views import EventLine, FeedActivity, GenerationLine

PATH = "/deployments/{deployment}"
#: Seconds between looks at what moves without a mark: the pipeline's figures, and the charts.
FLOW_S = 1.0
CHART_S = 5.0
GENERATION_COLUMNS = (
    Column("Generation"),
    Column("State"),
    Column("Boards", always=False),
    Column("Why"),
    Column("Since", always=False),
)
EVENT_COLUMNS = (Column("When"), Column("Severity"), Column("Board", always=False), Column("What happened"))
FEED_COLUMNS = (
    Column("Gateway"),
    Column("Waiting"),
    Column("In flight", always=False),
    Column("Answered"),
    Column("p50 and p99"),
)
_GENERATIONS = {
    GenerationState.SERVING: Sign("●", "good"),
    GenerationState.STAGED: Sign("◔", "busy"),
    GenerationState.PROBING: Sign("◔", "busy"),
    GenerationState.QUEUED: Sign("◔", "busy"),
    GenerationState.DRAINING: Sign("◌", "quiet"),
    GenerationState.RETIRED: Sign("○", "quiet"),
    GenerationState.ABANDONED: Sign("▲", "warning"),
}


def generation_row(line: GenerationLine) -> Row:
    """A placement in its history."""
    told = [state(_GENERATIONS[line.state], line.state.value)]
    return Row(
        str(line.generation), (str(line.generation), told, str(line.boards), line.reason, date_text(line.changed_at))
    )


def event_row(line: EventLine) -> Row:
    """Something that happened to it."""
    told = [state(SEVERITIES[line.severity], line.severity.value)]
    return Row(line.id, (date_text(line.at), told, board_link(line.board), line.sentence))


def feed_row(feed: FeedActivity) -> Row:
    """What a gateway does for it."""
    latency = f"{time_text(feed.latency_p50_us)}, {time_text(feed.latency_p99_us)}" if feed.latency_p50_us else ""
    counts = (
        f"{feed.waiting_rows:,} rows",
        f"{feed.in_flight:,} frames",
        f"{feed.answered:,} ({feed.failed:,} failed)",
    )
    return Row(feed.gateway, (feed.gateway, *counts, latency))


def throughput_text(points: Sequence[DeploymentPoint]) -> str:
    """The chart of requests, in a sentence."""
    if not points:
        return "Nothing was heard in this time."
    rates = [point.answered_per_s for point in points]
    return f"{rates[-1]:,.1f} a second last; at most {max(rates):,.1f}, on average {sum(rates) / len(rates):,.1f}."


def latency_text(values: list[float | int | None]) -> str:
    """A chart of latency, in a sentence."""
    found = [value for value in values if value is not None]
    if not found:
        return "Nothing was answered in this time."
    return f"{time_text(found[-1])} last; at most {time_text(max(found))}."


class DeploymentPage:
    """The page in one browser."""

    def __init__(self, view: View, name: str, span: str) -> None:
        self._view, self._name = view, name
        self._span = span if span in SPANS else "hour"
        with text("p"):
            self._sign = text("span").classes("convoy-sign")
            self._what = text("span")
        self._message = text("p").props('role="status"')
        with ui.column().classes("convoy-section") as self._known:
            text("h2", "Pipeline")
            self._drawing = PipelineDrawing()
            self._feeds = Table(FEED_COLUMNS, "At the gateways", "No gateway feeds it.")
            self._charts()
            text("h2", "Generations")
            self._generations = Table(
                GENERATION_COLUMNS, "Generations, the newest first", "It has not been placed yet."
            )
        text("h2", "What happened")
        self._events = Table(EVENT_COLUMNS, f"Newest events of {name}", "Nothing that is kept has happened to it.")
        ui.link("All its events", f"/events?deployment={quote(name)}")

    async def begin(self) -> None:
        """Show the deployment, and go on showing it."""
        database, name, keep = self._view.database, self._name, self._view.keep
        kinds = {"deployments", "generations", "boards"}
        await keep(partial(deployment_sight.deployment_sight, database, name), self._show, on=kinds, every_s=FLOW_S)
        await keep(partial(deployment_sight.generations, database, name), self._show_generations, on={"generations"})
        self._charted = await keep(self._read_charts, self._show_charts, every_s=CHART_S)
        await keep(partial(deployment_sight.recent_events, database, name), self._show_events, on={EVENTS})

    def _show(self, sight: DeploymentSight) -> None:
        line = sight.line
        self._known.set_visibility(line is not None)
        self._sign.set_visibility(line is not None)
        if line is None:
            self._what.text = f"There is no deployment {self._name}: `convoy deployments` lists those there are."
            self._message.text = ""
            return
        sign = state_sign(line.state)
        self._sign.text = f"{sign.glyph} {line.state.value}"
        self._sign.classes(replace=f"convoy-sign {sign.tone}")
        self._what.text = f" {line.model} {line.version}, by {line.method.value}; boards ready: {ready_text(line)}"
        self._message.text = line.message
        self._drawing.show(sight.pipeline)
        self._feeds.show(map(feed_row, sight.feeds))

    def _charts(self) -> None:
        text("h2", "Throughput and latency")
        spans = {"hour": "the last hour", "day": "the last day", "month": "the last 30 days"}
        ui.select(spans, value=self._span, label="Time", on_change=self._choose_span).props(
            "outlined dense options-dense"
        ).classes("convoy-choice")
        with ui.row().classes("convoy-charts"):
            self._answered = TimeChart("Requests answered", "a second", "#1f77d0", area=True)
            self._p50 = TimeChart("Latency, median", "ms", "#2a8f5b")
            self._p99 = TimeChart("Latency, 99 of 100 are faster", "ms", "#d9541e")

    def _read_charts(self) -> tuple[DeploymentPoint, ...]:
        return deployment_sight.over_time(self._view.database, self._name, self._span)

    def _show_charts(self, points: tuple[DeploymentPoint, ...]) -> None:
        self._answered.show(((point.at, point.answered_per_s) for point in points), throughput_text(points))
        for chart, values in (
            (self._p50, [point.latency_p50_us for point in points]),
            (self._p99, [point.latency_p99_us for point in points]),
        ):
            drawn = [None if value is None else value / 1000 for value in values]
            chart.show(zip((point.at for point in points), drawn, strict=True), latency_text(list(values)))

    async def _choose_span(self, event: ValueChangeEventArguments[str]) -> None:
        self._span = event.value
        self._view.remember(span=None if self._span == "hour" else self._span)
        await self._view.again(self._charted)

    def _show_generations(self, lines: tuple[GenerationLine, ...]) -> None:
        self._generations.show(map(generation_row, lines))

    def _show_events(self, lines: tuple[EventLine, ...]) -> None:
        self._events.show(map(event_row, lines))


async def deployment(request: Request, deployment: str, span: str = "hour") -> None:
    """The page of a deployment, wanted or ended, or of a name that none has."""
    with frame(request, deployment, f"/deployments/{quote(deployment, safe='')}") as view:
        await DeploymentPage(view, deployment, span).begin()


def register() -> None:
    """Tell NiceGUI of it."""
    ui.page(PATH, response_timeout=20)(deployment)

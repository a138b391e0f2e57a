"""The events page: history, filtered, live at its newest end, or around a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from convoy_controller.dashboard.layout import View, frame
from convoy_controller.dashboard.live import EVENTS
from convoy_controller.dashboard.parts import SEVERITIES, button, date_text
from convoy_controller.dashboard.table import Column, Row, Table, board_link, deployment_link, state
from convoy_controller.database import pages
from convoy_controller.database.engine import Database
from convoy_controller.database.pages import EventFilter
from convoy_controller.database.records import Severity
from convoy_controller.database.views import EventLine
from convoy_controller.moments import moment

PATH = "/events"
#: Events on one page, and minutes to either side of a moment.
ROWS = 100
AROUND_MIN = 10

COLUMNS = (
    Column("When"),
    Column("Severity"),
    Column("Kind", always=False),
    Column("Board", always=False),
    Column("Deployment", always=False),
    Column("What happened"),
)


@dataclass(frozen=True)
class Asked:
    """What the page is asked for. `around` is a moment; unset: the newest. `before` is the number to go on from."""

    board: str = ""
    deployment: str = ""
    severity: Severity | None = None
    kind: str = ""
    around: datetime | None = None
    before: int | None = None

    def filter(self) -> EventFilter:
        """As the query takes it."""
        span = timedelta(minutes=AROUND_MIN)
        return EventFilter(
            self.board or None,
            self.deployment or None,
            self.severity,
            self.kind or None,
            None if self.around is None else self.around - span,
            None if self.around is None else self.around + span,
        )


def row_of(line: EventLine) -> Row:
    """An event as the table shows it."""
    return Row(
        line.id,
        (
            date_text(line.at),
            [state(SEVERITIES[line.severity], line.severity.value)],
            line.kind,
            board_link(line.board),
            deployment_link(line.deployment),
            line.sentence,
        ),
    )


def read(database: Database, asked: Asked) -> tuple[EventLine, ...]:
    """One more than a page, so that it is known whether there are older ones."""
    return pages.events(database, asked.filter(), ROWS + 1, asked.before)


class EventsPage:
    """The page in one browser."""

    def __init__(self, view: View, asked: Asked) -> None:
        self._view = view
        self._asked = asked
        self._lines: tuple[EventLine, ...] = ()
        with ui.row().classes("convoy-filters").props('role="search" aria-label="Filter events"'):
            self._input("Board", asked.board, "board")
            self._input("Deployment", asked.deployment, "deployment")
            ui.select(
                {"": "any", **{each.value: each.value for each in Severity}},
                value=asked.severity.value if asked.severity else "",
                label="Severity",
                on_change=self._severity,
            ).props("outlined dense options-dense")
            self._input("Kind", asked.kind, "kind")
            around = "" if asked.around is None else f"{asked.around:%Y-%m-%d %H:%M:%S}"
            ui.input(
                "Around (UTC)",
                value=around,
                placeholder="2026-01-31 12:00",
                validation={"as 2026-01-31 12:00": lambda words: not words or moment(words) is not None},
                on_change=self._around,
            ).props("outlined dense debounce=400 clearable stack-label hide-bottom-space")
        self._told = ui.label().classes("convoy-quiet")
        self._table = Table(COLUMNS, "Events, the newest first", "No event is kept that fits.")
        with ui.row():
            self._newest = button("Newest", partial(self._ask, before=None))
            self._older = button("Older", self._go_back)

    async def begin(self) -> None:
        """Show the events, and go on showing them."""
        self._reading = await self._view.keep(self._read, self._show, on={EVENTS})

    def _read(self) -> tuple[Asked, tuple[EventLine, ...]]:
        asked = self._asked
        return asked, read(self._view.database, asked)

    def _show(self, found: tuple[Asked, tuple[EventLine, ...]]) -> None:
        asked, lines = found
        self._lines = lines[:ROWS]
        self._table.show(row_of(line) for line in self._lines)
        self._older.set_enabled(len(lines) > ROWS)
        self._newest.set_enabled(asked.before is not None)
        if asked.around is not None:
            place = f"{AROUND_MIN} minutes to either side of {date_text(asked.around)}"
        else:
            place = "the newest, live" if asked.before is None else "older ones"
        self._told.set_text(f"{len(self._lines)} events: {place}.")

    def _input(self, label: str, value: str, name: str) -> None:
        async def change(event: ValueChangeEventArguments[str | None]) -> None:
            await self._ask(**{name: (event.value or "").strip(), "before": None})

        ui.input(label, value=value, on_change=change).props("outlined dense debounce=400 clearable")

    async def _severity(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(severity=Severity(event.value) if event.value else None, before=None)

    async def _around(self, event: ValueChangeEventArguments[str | None]) -> None:
        found = moment(event.value or "")
        if found is not None or not event.value:
            await self._ask(around=found, before=None)

    async def _go_back(self) -> None:
        if self._lines:
            await self._ask(before=self._lines[-1].id)

    async def _ask(self, **change: object) -> None:
        self._asked = replace(self._asked, **change)  # type: ignore[arg-type]
        asked = self._asked
        self._view.remember(
            board=asked.board,
            deployment=asked.deployment,
            severity=asked.severity.value if asked.severity else "",
            kind=asked.kind,
            around="" if asked.around is None else f"{asked.around:%Y-%m-%dT%H:%M:%S}",
        )
        await self._view.again(self._reading)


def severity_of(word: str) -> Severity | None:
    """None for a word that is none."""
    return next((each for each in Severity if each.value == word), None)


async def events(
    request: Request, board: str = "", deployment: str = "", severity: str = "", kind: str = "", around: str = ""
) -> None:
    """Filters come from the address, so that a link says what is shown."""
    with frame(request, "Events", PATH) as view:
        asked = Asked(board, deployment, severity_of(severity), kind, moment(around) if around else None)
        await EventsPage(view, asked).begin()


def register() -> None:
    """Tell NiceGUI of it."""
    ui.page(PATH, title="Events · Convoy", response_timeout=20)(events)

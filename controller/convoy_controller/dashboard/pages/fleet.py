"""The fleet page: how many boards are in which state, problems first, and all boards in a table with a search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from convoy_controller.dashboard.fleet_sight import ROWS, Asked, FleetSight, GroupSight, Trouble, fleet_sight
from convoy_controller.dashboard.layout import View, frame
from convoy_controller.dashboard.parts import button, condition_sign, text
from convoy_controller.dashboard.table import (
    Column,
    Row,
    Table,
    ago,
    board_link,
    deployment_link,
    link,
    state,
    words,
)
from convoy_controller.database.views import Condition, FleetLine

PATH = "/"

PROBLEM_COLUMNS = (Column("Board"), Column("What is wrong, and what to do"), Column("For", always=False))
GROUP_COLUMNS = (
    Column("Group"),
    Column("Site", always=False),
    Column("Boards"),
    Column("Problems"),
    Column("States", always=False),
)
BOARD_COLUMNS = (
    Column("Board"),
    Column("State"),
    Column("For"),
    Column("Deployment", always=False),
    Column("Stage", always=False),
    Column("Shell", always=False),
    Column("Part", always=False),
)


def board_row(line: FleetLine) -> Row:
    """A board as the table shows it."""
    stage = "" if line.stage is None or line.stages is None else f"{line.stage + 1} of {line.stages}"
    told = [state(condition_sign(line.condition), line.condition.value)]
    place = deployment_link(line.deployment)
    return Row(line.board, (board_link(line.board), told, ago(line.since), place, stage, line.shell, line.part))


def problem_row(trouble: Trouble) -> Row:
    """A problem as the table shows it."""
    line = trouble.line
    told = state(condition_sign(line.condition), line.condition.value, block=True)
    sentences = [words(line.sentence, block=True), words(trouble.action, "To do:", block=True)]
    return Row(line.board, ([*board_link(line.board), told], sentences, ago(line.since)))


def group_row(sight: GroupSight) -> Row:
    """A group as the table shows it."""
    name = [link(sight.group, f"{PATH}?group={quote(sight.group)}")]
    return Row(sight.group, (name, sight.site, f"{sight.boards:,}", f"{sight.problems:,}", states(sight.counts)))


def states(counts: tuple[tuple[Condition, int], ...]) -> str:
    """Conditions and how many are in each, as a sentence's part."""
    return ", ".join(f"{count:,} {condition.value}" for condition, count in counts)


def summary(sight: FleetSight) -> str:
    """The fleet in one sentence."""
    boards = "1 board" if sight.boards == 1 else f"{sight.boards:,} boards"
    if not sight.problems:
        return f"{boards}, and none has a problem."
    return f"{boards}, {sight.problems:,} with a problem."


class FleetPage:
    """The page in one browser."""

    def __init__(self, view: View, asked: Asked) -> None:
        self._view = view
        self._asked = asked
        self._summary = text("p").props('role="status"').classes("convoy-summary")
        self._first_steps()
        with ui.column().classes("convoy-section") as self._sections:
            self._counts()
            with ui.column().classes("convoy-section") as self._trouble:
                text("h2", "Problems")
                self._problems = Table(PROBLEM_COLUMNS, "Boards with a problem, the worst first")
                self._more = ui.label().classes("convoy-quiet")
            with ui.column().classes("convoy-section") as self._grouped:
                text("h2", "Groups")
                self._groups = Table(GROUP_COLUMNS, "Groups")
            text("h2", "All boards")
            self._filters()
            self._told = ui.label().classes("convoy-quiet")
            self._boards = Table(BOARD_COLUMNS, "Boards, by name", "No board fits.")
            with ui.row() as self._pager:
                self._back = button("Previous", lambda: self._turn(-ROWS))
                self._on = button("Next", lambda: self._turn(ROWS))

    async def begin(self) -> None:
        """Show the fleet, and go on showing it."""
        self._reading = await self._view.keep(self._read, self._show, on={"boards", "generations", "groups"})

    def _read(self) -> FleetSight:
        return fleet_sight(self._view.database, self._asked)

    def _show(self, sight: FleetSight) -> None:
        self._summary.text = summary(sight) if sight.boards else "No board has joined this fleet yet."
        self._empty.set_visibility(not sight.boards)
        self._sections.set_visibility(bool(sight.boards))
        counted = dict(sight.counts)
        for condition, (item, count) in self._states.items():
            count.text = f"{counted.get(condition, 0):,}"
            item.set_visibility(condition in counted)
        self._trouble.set_visibility(bool(sight.troubles))
        self._problems.show(map(problem_row, sight.troubles))
        left = sight.problems - len(sight.troubles)
        self._more.text = f"and {left:,} more: choose their state below." if left else ""
        self._grouped.set_visibility(bool(sight.groups))
        self._groups.show(map(group_row, sight.groups))
        self._boards.show(map(board_row, sight.lines))
        last = sight.first + len(sight.lines)
        self._told.text = f"{sight.first + 1:,} to {last:,} of {sight.found:,}" if sight.lines else ""
        self._back.set_enabled(sight.first > 0)
        self._on.set_enabled(last < sight.found)
        self._pager.set_visibility(sight.found > ROWS)

    def _first_steps(self) -> None:
        with ui.column().classes("convoy-section") as self._empty:
            text("h2", "What to do first")
            text("p", "On a board, or for an emulated one anywhere, with this fleet's broker in its file:")
            text("pre", "convoy-device run --config board.toml")
            text("p", "Over TLS (convoy up --tls), invite each board first; this prints a claim, which it enrols with:")
            text("pre", "convoy board invite board-1")
            text("p", "Or see a whole fleet on this machine:")
            text("pre", "convoy demo")

    def _counts(self) -> None:
        self._states = {}
        with text("ul").classes("convoy-counts").props('aria-label="Boards by state"'):
            for condition in Condition:
                sign = condition_sign(condition)
                item = text("li").classes(f"convoy-count {sign.tone}")
                with item, ui.link(target=f"{PATH}?condition={condition.value}"):
                    count = text("strong")
                    text("span", sign.glyph).props('aria-hidden="true"')
                    text("span", condition.value)
                self._states[condition] = (item, count)

    def _filters(self) -> None:
        asked = self._asked
        with ui.row().classes("convoy-filters").props('role="search" aria-label="Find boards"'):
            ui.input("Name contains", value=asked.text, on_change=self._ask_text).props(
                "outlined dense debounce=300 clearable"
            )
            ui.select(
                {"": "any", **{each.value: each.value for each in Condition}},
                value=asked.condition.value if asked.condition else "",
                label="State",
                on_change=self._ask_condition,
            ).props("outlined dense options-dense")
            ui.input("Group", value=asked.group, on_change=self._ask_group).props(
                "outlined dense debounce=300 clearable"
            )
            ui.input("Deployment", value=asked.deployment, on_change=self._ask_deployment).props(
                "outlined dense debounce=300 clearable"
            )

    async def _ask_text(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(text=(event.value or "").strip())

    async def _ask_condition(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(condition=condition_of(event.value or ""))

    async def _ask_group(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(group=(event.value or "").strip())

    async def _ask_deployment(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(deployment=(event.value or "").strip())

    async def _turn(self, rows: int) -> None:
        await self._ask(first=max(0, self._asked.first + rows))

    async def _ask(self, **change: Any) -> None:
        self._asked = asked = replace(self._asked, **{"first": 0, **change})
        self._view.remember(
            text=asked.text,
            condition=asked.condition.value if asked.condition else "",
            group=asked.group,
            deployment=asked.deployment,
            first=asked.first or "",
        )
        await self._view.again(self._reading)


def condition_of(word: str) -> Condition | None:
    """None for a word that is none."""
    return next((each for each in Condition if each.value == word), None)


async def fleet(
    request: Request, text: str = "", condition: str = "", group: str = "", deployment: str = "", first: str = ""
) -> None:
    """What is asked for comes from the address, so that a link says what is shown."""
    with frame(request, "Fleet", PATH) as view:
        number = int(first) if first.isascii() and first.isdigit() and len(first) < 8 else 0
        await FleetPage(view, Asked(text, condition_of(condition), group, deployment, number)).begin()


def register() -> None:
    """Tell NiceGUI of it."""
    ui.page(PATH, title="Fleet · Convoy", response_timeout=20)(fleet)

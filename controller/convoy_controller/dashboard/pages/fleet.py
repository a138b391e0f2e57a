"""The fleet page: how many boards are in which state, problems first, and all boards in a table with a search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from convoy_controller.dashboard.fleet_sight import MOST_PLACES, Asked, FleetSight, Place, fleet_sight, place_of
from convoy_controller.dashboard.layout import View, frame
from convoy_controller.dashboard.pager import Pager
from convoy_controller.dashboard.parts import condition_sign, text
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
from convoy_controller.database.status_views import Problem, StateCounts
from convoy_controller.database.views import Condition, FleetLine

PATH = "/"

PROBLEM_COLUMNS = (Column("Board"), Column("What is wrong, and what to do"), Column("For", always=False))
_COUNTED = (Column("Boards"), Column("Problems"), Column("States", always=False))
SITE_COLUMNS = (Column("Site"), *_COUNTED)
GROUP_COLUMNS = (Column("Group"), Column("Site", always=False), *_COUNTED)
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


def problem_row(problem: Problem) -> Row:
    """A problem as the table shows it."""
    told = state(condition_sign(problem.condition), problem.condition.value, block=True)
    sentences = [words(problem.sentence, block=True), words(problem.action, "To do:", block=True)]
    return Row(problem.board, ([*board_link(problem.board), told], sentences, ago(problem.since)))


def place_row(counts: StateCounts, site: str | None = None) -> Row:
    """A site as the table shows it, or a group with its site."""
    name = [link(counts.name, f"{PATH}?{counts.scope.value}={quote(counts.name)}")]
    places = (name,) if site is None else (name, site)
    return Row(counts.name, (*places, f"{counts.boards:,}", f"{counts.problems:,}", states(counts)))


def states(counts: StateCounts) -> str:
    """Conditions and how many boards are in each, as a sentence's part."""
    return ", ".join(f"{boards:,} {condition}" for condition, boards in counts.conditions.items())


def count_text(boards: int) -> str:
    """So many boards."""
    return "1 board" if boards == 1 else f"{boards:,} boards"


def summary(counts: StateCounts) -> str:
    """The fleet in one sentence."""
    if not counts.boards:
        return "No board has joined this fleet yet."
    if not counts.problems:
        return f"{count_text(counts.boards)}, and none has a problem."
    return f"{count_text(counts.boards)}, {counts.problems:,} with a problem."


def found_text(sight: FleetSight) -> str:
    """Which of the boards that fit are shown."""
    if not sight.lines:
        return ""
    if not sight.after and not sight.has_more:
        return count_text(len(sight.lines)) + "."
    shown = f"{sight.lines[0].board} to {sight.lines[-1].board}"
    if sight.found is not None:
        return f"{shown}, of {count_text(sight.found)}."
    return f"{shown}, and there are more." if sight.has_more else f"{shown}, the last."


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
                self._trouble_pager = Pager[Place]("problems", self._turn_problems)
            with ui.column().classes("convoy-section") as self._placed:
                text("h2", "Sites")
                self._sites = Table(SITE_COLUMNS, "Sites")
                text("h2", "Groups")
                self._groups = Table(GROUP_COLUMNS, "Groups")
                self._cut = ui.label(
                    f"Of sites and groups the first {MOST_PLACES} are shown: `convoy fleet --by group` lists all."
                ).classes("convoy-quiet")
            text("h2", "All boards")
            self._filters()
            self._boards = Table(BOARD_COLUMNS, "Boards, by name", "No board fits.")
            self._pager = Pager[str]("boards", self._turn, self._asked.after or None)

    async def begin(self) -> None:
        """Show the fleet, and go on showing it."""
        self._reading = await self._view.keep(self._read, self._show, on={"boards", "generations", "groups"})

    def _read(self) -> FleetSight:
        return fleet_sight(self._view.database, self._asked)

    def _show(self, sight: FleetSight) -> None:
        fleet = sight.fleet
        self._summary.text = summary(fleet)
        self._empty.set_visibility(not fleet.boards)
        self._sections.set_visibility(bool(fleet.boards))
        for condition, (item, count) in self._states.items():
            count.text = f"{fleet.conditions.get(condition.value, 0):,}"
            item.set_visibility(condition.value in fleet.conditions)
        self._show_problems(sight)
        self._placed.set_visibility(bool(sight.sites or sight.groups))
        self._sites.show(map(place_row, sight.sites))
        self._groups.show(place_row(each, site) for each, site in sight.groups)
        self._cut.set_visibility(MOST_PLACES in (len(sight.sites), len(sight.groups)))
        self._boards.show(map(board_row, sight.lines))
        following = sight.lines[-1].board if sight.has_more else None
        self._pager.show(sight.after or None, following, found_text(sight))

    def _show_problems(self, sight: FleetSight) -> None:
        troubles = sight.troubles
        self._trouble.set_visibility(bool(troubles))
        self._problems.show(map(problem_row, troubles))
        following = place_of(troubles[-1]) if sight.has_more_troubles else None
        is_part = len(troubles) < sight.fleet.problems
        told = f"{len(troubles):,} of {sight.fleet.problems:,}, the worst first." if is_part else ""
        self._trouble_pager.show(sight.troubled_after, following, told)

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
            ui.input("Site", value=asked.site, on_change=self._ask_site).props("outlined dense debounce=300 clearable")
            ui.input("Deployment", value=asked.deployment, on_change=self._ask_deployment).props(
                "outlined dense debounce=300 clearable"
            )

    async def _ask_text(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(text=(event.value or "").strip())

    async def _ask_condition(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(condition=condition_of(event.value or ""))

    async def _ask_group(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(group=(event.value or "").strip())

    async def _ask_site(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(site=(event.value or "").strip())

    async def _ask_deployment(self, event: ValueChangeEventArguments[str | None]) -> None:
        await self._ask(deployment=(event.value or "").strip())

    async def _turn(self) -> None:
        await self._ask(after=self._pager.place or "")

    async def _turn_problems(self) -> None:
        await self._ask(troubled_after=self._trouble_pager.place, after=self._asked.after)

    async def _ask(self, **change: Any) -> None:
        if "after" not in change:
            self._pager.restart()
        self._asked = asked = replace(self._asked, **{"after": "", **change})
        self._view.remember(
            text=asked.text,
            condition=asked.condition.value if asked.condition else "",
            group=asked.group,
            site=asked.site,
            deployment=asked.deployment,
            after=asked.after,
        )
        await self._view.again(self._reading)


def condition_of(word: str) -> Condition | None:
    """None for a word that is none."""
    return next((each for each in Condition if each.value == word), None)


async def fleet(
    request: Request,
    text: str = "",
    condition: str = "",
    group: str = "",
    site: str = "",
    deployment: str = "",
    after: str = "",
) -> None:
    """What is asked for comes from the address, so that a link says what is shown."""
    with frame(request, "Fleet", PATH) as view:
        await FleetPage(view, Asked(text, condition_of(condition), group, site, deployment, after)).begin()


def register() -> None:
    """Tell NiceGUI of it."""
    ui.page(PATH, title="Fleet · Convoy", response_timeout=20)(fleet)

"""`convoy logs BOARD`: what a board's daemon says of itself, fetched from the board now."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.messages.logs import LogLevel

from convoy_controller.cli.completing import complete_boards
from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.interrupting import until_interrupted
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import print_json
from convoy_controller.cli.spans import SinceOption, parse_span

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import LogLine, LogState

#: Seconds between two requests while following, and for which an answer is waited for.
FOLLOW_S = 1.0
ANSWER_S = 4.0
#: Lines that are kept of a board.
MOST_LINES = 1000
_LOOK_S = 0.1
_COLOURS = {"warning": "yellow", "error": "red", "debug": "bright_black"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(logs)


@fleet_command
def logs(
    fleet: FleetClient,
    board: Annotated[str, typer.Argument(help="Name of the board.", autocompletion=complete_boards)],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=MOST_LINES, help="How many, the newest.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come, until Ctrl-C.")] = False,
    level: Annotated[
        LogLevel, typer.Option("--level", help="Only those that matter at least so much.")
    ] = LogLevel.DEBUG,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a board's daemon has logged: the board is asked for what is new, and its last 1,000 lines are kept.

    When it cannot be asked, what is here is shown, and a line on stderr says so. Only what the board's own log level
    lets through is there. JSON keys: id, board, at, level, logger, sentence, deployment, generation, step, session,
    number; a list, or with --follow one object a line. Exit codes: 0, 2 no such level or time, 3 no such board,
    4 no fleet there.
    """
    after = None if since is None else parse_span(since)
    with until_interrupted() if follow else contextlib.nullcontext():
        _Tail(fleet, board, level, as_json).run(lines, after, follow)


class _Tail:
    """One run of the command."""

    def __init__(self, fleet: FleetClient, board: str, level: LogLevel, as_json: bool) -> None:
        self._fleet = fleet
        self._board = board
        self._level = level
        self._as_json = as_json
        self._said = ""

    def run(self, lines: int, span: timedelta | None, follow: bool) -> None:
        begin = None if span is None else (datetime.now(timezone.utc) - span).isoformat()
        self._complain(self._ask())
        found = self._fleet.log_lines(self._board, limit=lines, level=self._level.value, since=begin)
        self._show(found, follow)
        last = found[-1].id if found else 0
        while follow:
            time.sleep(FOLLOW_S)
            self._complain(self._ask())
            found = self._fleet.log_lines(self._board, limit=MOST_LINES, after=last, level=self._level.value)
            self._show(found, follow)
            last = found[-1].id if found else last

    def _ask(self) -> LogState:
        """Have what is new fetched; the state after it, or after `ANSWER_S`."""
        number = self._fleet.ask_for_log(self._board)
        deadline = time.monotonic() + ANSWER_S
        while True:
            state = self._fleet.log_state(self._board)
            if state.answered >= number or time.monotonic() > deadline:
                return state
            time.sleep(_LOOK_S)

    def _complain(self, state: LogState) -> None:
        """Say once what keeps the board from being asked, and what it has lost."""
        sentence = trouble(state)
        if sentence and sentence != self._said:
            typer.secho(sentence, fg="yellow", err=True)
        self._said = sentence

    def _show(self, lines: tuple[LogLine, ...], follow: bool) -> None:
        if self._as_json and not follow:
            print_json(lines)
            return
        if not lines and not follow:
            typer.echo(f"nothing is known of what {self._board} has logged", err=True)
        for line in lines:
            if self._as_json:
                print_json(line, indent=None)
                continue
            typer.echo(line.at.strftime("%Y-%m-%d %H:%M:%S "), nl=False)
            typer.secho(f"{line.level.value:<8}", fg=_COLOURS.get(line.level.value), nl=False)
            typer.echo(f"{line.logger}: {line.sentence}")


def trouble(state: LogState) -> str:
    """What the reader of a log should know of how it came; '' when it is all there."""
    board = state.board
    if state.answered < state.asked:
        return f"no controller answers: this is what is kept of {board}'s log (`convoy up` starts one)"
    if state.outcome is not None and state.outcome.value == "offline":
        return f"{board} is offline: this is what is kept of its log (`convoy why {board}` says more)"
    if state.outcome is not None and state.outcome.value == "silent":
        return f"{board} does not answer: this is what is kept of its log; its software may be too old to send one"
    if state.lost:
        return f"{board} had dropped {state.lost} older lines before it was asked"
    return ""

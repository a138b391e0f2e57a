"""`convoy top`: the fleet at a glance, live in the terminal."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.errors import ConvoyError

from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.interrupting import until_interrupted
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.overview import Look, Overview, overview
from convoy_controller.cli.printing import console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from convoy_controller.api_client.client import FleetClient

#: Seconds between looks for a key or another size of the window.
_KEY_S = 0.1
#: A look may take this part of the time at most: a fleet that takes longer to ask is asked less often.
_MOST_BUSY = 0.25
#: Lines of a snapshot that goes into no terminal.
_PLAIN_LINES = 100_000


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(top)


@fleet_command
def top(
    fleet: FleetClient,
    once: Annotated[bool, typer.Option("--once", help="Print one snapshot and end.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.5, max=3600, metavar="SECONDS", help="Between two looks.")
    ] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Show the fleet as it is: boards by condition, what is wrong first, then deployments, gateways and the busiest.

    q ends it. Where there is no terminal, and with --once or --json, one snapshot is printed; its rates come of two
    looks, a second apart. JSON keys: at, fleet, conditions (boards by condition), deployments (deployment, model,
    version, state, message, generation, ready_boards, assigned_boards, answered_per_s, failed_per_s, latency_p50_us,
    latency_p99_us, in_flight, waiting_rows), gateways (gateway, presence, address, answered_per_s, waiting_rows),
    boards (board, condition, sentence, is_problem, deployment, stage, stages, phase, rows_per_s, queued,
    refused_per_s, temperature_c, last_seen). Exit codes: 0, 4 no fleet there.
    """
    made = console()
    if once or as_json or not (made.is_terminal and sys.stdin.isatty()):
        found = _snapshot(fleet)
        print_json(found) if as_json else _print(found, made)
        return
    with until_interrupted():
        _live(fleet, made, interval)


def look(fleet: FleetClient) -> Look:
    """Ask for all that is shown."""
    return Look(fleet.boards(), fleet.deployments(), fleet.gateways(), fleet.activity())


def _snapshot(fleet: FleetClient) -> Overview:
    """One look, and the rates since one a good second before."""
    before = look(fleet)
    time.sleep(1.1)  # pulses and gateways' reports come each second
    return overview(fleet.place, before, look(fleet))


def _print(found: Overview, made: Console) -> None:
    from convoy_controller.cli.screen import screen

    made.print(screen(found, _PLAIN_LINES))


def _live(fleet: FleetClient, made: Console, interval: float) -> None:
    """Until q or Ctrl-C; what cannot be asked now is asked again, with the last answer shown meanwhile."""
    from rich.live import Live
    from rich.text import Text

    from convoy_controller.cli.screen import screen

    with _Looking(fleet, interval) as looking, _keys(), Live(console=made, screen=True, auto_refresh=False) as live:
        live.update(Text(f"asking {fleet.place} ..."), refresh=True)
        size = made.size
        while not _is_pressed("q"):
            is_new = looking.take()
            if (is_new or size != made.size) and (looking.found is not None or looking.trouble):
                size = made.size
                if looking.found is None:
                    live.update(Text(looking.trouble, "yellow"), refresh=True)
                else:
                    live.update(screen(looking.found, size.height - 1, looking.trouble), refresh=True)


class _Looking:
    """Asks in a thread, so that keys are never held up; `found` and `trouble` are the last answer's."""

    def __init__(self, fleet: FleetClient, interval: float) -> None:
        self._fleet = fleet
        self._interval = interval
        self._answers: queue.Queue[Overview | str] = queue.Queue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="top", daemon=True)
        self.found: Overview | None = None
        self.trouble = ""

    def __enter__(self) -> _Looking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(1.0)

    def take(self) -> bool:
        """Whether there is anything new."""
        is_new = False
        with contextlib.suppress(queue.Empty):
            while True:
                answer = self._answers.get_nowait()
                is_new = True
                if isinstance(answer, str):
                    self.trouble = answer
                else:
                    self.found, self.trouble = answer, ""
        return is_new

    def _run(self) -> None:
        before: Look | None = None
        wait_s = 0.0
        while not self._ended.wait(wait_s):
            began = time.monotonic()
            try:
                now = look(self._fleet)
                self._answers.put(overview(self._fleet.place, before, now))
                before = now
            except ConvoyError as error:
                self._answers.put(str(error))
            except Exception as error:  # the screen is no place for a trace, and the next look may do
                self._answers.put(f"{type(error).__name__}: {error}")
            wait_s = max(self._interval, (time.monotonic() - began) / _MOST_BUSY)


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Keys come at once and are not shown; the terminal is as it was afterwards."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_pressed(key: str) -> bool:
    """Whether that key comes within `_KEY_S`; others are dropped. The end of the input counts as the key."""
    ready, _, _ = select.select([sys.stdin], [], [], _KEY_S)
    if not ready:
        return False
    pressed = os.read(sys.stdin.fileno(), 64)  # not by a buffer, which `select` does not know of
    return not pressed or key.encode() in pressed.lower()

"""An overview as a screen of text: no more lines than there are, what matters most above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convoy_controller.cli.boards import STYLES
from convoy_controller.cli.overview import Overview, TopBoard, TopDeployment
from convoy_controller.cli.printing import ago

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_STATES = {"serving": "green", "failed": "red", "paused": "yellow"}
#: Lines of headings and gaps: the head, and of each table its titles, their rule and the gap above.
_TABLE_LINES = 3


def screen(found: Overview, lines: int, trouble: str = "") -> Group:
    """At most `lines` lines; `trouble` is why what is shown is old, '' when it is not."""
    from rich.console import Group

    head = [_line(f"convoy top  {found.fleet}  {found.at:%H:%M:%S} UTC", "bold"), _conditions(found)]
    if trouble:
        head.append(_line(trouble, "yellow"))
    left = lines - len(head)
    shown = _shares(left, (len(found.deployments), len(found.gateways), len(found.boards)))
    tables = (
        _deployments(found.deployments[: shown[0]]),
        _gateways(found, shown[1]),
        _boards(found.boards[: shown[2]], found),
    )
    parts: list[Text | Table] = [*head]
    for table, count in zip(tables, shown, strict=True):
        if count:
            parts.append(table)
    hidden = len(found.boards) - shown[2]
    if hidden > 0 and left > 0:
        parts.append(_line(f"and {hidden:,} boards more", "dim"))
    return Group(*parts)


def _shares(lines: int, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """How many rows of deployments, gateways and boards fit: the boards take what the others leave, half at least."""
    tables = sum(1 for count in wanted if count)
    room = max(0, lines - tables * _TABLE_LINES - 1)
    others = room - min(wanted[2], room // 2)
    deployments = min(wanted[0], max(1, others - min(wanted[1], others // 3))) if others else 0
    gateways = max(0, min(wanted[1], others - deployments))
    return deployments, gateways, max(0, min(wanted[2], room - deployments - gateways))


def _line(text: str, style: str = "") -> Text:
    """One line, whatever the window's width."""
    from rich.text import Text

    return Text(text.replace("\n", " "), style, no_wrap=True, overflow="ellipsis")


def _conditions(found: Overview) -> Text:
    line = _line(f"{sum(found.conditions.values()):,} boards")
    for condition, count in found.conditions.items():
        line.append("  ")
        line.append(f"{condition} {count:,}", STYLES.get(condition, "red"))
    return line


def _table(titles: Sequence[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1))
    for title in titles:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    return table


def _add(table: Table, cells: Sequence[str], style: str = "") -> None:
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells), style=style)


def _deployments(lines: Sequence[TopDeployment]) -> Table:
    table = _table(
        ("DEPLOYMENT", "STATE", "READY", "ANSWERS/S", "FAILED/S", "P50", "P99", "IN FLIGHT", "WAIT", "MESSAGE")
    )
    for line in lines:
        cells = (
            line.deployment,
            line.state,
            f"{line.ready_boards}/{line.assigned_boards}",
            rate(line.answered_per_s),
            rate(line.failed_per_s),
            milliseconds(line.latency_p50_us),
            milliseconds(line.latency_p99_us),
            f"{line.in_flight:,}",
            f"{line.waiting_rows:,}",
            line.message or "-",
        )
        _add(table, cells, _STATES.get(line.state, ""))
    return table


def _gateways(found: Overview, count: int) -> Table:
    table = _table(("GATEWAY", "PRESENCE", "ANSWERS/S", "WAIT", "ADDRESS"))
    for line in sorted(found.gateways, key=lambda each: (each.presence == "online", each.gateway))[:count]:
        cells = (line.gateway, line.presence, rate(line.answered_per_s), f"{line.waiting_rows:,}", line.address)
        _add(table, cells, "" if line.presence == "online" else "red")
    return table


def _boards(lines: Sequence[TopBoard], found: Overview) -> Table:
    table = _table(("BOARD", "CONDITION", "DOES", "ROWS/S", "QUEUE", "REFUSED/S", "TEMP", "SEEN", "WHAT IS WRONG"))
    for line in lines:
        cells = (
            line.board,
            line.condition,
            _does(line),
            rate(line.rows_per_s),
            "-" if line.queued is None else f"{line.queued:,}",
            rate(line.refused_per_s),
            "-" if line.temperature_c is None else f"{line.temperature_c:.0f} C",
            ago(line.last_seen, found.at),
            line.sentence if line.is_problem else "",
        )
        _add(table, cells, STYLES.get(line.condition, "red"))
    return table


def _does(line: TopBoard) -> str:
    if line.deployment is None or line.stage is None or line.phase is None:
        return "-"
    return f"{line.deployment} {line.stage + 1}/{line.stages} {line.phase}"


def rate(value: float | None) -> str:
    """Of something in a second, '-' where it is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def milliseconds(microseconds: int) -> str:
    """'-' for none."""
    return f"{microseconds / 1000:.3g} ms" if microseconds else "-"

"""What people see of the demonstration: the plan, a progress bar, a digit now and then, the table at the end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from convoy_controller.database.views import PlanView

#: Darkness to character, for a digit in the terminal.
_INK = " .:-=+*#%@"


class Screen:
    """Prints for people; quiet when `console` is."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str, style: str = "") -> None:
        """One line."""
        self.console.print(text, style=style or None, markup=False)

    def waiting(self, text: str) -> AbstractContextManager[Any]:
        """A spinner with `text` while something takes its time."""
        if not self.console.is_terminal:
            self.say(text)
        return self.console.status(text)

    def plan(self, view: PlanView) -> None:
        """Who runs which layer."""
        table = Table(box=SIMPLE_HEAD, title=f"generation {view.generation}", title_justify="left", pad_edge=False)
        for title in ("STAGE", "BOARD", "LAYERS", "MODULES"):
            table.add_column(title)
        for stage in view.stages:
            for replica in stage.replicas:
                modules = ", ".join(f"{partition}: {kind}" for partition, kind in sorted(replica.slots.items()))
                table.add_row(str(stage.stage + 1), replica.board, ", ".join(stage.layers), modules or "fixed kernels")
        self.console.print(table)

    def progress(self) -> Progress:
        """A bar for the images."""
        return Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=self.console,
        )

    def digit(self, image: NDArray[np.uint8], answer: str, label: str) -> None:
        """An image (C, H, W) in characters, with its class beside it."""
        grey = image.mean(axis=0)[::2]
        lines = ["".join(_INK[int(value) * (len(_INK) - 1) // 255] for value in row) for row in grey]
        lines = [line for line in lines if line.strip()] or lines[:1]
        verdict = f"is a {answer}" + ("" if label in ("", answer) else f" (it was meant to be a {label})")
        middle = len(lines) // 2
        for index, line in enumerate(lines):
            self.say(f"    {line}  {verdict}" if index == middle else f"    {line}")

    def result(self, report: Mapping[str, Any]) -> None:
        """The table at the end."""
        table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column()
        for name, value in _rows(report):
            table.add_row(name, value)
        self.console.print(table)


def _rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    accuracy = report["accuracy"]
    latency, published = report["latency_ms"], report["bytes_published"]
    rows = [
        ("method", f"{report['method']}, {report['boards']} boards, broker {report['broker']}"),
        ("images", f"{report['images']} ({report['distinct_images']} distinct)"),
        ("accuracy", "no labels" if accuracy is None else f"{accuracy:.2%} ({report['correct']} right)"),
        ("lost", str(report["lost"])),
        ("failed", str(report["failed"])),
        ("duplicated", str(report["duplicated"])),
        ("wrong generation", str(report["wrong_generation"])),
        ("differs from one process", str(report["wrong"])),
        ("rate", f"{report['throughput_per_s']:.0f} images/s"),
        ("latency", f"{latency['p50']:.1f} ms median, {latency['p99']:.1f} ms p99"),
    ]
    if report["killed"] is not None:
        recovered = report["recovery_s"]
        rows.append(("killed", f"{report['killed']} by SIGKILL"))
        rows.append(("recovery", "not seen" if recovered is None else f"{recovered:.2f} s to the next result"))
    rows.append(("generations", ", ".join(f"{name}: {count}" for name, count in report["generations"].items())))
    rows.append(("published", ", ".join(f"{kind} {count / 1e6:.2f} MB" for kind, count in published.items())))
    return rows

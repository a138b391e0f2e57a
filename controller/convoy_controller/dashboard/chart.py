"""A line over time, drawn by ECharts, and told in a sentence for who does not see it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from nicegui import ui

from convoy_controller.dashboard.parts import text

#: Readable on light and on dark.
_INK = "#76828f"
Point = tuple[datetime, float | None]


class TimeChart:
    """One series over time; `unit` is of its values. What it shows stands below in words, as a screen reader reads."""

    def __init__(self, name: str, unit: str, colour: str, area: bool = False) -> None:
        self._name = name
        self._shown: object = None
        series = {"type": "line", "name": name, "showSymbol": False, "data": [], "itemStyle": {"color": colour}}
        if area:
            series["areaStyle"] = {"opacity": 0.15}
        axis = {"axisLabel": {"color": _INK, "hideOverlap": True}, "axisLine": {"lineStyle": {"color": _INK}}}
        with text("figure").classes("convoy-figure"):
            text("figcaption", f"{name} ({unit})")
            self._chart = ui.echart(
                {
                    "animation": False,
                    "useUTC": True,
                    "grid": {"left": 8, "right": 24, "top": 12, "bottom": 4, "containLabel": True},
                    "tooltip": {"trigger": "axis"},
                    "xAxis": {"type": "time", "splitNumber": 4, **axis},
                    "yAxis": {
                        "type": "value",
                        "scale": not area,
                        **axis,
                        "splitLine": {"lineStyle": {"opacity": 0.25}},
                    },
                    "series": [series],
                }
            ).classes("convoy-chart")
            self._chart.props["role"] = "img"
            self._told = text("p").classes("convoy-quiet")

    def show(self, points: Iterable[Point], told: str) -> None:
        """Draw these points; None interrupts the line."""
        data = [[int(at.timestamp() * 1000), None if value is None else round(value, 3)] for at, value in points]
        self._told.text = told
        if (data, told) == self._shown:
            return
        self._shown = data, told
        self._chart.options["series"][0]["data"] = data
        self._chart.set_visibility(any(value is not None for _, value in data))
        self._chart.props["aria-label"] = f"{self._name}: {told}"
        self._chart.update()

"""The text that Prometheus reads (exposition format 0.0.4), written a line at a time.

prometheus_client takes five times the CPU for the same, because each sample of it is several objects: at 10,000 boards
two seconds a scrape (`convoy bench metrics`). Its parser reads our page in the tests, and what it knows of a process
(`process_*`, `python_*`) it writes itself, at the page's end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import generate_latest

from convoy_controller.histogram import Histogram
from convoy_controller.metrics.families import FAMILIES, Family, Kind

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
#: Different reasons of one kind that are told apart: boards may say anything.
MOST_REASONS = 64
OTHER = "other"
#: Samples of one family after which whoever writes lets others have the interpreter, and for how many seconds.
MANY = 500
PAUSE_S = 0.0005

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Reasons:
    """Which reasons are label values: the first `MOST_REASONS` that come, and all others together."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, counts: Mapping[str, int]) -> Mapping[str, int]:
        """`counts` by reasons that are known; nothing is lost."""
        if self._known.issuperset(counts):
            return counts
        found: dict[str, int] = {}
        for reason, count in counts.items():
            if reason not in self._known and len(self._known) < MOST_REASONS:
                self._known.add(reason)
            name = reason if reason in self._known else OTHER
            found[name] = found.get(name, 0) + count
        return found


class Page:
    """One answer to one scrape; families appear in the order of the list, samples in that of the calls."""

    def __init__(self) -> None:
        self._lines: dict[Family, list[str]] = {}

    def add(self, family: Family, value: float, *labels: str) -> None:
        """One sample; `labels` are values in the order of the family's names."""
        if family.is_text:
            labels = tuple(value.translate(_ESCAPES) for value in labels)
        self.lines(family).append(_TEMPLATES[family] % (*labels, value))

    def lines(self, family: Family) -> list[str]:
        """The samples of a family so far, each a line."""
        found = self._lines.get(family)
        if found is None:
            found = self._lines[family] = []
        return found

    def by_reason(self, family: Family, counts: Mapping[str, int], *labels: str) -> None:
        """One sample a reason."""
        for reason, count in counts.items():
            self.add(family, count, *labels, reason.translate(_ESCAPES))

    def histogram(self, family: Family, histogram: Histogram, *labels: str) -> None:
        """All samples of a histogram."""
        lines, pairs = self.lines(family), _pairs(family.labels, labels)
        total = 0
        bounds = [*map(repr, histogram.bounds), "+Inf"]
        for bound, count in zip(bounds, list(histogram.counts), strict=True):
            total += count
            lines.append(f'{family.name}_bucket{{{pairs}{"," if pairs else ""}le="{bound}"}} {total}\n')
        shown = f"{{{pairs}}}" if pairs else ""
        lines.append(f"{family.name}_sum{shown} {histogram.seconds}\n")
        lines.append(f"{family.name}_count{shown} {total}\n")

    def text(self, process: CollectorRegistry | None = None) -> bytes:
        """The whole page, once, with what `process` (of `process_registry`) says at its end."""
        parts: list[bytes] = []
        for family in FAMILIES:
            lines = self._lines.pop(family, None)
            if lines:
                parts.append((_HEADS[family] + "".join(lines)).encode())
                if len(lines) > MANY:
                    time.sleep(PAUSE_S)
        if process is not None:
            parts.append(generate_latest(process))
        return b"".join(parts)


def process_registry() -> CollectorRegistry:
    """This process, as prometheus_client sees it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _pairs(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in zip(names, values, strict=True))


def _template(family: Family) -> str:
    if not family.labels:
        return f"{family.name} %s\n"
    return f"{family.name}{{{_pairs(family.labels, ('%s' for _ in family.labels))}}} %s\n"


_TEMPLATES = {family: _template(family) for family in FAMILIES if family.kind is not Kind.HISTOGRAM}
_HEADS = {
    family: f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind.value}\n" for family in FAMILIES
}

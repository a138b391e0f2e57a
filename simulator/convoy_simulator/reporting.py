"""What `convoy simulate` found, for people (a table, Markdown, a picture) and for programs."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import typer
from convoy_controller.cli.printing import print_facts, print_table, size
from PIL import Image, ImageDraw, ImageFont

from convoy_simulator.costs import Comparison, calibration
from convoy_simulator.sized_fleet import raised_limits
from convoy_simulator.sizing import QUIET_S, Estimate, Question

_WIDTH, _HEIGHT, _LEFT, _TOP = 960, 200, 90, 34
_GAP = 60


def as_json(found: Estimate) -> dict[str, Any]:
    """Keys are named in the command's help."""
    question = {**dataclasses.asdict(found.question), "method": found.question.method.value}
    return {
        "question": question,
        "ready_median_s": _number(found.quantile(0.5)),
        "ready_p99_s": _number(found.quantile(0.99)),
        "ready_last_s": _number(found.quantile(1.0)),
        "ready_boards": len(found.ready_s),
        "stepped_s": found.stepped_s,
        "broker": {
            "messages": found.messages,
            "bytes": found.bytes,
            "peak_messages_per_s": max(packets for packets, _, _ in found.seconds),
            "peak_bytes_per_s": max(passed for _, passed, _ in found.seconds),
            "dropped": found.dropped,
            "raised": raised_limits(found.question.boards),
        },
        "uses": [{**dataclasses.asdict(use), "share": use.share} for use in found.uses],
        "bottleneck": found.bottleneck.part,
        "memory": {"controller_bytes": found.controller_bytes, "broker_bytes": found.broker_bytes},
        "own": {"seconds": found.own_seconds, "bytes": found.own_bytes},
        "calibration": [dataclasses.asdict(each) for each in calibration().comparisons],
    }


def _number(seconds: float) -> float | None:
    return None if math.isinf(seconds) else round(seconds, 3)


def show(found: Estimate) -> None:
    """On the terminal."""
    print_facts(_facts(found))
    print_table(("PART", "AT WORST", "OF ONE", "IT TAKES"), _use_rows(found))
    typer.echo(_bottleneck(found))
    typer.echo(_honesty(found))


def markdown(found: Estimate) -> str:
    """The same as a page."""
    question = found.question
    lines = [f"# {question.boards:,} boards, {question.model}, {question.profile}: {question.scenario}", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in _facts(found) if value), ""]
    lines += ["| part | at worst | of one | it takes |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _use_rows(found)]
    lines += ["", _bottleneck(found), "", _honesty(found), ""]
    return "\n".join(lines)


def _facts(found: Estimate) -> list[tuple[str, str]]:
    question = found.question
    packets = max(packets for packets, _, _ in found.seconds)
    passed = max(size for _, size, _ in found.seconds)
    ready = f"median {_seconds(found.quantile(0.5))}, p99 {_seconds(found.quantile(0.99))}"
    return [
        ("ready", f"{ready}, last {_seconds(found.quantile(1.0))} ({len(found.ready_s):,} of {question.boards:,})"),
        ("broker", f"{packets:,} packets/s and {size(passed)}/s at worst; {size(found.bytes)} in all"),
        ("dropped", f"{found.dropped:,} messages by the broker" if found.dropped else ""),
        ("broker's file", _raised(raised_limits(question.boards))),
        ("controller", f"about {size(found.controller_bytes)} of memory"),
        ("broker's memory", f"about {size(found.broker_bytes)}"),
        (
            "stepped through",
            f"{found.stepped_s:,.0f} s of {question.hours * 3600:,.0f} s{_rest(question)}",
        ),
        ("this run", f"{found.own_seconds:,.0f} s and {size(found.own_bytes)}"),
    ]


def _raised(limits: dict[str, int]) -> str:
    if not limits:
        return ""
    settings = ", ".join(f"{name} {value}" for name, value in sorted(limits.items()))
    return f"needs {settings}" + (", and as many open files" if "max_connections" in limits else "")


def _rest(question: Question) -> str:
    return "" if question.whole else f"; the rest is {QUIET_S} s of heartbeats alone, over and over"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.1f} s"


def _use_rows(found: Estimate) -> list[tuple[str, str, str, str]]:
    return [(use.part, f"{use.peak:.2f} {use.unit}", f"{100 * use.share:.0f} %", str(use.needed)) for use in found.uses]


def _bottleneck(found: Estimate) -> str:
    use = found.bottleneck
    more = f"; {use.needed} of them, or sites of their own, would carry it" if use.needed > 1 else ""
    return f"What is used most is the {use.part}: {100 * use.share:.0f} % of one in its busiest second{more}."


def _honesty(found: Estimate) -> str:
    compared = calibration().comparisons
    if not compared:
        return "These figures were not compared with a real fleet yet."
    each = "; ".join(map(_compared, compared))
    return (
        f"Beside the real fleets that its constants were chosen by on {calibration().machine or 'one machine'}: {each}."
        " No board was among them."
    )


def _compared(each: Comparison) -> str:
    late = 100 * (each.predicted_ready_s / each.ready_s - 1)
    size_off = 100 * (each.predicted_bytes / each.bytes - 1)
    return f"{each.boards} boards: ready {late:+.0f} %, bytes {size_off:+.0f} %"


def draw(found: Estimate, path: Path) -> None:
    """Boards ready, and the broker's packets and bytes, second by second."""
    seconds = found.seconds
    charts = (
        ("boards ready", [ready for _, _, ready in seconds], "#2a7"),
        ("packets a second through the broker", [packets for packets, _, _ in seconds], "#27a"),
        ("bytes a second through the broker", [passed for _, passed, _ in seconds], "#a52"),
    )
    height = _TOP + len(charts) * (_HEIGHT + _GAP)
    image = Image.new("RGB", (_WIDTH, height), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    question = found.question
    title = f"{question.boards:,} boards, {question.model}, {question.profile}: {question.scenario}"
    pen.text((16, 10), title, "black", font)
    for number, (label, values, colour) in enumerate(charts):
        _chart(pen, _TOP + number * (_HEIGHT + _GAP), label, values, colour)
    image.save(path)


def _chart(pen: ImageDraw.ImageDraw, top: int, label: str, values: list[int], colour: str) -> None:
    font, most = ImageFont.load_default(), max(max(values, default=0), 1)
    bottom, right = top + _HEIGHT, _WIDTH - 16
    pen.text((16, top), f"{label}: {max(values, default=0):,} at most", "#444444", font)
    pen.line((_LEFT, bottom, right, bottom), "#888888")
    step = (right - _LEFT) / max(len(values), 1)
    for place, value in enumerate(values):
        left = _LEFT + place * step
        pen.rectangle((left, bottom - (value / most) * (_HEIGHT - 20), max(left + 1, left + step - 1), bottom), colour)
    for part in range(5):
        x = _LEFT + part * (right - _LEFT) / 4
        pen.text((min(x, right - 30), bottom + 4), f"{len(values) * part / 4:.0f} s", "#444444", font)

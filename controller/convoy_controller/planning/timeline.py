"""The pipeline drawn over time: which board computes which frame when, and when its link is busy.

Pillow draws it, because `convoy infer` needs that anyway and a chart of bars needs no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from convoy_controller.planning.solution import Solution, Stage

#: Rows of boards that are drawn; and frames at least, so that a full pipeline is seen.
MOST_ROWS, FRAMES = 40, 6
_WIDTH, _ROW, _LEFT, _TOP, _TEXT = 1400, 34, 260, 64, 14
_COLOURS = ("#2a6f97", "#e07a5f", "#3d9970", "#8d6a9f", "#c9a227", "#5c677d")


@dataclass(frozen=True)
class Bar:
    """Frame `frame` on board `row` from `begin` to `end` seconds; on its link rather than in its kernels."""

    row: int
    frame: int
    begin: float
    end: float
    is_link: bool


def schedule(plan: Solution, frames: int) -> list[Bar]:
    """The first frames of a pipeline that begins empty, replicas taking turns."""
    first_rows = _first_rows(plan)
    computes = [0.0] * plan.boards
    links = [0.0] * plan.boards
    bars: list[Bar] = []
    for frame in range(frames):
        ready = 0.0
        for stage, first in zip(plan.stages, first_rows, strict=True):
            row = first + frame % stage.replicas
            begin = max(ready, computes[row])
            computes[row] = begin + stage.seconds * plan.batch_rows
            leave = max(computes[row], links[row])
            links[row] = ready = leave + stage.send_s * plan.batch_rows
            bars.append(Bar(row, frame, begin, computes[row], False))
            bars.append(Bar(row, frame, leave, ready, True))
    return bars


def draw(plan: Solution, title: str, path: Path) -> None:
    """Write the time line to `path`, whose ending names the format; raises `OSError` or `ValueError` if it cannot."""
    bars = schedule(plan, max(FRAMES, 2 * max(stage.replicas for stage in plan.stages)))
    rows = min(plan.boards, MOST_ROWS)
    image = Image.new("RGB", (_WIDTH, _TOP + rows * _ROW + 56), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(_TEXT)
    end = max(bar.end for bar in bars)
    pen.text((16, 12), title, "black", font)
    pen.text((16, 34), _summary(plan), "#444444", font)
    for row, label in enumerate(_labels(plan)[:rows]):
        pen.text((16, _TOP + row * _ROW + 6), label, "black", font)
    for bar in bars:
        if bar.row < rows:
            _draw_bar(pen, font, bar, (_WIDTH - _LEFT - 16) / end)
    _draw_axis(pen, font, end, _TOP + rows * _ROW + 8)
    if plan.boards > rows:
        pen.text((16, _TOP + rows * _ROW + 30), f"and {plan.boards - rows} boards more", "#444444", font)
    image.save(path)


def _summary(plan: Solution) -> str:
    return (
        f"a frame of {plan.batch_rows} every {1e3 * plan.period_s * plan.batch_rows:.4g} ms, decided by "
        f"{plan.bottleneck}; bars are computing, thin ones the link"
    )


def _first_rows(plan: Solution) -> list[int]:
    rows, found = 0, []
    for stage in plan.stages:
        found.append(rows)
        rows += stage.replicas
    return found


def _labels(plan: Solution) -> list[str]:
    def label(number: int, stage: Stage, replica: int) -> str:
        which = f" {replica + 1}/{stage.replicas}" if stage.replicas > 1 else ""
        return f"stage {number} on {stage.kind[:20]}{which}"

    return [label(n, stage, replica) for n, stage in enumerate(plan.stages) for replica in range(stage.replicas)]


_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def _draw_bar(pen: ImageDraw.ImageDraw, font: _Font, bar: Bar, scale: float) -> None:
    top = _TOP + bar.row * _ROW + (22 if bar.is_link else 2)
    left, right = _LEFT + bar.begin * scale, _LEFT + bar.end * scale
    colour = _COLOURS[bar.frame % len(_COLOURS)]
    pen.rectangle((left, top, max(right, left + 1), top + (5 if bar.is_link else 18)), fill=colour)
    if not bar.is_link and right - left > 24:
        pen.text((left + 4, top + 1), str(bar.frame + 1), "white", font)


def _draw_axis(pen: ImageDraw.ImageDraw, font: _Font, end: float, top: int) -> None:
    pen.line((_LEFT, top, _WIDTH - 16, top), "#888888")
    for part in range(6):
        x = _LEFT + part * (_WIDTH - _LEFT - 16) / 5
        pen.line((x, top, x, top + 4), "#888888")
        pen.text((x - (60 if part == 5 else 0), top + 6), f"{1e3 * end * part / 5:.4g} ms", "#444444", font)

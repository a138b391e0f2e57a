"""A pipeline drawn as boxes and arrows, and the same as a table for who does not see it.

The drawing is made anew only when other boards take part; figures change in place.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Objective
from nicegui import ui

from convoy_controller.dashboard.parts import Sign, text
from convoy_controller.dashboard.table import Column, Row, Table, board_link, state, words
from convoy_controller.database.pipeline import HopFlow, Pipeline, StageBoard, StageFlow
from convoy_controller.database.records import BoardPresence

COLUMNS = (Column("Part"), Column("Boards"), Column("Layers", always=False), Column("Rate"), Column("A frame takes"))
_SLOWEST = Sign("◆", "warning")
_PHASES = {Phase.READY: Sign("●", "good"), Phase.FAILED: Sign("■", "bad")}


def rate_text(rows_per_s: float) -> str:
    """Rows a second."""
    return f"{rows_per_s:,.0f} rows/s" if rows_per_s >= 10 or not rows_per_s else f"{rows_per_s:.1f} rows/s"


def time_text(us: float | None) -> str:
    """Microseconds for people."""
    if us is None:
        return "not measured"
    return f"{us:,.0f} µs" if us < 1000 else f"{us / 1000:,.1f} ms" if us < 100_000 else f"{us / 1000:,.0f} ms"


def board_sign(board: StageBoard) -> tuple[Sign, str]:
    """How a board of a stage is told: that it is gone, or how far it is."""
    if board.presence is not BoardPresence.ONLINE:
        return Sign("✕", "bad") if board.presence is BoardPresence.OFFLINE else Sign(
            "?", "warning"
        ), board.presence.value
    return _PHASES.get(board.phase, Sign("◔", "busy")), board.phase.value


def hop_name(hop: HopFlow, stages: int) -> str:
    """Between whom."""
    before = "gateway" if hop.to == 0 else f"stage {hop.to}"
    return f"{before} to {'gateway' if hop.to == stages else f'stage {hop.to + 1}'}"


def stage_text(stage: StageFlow) -> str:
    """How a frame does there, in a few words."""
    busy = "" if stage.busy is None else f", boards busy {100 * stage.busy:.0f} %"
    return f"{time_text(stage.residence_us)}{busy}" if stage.residence_us is not None else "nothing flows"


def slowest_text(found: Pipeline) -> str:
    """The bottleneck, in a sentence."""
    if found.slowest is None:
        return "Nothing flows just now, so that no part is the slowest."
    part, number = found.slowest
    if part == "stage":
        stage = found.stages[number]
        boards = ", ".join(board.board for board in stage.boards)
        return f"Bottleneck: stage {number + 1} ({boards}), where a frame is for {time_text(stage.residence_us)}."
    hop = found.hops[number]
    after = f" behind {hop.slowest}" if hop.slowest else ""
    return f"Bottleneck: the hop from {hop_name(hop, len(found.stages))}{after}, about {time_text(hop.us)} a frame."


def planned_text(found: Pipeline) -> str:
    """What is measured beside what the planner reckoned with."""
    measured = f"{rate_text(found.rows_per_s)} over the last seconds"
    if not found.planned_rows_per_s:
        return f"{measured}; what was planned is not known."
    share = 100 * found.rows_per_s / found.planned_rows_per_s
    planned = f"the plan reckons with {rate_text(found.planned_rows_per_s)} at most ({share:.0f} % of it)"
    return f"{measured}; {planned}.{_proven_text(found)}"


def _proven_text(found: Pipeline) -> str:
    """What the planner could not beat."""
    if not found.bound_s:
        return ""
    if found.objective is Objective.LATENCY:
        return f" No plan over these boards answers in less than {time_text(1e6 * found.bound_s)}: that is proven."
    if 1.0 / found.planned_rows_per_s <= found.bound_s * (1 + 1e-9):
        return " No plan over these boards is faster: that is proven."
    return f" That no plan over these boards is faster than {rate_text(1.0 / found.bound_s)} is proven."


class PipelineDrawing:
    """Of one deployment's page."""

    def __init__(self) -> None:
        self._shape: object = None
        self._figures: dict[str, Any] = {}
        self._told = text("p").classes("convoy-summary")
        self._planned = text("p")
        self._picture = ui.element("div").classes("convoy-pipe").props('role="group"')
        with ui.expansion("The same as a table").props("dense").classes("convoy-more"):
            self._table = Table(COLUMNS, "The pipeline, from the gateway and back", "It has not been placed yet.")

    def show(self, found: Pipeline | None) -> None:
        """Show it; None: there is no placement yet."""
        self._picture.set_visibility(found is not None)
        self._planned.set_visibility(found is not None)
        if found is None:
            self._told.text = "It has not been placed on boards yet."
            self._table.show(())
            return
        shape = [(stage.layers, stage.processor, [board.board for board in stage.boards]) for stage in found.stages]
        if shape != self._shape:
            self._shape = shape
            self._draw(found)
        self._told.text, self._planned.text = slowest_text(found), planned_text(found)
        name = f"Pipeline of {found.deployment}, told by the table below. {slowest_text(found)}"
        if self._picture.props.get("aria-label") != name:
            self._picture.props["aria-label"] = name
        for hop in found.hops:
            self._set(f"hop {hop.to} rate", rate_text(hop.rows_per_s))
            self._set(f"hop {hop.to} time", "" if hop.us is None else f"about {time_text(hop.us)}")
            self._mark("hop", hop.to, found)
        for stage in found.stages:
            self._set(f"stage {stage.stage} rate", rate_text(stage.rows_per_s))
            self._set(f"stage {stage.stage} time", stage_text(stage))
            self._mark("stage", stage.stage, found)
            for board in stage.boards:
                sign, word = board_sign(board)
                known = self._figures[f"board {board.board} {stage.stage}"]
                known.text = f"{sign.glyph} {word}"
                known.classes(replace=f"convoy-sign {sign.tone}")
                queue = f"{board.queued} of {board.room} frames wait" if board.room else ""
                self._set(f"queue {board.board} {stage.stage}", queue)
        self._table.show(_rows(found))

    def _set(self, key: str, told: str) -> None:
        if self._figures[key].text != told:
            self._figures[key].text = told

    def _mark(self, part: str, number: int, found: Pipeline) -> None:
        is_slowest = found.slowest == (part, number)
        self._figures[f"{part} {number} mark"].set_visibility(is_slowest)
        self._figures[f"{part} {number}"].classes(**{"add" if is_slowest else "remove": "convoy-slowest"})

    def _draw(self, found: Pipeline) -> None:
        self._picture.clear()
        self._figures.clear()
        with self._picture:
            self._end("Gateway", "requests enter")
            for hop, stage in zip(found.hops, found.stages, strict=False):
                self._draw_hop(hop)
                self._draw_stage(stage)
            self._draw_hop(found.hops[-1])
            self._end("Gateway", "answers leave")

    def _end(self, name: str, told: str) -> None:
        with ui.element("div").classes("convoy-pipe-end"):
            text("strong", name)
            text("span", told).classes("convoy-quiet")

    def _draw_hop(self, hop: HopFlow) -> None:
        with ui.element("div").classes("convoy-hop") as drawn:
            self._figures[f"hop {hop.to} rate"] = text("span")
            ui.element("span").classes("convoy-arrow").props('aria-hidden="true"')
            self._figures[f"hop {hop.to} time"] = text("span")
            self._figures[f"hop {hop.to} mark"] = text("strong", f"{_SLOWEST.glyph} bottleneck").classes(
                "convoy-sign warning"
            )
        self._figures[f"hop {hop.to}"] = drawn

    def _draw_stage(self, stage: StageFlow) -> None:
        with ui.element("div").classes("convoy-stage") as drawn:
            text("strong", f"Stage {stage.stage + 1}")
            text("span", _layers(stage)).classes("convoy-quiet")
            for board in stage.boards:
                with ui.element("div").classes("convoy-stage-board"):
                    ui.link(board.board, f"/boards/{quote(board.board, safe='')}")
                    self._figures[f"board {board.board} {stage.stage}"] = text("span").classes("convoy-sign")
                    self._figures[f"queue {board.board} {stage.stage}"] = text("span").classes("convoy-quiet")
            self._figures[f"stage {stage.stage} rate"] = text("span")
            self._figures[f"stage {stage.stage} time"] = text("span")
            mark = text("strong", f"{_SLOWEST.glyph} bottleneck").classes("convoy-sign warning")
            self._figures[f"stage {stage.stage} mark"] = mark
        self._figures[f"stage {stage.stage}"] = drawn


def _layers(stage: StageFlow) -> str:
    return ", ".join(f"{name} (processor)" if name in stage.processor else name for name in stage.layers)


def _rows(found: Pipeline) -> list[Row]:
    rows = []
    for number, hop in enumerate(found.hops):
        mark = [state(_SLOWEST, "bottleneck", block=True)] if found.slowest == ("hop", number) else []
        name = f"Hop from {hop_name(hop, len(found.stages))}"
        rows.append(Row(f"hop {number}", ([words(name), *mark], "", "", rate_text(hop.rows_per_s), time_text(hop.us))))
        if number < len(found.stages):
            rows.append(_stage_row(found.stages[number], found.slowest == ("stage", number)))
    return rows


def _stage_row(stage: StageFlow, is_slowest: bool) -> Row:
    mark = [state(_SLOWEST, "bottleneck", block=True)] if is_slowest else []
    boards = []
    for board in stage.boards:
        sign, word = board_sign(board)
        boards += [*board_link(board.board), state(sign, word)]
        boards += [words(f"{board.queued} of {board.room} frames wait", block=True)] if board.room else []
    name = [words(f"Stage {stage.stage + 1}"), *mark]
    return Row(f"stage {stage.stage}", (name, boards, _layers(stage), rate_text(stage.rows_per_s), stage_text(stage)))

"""The pages of deployments: the pipeline drawn and as a table, its bottleneck by word, live, and good when empty."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from convoy_controller.dashboard.pages.deployment import latency_text, throughput_text
from convoy_controller.dashboard.pipeline_drawing import planned_text, rate_text, slowest_text, time_text
from convoy_controller.database.pipeline import HopFlow, Pipeline, StageBoard, StageFlow
from convoy_controller.database.records import BoardPresence, GenerationState, utc_now
from convoy_schema.messages.boards import Phase, Published, Pulse, StagePulse
from convoy_schema.messages.desired import Objective
from convoy_schema.names import Generation
from database_samples import Fleet
from playwright.sync_api import expect
from served import PHONE, Sight


def flow(fleet: Fleet, rows: int, uplink_us: int) -> None:
    """Pulses of the last seconds, in which board-1's frames wait for their way out."""
    now = utc_now()
    for second in range(5):
        fleet.clock.now = now - timedelta(seconds=5 - second)
        for board in ("board-1", "board-2"):
            stage = StagePulse("digits", Generation(1, 1), rows * second, rows * second, 2, 62, 100 * second, 1500)
            pulse = Pulse(1, 1, 1, 1000, 1000 * second, 1, (stage,), Published(), {}, None, uplink_us, 400)
            fleet.recorder.record_pulse(board, pulse)


def test_the_list_leads_to_the_page(sight: Sight, fleet: Fleet) -> None:
    page = sight.open("/deployments")
    row = page.get_by_role("row", name="digits")
    expect(row).to_contain_text("staging")
    expect(row).to_contain_text("1 of 2")
    row.get_by_role("link", name="digits").click()
    page.wait_for_url("**/deployments/digits")
    expect(page.locator("h1")).to_have_text("digits")


def test_the_pipeline_is_drawn_with_its_bottleneck_by_word_and_again_as_a_table(sight: Sight, fleet: Fleet) -> None:
    page = sight.open("/deployments/digits")
    drawing = page.get_by_role("group", name="Pipeline of digits")
    expect(drawing.locator(".convoy-stage")).to_have_count(2)
    expect(drawing.locator(".convoy-hop")).to_have_count(3)
    expect(drawing.get_by_role("link", name="board-2")).to_have_attribute("href", "/boards/board-2")
    expect(page.get_by_text("Nothing flows just now")).to_be_visible()
    expect(drawing.get_by_text("bottleneck").first).not_to_be_visible()
    flow(fleet, 40, 180_000)
    expect(page.get_by_text("Bottleneck: the hop from stage 1 to stage 2 behind board-1")).to_be_visible()
    expect(drawing.locator(".convoy-hop.convoy-slowest")).to_contain_text("bottleneck")
    expect(page.get_by_text("the plan reckons with 100 rows/s at most")).to_be_visible()
    page.get_by_text("The same as a table").click()
    table = page.get_by_role("region", name="The pipeline, from the gateway and back")
    expect(table.locator("tbody th")).to_contain_text(
        [
            "Hop from gateway to stage 1",
            "Stage 1",
            "Hop from stage 1 to stage 2",
            "Stage 2",
            "Hop from stage 2 to gateway",
        ]
    )
    expect(table.get_by_role("row", name="Hop from stage 1 to stage 2")).to_contain_text("bottleneck")


def test_on_a_phone_the_pipeline_goes_down(sight: Sight, fleet: Fleet) -> None:
    page = sight.open("/deployments/digits", viewport=PHONE)
    first, second = page.locator(".convoy-stage").all()
    upper, lower = first.bounding_box(), second.bounding_box()
    assert upper is not None
    assert lower is not None
    assert lower["y"] > upper["y"] + upper["height"]


def test_a_name_that_no_deployment_has_says_so(sight: Sight, fleet: Fleet) -> None:
    page = sight.open("/deployments/nobody")
    expect(page.get_by_text("There is no deployment nobody")).to_be_visible()
    expect(page.get_by_role("heading", name="Pipeline")).to_have_count(0)


def made(slowest: tuple[str, int] | None, planned: float = 100.0) -> Pipeline:
    board = StageBoard("board-1", BoardPresence.ONLINE, Phase.READY)
    stage = StageFlow(0, ("conv1",), (), (board,), 40.0, 0.5, 90_000.0)
    hops = (HopFlow(0, 40.0, None, ""), HopFlow(1, 40.0, 2_500.0, "board-1"))
    return Pipeline("digits", Generation(1, 1), GenerationState.SERVING, (stage,), hops, 40.0, planned, slowest)


def test_the_bottleneck_in_a_sentence() -> None:
    assert slowest_text(made(("stage", 0))) == "Bottleneck: stage 1 (board-1), where a frame is for 90.0 ms."
    assert slowest_text(made(("hop", 1))) == (
        "Bottleneck: the hop from stage 1 to gateway behind board-1, about 2.5 ms a frame."
    )
    assert slowest_text(made(None)).startswith("Nothing flows")
    assert planned_text(made(None)).endswith("the plan reckons with 100 rows/s at most (40 % of it).")
    assert planned_text(made(None, 0.0)).endswith("what was planned is not known.")


def test_what_the_planner_could_not_beat_stands_beside_what_is_measured() -> None:
    best, good = (replace(made(None), bound_s=bound_s) for bound_s in (0.01, 0.008))
    assert planned_text(best).endswith("(40 % of it). No plan over these boards is faster: that is proven.")
    assert planned_text(good).endswith("That no plan over these boards is faster than 125 rows/s is proven.")
    quick = replace(good, objective=Objective.LATENCY)
    assert planned_text(quick).endswith("No plan over these boards answers in less than 8.0 ms: that is proven.")


def test_figures_for_people() -> None:
    assert [rate_text(rate) for rate in (0.0, 0.25, 9.96, 1234.5)] == [
        "0 rows/s",
        "0.2 rows/s",
        "10.0 rows/s",
        "1,234 rows/s",
    ]
    assert [time_text(us) for us in (None, 400.0, 1_500.0, 250_000.0)] == ["not measured", "400 µs", "1.5 ms", "250 ms"]
    assert throughput_text(()) == "Nothing was heard in this time."
    assert latency_text([None, 1_500.0, 900.0]) == "900 µs last; at most 1.5 ms."
    assert latency_text([]) == "Nothing was answered in this time."

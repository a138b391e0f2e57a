"""The fleet page: counts, problems first, a table with a search, live and calm."""

from __future__ import annotations

from pathlib import Path

from convoy_controller.dashboard.fleet_sight import MOST_PROBLEMS, ROWS, Asked, fleet_sight
from convoy_controller.dashboard.pages.fleet import summary
from convoy_controller.database.groups import put_group
from convoy_controller.database.records import BoardPresence, utc_now
from convoy_controller.database.views import Condition
from convoy_schema.messages.boards import Phase
from database_samples import Fleet, open_fleet
from playwright.sync_api import Page, expect
from served import Server, Sight, grave_faults


def names(page: Page, table: str) -> list[str]:
    """The boards in a table, in the order shown."""
    return page.get_by_role("region", name=table).locator("tbody th a").all_inner_texts()


def test_problems_come_first_each_with_its_sentence_and_what_to_do(sight: Sight):
    page = sight.open("/")
    assert page.get_by_text("3 boards, 1 with a problem.").is_visible()
    problems = page.get_by_role("region", name="Boards with a problem")
    row = problems.get_by_role("row", name="board-3")
    expect(row).to_contain_text("offline")
    expect(row).to_contain_text("board-3 has been offline since")
    expect(row).to_contain_text("To do: see whether it has power")
    assert names(page, "Boards, by name") == ["board-1", "board-2", "board-3"]


def test_a_change_comes_by_itself_and_nothing_else_moves(sight: Sight, fleet: Fleet):
    page = sight.open("/")
    page.evaluate("window.kept = document.querySelectorAll('tbody tr')")
    fleet.clock.advance(1)
    fleet.at("board-1", Phase.FAILED, code="topology", message="no such layer", retryable=False)
    problems = page.get_by_role("region", name="Boards with a problem")
    expect(problems.get_by_role("row", name="board-1")).to_contain_text("no such layer")
    assert page.evaluate("[...window.kept].every((row) => row.isConnected)"), "rows that stay are not drawn anew"
    fleet.clock.advance(1)
    fleet.at("board-1", Phase.READY)
    expect(problems.get_by_role("row", name="board-1")).to_have_count(0)


def test_boards_are_found_by_name_state_and_group(sight: Sight, fleet: Fleet):
    put_group(fleet.database, "north", "hall-1", ["board-1", "board-3"], "", utc_now())
    page = sight.open("/")
    groups = page.get_by_role("region", name="Groups")
    expect(groups.get_by_role("row", name="north")).to_contain_text("hall-1")
    page.get_by_label("Name contains").fill("-3")
    expect(page.get_by_text("1 to 1 of 1")).to_be_visible()
    assert names(page, "Boards, by name") == ["board-3"]
    page.get_by_label("Name contains").fill("")
    expect(page.get_by_text("1 to 3 of 3")).to_be_visible()
    groups.get_by_role("link", name="north").click()
    page.wait_for_url("**/?group=north")
    expect(page.get_by_text("1 to 2 of 2")).to_be_visible()
    page.goto(f"{sight.server.address}/?condition=offline")
    expect(page.get_by_text("1 to 1 of 1")).to_be_visible()
    assert names(page, "Boards, by name") == ["board-3"]


def test_an_empty_fleet_says_what_to_do_first(sight: Sight, tmp_path: Path):
    open_fleet(tmp_path).database.close()
    server = Server(tmp_path)
    server.start()
    try:
        page = Sight(sight.browser, server, sight.requested, sight.faults).open("/")
        expect(page.get_by_text("No board has joined this fleet yet.")).to_be_visible()
        expect(page.get_by_text("convoy-device run --config board.toml")).to_be_visible()
        assert grave_faults(page) == []
    finally:
        page.context.close()
        server.stop()
        sight.requested.clear()


# What is read ---------------------------------------------------------------------------------------------------------


def many(folder: Path, count: int) -> Fleet:
    made = open_fleet(folder)
    for number in range(count):
        made.recorder.record_presence(f"b-{number:03}", BoardPresence.ONLINE, 1)
    return made


def test_the_worst_problem_leads_and_what_lasts_longest_among_equals(tmp_path: Path):
    made = many(tmp_path, 3)
    for name in ("b-002", "b-000"):
        made.clock.advance(10)
        made.recorder.record_presence(name, BoardPresence.OFFLINE, 1, "gone")
    sight = fleet_sight(made.database, Asked())
    assert [each.line.board for each in sight.troubles] == ["b-002", "b-000", "b-001"]
    assert sight.counts == ((Condition.OFFLINE, 2), (Condition.UNDESCRIBED, 1))
    assert all(each.action for each in sight.troubles)
    assert summary(sight) == "3 boards, 3 with a problem."
    made.database.close()


def test_a_browser_gets_a_page_of_boards_and_no_more_problems_than_can_be_read(tmp_path: Path):
    made = many(tmp_path, 120)
    first = fleet_sight(made.database, Asked())
    assert (len(first.lines), first.found, len(first.troubles)) == (ROWS, 120, MOST_PROBLEMS)
    last = fleet_sight(made.database, Asked(first=100))
    assert [line.board for line in last.lines] == [f"b-{number:03}" for number in range(100, 120)]
    beyond = fleet_sight(made.database, Asked(text="b-00", first=100))
    assert (beyond.first, len(beyond.lines)) == (0, 10)
    made.database.close()

"""The fleet page: counts, problems first, a table with a search, live and calm."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_controller.dashboard.fleet_sight import MOST_PROBLEMS, ROWS, Asked, fleet_sight, place_of
from convoy_controller.dashboard.pages.fleet import summary
from convoy_controller.database.groups import put_group
from convoy_controller.database.records import BoardPresence, utc_now
from convoy_controller.database.removals import forget_board
from convoy_controller.database.views import Condition
from convoy_schema.messages.boards import Phase
from database_samples import Fleet, open_fleet
from playwright.sync_api import Locator, Page, expect
from served import Server, Sight, grave_faults


def names(page: Page, table: str) -> Locator:
    """The boards in a table, in the order shown."""
    return page.get_by_role("region", name=table).locator("tbody th a")


def test_problems_come_first_each_with_its_sentence_and_what_to_do(sight: Sight):
    page = sight.open("/")
    expect(page.get_by_text("3 boards, 1 with a problem.")).to_be_visible()
    problems = page.get_by_role("region", name="Boards with a problem")
    row = problems.get_by_role("row", name="board-3")
    expect(row).to_contain_text("offline")
    expect(row).to_contain_text("board-3 has been offline since")
    expect(row).to_contain_text("To do: see whether it has power")
    expect(names(page, "Boards, by name")).to_have_text(["board-1", "board-2", "board-3"])
    expect(page.get_by_text("3 boards.")).to_be_visible()


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


def test_boards_are_found_by_name_state_group_and_site(sight: Sight, fleet: Fleet):
    put_group(fleet.database, "north", "hall-1", ["board-1", "board-3"], "", utc_now())
    page = sight.open("/")
    expect(page.get_by_role("region", name="Groups").get_by_role("row", name="north")).to_contain_text("hall-1")
    expect(page.get_by_role("region", name="Sites").get_by_role("row", name="hall-1")).to_contain_text(
        "1 offline, 1 ready"
    )
    boards = page.get_by_role("region", name="Boards, by name").locator("tbody tr")
    page.get_by_label("Name contains").fill("-3")
    expect(boards).to_have_count(1)
    expect(names(page, "Boards, by name")).to_have_text(["board-3"])
    page.get_by_label("Name contains").fill("")
    expect(boards).to_have_count(3)
    page.get_by_role("link", name="north").click()
    page.wait_for_url("**/?group=north")
    expect(boards).to_have_count(2)
    page.get_by_role("link", name="hall-1").click()
    page.wait_for_url("**/?site=hall-1")
    expect(boards).to_have_count(2)
    page.goto(f"{sight.server.address}/?condition=offline")
    expect(boards).to_have_count(1)
    expect(names(page, "Boards, by name")).to_have_text(["board-3"])


@pytest.mark.long
def test_long_lists_are_turned_page_by_page(sight: Sight, fleet: Fleet):
    added = [f"many-{number:03}" for number in range(60)]
    for name in added:
        fleet.recorder.record_presence(name, BoardPresence.ONLINE, 1)
    page = sight.open("/?text=many")
    expect(page.get_by_text("many-000 to many-049, and there are more.")).to_be_visible()
    page.get_by_role("button", name="Next boards").click()
    expect(page.get_by_text("many-050 to many-059, the last.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("many-050 to many-059, the last.")).to_be_visible()
    page.get_by_role("button", name="Previous boards").click()
    expect(page.get_by_text("many-000 to many-049, and there are more.")).to_be_visible()
    page.get_by_label("Name contains").fill("board")
    expect(page.get_by_text("3 boards.")).to_be_visible()
    expect(page.get_by_text("20 of 61, the worst first.")).to_be_visible()
    first = names(page, "Boards with a problem").all_inner_texts()
    page.get_by_role("button", name="Next problems").click()
    expect(page.get_by_role("region", name="Boards with a problem").get_by_role("row", name=first[-1])).to_have_count(0)
    page.get_by_role("button", name="Next problems").click()
    page.get_by_role("button", name="Next problems").click()
    expect(page.get_by_text("1 of 61, the worst first.")).to_be_visible()
    for name in added:
        fleet.recorder.record_presence(name, BoardPresence.OFFLINE, 1, "gone")
        forget_board(fleet.database, name)
    expect(page.get_by_text("3 boards, 1 with a problem.")).to_be_visible()
    expect(names(page, "Boards with a problem")).to_have_text(["board-3"])


def test_an_empty_fleet_says_what_to_do_first(sight: Sight, tmp_path: Path):
    open_fleet(tmp_path).database.close()
    server = Server(tmp_path)
    server.start()
    try:
        page = Sight(sight.browser, server, sight.usual, sight.requested, sight.faults).open("/")
        expect(page.get_by_text("No board has joined this fleet yet.")).to_be_visible()
        expect(page.get_by_text("convoy-device run --config board.toml")).to_be_visible()
        assert grave_faults(page) == []
    finally:
        page.close()
        server.stop()
        sight.requested.clear()


# What is read ---------------------------------------------------------------------------------------------------------


def many(folder: Path, count: int) -> Fleet:
    made = open_fleet(folder)
    for number in range(count):
        made.recorder.record_presence(f"b-{number:03}", BoardPresence.ONLINE, 1)
    return made


def test_the_worst_problem_leads(tmp_path: Path):
    made = many(tmp_path, 3)
    for name in ("b-002", "b-001"):
        made.recorder.record_presence(name, BoardPresence.OFFLINE, 1, "gone")
    sight = fleet_sight(made.database, Asked())
    assert [each.board for each in sight.troubles] == ["b-001", "b-002", "b-000"]
    assert sight.fleet.conditions == {"offline": 2, "undescribed": 1}
    assert all(each.action for each in sight.troubles)
    assert summary(sight.fleet) == "3 boards, 3 with a problem."
    made.database.close()


def test_a_browser_gets_a_page_of_boards_and_no_more_problems_than_can_be_read(tmp_path: Path):
    made = many(tmp_path, 120)
    first = fleet_sight(made.database, Asked())
    assert (len(first.lines), first.found, len(first.troubles)) == (ROWS, 120, MOST_PROBLEMS)
    assert (first.has_more, first.has_more_troubles) == (True, True)
    last = fleet_sight(made.database, Asked(after="b-099"))
    assert [line.board for line in last.lines] == [f"b-{number:03}" for number in range(100, 120)]
    assert (last.has_more, last.found) == (False, 120)
    following = fleet_sight(made.database, Asked(troubled_after=place_of(first.troubles[-1])))
    assert following.troubles[0].board == "b-020"
    made.database.close()


def test_where_nothing_is_left_the_list_begins_again(tmp_path: Path):
    made = many(tmp_path, 20)
    beyond = fleet_sight(made.database, Asked(text="B-00", after="b-500", troubled_after=(99, "")))
    assert (beyond.after, len(beyond.lines), beyond.found) == ("", 10, 10)
    assert (beyond.troubled_after, len(beyond.troubles)) == (None, 20)
    made.database.close()


def test_how_many_fit_is_told_where_it_is_counted(tmp_path: Path):
    made = many(tmp_path, 120)
    names = [f"b-{number:03}" for number in range(60)]
    put_group(made.database, "north", "hall", names, "", utc_now())
    undescribed = Condition.UNDESCRIBED
    for asked, found in (
        (Asked(group="north"), 60),
        (Asked(site="hall", condition=undescribed), 60),
        (Asked(condition=undescribed), 120),
        (Asked(text="b-"), None),
        (Asked(site="hall", group="north"), None),
        (Asked(group="nowhere"), 0),
    ):
        assert fleet_sight(made.database, asked).found == found, asked
    made.database.close()

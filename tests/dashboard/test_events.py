"""The events page: live, filtered, around a moment, page by page."""

from __future__ import annotations

from datetime import timedelta

from convoy_controller.dashboard.pages.events import Asked
from convoy_controller.database.records import NewEvent, Severity
from database_samples import START, Fleet
from playwright.sync_api import Locator, Page, expect
from served import Sight


def rows(page: Page) -> Locator:
    """What happened, in the order shown."""
    return page.locator("tbody tr td:last-child")


def test_a_new_event_comes_by_itself_and_on_top(sight: Sight, fleet: Fleet):
    page = sight.open("/events")
    expect(rows(page).last).to_have_text("board-3 fell silent")
    fleet.recorder.record_event(NewEvent("noted", "something new"))
    expect(page.locator("tbody tr").first).to_contain_text("something new")


def test_filters_narrow_and_stand_in_the_address(sight: Sight, fleet: Fleet):
    fleet.recorder.record_event(NewEvent("noted", "of board-1", Severity.ERROR, board="board-1"))
    page = sight.open("/events")
    page.get_by_label("Board").fill("board-1")
    expect(rows(page)).to_have_text(["of board-1"])
    expect(page).to_have_url(f"{sight.server.address}/events?board=board-1")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("row", name="of board-1").get_by_text("error")).to_be_visible()
    page.get_by_label("Board").fill("nobody")
    page.get_by_text("No event is kept that fits.").wait_for()


def test_events_around_a_moment_and_older_ones(sight: Sight, fleet: Fleet):
    fleet.clock.now = START + timedelta(days=1)
    for number in range(150):
        fleet.recorder.record_event(NewEvent("counted", f"number {number}", board="many"))
    fleet.clock.advance(3600)
    fleet.recorder.record_event(NewEvent("counted", "an hour later", board="many"))
    page = sight.open("/events?board=many")
    expect(rows(page).nth(0)).to_have_text("an hour later")
    expect(rows(page).nth(1)).to_have_text("number 149")
    page.get_by_role("button", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(51)
    expect(rows(page).last).to_have_text("number 0")
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newest").click()
    expect(page.locator("tbody tr").first).to_contain_text("an hour later")
    page.get_by_label("Around (UTC)").fill("2030-01-02 12:00")
    expect(page.locator("tbody tr").first).to_contain_text("number 149")


def test_around_a_moment_means_ten_minutes_to_either_side():
    wanted = Asked(around=START).filter()
    assert (wanted.since, wanted.until) == (START - timedelta(minutes=10), START + timedelta(minutes=10))

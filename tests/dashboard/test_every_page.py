"""What holds for every page: axe finds nothing grave, it fits a phone, has one heading, and asks no other host."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from served import PHONE, Sight, grave_faults

#: Each page, and its heading.
PAGES = {
    "/deployments": "Deployments",
    "/deployments/digits": "digits",
    "/deployments/nobody": "nobody",
    "/models": "Models and artifacts",
    "/models/tiny/1": "tiny 1",
    "/": "Fleet",
    "/?text=nobody": "Fleet",
    "/boards/board-2": "board-2",
    "/boards/board-3?span=day": "board-3",
    "/boards/nobody": "nobody",
    "/events": "Events",
    "/events?board=nobody": "Events",
}


@pytest.mark.parametrize(("path", "heading"), PAGES.items())
def test_a_page_can_be_used_by_everyone(sight: Sight, path: str, heading: str):
    page = sight.open(path)
    expect(page.locator("h1")).to_have_text([heading])
    assert page.title() == f"{heading} · Convoy"
    assert page.locator("html").get_attribute("lang") == "en-US"
    for landmark in ("banner", "navigation", "main"):
        expect(page.get_by_role(landmark)).to_have_count(1)  # type: ignore[arg-type]
    assert grave_faults(page) == []
    page.emulate_media(color_scheme="dark")
    page.locator("body.body--dark").wait_for()
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    assert grave_faults(page) == []
    assert sight.requested


def test_the_keyboard_reaches_the_content_first_and_the_navigation_is_of_links(sight: Sight):
    page = sight.open("/events")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.contains(document.querySelector('h1'))")
    links = page.get_by_role("navigation").get_by_role("link")
    expect(links.get_by_text("Events", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Events", exact=True)).to_have_attribute("aria-current", "page")


def test_where_there_is_no_page_the_way_on_is_shown(sight: Sight):
    page = sight.open("/nowhere/at/all")
    expect(page.locator("h1")).to_have_text(["No such page"])
    expect(page.get_by_role("navigation").get_by_role("link", name="Fleet")).to_be_visible()
    assert grave_faults(page) == []
    sight.faults.clear()  # the browser notes the answer 404
    assert page.request.get(f"{sight.server.address}/nowhere").json() == {"detail": "Not Found"}


def test_light_and_dark_can_be_chosen_and_are_kept(sight: Sight):
    page = sight.open("/events")
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    page.locator("body.body--dark").wait_for()
    page.reload()
    page.locator("body.body--dark").wait_for()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()

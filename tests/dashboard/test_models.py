"""The pages of models: versions, who holds them and whether they may run; images for each shell; artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest
from convoy_controller.cli import app
from database_samples import Fleet, publish
from playwright.sync_api import expect
from served import Sight
from typer.testing import CliRunner


def test_versions_say_what_they_are_and_where(sight: Sight, fleet: Fleet) -> None:
    page = sight.open("/models")
    row = page.get_by_role("row", name="tiny 1")
    expect(row).to_contain_text("in use")
    expect(row).to_contain_text("digits: 1 of 2 ready")
    expect(row).to_contain_text("as it travels")
    store = page.get_by_role("region", name="Artifacts, by digest")
    expect(store.locator("tbody tr")).not_to_have_count(0)
    row.get_by_role("link", name="tiny 1").click()
    page.wait_for_url("**/models/tiny/1")
    holders = page.get_by_role("region", name="Boards that are to hold it")
    expect(holders.get_by_role("row", name="board-1")).to_contain_text("ready")
    images = page.get_by_role("region", name="Images for each shell and part")
    expect(images.get_by_role("row", name="partitions emulated")).to_contain_text(
        "3: identity, each for centre, east, west"
    )
    expect(images.get_by_role("row", name="layers emulated")).to_contain_text("none, it has no partitions")


@pytest.mark.long
def test_a_new_version_comes_by_itself_and_a_floor_revokes_the_old_one(sight: Sight, fleet: Fleet, home: Path) -> None:
    page = sight.open("/models")
    publish(fleet.database, home, version="2", seed=2)
    row = page.get_by_role("row", name="tiny 2")
    expect(row).to_contain_text("not deployed")
    arguments = ["key", "floor", "set", "tiny", "--version", "2", "--force", "--home", str(home)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    expect(page.get_by_role("row", name="tiny 1")).to_contain_text("revoked: below the floor, 2")
    expect(row).to_contain_text("not deployed")


def test_a_version_that_is_not_there_says_so(sight: Sight, fleet: Fleet) -> None:
    page = sight.open("/models/tiny/77")
    expect(page.get_by_text("There is no version 77 of tiny")).to_be_visible()

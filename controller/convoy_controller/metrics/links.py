"""A connection to the broker on a page."""

from __future__ import annotations

from convoy_schema.link import Link

from convoy_controller.metrics import families as f
from convoy_controller.metrics.page import Page


def write_link(page: Page, name: str, link: Link) -> None:
    """Whether it stands, and what it has counted since the process started."""
    page.add(f.BROKER_CONNECTED, int(link.connected), name)
    page.add(f.BROKER_ATTEMPTS, link.attempts, name)
    page.add(f.BROKER_ROUND_TRIPS, link.round_trips, name)
    page.add(f.BROKER_DROPPED, link.dropped, name)
    page.add(f.BROKER_UNSENT, link.unsent, name)

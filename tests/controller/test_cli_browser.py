"""When a browser is opened: where there is one, and somebody sits at the terminal."""

from __future__ import annotations

import sys
import webbrowser

import pytest
from convoy_controller.cli.browser import open_page

PAGE = "http://127.0.0.1:1/"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that a browser was asked for; somebody sits at a terminal with a display."""
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not asked.append(address))
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    return asked


def test_a_terminal_with_a_display_opens_it(opened: list[str]):
    assert open_page(PAGE)
    assert opened == [PAGE]


def test_without_a_display_the_terminal_is_left_alone(opened: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not open_page(PAGE)
    assert opened == []


def test_a_script_opens_nothing(opened: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert not open_page(PAGE)
    assert opened == []

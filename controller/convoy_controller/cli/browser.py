"""Opens a page in the user's browser, where there is one and somebody sits at the terminal."""

from __future__ import annotations

import os
import sys
import webbrowser


def open_page(address: str) -> bool:
    """Whether a browser was asked to. None is in a script, over a plain SSH connection, or without a display."""
    is_seen = sys.stdin.isatty() and sys.stdout.isatty()
    # Without a display only a browser of the terminal could be had, and it would take the terminal.
    has_display = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not (is_seen and has_display):
        return False
    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False

"""The pictures of the README, of a real fleet: `make screenshots` starts the demonstration, loses a board, and looks.

Each picture is refused beyond `MOST_BYTES`. A page that does not exist (yet) is left out, and said to be.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 150_000
#: Name of each picture, the page, and the pixels that it shows.
PICTURES = {
    "fleet": ("/", 1100, 800),
    "board": ("/boards/{serving}", 1100, 1060),
    "deployment": ("/deployments/lenet5", 1300, 900),
    "phone": ("/", 390, 844),
}
DEMO = ("--boards", "6", "--kill", "--stay", "--images", "2000", "--no-browser")
#: Seconds for the charts to have something on them.
CHARTS_S = 150.0


@contextmanager
def demonstration() -> Iterator[str]:
    """A fleet that has lost a board and goes on classifying; yields the dashboard's address."""
    command = [sys.executable, "-u", "-m", "convoy_controller", "demo", *DEMO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                print(line, end="")
                found = re.search(r"the dashboard is at (\S+)/", line)
                if found:
                    yield found[1]
                    return
            raise SystemExit("the demonstration ended before it said where its dashboard is")
        finally:
            demo.send_signal(signal.SIGINT)
            if demo.stdout is not None:
                demo.stdout.read()


def take(browser: Browser, address: str) -> None:
    """Every picture, each from a page of its own."""
    serving = _serving(browser, address)
    for name, (path, width, height) in PICTURES.items():
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        answer = page.goto(address + path.format(serving=serving))
        if answer is None or answer.status != 200:
            print(f"{name}: there is no page {path}, left out")
            continue
        page.wait_for_function("window.did_handshake === true")
        page.wait_for_timeout(2500)
        _save(page, name)
        page.close()


def _serving(browser: Browser, address: str) -> str:
    """A board that serves."""
    page = browser.new_page()
    page.goto(f"{address}/?condition=ready")
    board = page.get_by_role("region", name="Boards, by name").locator("tbody th a").first.inner_text()
    page.close()
    return board


def _save(page: Page, name: str) -> None:
    file = IMAGES / f"{name}.png"
    page.screenshot(path=file)
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{file.name} has {size} bytes, more than {MOST_BYTES}: make it smaller")
    print(f"{file.relative_to(ROOT)}: {size} bytes")


def main() -> None:
    """Take the pictures."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("make screenshots: Chromium is not installed (apt install chromium)")
    IMAGES.mkdir(exist_ok=True)
    with demonstration() as address, sync_playwright() as playwright:
        time.sleep(CHARTS_S)
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        take(browser, address)
        browser.close()


if __name__ == "__main__":
    main()

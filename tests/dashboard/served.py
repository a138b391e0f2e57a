"""The dashboard as its tests see it: served by `convoy api` over a database that the test writes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from patience import PATIENCE_S
from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE_MS = PATIENCE_S * 1000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
_AXE = Axe()
#: What axe calls a fault that keeps somebody out.
GRAVE = ("serious", "critical")


class Server:
    """`convoy api` as a process of its own, which `stop` and `start` bring back at its address."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.address = ""
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        listen = self.address.removeprefix("http://") or "127.0.0.1:0"
        with (self.home / "api.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "convoy_controller", "api", "--home", ".", "--listen", listen, *self._options],
                cwd=self.home,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, (self.home / "api.log").read_text())
        self.address = found[0]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(PATIENCE_S) == 0, self.log
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.home / "api.log").read_text()


@dataclass
class Sight:
    """A browser's look at one server: opens pages, and notes every request and fault of theirs.

    Pages without options of their own are of `usual`, which keeps what the browser has loaded once.
    """

    browser: Browser
    server: Server
    usual: BrowserContext
    requested: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)
    _pages: list[Page] = field(default_factory=list)

    def context(self, **options: Any) -> BrowserContext:
        """One of its own, as for another user."""
        made = new_context(self.browser, **options)
        self._contexts.append(made)
        return made

    def page(self, context: BrowserContext | None = None) -> Page:
        """An empty one."""
        made = (context or self.usual).new_page()
        made.on("request", lambda request: self.requested.append(request.url))
        made.on("pageerror", lambda error: self.faults.append(str(error)))
        made.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        self._pages.append(made)
        return made

    def open(self, path: str, context: BrowserContext | None = None, **options: Any) -> Page:
        """The page at that path, once it is live."""
        page = self.page(self.context(**options) if options else context)
        page.goto(f"{self.server.address}{path}")
        page.wait_for_function("window.did_handshake === true")
        return page

    def close(self) -> None:
        while self._pages:
            self._pages.pop().close()
        while self._contexts:
            self._contexts.pop().close()
        self.usual.clear_cookies()


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """What a browser keeps for one user, at a desk unless told otherwise."""
    made = browser.new_context(**{"viewport": DESKTOP, **options})
    made.set_default_timeout(PATIENCE_MS)
    return made


#: Transitions end at once; spinners, which have no end, go on.
_AT_REST = "document.getAnimations().filter(one => one instanceof CSSTransition).forEach(one => one.finish())"


def grave_faults(page: Page) -> list[str]:
    """What axe finds serious or critical on the page when its colours no longer change: half way they mean nothing."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE.axe_script)
    page.evaluate(_AT_REST)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:200] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in GRAVE
    ]


_NOTE = """words => {
    window.seenAt = null;
    const look = () => {
        if (window.seenAt === null && document.body.textContent.includes(words)) window.seenAt = Date.now();
    };
    look();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def seconds_until_seen(page: Page, words: str, happen: Callable[[], object]) -> float:
    """How long after `happen` returned the page had these words: by one clock, which the browser shares with us."""
    page.evaluate(_NOTE, words)
    assert page.evaluate("window.seenAt") is None, "the words are there already"
    happen()
    happened_at = time.time()
    page.wait_for_function("window.seenAt !== null")
    return float(page.evaluate("window.seenAt")) / 1000 - happened_at

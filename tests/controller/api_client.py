"""The REST API as its tests call it: the application in this process, without a socket."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from convoy_controller.api.access import Access, InProcess
from convoy_controller.api.app import create_app
from convoy_controller.api.limits import Limits
from convoy_controller.database.engine import Database
from convoy_controller.home import Home
from database_samples import Fleet, open_fleet, three_boards
from fastapi import FastAPI
from patience import PATIENCE_S


@lru_cache(maxsize=1)
def _made() -> tempfile.TemporaryDirectory[str]:
    """`three_boards` in a folder that goes with the process: publishing its images takes half a second."""
    folder = tempfile.TemporaryDirectory(prefix="convoy-api-")
    three_boards(Path(folder.name)).database.close()
    return folder


def copied_fleet(folder: Path) -> Fleet:
    """`three_boards` in `folder`, for a test of its own."""
    shutil.copytree(_made().name, folder, dirs_exist_ok=True)
    return open_fleet(folder)


#: No test runs into it unless it means to.
UNHURRIED = Limits(rate_per_s=1e6, burst=1_000_000)


@dataclass(frozen=True)
class Told:
    """One message of `/changes`; a comment has kind ''."""

    kind: str
    id: str
    data: Any

    @staticmethod
    def parse(text: str) -> Told:
        fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
        return Told(fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null")))


def _scope(method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    bare, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": bare,
        "raw_path": bare.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 5000),
        "server": ("localhost", 80),
    }


@dataclass
class Api:
    """One application over `database` and the home `folder`; `calls` of one client after the other."""

    database: Database
    folder: Path
    access: Access = field(default_factory=InProcess)
    limits: Limits = UNHURRIED
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        home = Home.locate(self.folder, environment={})
        self.app = create_app(self.database, home, self.access, limits=self.limits)

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """`path` is below /api/v1, unless it begins with //."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 5000))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path[1:] if path[:2] == "//" else f"/api/v1{path}", **more)

        return asyncio.run(ask())

    def get(self, path: str, status: int = 200, **more: Any) -> Any:
        """The JSON of an answer with that status."""
        response = self.call("GET", path, **more)
        assert response.status_code == status, response.text
        return response.json()

    def follow(
        self, path: str, is_enough: Callable[[list[Told]], bool], headers: dict[str, str] | None = None, **act: Any
    ) -> list[Told]:
        """What `/changes` tells until `is_enough`, within 20 s; `act=` is called once the first message has come."""
        told: list[Told] = []

        async def listen() -> None:
            gone = asyncio.Event()

            requests: list[dict[str, object]] = [{"type": "http.request"}]

            async def receive() -> dict[str, object]:
                if requests:
                    return requests.pop()
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    assert message["status"] == 200, message
                elif message["body"]:
                    told.append(Told.parse(message["body"].decode()))
                    if len(told) == 1 and "act" in act:
                        await asyncio.to_thread(act["act"])
                    if is_enough(told):
                        gone.set()

            scope = _scope("GET", f"/api/v1{path}", {"host": "localhost"} | (headers or {}))
            await asyncio.wait_for(self.app(scope, receive, send), PATIENCE_S)  # type: ignore[arg-type]

        asyncio.run(listen())
        return told

    def status(self, method: str, path: str, headers: dict[str, str]) -> int:
        """The status of an answer, whose end is not waited for: the caller goes as soon as it has asked."""
        found: list[int] = []

        async def receive() -> dict[str, object]:
            asked.append(None)
            return {"type": "http.request"} if len(asked) == 1 else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        asked: list[None] = []
        asyncio.run(asyncio.wait_for(self.app(_scope(method, path, headers), receive, send), PATIENCE_S))  # type: ignore[arg-type]
        return found[0]

    def all_of(self, path: str, limit: int = 1, **parameters: Any) -> list[Any]:
        """Every item of a list, page by page."""
        items, cursor = [], None
        while True:
            page = self.get(
                path, params={"limit": limit, **parameters, **({} if cursor is None else {"cursor": cursor})}
            )
            assert len(page["items"]) <= limit
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

"""`AsyncClient`: the same calls as `Client`'s for asyncio, without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

from convoy.async_connections import AsyncGateway
from convoy.calls import Call, Calls, Pause
from convoy.connections import BrokenConnectionError
from convoy.notebook import gateways_table
from convoy.results import GatewayStatus, ModelInfo, Result

T = TypeVar("T")


class AsyncClient:
    """Inference over one or more gateways, in one event loop; any number of calls at once.

    Use it as an asynchronous context, or `aclose` it. Arguments and errors are those of `connect` and `Client`.
    """

    def __init__(self, url: str | Sequence[str], *, timeout_s: float = 30.0) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        self._calls = Calls(urls, timeout_s)
        self._gateways = [AsyncGateway(each) for each in urls]
        self._last: list[GatewayStatus] = []

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every kept connection."""
        await asyncio.gather(*(gateway.aclose() for gateway in self._gateways))

    async def infer(
        self,
        array: Any,
        model: str | None = None,
        version: str | None = None,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> Result:
        """As `Client.infer`. A call that is cancelled is given up here; the gateway may still compute it."""
        return await self._run(self._calls.infer(array, model, version, timeout_s, priority))

    async def model(
        self, model: str | None = None, version: str | None = None, *, timeout_s: float | None = None
    ) -> ModelInfo:
        """As `Client.model`."""
        return await self._run(self._calls.model(model, version, timeout_s))

    async def models(self, *, timeout_s: float | None = None) -> list[tuple[str, str]]:
        """As `Client.models`."""
        return await self._run(self._calls.models(timeout_s))

    async def gateways(self, *, timeout_s: float = 2.0) -> list[GatewayStatus]:
        """As `Client.gateways`."""
        calls = [self._calls.status(number, timeout_s) for number in range(len(self._gateways))]
        self._last = list(await asyncio.gather(*map(self._run, calls)))
        return self._last

    async def is_ready(self, *, timeout_s: float = 2.0) -> bool:
        """As `Client.is_ready`."""
        return any(status.is_ready for status in await self.gateways(timeout_s=timeout_s))

    def __repr__(self) -> str:
        return f"<convoy.AsyncClient of {', '.join(self._calls.urls)}>"

    def _repr_html_(self) -> str:
        # A notebook cannot await this: it shows what `gateways` last found.
        unknown = [GatewayStatus(url, None, "await client.gateways() asks") for url in self._calls.urls]
        return gateways_table("AsyncClient", self._last or unknown)

    async def _run(self, call: Call[T]) -> T:
        try:
            step = next(call)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = call.send(None)
                    continue
                gateway = self._gateways[step.gateway]
                try:
                    reply = await gateway.request(step.method, step.path, step.body, step.headers, step.timeout_s)
                except BrokenConnectionError as error:
                    step = call.throw(error)
                else:
                    step = call.send(reply)
        except StopIteration as done:
            value: T = done.value
            return value

"""`connect` and `Client`: calls that block until they are answered, over as many gateways as there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from convoy.calls import Call, Calls, Pause
from convoy.connections import BrokenConnectionError, Gateway
from convoy.notebook import gateways_table
from convoy.results import GatewayStatus, ModelInfo, Result

#: Gateways asked at once for their state, and seconds that a notebook waits for it.
ASKED_AT_ONCE = 16
NOTEBOOK_S = 1.0

T = TypeVar("T")


def connect(url: str | Sequence[str], *, timeout_s: float = 30.0) -> Client:
    """A client of the gateway at `url`, or of several that serve the same models.

    Nothing is sent yet, so a gateway that is down now may come up before the first call. `timeout_s` bounds each call,
    all its retries included. Raises `InvalidInputError` for a malformed address.
    """
    return Client([url] if isinstance(url, str) else list(url), timeout_s=timeout_s)


class Client:
    """Inference over one or more gateways. May be shared by threads; use it as a context, or `close` it."""

    def __init__(self, urls: Sequence[str], *, timeout_s: float = 30.0) -> None:
        self._calls = Calls(urls, timeout_s)
        self._gateways = [Gateway(url) for url in urls]

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every kept connection."""
        for gateway in self._gateways:
            gateway.close()

    def infer(
        self,
        array: Any,
        model: str | None = None,
        version: str | None = None,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> Result:
        """The network's answer to `array` (n, *shape): real values, uint8 pixels, or int8 quantised.

        One sample may come without its batch, an image without its single channel. `model` may be left out when the
        gateway serves one only. `priority` 1 is answered first, then 2 and so on; 0 is the gateway's default. Raises
        `InvalidInputError`, `UnknownModelError`, `OverloadedError`, `UnavailableError`, `ConnectionFailedError`,
        `DeadlineExceededError` or `ServerFailedError`.
        """
        return self._run(self._calls.infer(array, model, version, timeout_s, priority))

    def model(
        self, model: str | None = None, version: str | None = None, *, timeout_s: float | None = None
    ) -> ModelInfo:
        """What a model takes and gives; raises as `infer`."""
        return self._run(self._calls.model(model, version, timeout_s))

    def models(self, *, timeout_s: float | None = None) -> list[tuple[str, str]]:
        """(name, version) of every model that is served; raises as `infer`."""
        return self._run(self._calls.models(timeout_s))

    def gateways(self, *, timeout_s: float = 2.0) -> list[GatewayStatus]:
        """Whether each gateway is there and ready, and why not; never raises for one that does not answer."""
        with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(self._gateways))) as pool:
            calls = [self._calls.status(number, timeout_s) for number in range(len(self._gateways))]
            return list(pool.map(self._run, calls))

    def is_ready(self, *, timeout_s: float = 2.0) -> bool:
        """Whether some gateway is ready: all it serves answer their golden vectors now. Never raises as `gateways`."""
        return any(status.is_ready for status in self.gateways(timeout_s=timeout_s))

    def __repr__(self) -> str:
        return f"<convoy.Client of {', '.join(self._calls.urls)}>"

    def _repr_html_(self) -> str:
        return gateways_table("Client", self.gateways(timeout_s=NOTEBOOK_S))

    def _run(self, call: Call[T]) -> T:
        try:
            step = next(call)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = call.send(None)
                    continue
                gateway = self._gateways[step.gateway]
                try:
                    reply = gateway.request(step.method, step.path, step.body, step.headers, step.timeout_s)
                except BrokenConnectionError as error:
                    step = call.throw(error)
                else:
                    step = call.send(reply)
        except StopIteration as done:
            value: T = done.value
            return value

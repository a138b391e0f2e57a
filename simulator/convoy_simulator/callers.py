"""Callers in virtual time: they ask the gateways as the product's own client does, and keep the ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import numpy as np
from convoy_controller.errors import NotServingError, OverloadError, UnknownModelError
from convoy_controller.gateway.service import InferenceResult
from convoy_schema.errors import ConvoyError
from numpy.typing import NDArray

from convoy_simulator.gateway import GatewayHost
from convoy_simulator.ledger import Ledger

#: Seconds that a caller gives a request, and waits before asking again where nobody could answer.
TIMEOUT_S = 20.0
AGAIN_S = 0.2
#: Now and then so many come at once: the share of moments at which they do.
BURST, BURSTS = 60, 0.02
#: What the client asks again for, elsewhere.
_AGAIN = (NotServingError, OverloadError, UnknownModelError)


class Callers:
    """Requests at random moments, `rate` a second; `was_able(since, until)`: whether the fleet could have answered."""

    def __init__(
        self,
        gateways: Sequence[GatewayHost],
        deployment: str,
        pictures: NDArray[np.uint8],
        ledger: Ledger,
        was_able: Callable[[float, float], bool],
        chance: random.Random,
        rate: float,
    ) -> None:
        self._gateways = gateways
        self._deployment = deployment
        self._pictures = pictures
        self._ledger = ledger
        self._was_able = was_able
        self._chance = chance
        self._rate = rate
        self._number = 0
        self._asking: set[asyncio.Task[None]] = set()

    async def ask_until(self, until: float) -> None:
        """Send requests until then."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._chance.expovariate(self._rate))
            if loop.time() >= until:
                return
            for _ in range(BURST if self._chance.random() < BURSTS else 1):
                task = loop.create_task(self._ask(self._number), name=f"request {self._number}")
                self._number += 1
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def finish(self) -> None:
        """Wait for what is under way."""
        while self._asking:
            await asyncio.wait(list(self._asking))

    async def _ask(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        deadline = sent_at + TIMEOUT_S
        self._ledger.sends(number, self._deployment, deadline, sent_at)
        picture = self._pictures[self._ledger.case(number, self._deployment)][None]
        turn = self._chance.randrange(len(self._gateways))
        code = "unreachable"
        while loop.time() < deadline:
            outcome = await self._try(self._gateways[turn % len(self._gateways)], picture, deadline)
            if isinstance(outcome, InferenceResult):
                self._ledger.comes(number, outcome.raw[0], str(outcome.generation), loop.time())
                return
            code = outcome.code if outcome is not None else code
            if outcome is not None and not isinstance(outcome, _AGAIN):
                break
            turn += 1
            await asyncio.sleep(self._chance.uniform(AGAIN_S / 2, AGAIN_S))
        self._ledger.fails(number, code, self._was_able(sent_at, loop.time()), loop.time())

    async def _try(
        self, gateway: GatewayHost, picture: NDArray[np.uint8], deadline: float
    ) -> InferenceResult | ConvoyError | None:
        """One try at one gateway; None when it is not there, or goes away meanwhile."""
        service, life = gateway.service, gateway.life
        if service is None or life.is_over:
            return None
        left = deadline - asyncio.get_running_loop().time()
        asking = asyncio.ensure_future(service.infer(picture, self._deployment, timeout_s=left))
        while not asking.done():
            await asyncio.wait([asking], timeout=1.0)
            if life.is_over:
                asking.cancel()
                return None
        error = asking.exception()
        if error is None:
            return asking.result()
        if life.is_over:
            return None
        if isinstance(error, ConvoyError):
            return error
        raise error

"""A fleet and a controller in miniature, on a real broker: what gateway and client are tested against.

`Fleet` computes frames by the exact arithmetic, in one stage; `Site` holds fleet, gateway and HTTP server in one loop,
and `SiteThread` runs that loop beside a blocking test.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from convoy_controller.gateway.http import create_app
from convoy_controller.gateway.server import serving
from convoy_controller.gateway.service import GatewayService
from convoy_controller.gateway.session import Limits
from convoy_schema import codec
from convoy_schema.bundle import Method, ModelAnnouncement, VerifiedModel, verify
from convoy_schema.ending import Ending
from convoy_schema.frames import Frame, TensorData
from convoy_schema.layers import load, prepare
from convoy_schema.link import Link
from convoy_schema.messages.desired import Hop, Intent
from convoy_schema.messages.gateways import Feed, GatewayDesired, GatewayReported, ModelRef, Route
from convoy_schema.names import Generation
from convoy_schema.topics import FrameTopic, GatewayTopic, Topics
from gateway_models import TRUSTED, digits
from numpy.typing import NDArray
from patience import PATIENCE_S

SITE = "test"
TOPICS = Topics(SITE)
T = TypeVar("T")


async def until(happened: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait for a condition; fails the test when it does not come true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not happened():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


class Fleet:
    """The boards (all of them: one connection that answers for any name) and the controller's voice."""

    def __init__(self, url: str, announcement: ModelAnnouncement, blobs: dict[str, bytes]) -> None:
        self.announcement = announcement
        self.model: VerifiedModel = verify(announcement, TRUSTED)
        topology = self.model.topology
        self._layers = [prepare(layer, topology, load(layer, blobs)) for layer in topology.layers]
        self.link = Link(url, "fleet", on_message=self._message, on_connect=self._connected)
        self.revision = 0
        self.frames = 0
        self.rows = 0
        #: Whether to say nothing to frames of a generation, which batch ids to lose, and how long to think.
        self.silent: set[Generation] = set()
        self.lose: Callable[[Frame], bool] = lambda frame: False
        self.thinking_s = 0.0
        self.reports: list[GatewayReported] = []
        self.retained: dict[str, bytes] = {}

    def _connected(self) -> None:
        self.link.subscribe(f"{TOPICS.prefix}from/+/to/+/#")
        self.link.subscribe(TOPICS.gateway("+", "reported"), 1)
        for topic, payload in self.retained.items():
            self.link.publish(topic, payload, qos=1, retain=True)

    def compute(self, rows: NDArray[np.int8]) -> NDArray[np.int8]:
        """The output tensor of int8 rows."""
        tensors = {self.model.topology.input: rows}
        for layer in self._layers:
            tensors[layer.layer.output] = layer.run([tensors[name] for name in layer.layer.inputs])
        return tensors[self.model.topology.output]

    def _message(self, name: str, payload: bytes, is_retained: bool) -> None:
        topic = TOPICS.parse(name)
        if isinstance(topic, GatewayTopic):
            self.reports.append(codec.decode(GatewayReported, payload))
        elif isinstance(topic, FrameTopic) and topic.stage == 0:
            frame = codec.decode(Frame, payload)
            if frame.generation not in self.silent and not self.lose(frame):
                asyncio.get_running_loop().call_later(self.thinking_s, self._answer, topic, frame)

    def _answer(self, topic: FrameTopic, frame: Frame) -> None:
        tensor = frame.tensors[0]
        rows = self.compute(np.frombuffer(tensor.data, np.int8).reshape(tensor.shape))
        if frame.requests:  # others are golden
            self.frames += 1
            self.rows += len(rows)
        data = (TensorData(self.model.topology.output, rows.shape, rows.tobytes()),)
        made = Frame(
            frame.deployment,
            frame.generation,
            1,
            frame.gateway,
            frame.batch,
            frame.requests,
            frame.budget_ms,
            data,
            (7,),
        )
        back = TOPICS.frame(topic.receiver, frame.gateway, frame.deployment, frame.generation, 1)
        self.link.publish(back, codec.encode(made))

    def retain(self, topic: str, payload: bytes) -> None:
        """Publish retained, now and after every reconnect."""
        self.retained[topic] = payload
        self.link.publish(topic, payload, qos=1, retain=True)

    def announce(self) -> None:
        """Publish the model."""
        bundle = self.model.bundle
        self.retain(TOPICS.model(bundle.model, bundle.version), codec.encode(self.announcement))

    def order(self, *feeds: Feed, gateway: str = "gateway", revision: int | None = None) -> None:
        """Tell a gateway what to feed."""
        self.revision = self.revision + 1 if revision is None else revision
        self.retain(TOPICS.gateway(gateway, "desired"), codec.encode(GatewayDesired(1, self.revision, feeds)))

    def feed(
        self, serving: int | None, probing: int | None = None, *, deployment: str = "shop", window: int = 16
    ) -> Feed:
        """A feed of our model by generation counters."""

        bundle = self.model.bundle
        model = ModelRef(bundle.model, bundle.version, self.model.digest)

        def route(counter: int | None) -> Route | None:
            if counter is None:
                return None
            return Route(Generation(1, counter), model, (Hop("board-a"), Hop("board-b")), 1, window, 32)

        intent = Intent(deployment, bundle.model, bundle.version, Method.ALLOCATE)
        return Feed(intent, model, route(serving), route(probing))


class Site:
    """A gateway with its HTTP server, and the fleet behind it."""

    def __init__(
        self,
        url: str,
        name: str = "gateway",
        limits: Limits | None = None,
        ending: Ending | None = None,
        model: tuple[ModelAnnouncement, dict[str, bytes]] | None = None,
    ) -> None:
        self.fleet = Fleet(url, *(model or digits(ending)))
        self.service = GatewayService(name, SITE, url, TRUSTED, secrets.randbits(62), limits=limits)
        self.app = create_app(self.service)
        self.address = ""

    @contextlib.asynccontextmanager
    async def running(self, *, serving_generation: int | None = 1, port: int | None = None) -> AsyncIterator[Site]:
        """Everything up, the model announced and served unless told otherwise; HTTP too when `port` is given."""
        tasks = [asyncio.create_task(self.fleet.link.run()), asyncio.create_task(self.service.run())]
        async with contextlib.AsyncExitStack() as stack:
            if port is not None:
                self.address = await stack.enter_async_context(serving(self.app, "127.0.0.1", port))
                self.service.address = self.address
            try:
                await until(lambda: self.fleet.link.connected and self.service.is_connected)
                if serving_generation is not None:
                    self.fleet.announce()
                    self.fleet.order(self.fleet.feed(serving_generation), gateway=self.service.name)
                    await until(lambda: self.service.session.is_ready("shop"))
                yield self
            finally:
                await self.fleet.link.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


class SiteThread:
    """A `Site` in a loop and thread of its own, for tests that block."""

    def __init__(
        self,
        url: str,
        name: str = "gateway",
        limits: Limits | None = None,
        port: int = 0,
        ending: Ending | None = None,
        model: tuple[ModelAnnouncement, dict[str, bytes]] | None = None,
    ) -> None:
        self._arguments = url, name, limits, ending, model
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name=f"site-{name}")
        self._failure: BaseException | None = None
        self.site: Site

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            self.site = Site(*self._arguments)
            async with self.site.running(port=self._port):
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._failure = error
            self._ready.set()
            raise

    def __enter__(self) -> SiteThread:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        assert self._failure is None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    @property
    def address(self) -> str:
        """Where HTTP is."""
        return self.site.address

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the site's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(PATIENCE_S)

    def call(self, work: Callable[[], T]) -> T:
        """Call a function in the site's loop."""

        async def wrapped() -> T:
            return work()

        return self.run(wrapped)

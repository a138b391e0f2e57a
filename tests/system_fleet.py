"""A whole fleet of real processes for tests: broker, controller, gateway and boards, with a small network to serve.

`SystemFleet` starts and stops it; `Load` and `Ledger` of the demonstration are its callers; `Intruder` speaks on any
topic, as a peer that is broken or means harm would.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

import convoy
import convoy_bitstreams
import numpy as np
from convoy_controller.bench.rig import Described
from convoy_controller.blobs import BlobStore
from convoy_controller.broker import Broker
from convoy_controller.catalogue import Catalogue, ModelContents
from convoy_controller.database import queries
from convoy_controller.database.engine import open_database
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.records import BoardPresence, DeploymentState
from convoy_controller.database.views import DeploymentLine, EventLine, PlanView
from convoy_controller.demo.ledger import Ledger, Summary
from convoy_controller.demo.load import Load
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.local_fleet import LocalFleet, wait_until
from convoy_controller.processes import Child
from convoy_schema import layers
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.link import parse_url
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.names import digest_of
from convoy_schema.topics import Topics
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from patience import PATIENCE_S

SHAPE = (1, 12, 12)
SPEC = InputSpec("t0", "CHW", 1 / 255, 0.0)
CLASSES = tuple(f"class-{number}" for number in range(10))


@lru_cache(maxsize=1)
def small_network() -> Described:
    """Six layers of four kinds over 12x12 pixels: enough for five boards, and more kinds than partitions."""
    random = np.random.default_rng(11)
    contents: dict[str, bytes] = {}

    def stored(weights: NDArray[np.int8] | None, count: int, scale: float) -> str:
        multiplier, shift = fixed_point(scale)
        bias = None if weights is None else random.integers(-500, 500, count).astype(np.int32)
        scales = np.full(count, multiplier, np.int32), np.full(count, shift, np.int32)
        packed = pack_parameters(Parameters(weights, bias, *scales))
        contents[digest_of(packed)] = packed
        return digest_of(packed)

    def weighted(shape: tuple[int, ...], scale: float) -> str:
        return stored(random.integers(-127, 128, shape).astype(np.int8), shape[0], scale)

    shapes = [SHAPE, (4, 10, 10), (4, 5, 5), (6, 4, 4), (6, 2, 2), (16,), (10,)]
    scales = [(1 / 255, -128), (0.05, -20), (0.05, -20), (0.05, 7), (0.05, 7), (0.05, 0), (0.125, 3)]
    tensors = tuple(
        Tensor(f"t{n}", shape, scale, zero) for n, (shape, (scale, zero)) in enumerate(zip(shapes, scales, strict=True))
    )
    chain = (
        Layer("conv1", Kind.CONV2D, ("t0",), "t1", Window((3, 3)), parameters=weighted((4, 1, 3, 3), 0.0008)),
        Layer("pool1", Kind.MAX_POOL, ("t1",), "t2", Window((2, 2), (2, 2))),
        Layer("conv2", Kind.CONV2D, ("t2",), "t3", Window((2, 2)), parameters=weighted((6, 4, 2, 2), 0.003)),
        Layer("pool2", Kind.AVERAGE_POOL, ("t3",), "t4", Window((2, 2), (2, 2)), parameters=stored(None, 1, 0.25)),
        Layer("dense1", Kind.DENSE, ("t4",), "t5", parameters=weighted((16, 24), 0.002)),
        Layer("dense2", Kind.DENSE, ("t5",), "t6", parameters=weighted((10, 16), 0.003)),
    )
    topology = Topology("small", tensors, chain, "t0", "t6")
    rows = random.integers(-128, 128, (4, *SHAPE)).astype(np.int8)
    values = evaluate(topology, contents, rows)
    golden = {name: value.tobytes() for name, value in values.items()}
    return Described(topology, contents, golden, len(rows))


def pictures(count: int, seed: int = 3) -> NDArray[np.uint8]:
    """(count, *SHAPE) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def logits_of(network: ModelContents, spec: InputSpec, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What one process answers: every answer of a fleet must be equal to the last bit."""
    topology = network.topology
    source, output = topology.tensor(topology.input), topology.tensor(topology.output)
    real = images.astype(np.float32) * np.float32(spec.scale) + np.float32(spec.offset)
    values = evaluate(topology, network.parameters, layers.quantise(real, source))
    return network.ending.apply(layers.dequantise(values[topology.output], output))


class SystemFleet:
    """Real processes below `directory`. `start` brings it to serve; as a context it leaves nothing behind."""

    def __init__(self, directory: Path, database_url: str = "") -> None:
        self.directory = directory
        self.home = Home.locate(directory, database_url or f"sqlite:///{directory / 'convoy.db'}")
        self.database = open_database(self.home.database_url)
        self.local = LocalFleet(self.home, directory)
        self.topics = Topics(self.local.site)
        self._client: convoy.Client | None = None

    def __enter__(self) -> SystemFleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        self.local.stop()
        self.database.close()
        if error is not None:
            for log in sorted((self.directory / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")

    # Starting --------------------------------------------------------------------------------------------------------

    def publish(
        self, network: ModelContents | None = None, name: str = "small", version: str = "1", spec: InputSpec = SPEC
    ) -> None:
        """Put a model into the catalogue."""
        catalogue = Catalogue(self.database, BlobStore(self.home.blobs))
        images, key = convoy_bitstreams.catalogue(), signing_key(self.home.keys)
        catalogue.publish_model(network or small_network(), name, version, spec, CLASSES, images, key)

    def start(
        self, boards: int = 2, broker: str = "mosquitto", metrics_port: int | None = None, **settings: str | float
    ) -> SystemFleet:
        """Broker, controller, gateway and `boards` boards; the small network is published, nothing is deployed."""
        self.publish()
        self.local.start_broker(broker)
        self.local.start_controller(metrics_port)
        self.local.start_gateway()
        for number in range(1, boards + 1):
            self.local.start_board(f"board-{number}", **settings)
        return self

    def serve(self, boards: int = 2, method: Method = Method.ALLOCATE, **settings: str | float) -> SystemFleet:
        """As `start`, and the small network deployed over all boards."""
        self.start(boards, **settings)
        self.deploy(method, boards)
        return self

    def request(self, method: Method, boards: int, model: str = "small", batch: int = 8) -> None:
        """Ask for a deployment of the model's name."""
        intent = Intent(model, model, "1", method, boards, cut=Cut.PIPELINE, batch=batch)
        request_deployment(self.database, intent)

    def deploy(self, method: Method = Method.ALLOCATE, boards: int = 2, model: str = "small") -> None:
        """Ask for it, and wait until what was asked for serves on as many boards."""
        self.request(method, boards, model)
        self.wait_serving(boards, model)

    def withdraw(self, name: str = "small") -> None:
        """Ask for it to end."""
        withdraw_deployment(self.database, name)

    def wait_serving(self, boards: int, model: str = "small") -> None:
        """Until what is wanted now serves on exactly `boards` boards, all of them ready."""

        def serves() -> bool:
            line = self.deployment(model)
            return (
                line.state is DeploymentState.SERVING
                and line.is_current
                and line.ready_boards == line.assigned_boards == boards
            )

        assert wait_until(serves, PATIENCE_S, 0.05), self.complaint(model)

    def wait_boards(self, *names: str) -> None:
        """Until the controller knows these boards to be online."""
        assert wait_until(lambda: set(names) <= self.online(), PATIENCE_S, 0.05), sorted(self.online())

    # Looking ---------------------------------------------------------------------------------------------------------

    def deployment(self, name: str = "small") -> DeploymentLine:
        """As `convoy deployments NAME`."""
        return queries.deployment(self.database, name)

    def plan(self, name: str = "small") -> PlanView:
        """Who runs what."""
        return queries.plan(self.database, name)

    def events(self, kind: str = "") -> list[EventLine]:
        """History, of one kind if named."""
        return [event for event in queries.events(self.database, 10_000) if kind in ("", event.kind)]

    def why(self, board: str) -> str:
        """As `convoy why BOARD`."""
        answer = queries.why(self.database, board)
        return f"{answer.sentence} To do: {answer.action}"

    def online(self) -> set[str]:
        """Names of the boards that are there."""
        return {line.board for line in queries.fleet(self.database) if line.presence is BoardPresence.ONLINE}

    def serving_generation(self, name: str = "small") -> str:
        """The newest live one."""
        return str(self.deployment(name).generation)

    def complaint(self, name: str = "small") -> str:
        """What people would read when it does not serve."""
        whys = [self.why(board) for board in self.local.boards]
        return "\n".join([f"{self.deployment(name)}", *whys, *(event.sentence for event in self.events()[-20:])])

    def log(self, name: str) -> str:
        """All that a process has said."""
        path = self.directory / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_log(self, name: str, text: str, seconds: float = PATIENCE_S) -> str:
        """Until a process has said `text`; its whole log."""
        assert wait_until(lambda: text in self.log(name), seconds, 0.05), (
            f"{name} never said {text!r}:\n{self.log(name)}"
        )
        return self.log(name)

    def wait_event(self, kind: str, text: str = "") -> EventLine:
        """Until history holds such an event."""
        found: list[EventLine] = []

        def seen() -> bool:
            found[:] = [event for event in self.events(kind) if text in event.sentence]
            return bool(found)

        assert wait_until(seen, PATIENCE_S, 0.05), [f"{event.kind}: {event.sentence}" for event in self.events()]
        return found[-1]

    # Using -----------------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The gateway's."""
        return next(iter(self.local.gateways.values()))

    @property
    def client(self) -> convoy.Client:
        """One client for the whole test."""
        if self._client is None:
            self._client = convoy.connect(list(self.local.gateways.values()), timeout_s=PATIENCE_S)
        return self._client

    def still_serves(self, count: int = 40) -> None:
        """Requests are answered as before, to the last bit."""
        images = pictures(count)
        result = self.client.infer(images, "small")
        assert np.array_equal(result.array, logits_of(small_network(), SPEC, images))

    @contextlib.contextmanager
    def traffic(self, callers: int = 4) -> Iterator[Traffic]:
        """Callers that send images one by one for the length of the block; afterwards every image has its answer."""
        flow = Traffic(list(self.local.gateways.values()), callers)
        flow.start()
        try:
            yield flow
        finally:
            flow.stop()

    def start_daemon(self, child: str, board: str, **settings: str | float) -> Child:
        """A daemon for `board` under a process name and a folder of its own: a second one of that name, perhaps."""
        folder = self.directory / "boards"
        folder.mkdir(exist_ok=True)
        values: dict[str, object] = {
            "name": board,
            "site": self.local.site,
            "broker": self.local.url,
            "state_dir": str(folder / child),
            "trusted_key": str(self.home.trusted_key),
            **settings,
        }
        config = folder / f"{child}.toml"
        config.write_text(
            "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
        )
        command = [sys.executable, "-m", "convoy_device", "run", "--config", str(config)]
        return self.local.processes.start(child, command, self.directory / "logs" / f"{child}.log", tier="boards")

    def expect_broker(self, url: str) -> None:
        """Use a broker that is not there yet."""
        self.local.broker = Broker(url, url, None)


class Traffic:
    """Callers under way, and their account."""

    #: More than any test can send.
    IMAGES = 60_000

    def __init__(self, addresses: Sequence[str], callers: int) -> None:
        distinct = pictures(64)
        numbers = np.arange(self.IMAGES) % len(distinct)
        expected = logits_of(small_network(), SPEC, distinct)[numbers]
        self.ledger = Ledger(np.zeros(self.IMAGES, np.int64), expected)
        self._load = Load(addresses, distinct[numbers], self.ledger, callers=callers, timeout_s=PATIENCE_S)

    def start(self) -> None:
        """Begin, and wait for the first answers."""
        self._load.start()
        self.wait_answers(10)

    def wait_answers(self, count: int, seconds: float = PATIENCE_S) -> None:
        """Until `count` more images have an answer."""
        target = self.ledger.done + count
        assert wait_until(lambda: self.ledger.done >= target, seconds, 0.01), self.ledger.summary()

    def stop(self) -> Summary:
        """Send no more, and wait for what is under way; the account."""
        self._load.stop()
        return self.ledger.summary()

    def check(self) -> Summary:
        """Stop; nothing may be lost, failed, doubled or wrong."""
        summary = self.stop()
        faults = (summary.lost, summary.failed, summary.duplicated, summary.wrong)
        assert faults == (0, 0, 0, 0), summary
        assert summary.answered == summary.images > 0
        return summary


class Intruder:
    """A client of the broker that publishes what it likes and hears what it asks for."""

    def __init__(self, url: str) -> None:
        self.heard: Queue[tuple[str, bytes]] = Queue()
        #: Called in paho's thread for each message, before it is put into `heard`.
        self.answer: Callable[[str, bytes], None] = lambda topic, payload: None
        self._client = Client(CallbackAPIVersion.VERSION2, f"intruder-{secrets.token_hex(8)}")
        self._client.on_message = self._message
        self._subscribed: Queue[int] = Queue()
        self._client.on_subscribe = lambda client, data, number, codes, properties: self._subscribed.put(number)
        self._client.connect(*parse_url(url))
        self._client.loop_start()

    def __enter__(self) -> Intruder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        self.answer(message.topic, message.payload)
        self.heard.put((message.topic, message.payload))

    def subscribe(self, *topics: str) -> None:
        """Until the broker has granted them."""
        for topic in topics:
            self._client.subscribe(topic)
            self._subscribed.get(timeout=PATIENCE_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, wait: bool = True) -> None:
        """Until the broker has taken it; from within `answer` do not wait."""
        sent = self._client.publish(topic, payload, 1, retain)
        if wait:
            sent.wait_for_publish(PATIENCE_S)

    def settle(self) -> None:
        """Until all that the broker has for it has come, what is retained too: it delivers in order."""
        mark = f"tests/{secrets.token_hex(8)}"
        came = threading.Event()
        self._client.message_callback_add(mark, lambda *_: came.set())
        self.subscribe(mark)
        self.publish(mark, b"")
        assert came.wait(PATIENCE_S), "the broker delivers nothing"

    def all_heard(self) -> list[tuple[str, bytes]]:
        """Everything that came so far and was not taken by `hear`."""
        with self.heard.mutex:
            return list(self.heard.queue)

    def hear(self, topic: str, seconds: float = PATIENCE_S) -> bytes:
        """The next message on a topic."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found, payload = self.heard.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"nothing came on {topic}") from None
            if found == topic:
                return payload

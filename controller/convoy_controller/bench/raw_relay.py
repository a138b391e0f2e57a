"""The peer of the pipeline bench: the least that a chain of relays over MQTT can be, in plain paho.

`python -m convoy_controller.bench.raw_relay PORT TOPIC NEXT` relays TOPIC to NEXT. `RawChain` drives three of them from
this process, one connection with its network thread, as a straightforward program would be written: no codec, no
checks, no computing. It is the one place beside `convoy_schema.link` that imports paho, because it must not use ours.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from convoy_controller.processes import Processes

#: Hops of the chain: bench -> relay 1 -> relay 2 -> relay 3 -> bench.
RELAYS = 3


def _client(port: int) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_socket_open = _without_delay
    client.connect("127.0.0.1", port)
    return client


def _without_delay(client: mqtt.Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def relay(port: int, topic: str, following: str) -> None:
    """Pass on whatever comes, for ever."""
    client = _client(port)

    def on_connect(client: mqtt.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        client.subscribe(topic)

    def on_message(client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        client.publish(following, message.payload)

    client.on_connect = on_connect
    client.on_message = on_message
    client.loop_forever()


class RawChain:
    """Three relay processes, and this process as source and sink."""

    def __init__(self, processes: Processes, port: int, logs: Path) -> None:
        for number in range(RELAYS):
            command = [sys.executable, "-m", __name__, str(port), f"raw/{number}", f"raw/{number + 1}"]
            processes.start(f"relay-{number + 1}", command, logs / f"relay-{number + 1}.log")
        self._client = _client(port)
        self._client.on_message = self._received
        self._returned = 0
        self._until = 0.0
        self._payload = b""
        self._arrived = threading.Event()
        self._client.subscribe(f"raw/{RELAYS}")
        self._client.loop_start()

    def wait_ready(self, timeout_s: float = 10.0) -> None:
        """Until a message has gone all the way round."""
        deadline = time.monotonic() + timeout_s
        while self.seconds_each(b"ready", 1, 0.2)[0] >= 0.2:
            if time.monotonic() > deadline:
                raise TimeoutError("the raw relays do not relay")

    def _received(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._returned += 1
        if time.perf_counter() < self._until:
            client.publish("raw/0", self._payload)
        self._arrived.set()

    def frames_per_second(self, payload: bytes, in_flight: int, seconds: float) -> float:
        """Messages a second that come round, `in_flight` of them at once."""
        self._payload, self._returned = payload, 0
        started = time.perf_counter()
        self._until = started + seconds
        for _ in range(in_flight):
            self._client.publish("raw/0", payload)
        time.sleep(seconds)
        rate = self._returned / (time.perf_counter() - started)
        time.sleep(0.3)  # what is in flight comes home
        return rate

    def seconds_each(self, payload: bytes, count: int, timeout_s: float = 5.0) -> list[float]:
        """Seconds of each of `count` rounds, one at a time."""
        self._until = 0.0
        took = []
        for _ in range(count):
            self._arrived.clear()
            started = time.perf_counter()
            self._client.publish("raw/0", payload)
            self._arrived.wait(timeout_s)
            took.append(time.perf_counter() - started)
        return took

    def stop(self) -> None:
        """Disconnect; the relays end with their owner."""
        self._client.disconnect()
        self._client.loop_stop()


if __name__ == "__main__":
    relay(int(sys.argv[1]), sys.argv[2], sys.argv[3])

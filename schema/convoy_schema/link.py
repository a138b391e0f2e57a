"""The one connection class to the MQTT broker, and the only module that imports paho.

It lives beside the contract because boards, gateways and the controller meet the very same traps. paho is driven from
the asyncio loop, without its thread, so that a frame costs no hand-over; every connection is a new client with a clean
session, so that no backlog of an older one is ever resent: after `on_connect` its owner subscribes and restates what
is true. Nothing here knows what a message means.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from convoy_schema.errors import LinkError, TooLargeError
from convoy_schema.packets import PacketSocket

log = logging.getLogger(__name__)

#: Bytes: nothing larger is handed to paho, which would retry it for ever on a broker that refuses it.
MAX_PACKET = 1_000_000
#: QoS 1 messages awaiting their PUBACK, as Mosquitto's max_inflight_messages.
MAX_INFLIGHT = 20
#: QoS 1 messages that wait for one of those places.
MAX_OUTBOX = 4096
#: Bytes that may wait for a socket that does not take them; beyond it QoS 0 is dropped, as it is when disconnected.
MAX_UNWRITTEN = 16 * 1024 * 1024
#: Seconds: first and longest bound of the random wait before the next attempt to connect.
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 30.0
#: Seconds that a connection must last before the wait starts again from the first bound.
STABLE_S = 10.0
CONNECT_TIMEOUT_S = 5.0

OnConnect = Callable[[], None]
OnDisconnect = Callable[[str], None]
OnMessage = Callable[[str, bytes, bool], None]


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of `mqtt://host[:port]`; raises `LinkError` that shows the form."""
    parts = urlsplit(url)
    try:
        port = parts.port or 1883
    except ValueError as error:
        raise LinkError(f"broker {url!r}: {error}; the form is mqtt://host:port", url=url) from error
    if parts.scheme != "mqtt" or not parts.hostname:
        raise LinkError(f"broker {url!r} is not of the form mqtt://host:port", url=url)
    return parts.hostname, port


class Link:
    """A connection that keeps coming back. All methods are called from the event loop's thread.

    `on_message` gets (topic, payload, retained). What a callback raises is logged and goes no further.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        on_message: OnMessage,
        on_connect: OnConnect | None = None,
        on_disconnect: OnDisconnect | None = None,
        will: tuple[str, bytes] | None = None,
        keepalive_s: int = 5,
        chance: random.Random | None = None,
    ) -> None:
        self._host, self._port = parse_url(url)
        self.url = url
        self._client_id = client_id
        self._on_message = on_message
        self._on_connect = on_connect or (lambda: None)
        self._on_disconnect = on_disconnect or (lambda reason: None)
        self._will = will
        self._keepalive_s = keepalive_s
        self._chance = chance or random.Random()
        self._client: mqtt.Client | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._accepted: asyncio.Event = asyncio.Event()
        self._loss = ""
        self._stopping = False
        self._socket: PacketSocket | None = None
        self._watched = False
        self._awaited: list[mqtt.MQTTMessageInfo] = []
        self._outbox: OrderedDict[object, tuple[str, bytes, bool]] = OrderedDict()
        self.connected = False
        #: Answers of the broker seen so far; a watchdog may ask whether it grows.
        self.round_trips = 0
        #: Messages dropped because there was no connection or no room.
        self.dropped = 0

    # Life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again after every loss, until `stop` is called or the task is cancelled."""
        attempt = 0
        said = ""
        while not self._stopping:
            started = asyncio.get_running_loop().time()
            try:
                await self._connection()
            except (OSError, LinkError) as error:
                self._loss = str(error)
            finally:
                had_connection = self.connected
                self._drop()
            if self._stopping:
                return
            if asyncio.get_running_loop().time() - started > STABLE_S:
                attempt = 0
            if had_connection:
                said = ""
            wait = self._chance.uniform(0, min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2**attempt))
            attempt = min(attempt + 1, 10)
            # A broker that stays away is one line, not one a second.
            level = logging.DEBUG if said == self._loss else logging.WARNING
            log.log(level, "%s: no broker at %s (%s); trying again", self._client_id, self.url, self._loss)
            said = self._loss
            await asyncio.sleep(wait)

    async def stop(self) -> None:
        """Send what is still to be sent (for at most a second), disconnect, and let `run` return."""
        self._stopping = True
        client = self._client
        if client is not None and self.connected:
            deadline = asyncio.get_running_loop().time() + 1.0
            while (self._outbox or self._awaited or self.is_congested) and self.connected:
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(0.01)
            if self.connected:
                client.disconnect()
                self._flush()
        self._loss = "stopped"
        self._lost.set()

    async def _connection(self) -> None:
        """One connection, from its handshake to its loss."""
        loop = asyncio.get_running_loop()
        self._lost.clear()
        self._accepted.clear()
        self._loss = ""
        client = self._new_client()
        # Only the TCP handshake blocks, and only in a thread of its own; from here on the loop owns the socket.
        await loop.run_in_executor(None, client.connect, self._host, self._port, self._keepalive_s)
        sock = client.packets
        if sock is None or sock.fileno() < 0:
            raise LinkError(f"connection to {self.url} was closed at once", url=self.url)
        self._client, self._socket = client, sock
        loop.add_reader(sock.fileno(), self._readable)
        ticking = loop.create_task(self._tick(client), name=f"{self._client_id}.tick")
        try:
            done = {loop.create_task(self._accepted.wait()), loop.create_task(self._lost.wait())}
            _, pending = await asyncio.wait(done, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if not self._accepted.is_set():
                raise LinkError(self._loss or f"no answer to CONNECT within {CONNECT_TIMEOUT_S:.0f} s", url=self.url)
            await self._lost.wait()
        finally:
            ticking.cancel()

    def _new_client(self) -> _Client:
        client = _Client(CallbackAPIVersion.VERSION2, f"{self._client_id}:{secrets.token_hex(4)}", clean_session=True)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.on_socket_close = self._socket_closes
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        # No on_publish: paho would build two objects for each QoS 0 frame to tell us that it was sent.
        client.on_message = self._message
        if self._will is not None:
            client.will_set(self._will[0], self._will[1], qos=1, retain=True)
        return client

    async def _tick(self, client: mqtt.Client) -> None:
        while True:
            await asyncio.sleep(1.0)
            client.loop_misc()
            self._flush()

    def _drop(self) -> None:
        """Forget the connection, telling the owner if it had been told of it."""
        sock, self._client, self._socket = self._socket, None, None
        if sock is not None:
            self._unregister(sock)
            sock.close()
        was, self.connected = self.connected, False
        self._awaited.clear()
        self._outbox.clear()
        if was:
            _guarded(self._on_disconnect, self._loss or "connection lost")

    # What paho calls -------------------------------------------------------------------------------------------------

    def _connack(self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if client is not self._client:
            return
        if code.is_failure:
            self._loss = f"the broker refused the connection: {code}"
            self._lost.set()
            return
        self.connected = True
        self.round_trips += 1
        self._accepted.set()
        _guarded(self._on_connect)

    def _disconnected(self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if client is self._client:
            self._loss = str(code)
            self._lost.set()

    def _socket_closes(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        if client is self._client:
            self._unregister(sock)

    def _message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.warning("%s: a topic is not UTF-8", self._client_id)
            return
        _guarded(self._on_message, topic, message.payload, message.retain)

    # Sending ---------------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Send, or queue within bounds; False when it was dropped: no connection, or no room.

        Of a retained topic only the newest value waits. Raises `TooLargeError` above `MAX_PACKET`.
        """
        if len(payload) + len(topic) > MAX_PACKET:
            raise TooLargeError(
                f"{len(payload)} bytes for {topic}: at most {MAX_PACKET} may be published",
                topic=topic,
                size=len(payload),
            )
        sock = self._socket
        if sock is None or not self.connected:
            self.dropped += 1
            return False
        if qos == 0:
            return self._publish_now(sock, topic, payload, retain)
        if len(self._outbox) >= MAX_OUTBOX:
            self.dropped += 1
            return False
        key: object = topic if retain else object()
        self._outbox.pop(key, None)
        self._outbox[key] = (topic, payload, retain)
        self._pump()
        return True

    def _publish_now(self, sock: PacketSocket, topic: str, payload: bytes, retain: bool) -> bool:
        if sock.unsent_bytes > MAX_UNWRITTEN:
            self.dropped += 1
            return False
        if not sock.is_corked:
            # What else is published in this turn of the loop goes out with it, in one system call.
            sock.cork()
            asyncio.get_running_loop().call_soon(self._flush)
        sock.publish(topic.encode(), payload, retain)
        return True

    def subscribe(self, topic: str, qos: int = 0) -> None:
        """Ask for a filter; lost with the connection, so asked for again after each `on_connect`."""
        if self._client is not None and self.connected:
            self._client.subscribe(topic, qos)

    def unsubscribe(self, topic: str) -> None:
        """Give up a filter."""
        if self._client is not None and self.connected:
            self._client.unsubscribe(topic)

    @property
    def is_congested(self) -> bool:
        """Whether the socket does not take what was given to it: bulk senders wait, heartbeats do not."""
        return self._socket is not None and self._socket.is_blocked

    def _settle(self) -> None:
        """Count the answers to QoS 1 that have come, and send what waited for their place."""
        waiting = [info for info in self._awaited if not info.is_published()]
        self.round_trips += len(self._awaited) - len(waiting)
        self._awaited = waiting
        if self._outbox:
            self._pump()

    def _pump(self) -> None:
        client = self._client
        while client is not None and self.connected and self._outbox and len(self._awaited) < MAX_INFLIGHT:
            _, (topic, payload, retain) = self._outbox.popitem(last=False)
            info = client.publish(topic, payload, 1, retain)
            self._awaited.append(info)

    # The socket ------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        client, sock = self._client, self._socket
        if client is None or sock is None:
            return
        sock.cork()
        try:
            sock.fill()
            self._read(client, sock)
            if sock.is_closed_by_peer and client is self._client:
                client.loop_read()  # paho meets the end of the stream, and says so
        except (OSError, LinkError) as error:
            self._break(f"the connection broke: {error}")
        self._flush()

    def _read(self, client: mqtt.Client, sock: PacketSocket) -> None:
        """Hand on every whole packet that was read, ours or paho's, as long as the connection is the same."""
        while client is self._client:
            found = sock.next()
            if found is False:
                return
            if found is True:
                client.loop_read()
            else:
                _guarded(self._on_message, found.topic, found.payload, found.retained)

    def _flush(self) -> None:
        client, sock = self._client, self._socket
        if client is None or sock is None:
            return
        if self._awaited or self._outbox:
            self._settle()
        try:
            if client.want_write():
                client.loop_write()
            sock.uncork()
        except OSError as error:
            self._break(f"the connection broke: {error}")
        self._watch(sock)

    def _writable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            sock.push()
        except OSError as error:
            self._break(f"the connection broke: {error}")
        self._watch(sock)

    def _watch(self, sock: PacketSocket) -> None:
        """Ask to be told when the socket takes more, exactly while something waits for that."""
        if sock.is_blocked == self._watched or sock.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        if sock.is_blocked:
            loop.add_writer(sock.fileno(), self._writable)
        else:
            loop.remove_writer(sock.fileno())
        self._watched = sock.is_blocked

    def _break(self, loss: str) -> None:
        self._loss = loss
        self._lost.set()

    def _unregister(self, sock: Any) -> None:
        loop = asyncio.get_running_loop()
        if sock.fileno() >= 0:
            loop.remove_reader(sock.fileno())
            loop.remove_writer(sock.fileno())
        self._watched = False


class _Client(mqtt.Client):
    """paho's client over our socket; the method below is where it makes one."""

    packets: PacketSocket | None = None

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()
        # Nagle's algorithm and delayed acknowledgements together would make a QoS 1 hop cost 44 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.packets = PacketSocket(sock)
        return self.packets


def _guarded(callback: Callable[..., None], *arguments: object) -> None:
    """Call an owner's callback; one that raises must not take the connection with it."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback of the link failed")

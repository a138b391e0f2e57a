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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from convoy_schema.backoff import BACKOFF_MOST_S, Backoff
from convoy_schema.errors import LinkError, TlsError, TooLargeError
from convoy_schema.packets import PacketSocket

if TYPE_CHECKING:
    # Two megabytes in every process, for those alone who need certificates.
    from convoy_schema.credentials import Credentials

log = logging.getLogger(__name__)

#: Bytes, header and topic included: what brokers take. One that gets more cuts the connection, each time it is tried.
MAX_PACKET = 1_000_000
#: Type, length, the topic's length and a packet number: what a message takes beside its topic and payload, at most.
HEADER_BYTES = 9
#: QoS 1 messages awaiting their PUBACK, as Mosquitto's max_inflight_messages.
MAX_INFLIGHT = 20
#: QoS 1 messages that wait for one of those places.
MAX_OUTBOX = 4096
#: Bytes that may wait for a socket that does not take them; beyond it QoS 0 is dropped, as it is when disconnected.
MAX_UNWRITTEN = 16 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0

#: Random bytes in a client's id: whoever guesses one can evict its owner, so that nobody may.
NONCE_BYTES = 8

_PINGREQ = b"\xc0\x00"

OnConnect = Callable[[], None]
OnDisconnect = Callable[[str], None]
OnMessage = Callable[[str, bytes, bool], None]


#: Ports of the schemes, by IANA.
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of `mqtt://host[:port]`, or `mqtts://` for TLS; raises `LinkError` that shows the form."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        (parts.hostname or "").encode("idna")  # what looking it up would do
    except ValueError as error:
        raise LinkError(
            f"broker {url[:200]!r}: {str(error)[:200]}; the form is mqtt://host:port or mqtts://host:port", url=url
        ) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise LinkError(f"broker {url[:200]!r} is not of the form mqtt://host:port or mqtts://host:port", url=url)
    return parts.hostname, port


def check_credentials(url: str, credentials: Credentials | None) -> None:
    """Refuse what would be encrypted without credentials, or plain in spite of them; raises `LinkError`."""
    is_encrypted = urlsplit(url).scheme == "mqtts"
    if is_encrypted and credentials is None:
        raise LinkError(f"broker {url!r} needs a CA, a certificate and a key", url=url)
    if credentials is not None and not is_encrypted:
        raise LinkError(
            f"broker {url!r} is not encrypted, but there are certificates: the form is mqtts://host", url=url
        )


class Link:
    """A connection that keeps coming back. All methods are called from the event loop's thread.

    `credentials` are what a broker at `mqtts://` asks for. `most_wait_s` bounds the random wait between attempts.
    `on_message` gets (topic, payload, retained); `on_acknowledged`, where there is one, those that came at QoS 1. What
    a callback raises is logged and goes no further.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        on_message: OnMessage,
        on_acknowledged: OnMessage | None = None,
        on_connect: OnConnect | None = None,
        on_disconnect: OnDisconnect | None = None,
        credentials: Credentials | None = None,
        will: tuple[str, bytes] | None = None,
        keepalive_s: int = 5,
        most_wait_s: float = BACKOFF_MOST_S,
        chance: random.Random | None = None,
    ) -> None:
        self._host, self._port = parse_url(url)
        check_credentials(url, credentials)
        self._credentials = credentials
        self.url = url
        self._client_id = client_id
        self._on_message = on_message
        self._on_acknowledged = on_acknowledged or on_message
        self._on_connect = on_connect or (lambda: None)
        self._on_disconnect = on_disconnect or (lambda reason: None)
        self._will = will
        self._keepalive_s = keepalive_s
        self._most_wait_s = most_wait_s
        self._chance = chance or random.Random()
        self._client: mqtt.Client | None = None
        self._lost: asyncio.Event = asyncio.Event()
        #: Set with the broker's yes or no, and when the connection is lost before.
        self._answered: asyncio.Event = asyncio.Event()
        self._loss = ""
        self._stopping = False
        #: Set when the wait before the next attempt is over.
        self._rested: asyncio.Event = asyncio.Event()
        self._socket: PacketSocket | None = None
        self._watched = False
        self._awaited: list[mqtt.MQTTMessageInfo] = []
        self._outbox: OrderedDict[object, tuple[str, bytes, bool]] = OrderedDict()
        self.connected = False
        #: Answers of the broker seen so far, those to pings among them, and attempts to connect: a watchdog asks
        #: whether they grow.
        self.round_trips = 0
        self.attempts = 0
        #: Messages dropped because there was no connection or no room.
        self.dropped = 0

    # Life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again after every loss, until `stop` is called or the task is cancelled."""
        clock = asyncio.get_running_loop().time
        backoff = Backoff(self._most_wait_s, clock())
        said = ""
        while not self._stopping:
            began = clock()
            try:
                await self._connection()
            except (OSError, LinkError) as error:
                self._loss = str(error)
            finally:
                had_connection = self.connected
                self._drop()
            if self._stopping:
                return
            if had_connection:
                said = ""
                backoff.ended(began, clock())
            wait = self._chance.uniform(0, backoff.bound_s(clock()))
            # A broker that stays away is one line, not one a second.
            level = logging.DEBUG if said == self._loss else logging.WARNING
            log.log(level, "%s: no broker at %s (%s); trying again", self._client_id, self.url, self._loss)
            said = self._loss
            await self._rest(wait)

    async def _rest(self, seconds: float) -> None:
        """Wait, but not on after `stop`. (Before Python 3.12 wait_for may forget that its task was cancelled.)"""
        self._rested.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._rested.set)
        try:
            await self._rested.wait()
        finally:
            timer.cancel()

    async def stop(self) -> None:
        """Send what is still to be sent (for at most a second), disconnect, and let `run` return."""
        self._stopping = True
        self._rested.set()
        client, sock = self._client, self._socket
        if client is not None and sock is not None and self._is_open:
            deadline = asyncio.get_running_loop().time() + 1.0
            while (self._outbox or self._awaited or sock.unsent_bytes) and self._is_open:
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(0.01)
            self._flush()
            if self._is_open:
                client.disconnect()
        self._break("stopped")

    async def _connection(self) -> None:
        """One connection, from its handshake to its loss."""
        loop = asyncio.get_running_loop()
        self._lost.clear()
        self._answered.clear()
        self._loss = ""
        self.attempts += 1
        client = self._new_client()
        client.on_pong = self._pong
        # Only handshakes block, TCP's and TLS', in a thread of their own; from here on the loop owns the socket.
        await loop.run_in_executor(None, client.connect, self._host, self._port, self._keepalive_s)
        sock = client.packets
        if sock is None or sock.fileno() < 0:
            raise LinkError(f"connection to {self.url} was closed at once", url=self.url)
        self._client, self._socket = client, sock
        loop.add_reader(sock.fileno(), self._readable)
        ticking = loop.create_task(self._tick(sock), name=f"{self._client_id}.tick")
        too_late = f"no answer to CONNECT within {CONNECT_TIMEOUT_S:g} s"
        timer = loop.call_later(CONNECT_TIMEOUT_S, self._break, too_late)
        try:
            await self._answered.wait()
            timer.cancel()
            await self._lost.wait()
        finally:
            timer.cancel()
            ticking.cancel()

    def _new_client(self) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            f"{self._client_id}:{secrets.token_hex(NONCE_BYTES)}",
            clean_session=True,
            reconnect_on_failure=False,  # from within a callback, and so with the whole loop waiting for it
        )
        client.credentials = self._credentials
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

    async def _tick(self, sock: PacketSocket) -> None:
        """Ping, and give up a connection on which nothing at all has come for two keepalives.

        paho's own keepalive does not see the messages that pass it by, and would take a busy broker for a dead one.
        """
        now = asyncio.get_running_loop().time
        received, heard_at, pinged_at = sock.received_bytes, now(), now()
        while True:
            await asyncio.sleep(min(1.0, self._keepalive_s / 2))
            if sock.received_bytes != received:
                received, heard_at = sock.received_bytes, now()
            if now() - heard_at >= 2 * self._keepalive_s:
                self._break(f"nothing came from the broker for {2 * self._keepalive_s} s")
                return
            if now() - pinged_at >= self._keepalive_s:
                pinged_at = now()
                sock.cork()
                sock.send(_PINGREQ)
            self._flush()

    def _drop(self) -> None:
        """Forget the connection, telling the owner if it had been told of it."""
        if self._socket is not None:
            # Before paho's client is let go, which closes the socket too: the next one may get its number.
            self._unregister(self._socket)
            self._socket.close()
        self._client = self._socket = None
        was, self.connected = self.connected, False
        self._awaited.clear()
        self._outbox.clear()
        if was:
            _guarded(self._on_disconnect, self._loss or "connection lost")

    # What paho calls -------------------------------------------------------------------------------------------------

    def _connack(self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if client is not self._client:
            return
        if self._answered.is_set():
            self._break("the broker answered twice to one CONNECT")
            return
        if code.is_failure:
            self._break(f"the broker refused the connection: {code}")
            return
        self.connected = True
        self.round_trips += 1
        self._answered.set()
        _guarded(self._on_connect)

    def _pong(self) -> None:
        self.round_trips += 1

    def _disconnected(self, client: mqtt.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if client is self._client:
            # Over TLS a broker may refuse a certificate without a word that reaches us.
            hint = "; the broker's log says why" if self._credentials is not None else ""
            self._break(str(code) if self.connected else f"the connection ended before it was accepted: {code}{hint}")

    def _socket_closes(self, client: mqtt.Client, userdata: Any, sock: Any) -> None:
        if client is self._client:
            self._unregister(sock)

    def _message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.warning("%s: a topic is not UTF-8", self._client_id)
            return
        receive = self._on_acknowledged if message.qos else self._on_message
        _guarded(receive, topic, message.payload, message.retain)

    # Sending ---------------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Send, or queue within bounds; False when it was dropped: no connection, or no room.

        Of a retained topic only the newest value waits. Raises `TooLargeError` above `MAX_PACKET`.
        """
        name = _name_that_fits(topic, payload)
        sock = self._socket
        if sock is None or not self._is_open:
            self.dropped += 1
            return False
        if qos == 0:
            return self._publish_now(sock, name, payload, retain)
        key: object = topic if retain else object()
        if len(self._outbox) >= MAX_OUTBOX and key not in self._outbox:
            self.dropped += 1
            return False
        self._outbox.pop(key, None)
        self._outbox[key] = (topic, payload, retain)
        self._collect(sock)
        self._pump()
        return True

    def _publish_now(self, sock: PacketSocket, topic: bytes, payload: bytes, retain: bool) -> bool:
        if sock.unsent_bytes > MAX_UNWRITTEN:
            self.dropped += 1
            return False
        self._collect(sock)
        sock.publish(topic, payload, retain)
        return True

    def _collect(self, sock: PacketSocket) -> None:
        """What else is sent in this turn of the loop goes out with what comes now, in one system call."""
        if not sock.is_corked:
            sock.cork()
            asyncio.get_running_loop().call_soon(self._flush)

    def subscribe(self, topic: str, qos: int = 0) -> None:
        """Ask for a filter; lost with the connection, so asked for again after each `on_connect`."""
        if self._client is not None and self._socket is not None and self._is_open:
            self._collect(self._socket)
            self._client.subscribe(topic, qos)

    def unsubscribe(self, topic: str) -> None:
        """Give up a filter."""
        if self._client is not None and self._socket is not None and self._is_open:
            self._collect(self._socket)
            self._client.unsubscribe(topic)

    @property
    def _is_open(self) -> bool:
        """Whether there is a connection, and it is not lost without `run` having had its turn to say so."""
        return self.connected and not self._lost.is_set()

    @property
    def round_trip_us(self) -> int:
        """What the kernel takes the way to the broker and back to be; 0 while it does not say."""
        return self._socket.round_trip_us() if self._socket is not None and self.connected else 0

    @property
    def unsent(self) -> int:
        """QoS 1 messages that wait for the broker's word, or for their place."""
        return len(self._outbox) + len(self._awaited)

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
        while client is not None and self._is_open and self._outbox and len(self._awaited) < MAX_INFLIGHT:
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
            self._break(_how(error))
        self._flush()
        if sock.has_more and sock is self._socket:
            # Decrypted already, or about to be: the socket itself may never be readable again.
            asyncio.get_running_loop().call_soon(self._readable)

    def _read(self, client: mqtt.Client, sock: PacketSocket) -> None:
        """Hand on every whole packet that was read, ours or paho's, as long as the connection is the same."""
        while client is self._client and not self._lost.is_set():
            found = sock.next()
            if found is False:
                return
            if found is True:
                client.loop_read()
            else:
                _guarded(self._on_message, found.topic, found.payload, found.retained)

    def _flush(self) -> None:
        client, sock = self._client, self._socket
        if client is None or sock is None or self._lost.is_set():
            return
        if self._awaited or self._outbox:
            self._settle()
        try:
            if client.want_write():
                client.loop_write()
            sock.uncork()
        except (OSError, LinkError) as error:
            self._break(_how(error))
        self._watch(sock)

    def _writable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            sock.push()
        except (OSError, LinkError) as error:
            self._break(_how(error))
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
        """Let `run` end the connection; the first reason is the one that is told."""
        if not self._lost.is_set():
            self._loss = loss
            self._lost.set()
            self._answered.set()

    def _unregister(self, sock: Any) -> None:
        loop = asyncio.get_running_loop()
        if sock.fileno() >= 0:
            loop.remove_reader(sock.fileno())
            loop.remove_writer(sock.fileno())
        self._watched = False


class _Client(mqtt.Client):
    """paho's client over our socket: the methods below are where it makes one, and where it takes a PINGRESP."""

    packets: PacketSocket | None = None
    credentials: Credentials | None = None
    on_pong: Callable[[], None] | None = None

    def _handle_pingresp(self) -> Any:
        if self.on_pong is not None:
            self.on_pong()
        return super()._handle_pingresp()

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()
        # Nagle's algorithm and delayed acknowledgements together would make a QoS 1 hop cost 44 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.credentials is None:
            self.packets = PacketSocket(sock)
            return self.packets
        from convoy_schema.encrypted import EncryptedPacketSocket

        try:
            self.packets = EncryptedPacketSocket(sock, self.credentials, self.host, CONNECT_TIMEOUT_S)
        except BaseException:
            sock.close()
            raise
        return self.packets


def _name_that_fits(topic: str, payload: bytes) -> bytes:
    """`topic` as it is sent; raises `TooLargeError` where the two are more than a packet holds."""
    name = topic.encode()
    if len(payload) + len(name) + HEADER_BYTES > MAX_PACKET:
        sentence = f"{len(payload)} bytes for {topic[:200]}: at most {MAX_PACKET} may be published, topic included"
        raise TooLargeError(sentence, topic=topic, size=len(payload))
    return name


def _how(error: OSError | LinkError) -> str:
    """How a connection broke; what TLS says is a sentence already, and the same wherever it is met."""
    return str(error) if isinstance(error, TlsError) else f"the connection broke: {error}"


def _guarded(callback: Callable[..., None], *arguments: object) -> None:
    """Call an owner's callback; one that raises must not take the connection with it."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback of the link failed")

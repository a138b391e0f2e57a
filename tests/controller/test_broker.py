"""Both brokers, as real processes, driven by paho: what Convoy needs of one, and what a user is told without one."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType

import pytest
from convoy_controller import broker as broker_module
from convoy_controller.broker import (
    Broker,
    answers,
    find_mosquitto,
    mosquitto_configuration,
    start_broker,
)
from convoy_controller.errors import BrokerError
from convoy_controller.processes import Processes
from own_ports import own_port
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from patience import PATIENCE_S

KINDS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")),
    pytest.param("amqtt", marks=pytest.mark.skipif(not find_spec("amqtt"), reason="amqtt is not installed")),
]
Received = tuple[str, bytes, bool]


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with start_broker(request.param, tmp_path) as started:
        yield started


def port_of(broker: Broker) -> int:
    return int(broker.url.rpartition(":")[2])


class Talker:
    """A paho client with its thread and an inbox."""

    def __init__(self, broker: Broker, client_id: str, *topics: str, qos: int = 0) -> None:
        self.inbox: Queue[Received] = Queue()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id)
        self.client.on_message = self._on_message
        self.client.on_socket_open = lambda client, data, sock: sock.setsockopt(  # type: ignore[union-attr]
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        connected = threading.Event()
        self.client.on_connect = lambda *_: connected.set()
        self.client.connect("127.0.0.1", port_of(broker), keepalive=10)
        self.client.loop_start()
        assert connected.wait(PATIENCE_S)
        for topic in topics:
            subscribed.clear()
            self.client.subscribe(topic, qos)
            assert subscribed.wait(PATIENCE_S)

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        self.inbox.put((message.topic, message.payload, message.retain))

    def publish(self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def receive(self, timeout_s: float = PATIENCE_S) -> Received:
        return self.inbox.get(timeout=timeout_s)

    def hears_nothing(self, for_s: float = 0.3) -> bool:
        try:
            return not self.inbox.get(timeout=for_s)
        except Empty:
            return True

    def __enter__(self) -> "Talker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_arrive_in_order(broker: Broker, qos: int) -> None:
    with Talker(broker, "sender") as sender, Talker(broker, "receiver", "a/+/c", qos=qos) as receiver:
        for number in range(200):
            sender.client.publish("a/b/c", str(number).encode(), qos)
        assert [receiver.receive()[1] for _ in range(200)] == [str(number).encode() for number in range(200)]


def test_a_frame_of_full_size_passes(broker: Broker) -> None:
    frame = os.urandom(256 * 1024)
    with Talker(broker, "sender") as sender, Talker(broker, "receiver", "frame") as receiver:
        sender.publish("frame", frame)
        assert receiver.receive() == ("frame", frame, False)


def test_a_qos_1_hop_does_not_wait_for_nagle(broker: Broker) -> None:
    """Without TCP_NODELAY at the broker each round trip costs about 44 ms."""
    with Talker(broker, "echo", "ping", qos=1) as echo, Talker(broker, "sender", "pong", qos=1) as sender:
        echo.client.on_message = lambda client, data, message: client.publish("pong", message.payload, 1)
        trips_s = []
        for _ in range(40):
            began = time.perf_counter()
            sender.client.publish("ping", b"x" * 1024, 1)
            sender.receive()
            trips_s.append(time.perf_counter() - began)
    assert min(trips_s) < 0.030, (
        "with Nagle's algorithm not one of them is quicker than 0.04 s, however idle the machine"
    )


def test_what_is_retained_reaches_later_subscribers_until_it_is_cleared(broker: Broker) -> None:
    with Talker(broker, "sender") as sender:
        sender.publish("state", b"old", 1, retain=True)
        sender.publish("state", b"new", 1, retain=True)
        with Talker(broker, "later", "state", qos=1) as later:
            assert later.receive() == ("state", b"new", True)
        sender.publish("state", b"", 1, retain=True)
        with Talker(broker, "latest", "state", qos=1) as latest:
            assert latest.hears_nothing()


def test_a_new_client_is_not_handed_what_others_asked_for(broker: Broker) -> None:
    with Talker(broker, "sender") as sender, Talker(broker, "first", "state/#", qos=1) as first:
        sender.publish("state/a", b"on", 1, retain=True)
        assert first.receive()[1] == b"on"
        with Talker(broker, "second", "other") as second:
            assert second.hears_nothing()


def test_a_wildcard_delivers_every_retained_message(broker: Broker) -> None:
    """Mosquitto's own default would lose all but about 1,020 of them."""
    count = 1500
    with Talker(broker, "sender") as sender:
        for number in range(count):
            sender.client.publish(f"boards/{number}/state", b"online", 1, retain=True)
        sender.publish("boards/last/state", b"online", 1, retain=True)
        with Talker(broker, "controller", "boards/+/state", qos=1) as controller:
            topics = {controller.receive()[0] for _ in range(count + 1)}
    assert len(topics) == count + 1


DYING = """
import sys, time
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
client = Client(CallbackAPIVersion.VERSION2, "board-1:control:x")
client.will_set("boards/board-1/state", b"offline", 1, retain=True)
client.on_connect = lambda *_: print("connected", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]), keepalive=60)
client.loop_forever()
"""


def test_the_will_of_a_killed_client_is_published_and_retained(broker: Broker) -> None:
    with Talker(broker, "controller", "boards/+/state", qos=1) as controller:
        command = [sys.executable, "-c", DYING, str(port_of(broker))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board:
            assert board.stdout is not None
            assert board.stdout.readline() == "connected\n"
            board.kill()
        topic, payload, _ = controller.receive()
        assert (topic, payload) == ("boards/board-1/state", b"offline")
    with Talker(broker, "later", "boards/+/state", qos=1) as later:
        assert later.receive() == ("boards/board-1/state", b"offline", True)


def test_clients_that_come_and_go_in_numbers_are_all_heard(broker: Broker) -> None:
    """Many subscribe to topics of their own at the same time, as a fleet does after an outage."""
    talkers: list[Talker] = []
    failures: list[BaseException] = []

    def connect(number: int) -> None:
        try:
            talkers.append(Talker(broker, f"board-{number}", f"to/{number}/#", "to/all", qos=1))
        except BaseException as error:  # a thread's only way to tell
            failures.append(error)

    with Talker(broker, "sender") as sender:
        for number in range(50):
            sender.client.publish(f"to/{number}/desired", b"stand by", 1, retain=True)
        threads = [threading.Thread(target=connect, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert failures == []
        sender.publish("to/all", b"hello", 1)
        for talker in talkers:
            heard = [talker.receive()[1]]
            while heard[-1] != b"hello":  # amqtt may give one message both live and retained
                heard.append(talker.receive()[1])
            assert set(heard) == {b"stand by", b"hello"}
    for talker in talkers:
        talker.client.disconnect()
        talker.client.loop_stop()


def test_garbage_does_not_hurt_the_others(broker: Broker) -> None:
    with Talker(broker, "sender") as sender, Talker(broker, "receiver", "topic") as receiver:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x10\xff\xff\xff\x7f", b""):
            with socket.create_connection(("127.0.0.1", port_of(broker)), 5) as connection:
                connection.sendall(garbage)
        sender.publish("topic", b"still here", 1)
        assert receiver.receive()[1] == b"still here"
    assert answers("127.0.0.1", port_of(broker))


def test_it_stops_quietly_with_clients_connected(broker: Broker) -> None:
    assert broker.process is not None
    with Talker(broker, "one", "topic"):
        broker.stop()
    assert broker.process.returncode == 0, "it did so by itself, within the time after which it would be killed"
    assert "Traceback" not in broker.process.log.read_text()
    with pytest.raises(ConnectionRefusedError):
        answers("127.0.0.1", port_of(broker))


@pytest.mark.parametrize("kind", KINDS)
def test_it_dies_with_an_owner_that_is_killed(kind: str, tmp_path: Path) -> None:
    """Mosquitto as root would become another user, and lose the tie to its owner by that."""
    script = (
        "import sys, time, pathlib; from convoy_controller.broker import start_broker\n"
        "broker = start_broker(sys.argv[1], pathlib.Path(sys.argv[2])); print(broker.url, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, kind, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline().rpartition(":")[2])
        assert answers("127.0.0.1", port)
        owner.kill()
    deadline = time.monotonic() + PATIENCE_S
    while not refuses(port):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses(port: int) -> bool:
    try:
        return not answers("127.0.0.1", port)
    except OSError:
        return True


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_on_its_port_after_a_kill(kind: str, tmp_path: Path) -> None:
    with Processes() as processes:
        broker = start_broker(kind, tmp_path, processes=processes)
        port = port_of(broker)
        with Talker(broker, "one"):
            processes.kill("broker", signal.SIGKILL)
            processes.restart("broker")
            processes.wait_ready("broker", lambda: answers("127.0.0.1", port), PATIENCE_S)
        broker.stop()
        assert processes["broker"].alive, "a broker with an owner is the owner's to stop"


def test_auto_prefers_mosquitto(tmp_path: Path) -> None:
    expected = "Mosquitto" if find_mosquitto() else "amqtt (pip-installed fallback)"
    with start_broker("auto", tmp_path) as broker:
        assert broker.label == expected


@pytest.mark.skipif(not find_spec("amqtt"), reason="amqtt is not installed")
def test_auto_falls_back_to_amqtt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(broker_module, "SYSTEM_DIRECTORIES", ())
    with start_broker("auto", tmp_path) as broker:
        assert broker.label == "amqtt (pip-installed fallback)"
    with pytest.raises(BrokerError, match="install it, or choose amqtt"):
        start_broker("mosquitto", tmp_path)


@pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")
def test_mosquitto_is_found_where_path_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    program = find_mosquitto()
    assert program is not None
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(broker_module, "SYSTEM_DIRECTORIES", (str(Path(program).parent),))
    assert find_mosquitto() == program


def test_a_url_is_checked_and_not_ours_to_stop(broker: Broker, tmp_path: Path) -> None:
    known = start_broker(broker.url, tmp_path)
    assert (known.url, known.label, known.process) == (broker.url, broker.url, None)
    known.stop()
    assert answers("127.0.0.1", port_of(broker))


def test_a_kind_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="'rabbit' must be auto, mosquitto, amqtt or a URL"):
        start_broker("rabbit", tmp_path)
    with pytest.raises(BrokerError, match="not of the form mqtt://host:port"):
        start_broker("http://127.0.0.1:1883", tmp_path)


def test_a_url_where_nobody_listens_says_so(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"no broker answers at mqtt://127\.0\.0\.1:.*refused"):
        start_broker(f"mqtt://127.0.0.1:{own_port()}", tmp_path)


@contextmanager
def someone(answer: bytes) -> Iterator[int]:
    """A listener that gives everyone one answer; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as an MQTT broker: b'HTTP'"),
        (b"\x20\x02\x00\x05", "refuses: it does not authorise us"),
        (b"\x20\x02\x00\x04", "refuses: it wants a user name and password"),
        (b"\x20\x02\x00\x77", "refuses: code 119"),
        (b"", "closes the connection without an answer"),
    ],
)
def test_whoever_is_no_broker_for_us_is_told_apart(answer: bytes, complaint: str, tmp_path: Path) -> None:
    with someone(answer) as port, pytest.raises(BrokerError, match=complaint):
        start_broker(f"mqtt://127.0.0.1:{port}", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_that_is_taken_is_an_error_that_quotes_the_log(kind: str, tmp_path: Path) -> None:
    with (
        someone(b"") as port,
        pytest.raises(BrokerError, match=f"did not start on port {port}(.|\n)*(?i:already in use)"),
    ):
        start_broker(kind, tmp_path, port)


@pytest.mark.parametrize("kind", KINDS)
def test_a_free_port_lost_to_another_broker_is_given_up(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one even answers as a broker should: only the owner of the socket tells them apart."""
    with someone(b"\x20\x02\x00\x00") as lost:
        choices: Iterator[int] = iter([lost, lost, own_port()])
        choose: Callable[[], int] = lambda: next(choices)  # noqa: E731
        monkeypatch.setattr(broker_module, "free_port", choose)
        with start_broker(kind, tmp_path) as broker:
            assert port_of(broker) != lost


@pytest.mark.skipif(not find_mosquitto(), reason="Mosquitto is not installed")
def test_a_configuration_mosquitto_does_not_take_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "mosquitto_configuration", lambda port: "no_such_option true\n")
    with pytest.raises(BrokerError, match=r"(?s)ended with code .*no_such_option"):
        start_broker("mosquitto", tmp_path)


def test_the_configuration_is_the_file_of_broker_config() -> None:
    home = Path(__file__).parents[2] / "broker_config" / "mosquitto-development.conf"
    ours, theirs = mosquitto_configuration(4711).splitlines(), home.read_text().splitlines()
    assert "listener 4711 127.0.0.1" in ours
    changed = {line for line in ours if line not in theirs}
    assert changed <= {"listener 4711 127.0.0.1", "user root"}
    assert "set_tcp_nodelay true" in ours

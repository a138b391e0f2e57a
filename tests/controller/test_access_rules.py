"""The shipped access rules on a real Mosquitto: who may say and hear what.

A broker answers PUBACK and SUBACK to what it refuses, so only witnesses count: everybody here asks for everything, `#`,
and each message must reach exactly those whom the table names. Whom the rightful writer's message reaches shows that
the witness would have heard the forged one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from convoy_controller.enrollment.authority import Authority
from convoy_controller.enrollment.broker_files import access_rules
from convoy_schema.credentials import Credentials
from convoy_schema.errors import TopicError
from convoy_schema.link import NONCE_BYTES
from link_bench import Peer, play, until
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from tls_broker import DAY, Guarded, utc_now

PREFIX = "convoy/1/main/"
CONTROLLER, GATEWAY, BRIDGE, ONE, TWO = "controller", "gateway", "bridge-main", "board-1", "board-2"
EVERYBODY = {CONTROLLER, GATEWAY, BRIDGE, ONE, TWO}
NOBODY: set[str] = set()

#: Who publishes, where (below the site's prefix), and who must hear it.
TABLE: tuple[tuple[str, str, set[str]], ...] = (
    # A board says as itself what boards say, and hears its own state only.
    (ONE, "boards/board-1/state", {CONTROLLER, ONE}),
    (ONE, "boards/board-1/pulse", {CONTROLLER}),
    (ONE, "boards/board-1/capability", {CONTROLLER}),
    (ONE, "boards/board-1/reported", {CONTROLLER}),
    (ONE, "boards/board-1/want", {CONTROLLER}),
    (ONE, "boards/board-1/log", {CONTROLLER}),
    # Not as another board.
    (TWO, "boards/board-2/state", {CONTROLLER, TWO}),
    (ONE, "boards/board-2/state", NOBODY),
    (ONE, "boards/board-2/pulse", NOBODY),
    (ONE, "boards/board-2/capability", NOBODY),
    (ONE, "boards/board-2/reported", NOBODY),
    (ONE, "boards/board-2/want", NOBODY),
    (ONE, "boards/board-2/log", NOBODY),
    (GATEWAY, "boards/board-1/log", NOBODY),
    # What a board must hold and do is the controller's to say: not even a board's own.
    (CONTROLLER, "boards/board-1/desired", {CONTROLLER, ONE, BRIDGE}),
    (CONTROLLER, "boards/board-1/command", {ONE, BRIDGE}),
    (ONE, "boards/board-1/desired", NOBODY),
    (ONE, "boards/board-1/command", NOBODY),
    (ONE, "boards/board-2/desired", NOBODY),
    (ONE, "boards/board-2/command", NOBODY),
    (GATEWAY, "boards/board-1/desired", NOBODY),
    # Models and artifacts are for all to read and for the controller to write.
    (CONTROLLER, "models/lenet5/1", EVERYBODY),
    (CONTROLLER, "models/trust", EVERYBODY),
    (CONTROLLER, "artifacts/00ff", EVERYBODY),
    (CONTROLLER, "artifacts/00ff/0", EVERYBODY),
    (ONE, "models/lenet5/1", NOBODY),
    (ONE, "models/trust", NOBODY),
    (ONE, "artifacts/00ff", NOBODY),
    (ONE, "artifacts/00ff/0", NOBODY),
    (GATEWAY, "models/lenet5/1", NOBODY),
    (GATEWAY, "models/trust", NOBODY),
    # Who is in charge.
    (CONTROLLER, "controller/state", EVERYBODY),
    (ONE, "controller/state", NOBODY),
    (GATEWAY, "controller/state", NOBODY),
    # Frames: under one's own name, and to the one who is named.
    (ONE, "from/board-1/to/board-2/lenet5/1-1/1", {TWO}),
    (ONE, "from/board-1/to/gateway/lenet5/1-1/1", {GATEWAY}),
    (GATEWAY, "from/gateway/to/board-1/lenet5/1-1/0", {ONE}),
    (ONE, "from/board-2/to/gateway/lenet5/1-1/1", NOBODY),
    (ONE, "from/gateway/to/board-2/lenet5/1-1/0", NOBODY),
    (TWO, "from/board-1/to/board-2/lenet5/1-1/1", NOBODY),
    (GATEWAY, "from/board-1/to/board-2/lenet5/1-1/1", NOBODY),
    (ONE, "from/board-1/to/board-2/lenet5", NOBODY),
    (CONTROLLER, "from/controller/to/board-1/lenet5/1-1/0", NOBODY),
    (BRIDGE, "from/bridge-main/to/board-1/lenet5/1-1/0", NOBODY),
    # A gateway is itself, no other gateway and no board; a board is no gateway.
    (GATEWAY, "gateways/gateway/state", {CONTROLLER, GATEWAY}),
    (GATEWAY, "gateways/gateway/reported", {CONTROLLER}),
    (CONTROLLER, "gateways/gateway/desired", {CONTROLLER, GATEWAY, BRIDGE}),
    (GATEWAY, "gateways/gateway/desired", NOBODY),
    (GATEWAY, "gateways/gateway-2/state", NOBODY),
    (GATEWAY, "boards/gateway/state", NOBODY),
    (ONE, "gateways/gateway/state", NOBODY),
    (ONE, "gateways/gateway/reported", NOBODY),
    (ONE, "gateways/gateway/desired", NOBODY),
    (ONE, "gateways/board-1/state", NOBODY),
    # A bridge stands for its site's boards and gateways, upwards only.
    (BRIDGE, "boards/board-2/pulse", {CONTROLLER}),
    (BRIDGE, "boards/board-2/log", {CONTROLLER}),
    (BRIDGE, "gateways/gateway/reported", {CONTROLLER}),
    (BRIDGE, "boards/board-2/desired", NOBODY),
    (BRIDGE, "models/lenet5/1", NOBODY),
    (BRIDGE, "models/trust", NOBODY),
    # Outside the site's contract there is nothing.
    (ONE, "../other/boards/board-1/state", NOBODY),
    (ONE, "boards/board-1/notes", NOBODY),
    (CONTROLLER, "anything", NOBODY),
)


@contextlib.asynccontextmanager
async def everybody(broker: Guarded) -> AsyncIterator[dict[str, Peer]]:
    """One of each, and each asks for all there is."""
    async with contextlib.AsyncExitStack() as stack:
        peers = {}
        for name in sorted(EVERYBODY):
            peer = Peer(
                broker.url, name, filters=("#", "$SYS/#"), credentials=broker.credentials(broker.identity(name))
            )
            peers[name] = await stack.enter_async_context(peer.running())
        yield peers


def topic_of(below: str) -> str:
    return below.replace("../other", "convoy/1/other") if below.startswith("..") else PREFIX + below


async def hearers(peers: dict[str, Peer], writer: str, topic: str, qos: int) -> set[str]:
    """Who gets what `writer` publishes; both ends' answers to a later message come after it."""
    for peer in peers.values():
        peer.received.clear()
    assert peers[writer].link.publish(topic, b"word", qos=qos)
    await peers[writer].settle()
    await asyncio.gather(*(peer.settle() for peer in peers.values()))
    return {name for name, peer in peers.items() if peer.received == [(topic, b"word", False)]}


def test_each_message_reaches_exactly_whom_it_may(guarded: Guarded) -> None:
    assert sum(not heard for *_, heard in TABLE) >= 20

    async def work() -> None:
        wrong = []
        async with everybody(guarded) as peers:
            for writer, below, expected in TABLE:
                for qos in (0, 1):
                    heard = await hearers(peers, writer, topic_of(below), qos)
                    if heard != expected:
                        wrong.append(f"{writer} at {below}, QoS {qos}: {sorted(heard)}, not {sorted(expected)}")
            assert all(peer.connections == 1 for peer in peers.values())
        assert not wrong, "\n".join(wrong)

    play(work)


def test_what_is_retained_is_guarded_too(guarded: Guarded) -> None:
    async def work() -> None:
        async with everybody(guarded) as peers:
            peers[CONTROLLER].link.publish(PREFIX + "boards/board-2/desired", b"secret", qos=1, retain=True)
            peers[ONE].link.publish(PREFIX + "boards/board-2/state", b"forged", qos=1, retain=True)
            peers[ONE].link.publish(PREFIX + "boards/board-2/desired", b"", qos=1, retain=True)  # would clear it
            await peers[CONTROLLER].settle()
            await peers[ONE].settle()
        heard: dict[str, list[tuple[str, bytes, bool]]] = {}
        async with everybody(guarded) as peers:
            for name in (ONE, TWO, CONTROLLER):
                heard[name] = [one for one in peers[name].received if one[0].startswith(PREFIX)]
        assert heard[ONE] == []
        assert heard[TWO] == heard[CONTROLLER] == [(PREFIX + "boards/board-2/desired", b"secret", True)]

    play(work)


def test_a_will_can_be_no_other_boards(guarded: Guarded) -> None:
    """The death of another, announced by dying oneself."""
    paho = paho_client(guarded.credentials(guarded.identity("board-3")), "board-3:x")
    paho.will_set(PREFIX + "boards/board-2/state", b"forged death", 1, True)

    async def work() -> None:
        async with everybody(guarded) as peers:
            paho.connect("127.0.0.1", guarded.port)
            paho.loop_start()
            await until(paho.is_connected)
            paho.loop_stop()
            sock = paho.socket()
            assert sock is not None
            sock.close()  # without DISCONNECT
            await until(lambda: "board-3:x" in guarded.log() and "closed its connection" in guarded.log())
            for peer in peers.values():
                await peer.settle()
            assert all(not peer.payloads(PREFIX + "boards/board-2/state") for peer in peers.values())

    play(work)


# Who gets in ---------------------------------------------------------------------------------------------------------


def paho_client(credentials: Credentials, client_id: str, user: str = "") -> Client:
    """Another implementation than ours, with an id and a user name of the test's choice."""
    client = Client(CallbackAPIVersion.VERSION2, client_id)
    client.tls_set_context(credentials.context())
    if user:
        client.username_pw_set(user, "secret")
    return client


async def is_let_in(broker: Guarded, credentials: Credentials) -> bool:
    """Whether a CONNECT with these is accepted, as the broker's log has it."""
    before = broker.log().count("New client connected")
    peer = Peer(broker.url, "candidate", credentials=credentials)
    task = asyncio.get_running_loop().create_task(peer.link.run())
    try:
        await until(lambda: peer.connections or len(peer.chance.asked) >= 2)  # type: ignore[attr-defined]
        log_says = broker.log().count("New client connected") > before
        assert log_says == bool(peer.connections)
        return log_says
    finally:
        await peer.link.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_who_is_let_in(guarded: Guarded) -> None:
    foreign = Authority.create("test", utc_now())
    revoked = guarded.identity("board-7")
    guarded.write_revocations(revoked)
    guarded.reload()
    cases = {
        "a board": (guarded.identity(ONE), True),
        "the controller": (guarded.identity(CONTROLLER), True),
        "expired": (guarded.identity("board-5", now=utc_now() - 9 * DAY, life=8 * DAY), False),
        "not yet": (guarded.identity("board-6", now=utc_now() + 2 * DAY), False),
        "of a foreign CA of the same name": (guarded.identity("board-4", authority=foreign), False),
        "revoked": (revoked, False),
        "the broker's own, which is for a server": (guarded.directory / "broker.pem", False),
        "without a certificate": (None, False),
    }

    async def work() -> None:
        found = {}
        for case, (identity, _) in cases.items():
            found[case] = await is_let_in(guarded, Credentials(guarded.ca, identity))
        assert found == {case: expected for case, (_, expected) in cases.items()}

    play(work)


def test_without_tls_nobody_is_even_heard(guarded: Guarded) -> None:
    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
        writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01x")
        with contextlib.suppress(ConnectionError):
            assert b"\x20\x02" not in await reader.read(100)
        writer.close()
        assert "New client connected" not in guarded.log()

    play(work)


def test_the_old_tls_is_refused(guarded: Guarded) -> None:
    context = guarded.credentials(guarded.identity(ONE)).context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", guarded.port)) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as encrypted,
    ):
        assert encrypted.version() == "TLSv1.2"
    # OpenSSL here speaks the older ones only when it is asked to be lax.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", guarded.port)) as sock,
        pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|NO_PROTOCOLS"),
    ):
        context.wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.mark.parametrize("name", ["+", "#", "board-1/x", "Board-1", "board-1 ", "nobody"])
def test_a_certificate_whose_name_is_no_boards_says_and_hears_nothing(guarded: Guarded, name: str) -> None:
    """The CA never signs such a name; were it to, the rules still would not match for another's."""

    async def work() -> None:
        async with everybody(guarded) as peers:
            odd = Peer(guarded.url, "odd", filters=("#",), credentials=guarded.credentials(guarded.forged(name)))
            task = asyncio.get_running_loop().create_task(odd.link.run())
            await until(lambda: odd.connections or len(odd.chance.asked) > 1)  # type: ignore[attr-defined]
            for topic in ("boards/board-1/state", "boards/board-1/desired", "from/board-1/to/board-2/d/1-1/0"):
                if odd.link.connected:
                    odd.link.publish(PREFIX + topic, b"odd", qos=1)
            peers[CONTROLLER].link.publish(PREFIX + "boards/board-1/desired", b"for board-1", qos=1)
            await until(lambda: peers[ONE].payloads(PREFIX + "boards/board-1/desired"))
            await asyncio.sleep(0.05)
            assert not odd.payloads(PREFIX + "boards/board-1/desired")
            assert all(b"odd" not in one[1] for peer in peers.values() for one in peer.received)
            await odd.link.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    play(work)


def test_a_user_name_in_the_connect_counts_for_nothing(guarded: Guarded) -> None:
    """Only the certificate's does."""
    posing = paho_client(guarded.credentials(guarded.identity(ONE)), "controller:x", user=CONTROLLER)

    async def work() -> None:
        async with everybody(guarded) as peers:
            posing.connect("127.0.0.1", guarded.port)
            posing.loop_start()
            await until(posing.is_connected)
            posing.publish(PREFIX + "boards/board-2/desired", b"posing", 1).wait_for_publish(5)
            posing.publish(PREFIX + "boards/board-1/pulse", b"honest", 1).wait_for_publish(5)
            await until(lambda: peers[CONTROLLER].payloads(PREFIX + "boards/board-1/pulse"))
            await peers[TWO].settle()
            assert not peers[TWO].payloads(PREFIX + "boards/board-2/desired")
            posing.disconnect()
            posing.loop_stop()

    play(work)


def test_a_live_session_is_disturbed_by_no_id_that_can_be_guessed(guarded: Guarded) -> None:
    """A broker closes the older of two connections with one id, whoever they are; so nobody may learn an id."""

    async def work() -> None:
        async with everybody(guarded) as peers:
            client = peers[TWO].link._client
            assert client is not None
            own = client._client_id.decode()
            assert own.startswith("board-2:")
            assert len(bytes.fromhex(own.rpartition(":")[2])) == NONCE_BYTES == 8
            for guess in ("board-2", "board-2:", own[:-1], own[:-1] + ("0" if own[-1] != "0" else "1"), own.upper()):
                rival: Any = paho_client(guarded.credentials(guarded.identity(ONE)), guess)
                rival.connect("127.0.0.1", guarded.port)
                rival.loop_start()
                await until(rival.is_connected)
                rival.disconnect()
                rival.loop_stop()
            assert peers[TWO].connections == 1
            assert not peers[TWO].losses
            assert all(own.encode() not in payload for peer in peers.values() for _, payload, _ in peer.received)
            rival = paho_client(guarded.credentials(guarded.identity(ONE)), own)
            rival.connect("127.0.0.1", guarded.port)
            rival.loop_start()
            await until(lambda: peers[TWO].losses)
            rival.disconnect()
            rival.loop_stop()

    play(work)


# Revocation ----------------------------------------------------------------------------------------------------------


def test_a_revoked_board_that_is_connected_is_silenced_by_a_reload(guarded: Guarded) -> None:
    async def work() -> None:
        async with everybody(guarded) as peers:
            guarded.write_revocations(guarded.directory / "board-1.pem")
            guarded.reload()
            heard = await hearers(peers, ONE, PREFIX + "boards/board-1/pulse", 0)
            assert heard == {CONTROLLER}, "the list of revoked certificates is looked at by newcomers only"
            guarded.write_rules(revoked=(ONE,))
            guarded.reload()
            for writer, below in ((ONE, "boards/board-1/pulse"), (ONE, "from/board-1/to/board-2/d/1-1/0")):
                assert await hearers(peers, writer, PREFIX + below, 1) == NOBODY
            assert await hearers(peers, CONTROLLER, PREFIX + "boards/board-1/desired", 1) == {CONTROLLER, BRIDGE}
            assert await hearers(peers, CONTROLLER, PREFIX + "models/lenet5/1", 1) == EVERYBODY - {ONE}
            assert await hearers(peers, TWO, PREFIX + "boards/board-2/pulse", 1) == {CONTROLLER}, "nobody else suffers"

    play(work)


# The files -----------------------------------------------------------------------------------------------------------


def test_the_rules_are_made_for_a_site_and_its_gateways() -> None:
    text = access_rules("north", ("gateway", "gateway-2"), revoked=("board-3",))
    assert "main" not in text
    assert text.count("\nuser gateway\n") == text.count("\nuser gateway-2\n") == 1
    assert "topic write convoy/1/north/from/gateway-2/to/+/+/+/+" in text
    assert text.endswith("user board-3\ntopic deny #\n")
    assert "user bridge-north" in text
    for bad in ("a b", "x\nuser y", "+"):
        with pytest.raises(TopicError):
            access_rules("main", (bad,))
        with pytest.raises(TopicError):
            access_rules("main", (), (bad,))


def test_every_rule_has_its_reason_beside_it() -> None:
    """A block begins with a comment, in every file that a broker is given."""
    folder = Path(__file__).parents[2] / "broker_config"
    for name in ("acl", "bridge.conf", "mosquitto-tls.conf"):
        for block in (folder / name).read_text().split("\n\n"):
            first = block.strip().splitlines()[0]
            assert first.startswith("#") or first.startswith("connection "), f"{name}: {first}"

"""Packets over TLS: whole wherever the cipher text is cut, bounded, and refused in one sentence."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from convoy_controller.enrollment.authority import Authority, Issued, certificate_pem
from convoy_schema.credentials import Credentials
from convoy_schema.encrypted import PIECE_BYTES, EncryptedPacketSocket
from convoy_schema.errors import LinkError, TlsError
from convoy_schema.packets import MAX_INCOMING, READ_BYTES, Incoming
from hypothesis import given, settings
from hypothesis import strategies as st
from link_bench import publish_packet
from tls_broker import board_certificate

NOW = datetime.now(timezone.utc)
PATIENCE_S = 5.0


class Identities:
    """A CA and two peers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create("test", NOW)
        self.ca = self._file("ca.pem", certificate_pem(self.authority.certificate))
        self.board = self.keep("board.pem", board_certificate(self.authority, "board-1", NOW))
        self.broker = self.keep("broker.pem", self.authority.issue("broker", ["localhost"], NOW))
        self.credentials = Credentials(self.ca, self.board, self.board)

    def _file(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def keep(self, name: str, issued: Issued) -> Path:
        return self._file(name, issued.pem())

    def server_context(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = version
        context.load_cert_chain(self.broker)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return Identities(tmp_path_factory.mktemp("identities"))


@contextlib.contextmanager
def pair(
    identities: Identities, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[tuple[EncryptedPacketSocket, ssl.SSLSocket]]:
    """Our end, which never blocks, and the other, Python's own TLS, which waits for a while."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE_S)
    found: list[ssl.SSLSocket] = []

    def accept() -> None:
        found.append(identities.server_context(version).wrap_socket(theirs, server_side=True))

    thread = threading.Thread(target=accept)
    thread.start()
    packets = EncryptedPacketSocket(ours, identities.credentials, "localhost", PATIENCE_S)
    thread.join()
    packets.setblocking(False)
    try:
        yield packets, found[0]
    finally:
        packets.close()
        found[0].close()


def receive(packets: EncryptedPacketSocket, count: int) -> list[Incoming]:
    """The next `count` messages; the event loop's part is played by a wait for the socket, unless more is inside."""
    found: list[Incoming] = []
    while len(found) < count:
        if not packets.has_more:
            assert packets._sock.fileno() >= 0
            ssl_wait(packets)
        packets.fill()
        while (item := packets.next()) is not False:
            assert isinstance(item, Incoming)
            found.append(item)
    return found


def ssl_wait(packets: EncryptedPacketSocket) -> None:
    import select

    assert select.select([packets], [], [], PATIENCE_S)[0], "nothing came"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_sent_and_what_comes_is_whole(identities: Identities, version: ssl.TLSVersion) -> None:
    with pair(identities, version) as (ours, theirs):
        assert ours.version == version.name.replace("_", ".")
        for size in (0, 1, 16_383, 16_384, 16_385, 3 * PIECE_BYTES + 1):
            ours.publish(b"t", bytes(size), False)
            expected = publish_packet("t", bytes(size))
            content = b""
            while len(content) < len(expected):
                ours.push()
                content += theirs.recv(len(expected) - len(content))
            assert content == expected
            theirs.sendall(publish_packet("u", bytes(size)))
            assert receive(ours, 1) == [Incoming("u", bytes(size), False)]
        assert ours.unsent_bytes == 0
        assert not ours.is_blocked


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([0, 1, 127, 16_384, 20_000, READ_BYTES, 256_000]), min_size=1, max_size=12))
def test_many_messages_are_all_found_although_select_shows_only_some(identities: Identities, sizes: list[int]) -> None:
    """All of them are in one piece of cipher text, more than one read may decrypt."""
    with pair(identities) as (ours, theirs):
        content = b"".join(publish_packet("t", bytes([n]) * size) for n, size in enumerate(sizes))
        sender = threading.Thread(target=theirs.sendall, args=(content,))
        sender.start()
        found = receive(ours, len(sizes))
        sender.join()
        assert [item.payload for item in found] == [bytes([n]) * size for n, size in enumerate(sizes)]
        assert not ours.has_more


def test_what_the_kernel_does_not_take_waits_and_is_counted(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        total = 0
        while not ours.is_blocked:
            ours.publish(b"t", bytes(50_000), False)
            total += 1
        for _ in range(10):
            ours.publish(b"t", bytes(50_000), False)
        assert ours.unsent_bytes > 10 * 50_000
        left = (total + 10) * len(publish_packet("t", bytes(50_000)))
        while left:
            left -= len(theirs.recv(1_000_000))
            ours.push()
        assert ours.unsent_bytes == 0
        assert not ours.is_blocked


def test_corked_messages_leave_together(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        ours.cork()
        for number in range(50):
            ours.publish(b"t", b"%d" % number, False)
        theirs.settimeout(0.05)
        with pytest.raises(TimeoutError):
            theirs.recv(1)
        theirs.settimeout(PATIENCE_S)
        ours.uncork()
        assert theirs.recv(100_000) == b"".join(publish_packet("t", b"%d" % number) for number in range(50))


def test_the_end_is_seen_after_what_came_before_it(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        theirs.sendall(publish_packet("t", b"last"))
        theirs.close()
        assert receive(ours, 1)[0].payload == b"last"
        ssl_wait(ours)
        ours.fill()
        assert ours.is_closed_by_peer


def test_an_end_without_goodbye_is_an_end_too(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        raw = socket.socket(fileno=theirs.detach())
        raw.close()
        ssl_wait(ours)
        ours.fill()
        assert ours.is_closed_by_peer


def test_a_peer_gets_our_goodbye(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        ours.close()
        assert theirs.recv(1) == b"", "with suppress_ragged_eofs off an end without goodbye would raise"


def test_bytes_that_are_no_cipher_text_end_the_connection(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        raw = socket.socket(fileno=theirs.detach())
        raw.sendall(b"\x30\x03\x00\x01tplain MQTT in the middle of it")
        ssl_wait(ours)
        with pytest.raises(TlsError, match=r"TLS failed|does not speak TLS"):
            ours.fill()
        raw.close()


def test_a_packet_beyond_the_bound_is_refused(identities: Identities) -> None:
    with pair(identities) as (ours, theirs):
        theirs.sendall(b"\x30" + bytes([0x80 | MAX_INCOMING & 0x7F, 0x80 | MAX_INCOMING >> 7 & 0x7F, 0x7F, 0x00]))
        ssl_wait(ours)
        ours.fill()
        with pytest.raises(LinkError, match="at most"):
            ours.next()


# Refusals ------------------------------------------------------------------------------------------------------------


def refused(ours_credentials: Credentials, context: ssl.SSLContext, host: str = "localhost") -> str:
    """The sentence with which we refuse the peer, or learn that it refuses us."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE_S)

    def accept() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(theirs, server_side=True) as sock:
            sock.recv(1)
        theirs.close()

    thread = threading.Thread(target=accept)
    thread.start()
    packets: EncryptedPacketSocket | None = None
    try:
        packets = EncryptedPacketSocket(ours, ours_credentials, host, PATIENCE_S)
        packets.setblocking(False)
        ssl_wait(packets)
        packets.fill()
    except TlsError as error:
        return str(error)
    finally:
        (packets or ours).close()
        thread.join()
    raise AssertionError("nobody refused")


def test_a_peer_of_a_foreign_ca_is_refused(identities: Identities, tmp_path: Path) -> None:
    foreign = Identities(tmp_path)
    credentials = Credentials(identities.ca, identities.board, identities.board)
    assert "it is not of our CA" in refused(credentials, foreign.server_context())


def test_a_peer_of_another_name_is_refused_unless_the_name_is_set(identities: Identities) -> None:
    assert "set server_name" in refused(identities.credentials, identities.server_context(), "10.0.0.1")
    named = Credentials(identities.ca, identities.board, identities.board, "convoy-broker")
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair()
        context = identities.server_context()
        thread = threading.Thread(target=lambda: stack.enter_context(context.wrap_socket(theirs, server_side=True)))
        thread.start()
        EncryptedPacketSocket(ours, named, "10.0.0.1", PATIENCE_S).close()
        thread.join()


def test_a_board_is_no_broker(identities: Identities) -> None:
    """Every board has a certificate of the CA; with it nobody else may answer as the broker."""
    context = identities.server_context()
    context.load_cert_chain(identities.board)
    assert "it is not one for a server" in refused(identities.credentials, context)


def test_a_peer_that_expired_is_refused_by_clock_or_by_floor(identities: Identities, tmp_path: Path) -> None:
    old = NOW - timedelta(days=40)
    expired = identities.authority.issue("broker", ["localhost"], old, timedelta(days=30))
    context = identities.server_context()
    (tmp_path / "expired.pem").write_bytes(expired.pem())
    context.load_cert_chain(tmp_path / "expired.pem")
    sentence = refused(identities.credentials, context)
    assert "(broker) expired on" in sentence
    assert "by this machine's clock" in sentence
    # A board that believes in 1970 knows from its own certificate, which was signed today, that it is later.
    asleep = Credentials(identities.ca, identities.board, identities.board, clock=lambda: 10.0)
    assert "by the newest signed time" in refused(asleep, context)


def test_our_own_faults_are_told_by_the_peers_alert(identities: Identities, tmp_path: Path) -> None:
    foreign = Identities(tmp_path)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        other = Credentials(identities.ca, foreign.board, foreign.board)
        assert "of another CA than the peer's" in refused(other, identities.server_context(version))
        expired = board_certificate(identities.authority, "board-2", NOW - timedelta(days=9), timedelta(days=8))
        file = identities.keep("expired-board.pem", expired)
        sentence = refused(Credentials(identities.ca, file, file), identities.server_context(version))
        assert "our certificate has expired: renew it" in sentence


def test_a_peer_without_tls_is_told_so(identities: Identities) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\x20\x02\x00\x00 and more")
    with pytest.raises(TlsError, match="does not speak TLS"):
        EncryptedPacketSocket(ours, identities.credentials, "localhost", PATIENCE_S)
    ours.close()
    theirs.close()


def test_a_peer_that_says_nothing_is_given_up(identities: Identities) -> None:
    ours, theirs = socket.socketpair()
    with pytest.raises(TimeoutError):
        EncryptedPacketSocket(ours, identities.credentials, "localhost", 0.1)
    theirs.close()
    ours.close()
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises((TlsError, OSError)):
        EncryptedPacketSocket(ours, identities.credentials, "localhost", PATIENCE_S)
    ours.close()

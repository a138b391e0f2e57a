"""Start an MQTT broker as a process of its own, or check the one that a URL names.

For `convoy up`, `convoy demo` and tests: one machine, loopback only. Mosquitto is preferred; amqtt, which pip installs,
serves where Mosquitto is not to be had. A fleet's broker is not started from here but by its own service. Nothing here
publishes: a broker counts as up when it accepts a CONNECT.
"""

from __future__ import annotations

import getpass
import importlib.resources
import importlib.util
import os
import shutil
import socket
import struct
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from convoy_schema.credentials import Credentials
from convoy_schema.errors import LinkError
from convoy_schema.link import parse_url

from convoy_controller.errors import BrokerError, ProcessError
from convoy_controller.processes import Child, Processes, Restart

HOST = "127.0.0.1"
#: Name of the broker among an owner's processes, and of its log.
NAME = "broker"
#: Where Mosquitto is installed beside what PATH says: a user's PATH often lacks the sbin directories.
SYSTEM_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin")
#: The development configuration; in the source tree a link to broker_config/, its one home.
TEMPLATE = "mosquitto-development.conf"
#: A free port may be taken by someone else before the broker has it; then another one is tried.
PORT_ATTEMPTS = 8
#: Seconds for a broker to answer, and for one answer.
START_S = 15.0
ANSWER_S = 2.0

LABELS = {"mosquitto": "Mosquitto", "amqtt": "amqtt (pip-installed fallback)"}
_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it rejects the client id",
    3: "it is not available",
    4: "it wants a user name and password",
    5: "it does not authorise us",
}


@dataclass(frozen=True)
class Broker:
    """A broker that has answered."""

    url: str
    #: For people: "Mosquitto", "amqtt (pip-installed fallback)", or the URL they gave.
    label: str
    #: None when it is not ours.
    process: Child | None
    _own: Processes | None = None

    def stop(self) -> None:
        """Stop it, if `start_broker` was not given an owner that does so."""
        if self._own is not None:
            self._own.stop()

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_broker(
    kind: str,
    directory: Path,
    port: int = 0,
    *,
    processes: Processes | None = None,
    restart: Restart | None = None,
) -> Broker:
    """Start a broker on the loopback interface, or check the one that `kind` names by its URL.

    `kind` is `auto`, `mosquitto`, `amqtt` or `mqtt://host:port`. Its configuration and log go to `directory`. Port 0
    takes a free one. With `processes` it becomes their child "broker" and is stopped with them; without, `Broker.stop`
    ends it. Call it from the main thread. Raises `BrokerError` that quotes the broker's log.
    """
    if "://" in kind:
        return _existing(kind)
    chosen = _choose(kind)
    owner = processes or Processes()
    try:
        child, port = _start(chosen, directory, port, owner, restart)
    except BaseException:
        if owner is not processes:
            owner.stop()
        raise
    return Broker(f"mqtt://{HOST}:{port}", LABELS[chosen], child, None if owner is processes else owner)


def find_mosquitto() -> str | None:
    """The path of the Mosquitto program; None if there is none."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(SYSTEM_DIRECTORIES))


def has_amqtt() -> bool:
    """Whether amqtt is installed in this environment."""
    return importlib.util.find_spec("amqtt") is not None


def answers(host: str, port: int, timeout_s: float = ANSWER_S, credentials: Credentials | None = None) -> bool:
    """Whether an MQTT 3.1.1 CONNECT is accepted there, over TLS with `credentials`.

    Raises `OSError` when nobody listens or answers in time, `BrokerError` when the answer is a refusal or not MQTT.
    """
    client_id = f"convoy-probe-{os.getpid()}".encode()
    clean_session, keepalive_s = 0x02, 10
    body = struct.pack("!H4sBBHH", 4, b"MQTT", 4, clean_session, keepalive_s, len(client_id)) + client_id
    with _connected(host, port, timeout_s, credentials) as connection:
        connection.sendall(bytes([0x10, len(body)]) + body)
        answer = b""
        while len(answer) < 4 and (more := connection.recv(4 - len(answer))):
            answer += more
        if not answer:
            return False
        if len(answer) < 4 or answer[:2] != b"\x20\x02":
            raise BrokerError(f"{host}:{port} does not answer as an MQTT broker: {answer!r}", host=host, port=port)
        if answer[3]:
            reason = _REFUSALS.get(answer[3], f"code {answer[3]}")
            raise BrokerError(f"the broker at {host}:{port} refuses: {reason}", host=host, port=port, refusal=answer[3])
        connection.sendall(b"\xe0\x00")
    return True


def _connected(host: str, port: int, timeout_s: float, credentials: Credentials | None) -> socket.socket:
    if credentials is not None:
        return credentials.connect(host, port, timeout_s)
    return socket.create_connection((host, port), timeout_s)


def mosquitto_configuration(port: int) -> str:
    """The development configuration for `port`, with what this process's user needs."""
    template = importlib.resources.files("convoy_controller").joinpath(TEMPLATE).read_text(encoding="utf-8")
    lines = [f"listener {port} {HOST}" if line.startswith("listener ") else line for line in template.splitlines()]
    if os.geteuid() == 0:
        # Started as root, Mosquitto would become the user `mosquitto`; a process that changes its user is no longer
        # killed with its parent, and could not read a configuration below a private directory.
        lines.append(f"user {getpass.getuser()}")
    return "\n".join(lines) + "\n"


def _existing(url: str) -> Broker:
    if url.startswith("mqtts:"):
        raise BrokerError(
            f"the broker at {url} is encrypted: start it with --tls, or join one that runs by `convoy controller` and "
            "`convoy gateway`",
            url=url,
        )
    try:
        host, port = parse_url(url)
        if answers(host, port):
            return Broker(url, url, None)
    except LinkError as error:
        raise BrokerError(error.message, url=url) from error
    except OSError as error:
        raise BrokerError(f"no broker answers at {url}: {error}", url=url) from error
    raise BrokerError(f"the broker at {url} closes the connection without an answer", url=url)


def _choose(kind: str) -> str:
    if kind == "auto":
        kind = "mosquitto" if find_mosquitto() else "amqtt"
    if kind == "mosquitto":
        if not find_mosquitto():
            raise BrokerError(
                f"Mosquitto is not in PATH nor in {', '.join(SYSTEM_DIRECTORIES)}: install it, or choose amqtt"
            )
    elif kind == "amqtt":
        if not has_amqtt():
            raise BrokerError("amqtt is not installed: pip install 'convoy-fleet[demo]', or install Mosquitto")
    else:
        raise BrokerError(f"broker {kind!r} must be auto, mosquitto, amqtt or a URL mqtt://host:port", kind=kind)
    return kind


def _command(kind: str, directory: Path, port: int) -> list[str]:
    if kind == "amqtt":
        return [sys.executable, "-m", "convoy_controller.amqtt_broker", str(port)]
    file = directory / "mosquitto.conf"
    file.write_text(mosquitto_configuration(port), encoding="utf-8")
    return [find_mosquitto() or "mosquitto", "-c", str(file)]


def _start(kind: str, directory: Path, port: int, owner: Processes, restart: Restart | None) -> tuple[Child, int]:
    """Start and await it; with port 0 on a free port, and on another one when that was lost in a race."""
    directory.mkdir(parents=True, exist_ok=True)
    attempts_left = 0 if port else PORT_ATTEMPTS - 1
    while True:
        number = port or free_port()
        child = owner.start(NAME, _command(kind, directory, number), directory / f"{NAME}.log", restart=restart)
        try:
            owner.wait_ready(NAME, partial(_is_up, child, number), START_S)
        except (ProcessError, BrokerError) as error:
            owner.stop_one(NAME)
            if not attempts_left or "address already in use" not in child.tail().lower():
                raise BrokerError(f"{LABELS[kind]} did not start on port {number}: {error}", port=number) from error
            attempts_left -= 1
        else:
            return child, number


def _is_up(child: Child, port: int) -> bool:
    return listens(child.pid, port) and answers(HOST, port)


def free_port() -> int:
    """A TCP port of the loopback interface that is free now; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def hold_port() -> socket.socket:
    """A socket that keeps a port of the loopback interface for its owner until it is closed.

    It is bound and does not listen: nobody who looks for a free port is given this one, and no outgoing connection
    leaves from it. Who binds to it by number and with SO_REUSEADDR, as servers do, listens there, and may come back.
    """
    holder = socket.socket()
    try:
        holder.bind((HOST, 0))
        # Only now: with it the kernel might give us what another holds as we do.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except BaseException:
        holder.close()
        raise
    return holder


def listens(pid: int, port: int) -> bool:
    """Whether process `pid` itself listens on `port`: someone else's broker may have taken it first and answered."""
    listening = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            listening.add(f"socket:[{fields[9]}]")
    return any(_target(entry) in listening for entry in Path(f"/proc/{pid}/fd").iterdir())


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # closed meanwhile
        return ""

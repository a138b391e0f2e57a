"""Starts Mosquitto with the shipped configuration for a network and this fleet's certificates: `convoy up --tls`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convoy_schema.credentials import Credentials
from convoy_schema.errors import TlsError

from convoy_controller.broker import HOST, LABELS, NAME, START_S, Broker, answers, find_mosquitto, listens
from convoy_controller.enrollment.broker_files import tls_configuration
from convoy_controller.enrollment.folder import TlsFolder
from convoy_controller.enrollment.reloading import PID_FILE
from convoy_controller.errors import BrokerError, ProcessError
from convoy_controller.processes import Child, Processes, Restart


def start_secure_broker(
    folder: TlsFolder, directory: Path, host: str, processes: Processes, restart: Restart | None = None
) -> Broker:
    """Start it on `host` ("" for all interfaces) and the port of `convoy ca init`; it becomes the child "broker".

    Raises `BrokerError` that quotes the broker's log.
    """
    program = find_mosquitto()
    if program is None:
        raise BrokerError("Mosquitto is not installed, and no other broker here has certificates: install it")
    port = folder.settings().broker_port
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "mosquitto.conf"
    text = tls_configuration(folder.path, port, host) + f"pid_file {folder.path / PID_FILE}\n"
    file.write_text(text, encoding="utf-8")
    child = processes.start(NAME, [program, "-c", str(file)], directory / f"{NAME}.log", restart=restart)
    credentials = Credentials(folder.ca, folder.identity("controller"))
    try:
        processes.wait_ready(NAME, partial(_is_up, child, port, credentials), START_S)
    except (ProcessError, BrokerError, TlsError) as error:
        processes.stop_one(NAME)
        raise BrokerError(f"Mosquitto did not start on port {port}: {error}", port=port) from error
    return Broker(f"mqtts://{HOST}:{port}", f"{LABELS['mosquitto']}, TLS", child)


def _is_up(child: Child, port: int, credentials: Credentials) -> bool:
    return listens(child.pid, port) and answers(HOST, port, credentials=credentials)

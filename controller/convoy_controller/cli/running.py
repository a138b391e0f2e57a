"""`convoy up`, `convoy controller`, `convoy gateway`: the processes of a fleet, together or one by one."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.claims import ENROLLMENT_PORT

from convoy_controller.cli.encryption import (
    CaOption,
    CertificateOption,
    KeyOption,
    ServerNameOption,
    credentials_for,
)
from convoy_controller.cli.options import DatabaseOption, HomeOption
from convoy_controller.cli.target import home_here
from convoy_controller.home import Home

if TYPE_CHECKING:
    from convoy_controller.local_fleet import LocalFleet

BrokerOption = Annotated[
    str,
    typer.Option("--broker", help="auto, mosquitto, amqtt, or the URL mqtt://host:port of one that runs."),
]
UrlOption = Annotated[
    str, typer.Option("--broker", help="URL of the broker, mqtt://host:port, or mqtts://host:port for TLS.")
]
SiteOption = Annotated[str, typer.Option("--site", help="Name of the site: boards behind one uplink.")]
LogOption = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(up)
    app.command()(controller)
    app.command()(gateway)


def controller(
    broker: UrlOption = "mqtt://127.0.0.1:1883",
    site: SiteOption = "local",
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    server_name: ServerNameOption = "",
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="HOST:PORT",
            show_default="nowhere",
            help="Where Prometheus reads /metrics; port 0: a free one.",
        ),
    ] = None,
    metrics_cert: Annotated[
        Path | None,
        typer.Option("--metrics-cert", metavar="PEM", help="Certificate, for HTTPS there; its chain with it."),
    ] = None,
    metrics_key: Annotated[
        Path | None, typer.Option("--metrics-key", metavar="PEM", help="Its key, where it is not in the same file.")
    ] = None,
    log_level: LogOption = "info",
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Run the controller: it plans, places, watches and distributes. Ctrl-C or SIGTERM ends it in order.

    Its metrics, and those of boards, are for whoever may read the API: without a token on this machine's own addresses
    only. Exit codes: 0 stopped, 1 failed, or the address for metrics is reached by others while there is no token, 2
    not an address, 4 no database or no such certificate.
    """
    import asyncio

    from convoy_schema.resident import settle_memory

    from convoy_controller.keys import signing_key
    from convoy_controller.listening import Listening
    from convoy_controller.service import Controller

    if metrics is None and metrics_cert is not None:
        raise typer.BadParameter("is for where metrics are read: give --metrics too", param_hint="--metrics-cert")
    if metrics_cert is None and metrics_key is not None:
        raise typer.BadParameter("belongs to a certificate: give --metrics-cert too", param_hint="--metrics-key")
    where = None if metrics is None else Listening(*address_of(metrics, "--metrics"), metrics_cert, metrics_key)
    if where is not None:
        where.context()  # what cannot be used is said before anything begins
    set_log_level(log_level)
    settle_memory()
    place = home_here(home, database)
    signing_key(place.keys)
    credentials = credentials_for(broker, "controller", place, ca, certificate, key, server_name)

    async def serve() -> None:
        service = Controller(place, broker, site=site, credentials=credentials, metrics=where)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        await service.run()

    asyncio.run(serve())


def gateway(
    name: Annotated[str, typer.Option("--name", help="Name of this gateway; no two may share one.")] = "gateway",
    broker: UrlOption = "mqtt://127.0.0.1:1883",
    site: SiteOption = "local",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8080,
    trusted_key: Annotated[
        Path | None, typer.Option("--trusted-key", show_default="HOME/keys/trusted.pem", help="Public key to trust.")
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    server_name: ServerNameOption = "",
    log_level: LogOption = "info",
    home: HomeOption = None,
) -> None:
    """Run a gateway: requests enter over HTTP (Open Inference Protocol V2), results leave.

    Exit codes: 0 stopped, 1 failed or its name was taken.
    """
    from convoy_controller.gateway import GatewayConfig, run_gateway

    set_log_level(log_level)
    place = home_here(home)
    credentials = credentials_for(broker, name, place, ca, certificate, key, server_name)
    trusted = trusted_key or place.trusted_key
    run_gateway(GatewayConfig(name, site, broker, trusted, host, port, credentials))


def up(
    broker: BrokerOption = "auto",
    broker_port: Annotated[
        int | None,
        typer.Option(
            "--broker-port",
            min=0,
            max=65535,
            show_default="1883, with --tls that of ca init",
            help="TCP port of a broker that we start.",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The gateway's TCP port.")] = 8080,
    api_port: Annotated[int, typer.Option("--api-port", min=0, max=65535, help="The REST API's TCP port.")] = 8081,
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", min=0, max=65535, help="TCP port of the controller's metrics.")
    ] = 8082,
    site: SiteOption = "local",
    tls: Annotated[
        bool, typer.Option("--tls", help="Certificates for everyone: a CA at first use, Mosquitto over TLS, enrolment.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="--tls: name or address of this machine for boards elsewhere; unset: this machine only."
        ),
    ] = None,
    enrollment_port: Annotated[
        int, typer.Option("--enrollment-port", min=1, max=65535, help="--tls, first start: the enrolment's TCP port.")
    ] = ENROLLMENT_PORT,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Run a broker (unless a URL names one), the controller, a gateway, and REST API with dashboard, until Ctrl-C.

    Each is a process of its own; with --tls also the enrolment service. A part that dies is started again. Exit codes:
    0 stopped, 1 failed, 4 no broker.
    """
    from convoy_controller.local_fleet import LocalFleet
    from convoy_controller.processes import Restart

    place = home_here(home, database)
    interrupt_on_terminate()
    if tls:
        site = prepare_tls(place, site, tuple(host or ()), broker_port or 8883, enrollment_port)
    with LocalFleet(place, place.root / "run", site=site, restart=Restart()) as fleet:
        if tls:
            running = fleet.start_secure_broker("" if host else "127.0.0.1")
            fleet.start_enrollment("0.0.0.0" if host else "127.0.0.1")
        else:
            running = fleet.start_broker(broker, 1883 if broker_port is None else broker_port)
        fleet.start_controller(metrics_port)
        address = fleet.start_gateway(port=port)
        api = fleet.start_api(port=api_port)
        typer.echo(f"broker      {running.url}  ({running.label})")
        typer.echo(f"gateway     {address}")
        typer.echo(f"dashboard   {api}/")
        typer.echo(f"API         {api}/api/v1")
        typer.echo(f"metrics     {fleet.metrics} (the fleet's), {address}/metrics (the gateway's)")
        typer.echo(f"logs        {fleet.directory / 'logs'}")
        typer.echo(f"trusted key {place.trusted_key}")
        if tls:
            typer.echo(
                "boards join with: convoy board invite NAME, and on the board convoy-device enroll --claim CLAIM"
            )
        typer.echo("boards join with: convoy-device run --config FILE; Ctrl-C stops what was started here")
        watch(fleet)


def prepare_tls(
    place: Home, site: str, hosts: tuple[str, ...], broker_port: int, enrollment_port: int = ENROLLMENT_PORT
) -> str:
    """Make the CA if there is none, with these settings; the site that its certificates are for."""
    from convoy_controller.database.engine import open_database
    from convoy_controller.database.records import utc_now
    from convoy_controller.enrollment.folder import Settings, TlsFolder
    from convoy_controller.enrollment.office import Office

    folder = TlsFolder(place.tls)
    if not folder.exists:
        database = open_database(place.database_url)
        try:
            settings = Settings(site, hosts or ("127.0.0.1",), ("gateway",), broker_port, enrollment_port)
            Office.found(database, folder, settings, utc_now())
        finally:
            database.close()
    return folder.settings().site


def watch(fleet: LocalFleet) -> None:
    """Report deaths and start again what is to be, until Ctrl-C."""
    try:
        while True:
            for death in fleet.processes.poll(time.monotonic()):
                typer.secho(str(death), fg="yellow", err=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        typer.echo("stopping")


def interrupt_on_terminate() -> None:
    """SIGTERM ends in order, as Ctrl-C does, which is heard also in a script's background, where it is ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, interrupt)


def set_log_level(level: str) -> None:
    """Log to the standard error from that level on; raises `typer.BadParameter`."""
    names = logging.getLevelNamesMapping() if hasattr(logging, "getLevelNamesMapping") else logging._nameToLevel
    number = names.get(level.upper())
    if number is None:
        raise typer.BadParameter(f"{level!r} is not one of debug, info, warning, error", param_hint="--log-level")
    logging.basicConfig(level=number, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def address_of(text: str, option: str) -> tuple[str, int]:
    """HOST and PORT of an option such as `--listen`, an IPv6 host in brackets; raises `typer.BadParameter`."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise typer.BadParameter(f"{text[:80]!r} is not HOST:PORT, as 127.0.0.1:8081", param_hint=option)
    return host, int(port)

"""`convoy ca`, `convoy board invite | revoke`, `convoy enroll-server`: who belongs to the fleet, and proves it how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.claims import ENROLLMENT_PORT

from convoy_controller.cli.boards import board_app
from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import ago, print_json, print_table
from convoy_controller.cli.target import home_here

if TYPE_CHECKING:
    from convoy_controller.enrollment.office import Office

_ca = typer.Typer(name="ca", no_args_is_help=True, help="The fleet's certificate authority.")

ReloadOption = Annotated[
    str,
    typer.Option(
        "--reload",
        envvar="CONVOY_BROKER_RELOAD",
        show_default="SIGHUP to the broker of `convoy up --tls`",
        help="Command that has the broker read its files anew, as `systemctl reload mosquitto`.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_ca)
    app.command("enroll-server")(enroll_server)


@contextmanager
def _office(home: Path | None, database: str | None) -> Iterator[Office]:
    from convoy_controller.enrollment.folder import TlsFolder
    from convoy_controller.enrollment.office import Office

    with opened(home, database) as fleet:
        yield Office(fleet, TlsFolder(home_here(home, database).tls))


@_ca.command("init")
def init(
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Name or address of this machine, as boards reach it; the first is told to them."),
    ] = None,
    site: Annotated[str, typer.Option("--site", help="Name of the site.")] = "local",
    gateway: Annotated[list[str] | None, typer.Option("--gateway", help="Name of a gateway.")] = None,
    broker_port: Annotated[int, typer.Option("--broker-port", min=1, max=65535, help="The broker's TCP port.")] = 8883,
    enrollment_port: Annotated[
        int, typer.Option("--enrollment-port", min=1, max=65535, help="The enrolment service's TCP port.")
    ] = ENROLLMENT_PORT,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make the fleet's CA, certificates for broker, enrolment, controller and gateways, and the broker's files.

    All of it lies in HOME/tls; ca.key is to be kept as the fleet's most precious file. JSON keys: folder, site,
    gateways, broker. Exit codes: 0, 1 there is one
    already, 2 a name that cannot be one, 4 no database.
    """
    from convoy_schema.names import check_name

    from convoy_controller.database.records import utc_now
    from convoy_controller.enrollment.folder import Settings, TlsFolder
    from convoy_controller.enrollment.office import Office

    place = home_here(home, database)
    gateways = tuple(check_name(name, "gateway") for name in gateway or ("gateway",))
    settings = Settings(check_name(site, "site"), tuple(host or ("127.0.0.1",)), gateways, broker_port, enrollment_port)
    with opened(home, database) as fleet:
        office = Office.found(fleet, TlsFolder(place.tls), settings, utc_now())
    if as_json:
        said = office.settings
        print_json({"folder": str(place.tls), "site": said.site, "gateways": gateways, "broker": said.broker_url})
        return
    typer.echo(f"the CA is in {place.tls}; keep ca.key safe, and a copy of it elsewhere")
    typer.echo(f"for the broker: ca.pem, broker.pem, crl.pem and acl ({office.settings.broker_url})")
    typer.echo("boards get their certificates by `convoy board invite NAME`, while `convoy enroll-server` runs")


@_ca.command("issue")
def issue(
    name: Annotated[
        str, typer.Argument(help="controller, broker, enrollment, gateway, or one of these and -SOMETHING.")
    ],
    host: Annotated[
        list[str] | None, typer.Option("--host", help="A server's name or address; unset: those of `ca init`.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make a new key and certificate for a service, in place of the one in HOME/tls. They last five years.

    Links use it from their next connection on, Mosquitto after a reload. JSON keys: name, file. Exit codes: 0, 1
    refused, 4 no database.
    """
    with _office(home, database) as office:
        file = str(office.issue(name, tuple(host or ())))
    print_json({"name": name, "file": file}) if as_json else typer.echo(file)


@_ca.command("list")
def certificates(as_json: JsonOption = False, home: HomeOption = None, database: DatabaseOption = None) -> None:
    """List every certificate that was issued.

    JSON keys: serial, name, way, issued_at, ends_at, revoked_at, reason. Exit codes: 0, 4 no database.
    """
    from convoy_controller.database.certificate_records import certificates
    from convoy_controller.database.records import utc_now

    with opened(home, database) as fleet:
        lines = certificates(fleet)
    if as_json:
        print_json(lines)
        return
    now = utc_now()
    print_table(
        ("NAME", "SERIAL", "BY", "ISSUED", "ENDS", "REVOKED"),
        [
            (
                line.name,
                line.serial[:8],
                line.way.value,
                ago(line.issued_at, now),
                f"{line.ends_at:%Y-%m-%d}",
                f"{ago(line.revoked_at, now)} {line.reason}" if line.revoked_at else "-",
            )
            for line in lines
        ],
    )


@board_app.command("invite")
def invite(
    name: Annotated[str, typer.Argument(help="The board's name; its certificate is for this name alone.")],
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=24 * 90, help="How long the claim counts.")] = 24.0,
    address: Annotated[
        str, typer.Option("--address", help="HOST:PORT at which the board reaches the enrolment service, if another.")
    ] = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Invite a board: print a claim, which gets it its certificate, once. It is a secret until then.

    JSON keys: board, claim, hours. Exit codes: 0, 1 refused, 2 a name that cannot be one, 4 no database.
    """
    with _office(home, database) as office:
        claim = office.invite(name, timedelta(hours=hours), address)
    if as_json:
        print_json({"board": name, "claim": str(claim), "hours": hours})
        return
    typer.echo(f"on the board, within {hours:g} h: convoy-device enroll --claim", err=True)
    typer.echo(str(claim))


@board_app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="A board (or gateway, or bridge) that no longer belongs to the fleet.")],
    reason: Annotated[str, typer.Option("--reason", help="For history.")] = "",
    reload: ReloadOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Shut a board out, for ever: it cannot connect again, and a connection that it has says and hears nothing more.

    Its name is not used again. JSON keys: name, certificates, is_reloaded. Exit codes: 0, 1 refused, 3 no such name,
    4 no database.
    """
    from convoy_controller.enrollment.reloading import reload_broker

    with _office(home, database) as office:
        count = office.revoke(name, reason)
        folder = office.folder.path
    is_reloaded = reload_broker(folder, reload)
    if as_json:
        print_json({"name": name, "certificates": count, "is_reloaded": is_reloaded})
    else:
        typer.echo(f"{name} is revoked ({count} certificates)")
    if not is_reloaded:
        typer.secho(
            f"now give the broker {folder / 'crl.pem'} and {folder / 'acl'}, and have it reload "
            "(systemctl reload mosquitto): until then it lets the board in",
            fg="yellow",
            err=True,
        )


def enroll_server(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="TCP port.", show_default="as of ca init")] = 0,
    board_days: Annotated[
        float, typer.Option("--board-days", min=0.0001, max=3650, help="How long boards' certificates count.")
    ] = 90.0,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Run the enrolment service: HTTPS, where boards use their claims and renew their certificates.

    Exit codes: 0 stopped, 1 failed, 4 no database.
    """
    from convoy_controller.cli.running import set_log_level
    from convoy_controller.enrollment.server import run_server

    set_log_level(log_level)
    place = home_here(home, database)
    run_server(place, host, port, timedelta(days=board_days))

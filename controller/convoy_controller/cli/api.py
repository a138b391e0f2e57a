"""`convoy api`: the REST API as a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convoy_controller.cli.options import DatabaseOption, HomeOption
from convoy_controller.cli.running import LogOption, address_of, set_log_level
from convoy_controller.cli.target import home_here


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(api)


def api(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Address to listen on; port 0 takes a free one.")
    ] = "127.0.0.1:8081",
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="PEM", help="Certificate, for HTTPS; its chain with it.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="PEM", help="Its key, where it is not in the same file.")
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="The dashboard, on the same address.")
    ] = True,
    log_level: LogOption = "info",
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Serve REST API and dashboard: what the fleet is and was, and is to be. Ctrl-C or SIGTERM ends it in order.

    Without a token it listens on this machine's own addresses only, and whoever is on it may do everything; once there
    is one (`convoy token create`), everyone needs one. Exit codes: 0 stopped, 1 failed, its address was taken or is
    reached by others while there is no token, 2 not an address, 4 no database or no such certificate.
    """
    from convoy_controller.api.process import run_api
    from convoy_controller.listening import Listening

    host, port = address_of(listen, "--listen")
    if tls_key is not None and tls_cert is None:
        raise typer.BadParameter("belongs to a certificate: give --tls-cert too", param_hint="--tls-key")
    set_log_level(log_level)
    run_api(home_here(home, database), Listening(host, port, tls_cert, tls_key), with_dashboard=dashboard)

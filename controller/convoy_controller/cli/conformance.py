"""`convoy conformance`: judges a board, or a controller, by the numbered rules of the contract."""

from __future__ import annotations

import enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.encryption import (
    CaOption,
    CertificateOption,
    KeyOption,
    ServerNameOption,
    credentials_for,
)
from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import HomeOption, JsonOption
from convoy_controller.cli.printing import print_json
from convoy_controller.home import Home

if TYPE_CHECKING:
    from convoy_controller.conformance.verdicts import Report


class Tried(enum.Enum):
    """Whom the kit judges."""

    BOARD = "board"
    CONTROLLER = "controller"


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(conformance)


def conformance(
    broker: Annotated[
        str, typer.Option("--broker", help="URL of the broker, mqtt://host:port, or mqtts://host:port for TLS.")
    ] = "mqtt://127.0.0.1:1883",
    role: Annotated[Tried, typer.Option("--role", help="Who is tried; the kit plays everyone else.")] = Tried.BOARD,
    board: Annotated[str, typer.Option("--board", help="The board that is tried.")] = "board-1",
    site: Annotated[str, typer.Option("--site", help="Name of the site.")] = "local",
    rule: Annotated[
        list[str], typer.Option("--rule", metavar="NUMBER", help="Try this rule alone, as B7. Repeatable.")
    ] = [],  # noqa: B006 (typer reads it, nobody changes it)
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            metavar="FOLDER",
            show_default="HOME/conformance",
            help="Where the root key of the trial is, made at first use; the board trusts its trusted.pem.",
        ),
    ] = None,
    tap: Annotated[
        str | None,
        typer.Option("--tap", metavar="HOST:PORT", help="Listen there, in front of the broker, to cut connections."),
    ] = None,
    may_stop: Annotated[bool, typer.Option("--may-stop", help="Also try what ends the one that is tried.")] = False,
    trusted_key: Annotated[
        Path | None,
        typer.Option(
            "--trusted-key",
            show_default="HOME/keys/trusted.pem",
            help="--role controller: the root's public key, by which its signatures are judged.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Images for the board's part, beside our own.")
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=1, help="Seconds for the one that is tried to come.")] = 60.0,
    as_json: JsonOption = False,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    server_name: ServerNameOption = "",
    home: HomeOption = None,
) -> None:
    """Try a board or a controller by the rules of docs/contract.md, on a broker of its own: never where a fleet serves.

    JSON keys: role, subject, seconds, verdicts (rule, outcome passed, failed or not-tried, sentence, expected, came,
    why). Exit codes: 0 nothing failed, 1 a rule failed, 3 there is no such rule, 4 no broker.
    """
    import asyncio

    place = Home.locate(home)
    credentials = credentials_for(broker, "controller", place, ca, certificate, key, server_name)
    address = _address(tap)
    tell = partial(typer.echo, err=True)
    if role is Tried.CONTROLLER:
        from convoy_controller.conformance.controller_trial import ControllerTrial, try_controller

        ours = place.trusted_key if place.trusted_key.is_file() else None
        tried = ControllerTrial(broker, site, credentials, rule, address, trusted_key or ours, wait)
        report = asyncio.run(try_controller(tried, tell))
    else:
        from convoy_controller.conformance.board_trial import BoardTrial, try_board
        from convoy_controller.conformance.keys import trial_keys

        root = trial_keys(keys or place.root / "conformance")
        trial = BoardTrial(broker, site, board, root, credentials, rule, address, may_stop, images, wait)
        report = asyncio.run(try_board(trial, tell))
    if as_json:
        print_json(report)
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(ExitCode.FAILED)


def _address(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise typer.BadParameter(f"{text!r} is not of the form HOST:PORT", param_hint="--tap")
    return host, int(port)


def _print(report: Report) -> None:
    from convoy_controller.conformance.verdicts import Outcome

    colours = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.NOT_TRIED: "yellow"}
    for verdict in report.verdicts:
        typer.secho(f"{verdict.rule:>4} {verdict.outcome.value:<9} ", fg=colours[verdict.outcome], nl=False)
        typer.echo(verdict.sentence)
        if verdict.outcome is Outcome.FAILED:
            typer.echo(f"               expected: {verdict.expected}\n               came:     {verdict.came}")
        elif verdict.outcome is Outcome.NOT_TRIED:
            typer.echo(f"               {verdict.why}")
    passed, failed, untried = (report.count(outcome) for outcome in Outcome)
    typer.echo(
        f"{report.role} {report.subject}: {passed} passed, {failed} failed, {untried} not tried, {report.seconds:g} s"
    )

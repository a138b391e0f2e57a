"""`convoy token create | list | revoke` and `convoy audit`: who may use the REST API of a fleet, and who did what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.fleet import fleet_command
from convoy_controller.cli.options import JsonOption
from convoy_controller.cli.printing import ago, print_json, print_table
from convoy_controller.cli.spans import SinceOption, parse_span
from convoy_controller.database.records import TokenRole, utc_now

if TYPE_CHECKING:
    from convoy_controller.api_client.client import FleetClient
    from convoy_controller.database.views import TokenLine

_token = typer.Typer(name="token", no_args_is_help=True, help="Who may use the REST API: tokens and their roles.")
NameArgument = Annotated[str, typer.Argument(help="As `convoy token list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_token)
    app.command()(audit)


@_token.command("create")
@fleet_command
def create(
    fleet: FleetClient,
    name: Annotated[str, typer.Argument(help="Whom the audit names; a name is given once.")],
    role: Annotated[
        TokenRole, typer.Option("--role", help="A viewer looks, an operator runs the fleet, an admin may all.")
    ] = TokenRole.VIEWER,
    days: Annotated[
        float | None, typer.Option("--days", min=0.001, max=36500, help="How long it counts; for good unless given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once. From the first one on nobody uses the API without one, from here neither.

    JSON keys: line (those of `convoy token list`), token. Exit codes: 0 made, 1 the name was given before, 2 no such
    name or role can be, 4 no fleet there, 5 not allowed.
    """
    made = fleet.create_token(name, role.value, None if days is None else utc_now() + timedelta(days=days))
    if as_json:
        print_json(made)
        return
    typer.echo(made.token)
    typer.secho(f"{name} is {role.value}; this is shown once. Send it as `Authorization: Bearer ...`", err=True)


@_token.command("list")
@fleet_command
def list_(fleet: FleetClient, as_json: JsonOption = False) -> None:
    """List every token, those included that count no more; their secrets are not known.

    JSON keys: name, role, created_at, expires_at, last_used_at, revoked_at. Exit codes: 0, 4 no fleet there, 5 not
    allowed.
    """
    lines = fleet.tokens()
    if as_json:
        print_json(lines)
        return
    if not lines:
        typer.echo("no tokens: the API answers this machine only; `convoy token create NAME` makes one")
        return
    now = utc_now()
    print_table(
        ("NAME", "ROLE", "MADE", "LAST USED", "STATE"),
        [
            (line.name, line.role.value, ago(line.created_at, now), ago(line.last_used_at, now), _state(line, now))
            for line in lines
        ],
    )


def _state(line: TokenLine, now: datetime) -> str:
    if line.revoked_at is not None:
        return f"revoked {ago(line.revoked_at, now)}"
    if line.expires_at is None:
        return "counts"
    ended = "expired" if line.expires_at <= now else "counts until"
    return f"{ended} {line.expires_at:%Y-%m-%d %H:%M} UTC"


@_token.command("revoke")
@fleet_command
def revoke(fleet: FleetClient, name: NameArgument, as_json: JsonOption = False) -> None:
    """Let a token count no more, from the next request on.

    JSON keys: those of `convoy token list`. Exit codes: 0 revoked, also before, 2 no such name can be, 3 no such
    token, 4 no fleet there, 5 not allowed.
    """
    line = fleet.revoke_token(name)
    print_json(line) if as_json else typer.echo(f"{name} counts no more")


@fleet_command
def audit(
    fleet: FleetClient,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, the newest.")] = 50,
    actor: Annotated[str | None, typer.Option("--actor", help="A token's name, local or unknown.")] = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who did what over the API, and what was refused, the oldest first.

    JSON keys: id, at, actor, role, peer, operation, subject, before, after, status, code. Exit codes: 0, 2 no such
    name or time can be, 4 no fleet there, 5 not allowed.
    """
    begin = None if since is None else (utc_now() - parse_span(since)).isoformat()
    lines = fleet.audit(limit, actor=actor, since=begin)
    if as_json:
        print_json(lines)
        return
    if not lines:
        typer.echo("nobody has changed anything over the API yet")
        return
    print_table(
        ("AT", "WHO", "ROLE", "FROM", "DID", "TO", "REVISION", "CAME TO"),
        [
            (
                line.at.strftime("%Y-%m-%d %H:%M:%S"),
                line.actor,
                line.role or "-",
                line.peer or "-",
                line.operation,
                line.subject,
                "-" if line.after is None else f"{line.before or 0} to {line.after}",
                "not known" if line.status is None else f"{line.status} {line.code}".strip(),
            )
            for line in lines
        ],
        ["red" if line.status is None or line.status >= 400 else "" for line in lines],
    )

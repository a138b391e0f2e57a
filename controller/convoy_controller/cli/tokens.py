"""`convoy token create | list | revoke`: who may use the REST API of this fleet.

They write to the database itself, since the first token must be made where there is none yet; the audit names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import ago, print_json, print_table

if TYPE_CHECKING:
    from convoy_controller.database.engine import Database
    from convoy_controller.database.views import TokenLine

_token = typer.Typer(name="token", no_args_is_help=True, help="Who may use the REST API: tokens and their roles.")
#: What a role is, as the database calls it.
_ROLES = ("viewer", "operator", "admin")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_token)


@_token.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom the audit names; a name is given once.")],
    role: Annotated[str, typer.Option("--role", help="viewer (looks), operator (runs the fleet) or admin.")] = "viewer",
    days: Annotated[
        float | None, typer.Option("--days", min=0.001, max=36500, help="How long it counts; for good unless given.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make a token and print it, once. From the first one on nobody uses the API without one, from here neither.

    JSON keys: line (those of `convoy token list`), token. Exit codes: 0 made, 1 the name was given before, 2 no such
    name or role can be, 4 no database.
    """
    from datetime import timedelta

    from convoy_controller.database import tokens
    from convoy_controller.database.records import TokenRole, utc_now

    if role not in _ROLES:
        raise typer.BadParameter(f"{role[:40]!r} is not one of {', '.join(_ROLES)}", param_hint="--role")
    now = utc_now()
    with opened(home, database) as fleet:
        until = None if days is None else now + timedelta(days=days)
        made = tokens.create_token(fleet, name, TokenRole(role), now, until)
        _audit(fleet, "create_token", "/tokens", 201)
    if as_json:
        print_json(made)
        return
    typer.echo(made.token)
    typer.secho(f"{name} is {role}; this is shown once. Send it as `Authorization: Bearer ...`", err=True)


@_token.command("list")
def list_(as_json: JsonOption = False, home: HomeOption = None, database: DatabaseOption = None) -> None:
    """List every token, those included that count no more; their secrets are not known.

    JSON keys: name, role, created_at, expires_at, last_used_at, revoked_at. Exit codes: 0, 4 no database.
    """
    from convoy_controller.database import tokens
    from convoy_controller.database.records import utc_now

    with opened(home, database) as fleet:
        lines = tokens.tokens(fleet)
    if as_json:
        print_json(lines)
        return
    if not lines:
        typer.echo("no tokens: the API answers this machine only; `convoy token create NAME` makes one")
        return
    now = utc_now()

    def state(line: TokenLine) -> str:
        if line.revoked_at is not None:
            return f"revoked {ago(line.revoked_at, now)}"
        if line.expires_at is None:
            return "counts"
        ended = "expired" if line.expires_at <= now else "counts until"
        return f"{ended} {line.expires_at:%Y-%m-%d %H:%M} UTC"

    print_table(
        ("NAME", "ROLE", "MADE", "LAST USED", "STATE"),
        [
            (line.name, line.role.value, ago(line.created_at, now), ago(line.last_used_at, now), state(line))
            for line in lines
        ],
    )


@_token.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="As `convoy token list` shows it.")],
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Let a token count no more, from the next request on.

    JSON keys: those of `convoy token list`. Exit codes: 0 revoked, also before, 3 no such token, 4 no database.
    """
    from convoy_controller.database import tokens
    from convoy_controller.database.records import utc_now

    with opened(home, database) as fleet:
        line = tokens.revoke_token(fleet, name, utc_now())
        _audit(fleet, "revoke_token", f"/tokens/{name}", 200)
    print_json(line) if as_json else typer.echo(f"{name} counts no more")


def _audit(fleet: Database, operation: str, subject: str, status: int) -> None:
    """As if it had come over the API."""
    from convoy_controller.database import audit
    from convoy_controller.database.records import utc_now

    audit.record(fleet, utc_now(), audit.Attempt("local", "admin", "", operation, subject), audit.Outcome(status))

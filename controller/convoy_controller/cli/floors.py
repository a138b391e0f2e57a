"""`convoy key floor set | show`: below which serial no bundle runs any more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.signing import Purpose

from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_json, print_table
from convoy_controller.cli.target import home_here
from convoy_controller.errors import FloorTooLowError, InUseError, KeyFileError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convoy_schema.signing import SigningKey
    from convoy_schema.trust import Trust

    from convoy_controller.database.engine import Database
    from convoy_controller.database.views import ModelLine

floor_app = typer.Typer(
    name="floor", no_args_is_help=True, help="Revoke versions: the lowest serial of a model that boards run."
)


@dataclass(frozen=True)
class _Floor:
    """What `--json` prints of a floor; `model` None for every model, `by` the root or a delegation."""

    model: str | None
    lowest: int
    signed_at: int
    by: str
    revokes: tuple[str, ...]


@floor_app.command("set")
def set_one(
    model: Annotated[str | None, typer.Argument(help="Name of a model; every model with --every-model.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="The oldest version that may still run.")] = None,
    serial: Annotated[
        int | None, typer.Option("--serial", min=1, help="Or the lowest serial, as `convoy models` lists them.")
    ] = None,
    every_model: Annotated[bool, typer.Option("--every-model", help="One floor for all models.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where a deployment wants what it revokes, or nothing would be left.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="FOLDER", show_default="HOME/keys", help="Folder with the root key."),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Revoke what is older: boards stop it at once and never run it again, whatever any controller says.

    A floor is only ever raised. The root signs it, or the signing key where it was delegated for floors. JSON keys:
    model, lowest, signed_at, by, revokes (versions, as NAME VERSION). Exit codes: 0, 1 refused, 2 wrong usage, 3 no
    such model or version or no root, 4 no database.
    """
    from convoy_schema.signing import Floor, Statements, set_floor

    from convoy_controller.keys import load_trust, remember, signing_time

    if (model is None) != every_model:
        raise typer.BadParameter("give either a model or --every-model", param_hint="MODEL")
    if (version is None) == (serial is None) or (every_model and serial is None):
        raise typer.BadParameter(
            "say what may still run: --version, or --serial (with --every-model the latter)", param_hint="--serial"
        )
    folder = home_here(home).keys
    with opened(home, database) as fleet:
        lowest, below = revoked(fleet, model, version, serial, force)
    trust = known(folder)
    key = _signer(folder, root, trust)
    present = trust.lowest(model or "")
    if lowest < present:
        raise FloorTooLowError(
            f"the floor of {model or 'every model'} is {present} already, and never falls to {lowest}: publish what "
            "should run as a new version (`convoy model import`)",
            present=present,
        )
    signed = set_floor(Floor(model, lowest, signing_time(trust)), key)
    trust.with_floor(signed)  # whatever boards would not believe is not kept either
    remember(folder, Statements((), (signed,)))
    after = load_trust(folder)
    found = facts(after, model or "", below)
    if as_json:
        print_json(found)
        return
    typer.echo(f"the lowest serial of {model or 'every model'} is {found.lowest}, signed by {found.by}")
    typer.echo(f"revoked: {', '.join(below) or 'nothing that is in the catalogue'}")


@floor_app.command("show")
def show(as_json: JsonOption = False, home: HomeOption = None, database: DatabaseOption = None) -> None:
    """List the floors, and which versions in the catalogue they revoke.

    JSON: a list of objects with the keys of `convoy key floor set`. Exit codes: 0, 1 a file cannot be read, 3 there are
    no keys, 4 no database.
    """
    from convoy_controller.database import queries

    trust = known(home_here(home).keys)
    with opened(home, database) as fleet:
        models = queries.models(fleet)
    floors = []
    for name in sorted(trust.floors):
        found = facts(trust, name, ())
        below = _below([line for line in models if name in ("", line.model)], found.lowest)
        floors.append(facts(trust, name, below))
    if as_json:
        print_json(floors)
    elif floors:
        print_table(
            ("MODEL", "LOWEST SERIAL", "SIGNED BY", "REVOKES"),
            [
                (each.model or "every model", str(each.lowest), each.by, ", ".join(each.revokes) or "-")
                for each in floors
            ],
        )
    else:
        typer.echo("no floors: every version may run (`convoy key floor set MODEL --version V` revokes what is older)")


def revoked(
    fleet: Database, model: str | None, version: str | None, serial: int | None, force: bool
) -> tuple[int, tuple[str, ...]]:
    """The lowest serial that may run, and what lies below; refuses to take away what is wanted unless by `force`."""
    from convoy_controller.database import publications, queries

    if version is not None and model is not None:
        serial = publications.find_model(fleet, model, version).serial
    lowest = serial or 0
    models = sorted(
        (line for line in queries.models(fleet) if model in (None, line.model)),
        key=lambda line: (line.model, line.serial),
    )
    if not models and not force:
        raise NotFoundError(f"there is no model {model!r}: see `convoy models`; --force sets its floor all the same")
    below = _below(models, lowest)
    wanted = {(line.model, line.version): line.deployment for line in queries.deployments(fleet) if line.wanted}
    users = [f"{wanted[line.model, line.version]} ({line.model} {line.version})" for line in models
             if line.serial < lowest and (line.model, line.version) in wanted]  # fmt: skip
    if users and not force:
        raise InUseError(
            f"floor {lowest} would stop deployment {', '.join(users)}: deploy a newer version first, or --force"
        )
    if models and len(below) == len(models) and not force:
        raise InUseError(f"floor {lowest} would revoke every version there is, {', '.join(below)}: --force does it")
    return lowest, below


def _below(models: Sequence[ModelLine], lowest: int) -> tuple[str, ...]:
    return tuple(f"{line.model} {line.version}" for line in models if line.serial < lowest)


def known(folder: Path) -> Trust:
    """What is believed in this folder of keys; raises `NotFoundError` where there are none."""
    from convoy_controller.keys import KeyFolder, load_trust

    if not KeyFolder(folder).trusted.exists():
        raise NotFoundError(f"there are no keys in {folder}: `convoy key init` makes them, or `convoy up`")
    return load_trust(folder)


def _signer(folder: Path, root: Path | None, trust: Trust) -> SigningKey:
    """The root where it is at hand, else the signing key where it may set floors."""
    from convoy_schema.errors import DelegationError
    from convoy_schema.signing import SigningKey

    from convoy_controller.cli.keys import ask_passphrase
    from convoy_controller.keys import signing_key
    from convoy_controller.root_key import check_root, has_root, open_root

    place = root or folder
    if root is not None or has_root(folder):
        private = open_root(place, ask_passphrase)
        check_root(private, trust, place)
        return SigningKey(private)
    key = signing_key(folder)
    try:
        trust.key_of(key.delegation, Purpose.FLOOR)
    except DelegationError as error:
        raise KeyFileError(
            f"no key at hand may set a floor ({error}): say with --root where the root is kept, or take up a key made "
            "with `convoy key delegate --purpose floor`"
        ) from error
    return key


def facts(trust: Trust, name: str, revokes: tuple[str, ...]) -> _Floor:
    """A floor as it stands, for people and programs."""
    from convoy_schema.signing import read_delegation, read_floor

    signed = trust.floors[name]
    floor = read_floor(signed)
    by = "the root" if signed.delegation is None else f"delegation {read_delegation(signed.delegation).serial}"
    return _Floor(floor.model, floor.lowest, floor.signed_at, by, revokes)

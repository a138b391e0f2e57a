"""`convoy key floor sign | take`: a floor signed where the root is, and carried as a file to the controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.floors import facts, known, revoked
from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_json
from convoy_controller.errors import FloorTooLowError, KeyFileError
from convoy_controller.home import Home

if TYPE_CHECKING:
    from convoy_schema.signing import SignedFloor

#: Bytes of a file with one floor; with a delegation it has 300.
MOST_BYTES = 4096


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(sign)
    app.command()(take)


def sign(
    root: Annotated[Path, typer.Option("--root", metavar="FOLDER", help="Folder with the root key.")],
    serial: Annotated[int, typer.Option("--serial", min=1, help="The lowest serial that may still run.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the signed floor goes.")],
    model: Annotated[str | None, typer.Argument(help="Name of a model; every model with --every-model.")] = None,
    every_model: Annotated[bool, typer.Option("--every-model", help="One floor for all models.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign a floor on a machine that has the root and nothing else; `convoy key floor take FILE` puts it in force.

    JSON keys: model, lowest, signed_at, file. Exit codes: 0, 1 a file cannot be read or written, 2 wrong usage, 3 the
    root is not there.
    """
    from convoy_schema import codec
    from convoy_schema.names import check_name
    from convoy_schema.signing import Floor, SigningKey, Statements, set_floor

    from convoy_controller.cli.keys import ask_passphrase
    from convoy_controller.keys import signing_time, write_private
    from convoy_controller.root_key import open_root

    if (model is None) != every_model:
        raise typer.BadParameter("give either a model or --every-model", param_hint="MODEL")
    if model is not None:
        check_name(model, "model")
    floor = Floor(model, serial, signing_time())
    signed = set_floor(floor, SigningKey(open_root(root, ask_passphrase)))
    write_private(out, codec.encode(Statements((), (signed,))))
    if as_json:
        print_json({"model": model, "lowest": serial, "signed_at": floor.signed_at, "file": str(out)})
    else:
        typer.echo(f"the lowest serial of {model or 'every model'} is {serial} once the controller has it:")
        typer.echo(f"    convoy key floor take {out}")


def take(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `convoy key floor sign` wrote it.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also where a deployment wants what it revokes, or nothing would be left.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Put a floor in force that was signed elsewhere; boards stop what is older at once.

    JSON keys: those of `convoy key floor set`. Exit codes: 0, 1 refused or not believed, 3 there are no keys, 4 no
    database.
    """
    from convoy_schema.signing import Statements, read_floor

    from convoy_controller.keys import load_trust, remember

    folder = Home.locate(home).keys
    trust, signed = known(folder), _read(file)
    floor = read_floor(signed)
    present = trust.lowest(floor.model or "")
    if floor.lowest < present:
        raise FloorTooLowError(
            f"the floor of {floor.model or 'every model'} is {present} already, and {file} says {floor.lowest}: "
            "sign a higher one, or leave it",
            present=present,
        )
    trust.with_floor(signed)  # not signed by our root: that is said before anything else is
    with opened(home, database) as fleet:
        _, below = revoked(fleet, floor.model, None, floor.lowest, force)
    remember(folder, Statements((), (signed,)))
    found = facts(load_trust(folder), floor.model or "", below)
    if as_json:
        print_json(found)
        return
    typer.echo(f"the lowest serial of {floor.model or 'every model'} is {found.lowest}, signed by {found.by}")
    typer.echo(f"revoked: {', '.join(below) or 'nothing that is in the catalogue'}")


def _read(file: Path) -> SignedFloor:
    from convoy_schema import codec
    from convoy_schema.errors import ConvoyError
    from convoy_schema.signing import Statements

    try:
        if file.stat().st_size > MOST_BYTES:
            raise KeyFileError(f"{file} is too large to be a floor", path=str(file))
        (signed,) = codec.decode(Statements, file.read_bytes()).floors
    except (OSError, ConvoyError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise KeyFileError(
            f"{file} is no floor as `convoy key floor sign` writes it: {said}", path=str(file)
        ) from error
    return signed

"""`convoy key`: the root and the keys it delegates, exchanging them, and what is revoked.

Everything is written into the key folder; a running controller sees it within a second and tells the fleet.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from convoy_schema.signing import Purpose

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import DatabaseOption, HomeOption, JsonOption, opened
from convoy_controller.cli.printing import print_facts, print_json
from convoy_controller.cli.target import home_here
from convoy_controller.errors import KeyFileError

if TYPE_CHECKING:
    from convoy_schema.signing import Delegation, SigningKey, Statements
    from convoy_schema.trust import Trust
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_key = typer.Typer(name="key", no_args_is_help=True, help="The keys that sign bundles, and what is revoked.")

#: Stands for the prompt where nobody is there to be asked.
PASSPHRASE_VARIABLE = "CONVOY_ROOT_PASSPHRASE"
RootOption = Annotated[
    Path | None,
    typer.Option("--root", metavar="FOLDER", show_default="HOME/keys", help="Folder in which the root key is kept."),
]
PassphraseOption = Annotated[
    bool,
    typer.Option(
        "--passphrase", help=f"Lock the root with a passphrase, asked for or taken from {PASSPHRASE_VARIABLE}."
    ),
]
DaysOption = Annotated[
    int, typer.Option("--days", min=0, max=36500, help="How long the key may sign, by signed times; 0: without end.")
]
SiteOption = Annotated[str | None, typer.Option("--site", help="The one site that believes the key; any unless given.")]
PurposeOption = Annotated[
    list[Purpose], typer.Option("--purpose", help="What the key may sign, beside bundles: floor. Repeatable.")
]


@dataclass(frozen=True)
class KeyFacts:
    """What `--json` prints of a delegated key; times in seconds since 1970, `not_after` 0 for never."""

    fingerprint: str
    serial: int
    purposes: tuple[str, ...]
    site: str | None
    signed_at: int
    not_after: int
    state: str


@dataclass(frozen=True)
class _Shown:
    """What `convoy key show --json` prints."""

    root: str
    root_is_here: bool
    signing: KeyFacts | None
    waiting: KeyFacts | None
    signed_time: int
    floors: dict[str, int]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    from convoy_controller.cli import floor_files
    from convoy_controller.cli.floors import floor_app

    floor_files.register(floor_app)
    _key.add_typer(floor_app)
    app.add_typer(_key)


# Commands ------------------------------------------------------------------------------------------------------------


@_key.command()
def init(
    root: RootOption = None,
    passphrase: PassphraseOption = False,
    days: DaysOption = 0,
    site: SiteOption = None,
    purpose: PurposeOption = [],  # noqa: B006 (typer reads it, nobody changes it)
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Make a root key, in a folder of your choice, and a first signing key that it delegates.

    Without this `convoy up` makes both in HOME/keys. Boards are given `trusted.pem`. JSON keys: fingerprint, serial,
    purposes, site, signed_at, not_after, state. Exit codes: 0, 1 there are keys already, or a folder cannot be written.
    """
    from convoy_schema.bundle import public_pem

    from convoy_controller.keys import KeyFolder, remember, signing_file, write_private, write_public
    from convoy_controller.root_key import create_root, take_serial

    keys = KeyFolder(home_here(home).keys)
    place = root or keys.path
    if place != keys.path and (keys.signing.exists() or keys.trusted.exists()):
        raise KeyFileError(f"{keys.path} has keys already: `convoy key rotate` exchanges them", path=str(keys.path))
    private = create_root(place, _new_passphrase() if passphrase else None)
    made = _delegated(private, take_serial(place), (Purpose.BUNDLE, *purpose), site, days)
    with keys.locked():
        write_public(keys.trusted, public_pem(private))
        write_private(keys.signing, signing_file(made))
    trust = remember(keys.path, _statements(made))
    _tell(trust, made, as_json, f"root key   {place / 'root.pem'}\nboards get {keys.trusted}")


@_key.command()
def show(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Say which keys there are, what they may do, and until when.

    JSON keys: root (fingerprint), root_is_here, signing and waiting (fingerprint, serial, purposes, site, signed_at,
    not_after, state; null where there is none or the root itself signs), signed_time, floors (lowest serial by model,
    '' for every model). Exit codes: 0, 1 a key cannot be read, 3 there are none.
    """
    from convoy_schema.signing import fingerprint

    from convoy_controller.keys import KeyFolder, read_signing
    from convoy_controller.root_key import has_root

    keys = KeyFolder(home_here(home).keys)
    trust = _trust(keys.path)
    made = [read_signing(path) if path.exists() else None for path in (keys.signing, keys.next)]
    signing, waiting = (None if each is None else _facts(trust, each) for each in made)
    floors = {name: trust.lowest(name) for name in trust.floors}
    shown = _Shown(fingerprint(trust.root), has_root(keys.path), signing, waiting, trust.signed_time, floors)
    if as_json:
        print_json(shown)
        return
    print_facts(
        (
            ("root", f"{shown.root} ({'in ' + str(keys.path) if shown.root_is_here else 'kept elsewhere'})"),
            ("signs", "nothing yet" if made[0] is None else _line(signing) if signing else "the root itself"),
            ("waiting", f"{_line(waiting)}; `convoy key rotate` takes it up" if waiting else ""),
            ("newest signed time", _date(shown.signed_time)),
            ("floors", ", ".join(f"{name or 'every model'} {lowest}" for name, lowest in sorted(floors.items()))),
        )
    )


@_key.command("delegate")
def delegate_key(
    root: RootOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default="HOME/keys/next.pem", help="Where the key goes."),
    ] = None,
    days: DaysOption = 0,
    site: SiteOption = None,
    purpose: PurposeOption = [],  # noqa: B006 (as above)
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Make a new signing key with the root's word for it; `convoy key rotate` takes it up, and needs the root no more.

    With --out it can be made on a machine that has the root and nothing else. JSON keys: as `convoy key init`. Exit
    codes: 0, 1 a key cannot be read or written, 3 the root is not there.
    """
    from convoy_controller.keys import KeyFolder, signing_file, write_private

    keys = KeyFolder(home_here(home).keys)
    trust, made = _new_key(keys.path, root, (Purpose.BUNDLE, *purpose), site, days)
    target = out or keys.next
    with KeyFolder(target.parent).locked():
        write_private(target, signing_file(made))
    source = f" --from {target}" if out else ""
    _tell(trust, made, as_json, f"kept in {target}: `convoy key rotate{source}` takes it up")


@_key.command()
def rotate(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", show_default="HOME/keys/next.pem", help="A key that was delegated."),
    ] = None,
    root: RootOption = None,
    days: DaysOption = 0,
    as_json: JsonOption = False,
    home: HomeOption = None,
    database: DatabaseOption = None,
) -> None:
    """Sign every model anew with another key, and revoke the one before; what runs goes on running.

    The key is the one that waits from `convoy key delegate`; where none does and the root is at hand, a new one for the
    same purposes and site. JSON keys: serial, models, left_out (not signed, because they do not verify), floors. Exit
    codes: 0, 1 refused or some model was left out, 3 neither a key nor the root, 4 no database.
    """
    from convoy_controller.errors import NotFoundError
    from convoy_controller.keys import KeyFolder, read_signing
    from convoy_controller.rotation import rotate as exchange

    keys = KeyFolder(home_here(home).keys)
    if source is not None and not source.is_file():
        raise NotFoundError(f"there is no key in {source}: make one with `convoy key delegate --out FILE`")
    with opened(home, database) as fleet:
        if source is not None or (keys.next.exists() and root is None):
            new = read_signing(source or keys.next)
        else:
            _, new = _new_key(keys.path, root, *_present(keys.signing), days)
        done = exchange(fleet, keys.path, new)
    if as_json:
        print_json(done)
    else:
        typer.echo(f"delegation {done.serial} signs from now on; the one before is revoked")
        typer.echo(f"signed anew: {', '.join(done.models) or 'no models, there are none'}")
        if done.floors:
            typer.echo(f"floors set anew: {', '.join(done.floors)}")
    if done.left_out:
        typer.echo(f"not signed, since they do not verify: {', '.join(done.left_out)}; import them again", err=True)
        raise typer.Exit(ExitCode.FAILED)


@_key.command("export-root")
def export_root(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write there what boards trust, in place of stdout.")
    ] = None,
    move: Annotated[
        Path | None,
        typer.Option("--move", metavar="FOLDER", help="Take the root key itself away, into that folder."),
    ] = None,
    passphrase: PassphraseOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Print the root's public half, which boards are given; with --move take the root key off this machine.

    JSON keys: public (PEM), file (with --out), moved_to (with --move). Exit codes: 0, 1 a file cannot be read or
    written, 3 there are no keys, or with --move the root is not here.
    """
    from convoy_schema.bundle import public_pem_of

    from convoy_controller.keys import KeyFolder, write_public
    from convoy_controller.root_key import move_root

    folder = home_here(home).keys
    content = public_pem_of(_trust(folder).root)
    if out is not None:
        with KeyFolder(out.absolute().parent).locked():
            write_public(out.absolute(), content)
    if move is not None:
        move_root(folder, move, ask_passphrase, _new_passphrase() if passphrase else None)
        typer.echo(f"the root key is in {move} and no longer in {folder}: keep a second copy of it", err=True)
    if as_json:
        places = {"file": None if out is None else str(out), "moved_to": None if move is None else str(move)}
        print_json({"public": content.decode("ascii")} | places)
    elif out is None:
        typer.echo(content.decode("ascii"), nl=False)


# What they share -----------------------------------------------------------------------------------------------------


def _new_key(
    folder: Path, root: Path | None, purposes: tuple[Purpose, ...], site: str | None, days: int
) -> tuple[Trust, SigningKey]:
    """A key delegated by the root in `root` or `folder`, and what is believed where it is to be used."""
    from convoy_schema.trust import Trust

    from convoy_controller.keys import KeyFolder, load_trust
    from convoy_controller.root_key import check_root, open_root, take_serial

    place = root or folder
    private = open_root(place, ask_passphrase)
    trust = load_trust(folder) if KeyFolder(folder).trusted.exists() else Trust(private.public_key())
    check_root(private, trust, place)
    return trust, _delegated(private, take_serial(place, trust), purposes, site, days, trust)


def _present(path: Path) -> tuple[tuple[Purpose, ...], str | None]:
    """Purposes and site of the key in `path`, if there is one that was delegated."""
    from convoy_schema.signing import read_delegation

    from convoy_controller.keys import read_signing

    signed = read_signing(path).delegation if path.exists() else None
    if signed is None:
        return (Purpose.BUNDLE,), None
    found = read_delegation(signed)
    return found.purposes, found.site


def _delegated(
    root: Ed25519PrivateKey,
    serial: int,
    purposes: tuple[Purpose, ...],
    site: str | None,
    days: int,
    *known: Trust,
) -> SigningKey:
    from convoy_schema.names import check_name

    from convoy_controller.keys import new_signing_key, signing_time

    unique = tuple(dict.fromkeys(purposes))
    where = check_name(site, "site") if site is not None else None
    return new_signing_key(root, serial, purposes=unique, site=where, days=days, now=signing_time(*known))


def _statements(made: SigningKey) -> Statements:
    from convoy_schema.signing import Statements

    return Statements((made.delegation,) if made.delegation is not None else ())


def _trust(folder: Path) -> Trust:
    from convoy_controller.errors import NotFoundError
    from convoy_controller.keys import KeyFolder, load_trust, signing_key

    keys = KeyFolder(folder)
    if keys.signing.exists() and not keys.trusted.exists():
        signing_key(folder)  # makes it again
    if not keys.trusted.exists():
        raise NotFoundError(f"there are no keys in {folder}: `convoy key init` makes them, or `convoy up`")
    return load_trust(folder)


def ask_passphrase() -> bytes:
    """Of a root that is there."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given.encode()
    if not sys.stdin.isatty():
        raise KeyFileError(
            f"the root key asks for its passphrase: set {PASSPHRASE_VARIABLE}, or run this in a terminal"
        )
    return str(typer.prompt("passphrase of the root key", hide_input=True, err=True)).encode()


def _new_passphrase() -> bytes:
    """Of a root that is to be written."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None and not sys.stdin.isatty():
        raise KeyFileError(f"there is nobody to ask for a passphrase: set {PASSPHRASE_VARIABLE}")
    if given is None:
        given = str(typer.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True))
    if not given:
        raise KeyFileError("an empty passphrase locks nothing: give another, or leave --passphrase away")
    return given.encode()


def _facts(trust: Trust, made: SigningKey) -> KeyFacts | None:
    """None for a key without a delegation."""
    from convoy_schema.errors import DelegationError, DelegationExpiredError, DelegationSupersededError
    from convoy_schema.signing import fingerprint, read_delegation

    if made.delegation is None:
        return None
    found: Delegation = read_delegation(made.delegation)
    try:
        trust.key_of(made.delegation, Purpose.BUNDLE)
        state = "good"
    except DelegationSupersededError:
        state = "replaced"
    except DelegationExpiredError:
        state = "ended"
    except DelegationError as error:
        state = str(error)
    purposes = tuple(purpose.value for purpose in found.purposes)
    name = fingerprint(made.private.public_key())
    return KeyFacts(name, found.serial, purposes, found.site, found.signed_at, found.not_after, state)


def _line(facts: KeyFacts) -> str:
    until = f"until {_date(facts.not_after)}" if facts.not_after else "without end"
    where = f" at site {facts.site}" if facts.site else ""
    return (
        f"{facts.fingerprint}, delegation {facts.serial} for {', '.join(facts.purposes)}{where}, {until}: {facts.state}"
    )


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds else "none"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"


def _tell(trust: Trust, made: SigningKey, as_json: bool, more: str) -> None:
    facts = _facts(trust, made)
    if as_json:
        print_json(facts)
    elif facts is not None:
        typer.echo(f"signing key {_line(facts)}\n{more}")

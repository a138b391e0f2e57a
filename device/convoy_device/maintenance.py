"""The commands that change the machine: `convoy-device install | uninstall | upgrade`. Used by `cli` alone."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from convoy_schema.claims import Claim, parse_claim
from convoy_schema.credentials import TimeFloor

from convoy_device.environment import DISTRIBUTION
from convoy_device.errors import InstallError
from convoy_device.fabric.opening import FABRICS
from convoy_device.installation import CONFIG, SERVICE, STATE, Installation, require_root
from convoy_device.upgrade import WINDOW_S, Upgrade

#: The exit code of an upgrade that was taken back.
EXIT_FELL_BACK = 4
_WHEEL = re.compile(r"convoy_fleet-([^-]+)-.*\.whl")


def add_commands(commands: Any) -> None:
    """Add them to the parser's subcommands."""
    install = _command(commands, "install", "run this board's daemon as a service of the machine, from boot on")
    install.add_argument("--from", dest="wheels", type=Path, metavar="DIR", help="a wheelhouse; without it pip's index")
    install.add_argument("--name", help="the board's name, if not the machine's; for a configuration not yet there")
    install.add_argument("--site", help="likewise the site")
    install.add_argument("--broker", metavar="URL", help="likewise the broker")
    install.add_argument("--fabric", choices=FABRICS, help="likewise the fabric")
    install.add_argument("--trusted-key", type=Path, metavar="PEM", help="public key to trust, copied to /etc/convoy")
    install.add_argument(
        "--claim", help="enrol this board by a claim, as `convoy board invite` printed it; - reads it from stdin"
    )
    install.add_argument("--no-start", action="store_true", help="leave starting it to the next boot")
    install.add_argument("--units-only", action="store_true", help=argparse.SUPPRESS)
    uninstall = _command(commands, "uninstall", "stop the service and remove it; state and configuration stay")
    uninstall.add_argument("--purge", action="store_true", help="remove state and configuration as well")
    upgrade = _command(
        commands, "upgrade", "change to another version, and back by itself if it is not healthy in time"
    )
    upgrade.add_argument(
        "version", nargs="?", metavar="WHEEL|VERSION", help="a wheel's file, or the number of a version"
    )
    upgrade.add_argument("--from", dest="wheels", type=Path, metavar="DIR", help="a wheelhouse; without it pip's index")
    upgrade.add_argument("--window", type=float, default=WINDOW_S, metavar="SECONDS", help="time to become healthy")
    upgrade.add_argument("--judge", action="store_true", help=argparse.SUPPRESS)


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="root of an image, in place of /")
    return command


def run(options: argparse.Namespace) -> int:
    """Carry one of them out; the exit code. Raises `InstallError`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    require_root(["convoy-device", options.command], os.geteuid())
    if not options.root.is_dir():
        raise InstallError(f"--root must be a folder that is there, {options.root} is not")
    installation = Installation(options.root.resolve())
    try:
        if options.command == "install":
            return _install(installation, options)
        if options.command == "uninstall":
            installation.remove(purge=options.purge)
            return 0
        return _upgrade(Upgrade(installation), options)
    except OSError as error:
        raise InstallError(f"{options.command}: {error}") from error


def _install(installation: Installation, options: argparse.Namespace) -> int:
    if options.units_only:
        if installation.write_units():
            installation.enable()
        return 0
    claim = _claim(installation, options)
    environments = installation.environments
    wheels = _wheelhouse(options.wheels)
    version = environments.named("current") or _own_version()
    environments.make(version, wheels)
    if not environments.named("current"):
        environments.point("previous", version)
        environments.point("current", version)
    asked = {key: getattr(options, key) for key in ("name", "site", "broker", "fabric")}
    settings = {key: value for key, value in asked.items() if value is not None}
    if claim is not None:
        settings.update(_enrolled(installation, claim))
    for path in installation.write_config(settings, options.trusted_key):
        print(f"written: {path}")
    has_changed = installation.write_units()
    installation.enable()
    complaint = installation.complaint()
    if complaint:
        print(f"installed, and not started: {complaint}; then: systemctl start {SERVICE}")
    elif installation.is_live and not options.no_start:
        is_active = installation.system("systemctl", "is-active", SERVICE, check=False).strip() == "active"
        if has_changed or not is_active:
            installation.start()
        print(f"installed: version {version}, started; systemctl status {SERVICE} says how it is")
    else:
        print(f"installed: version {version}, enabled; /{CONFIG} is what it obeys")
    return 0


def _claim(installation: Installation, options: argparse.Namespace) -> Claim | None:
    """The claim that was given, seen to fit what is there before it is used up."""
    if options.claim is None:
        return None
    claim = parse_claim(sys.stdin.readline() if options.claim == "-" else options.claim)
    if options.name not in (None, claim.name):
        raise InstallError(f"the claim is for board {claim.name}, --name says {options.name}")
    installation.check_enrollable(claim.name)
    return claim


def _enrolled(installation: Installation, claim: Claim) -> dict[str, str]:
    """Use it, with the files in the state, where the daemon may renew them; what the configuration says then."""
    from convoy_device.enrolling import enroll_into, settings

    folder = installation.root / STATE
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    enrolled = enroll_into(folder, claim, TimeFloor(folder / "time-floor"))
    print(f"board {claim.name} is enrolled with site {enrolled.site}")
    return settings(claim.name, enrolled, Path("/") / STATE)


def _upgrade(upgrade: Upgrade, options: argparse.Namespace) -> int:
    if options.judge:
        upgrade.judge()
        return 0
    if not options.version:
        raise InstallError("upgrade wants a wheel's file or the number of a version")
    if options.root != Path("/"):
        raise InstallError("an upgrade is judged by how it runs, so --root must be /; install into the image instead")
    file = Path(options.version)
    named = _WHEEL.fullmatch(file.name)
    wheels = _wheelhouse(options.wheels or (file.parent if named else None))
    if named and not file.exists():
        raise InstallError(f"{file} is not there")
    if named and wheels is not None and not (wheels / file.name).exists():
        raise InstallError(f"{file.name} is not in {wheels}: copy it there, beside what it needs")
    outcome = upgrade.begin(named[1] if named else options.version, wheels, options.window)
    if outcome.is_taken:
        print(f"version {outcome.version} serves: {outcome.reason}")
        return 0
    print(f"version {outcome.version} serves again, {outcome.after} did not stay: {outcome.reason}")
    return EXIT_FELL_BACK


def _wheelhouse(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise InstallError(f"--from must be a folder of wheels, {folder} is none: make wheelhouse makes one")
    return folder.resolve()


def _own_version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise InstallError(f"{DISTRIBUTION} is not installed here, so that its version is not known") from error

"""Convoy as a service of a machine: units, drop-ins, the user, a first configuration; put there, and taken away again.

Every step may be repeated: what is right already stays, a configuration that is there is never touched. Environments
are `environment`'s, changing from one version to another is `upgrade`'s.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from convoy_device import config as configs
from convoy_device.config import Config
from convoy_device.environment import Environments
from convoy_device.errors import ConfigError, InstallError

log = logging.getLogger(__name__)

SERVICE = "convoy-device.service"
JUDGE = "convoy-device-upgrade.service"
CONFIG = Path("etc/convoy/board.toml")
TRUSTED = Path("etc/convoy/trusted.pem")
USER = "convoy"
_UNITS = Path("etc/systemd/system")
_DROP_INS = _UNITS / f"{SERVICE}.d"
_SYSUSERS = Path("etc/sysusers.d/convoy.conf")
_COMMAND = Path("usr/local/bin/convoy-device")
STATE = Path("var/lib/convoy")
#: The first systemd that lengthens waits between restarts.
_BACKOFF_SINCE = 254
_HEAD = "# This board's configuration. Can it be used? convoy-device check --config /etc/convoy/board.toml\n"


class Installation:
    """What belongs to the service below `root`; with another root than '/' nothing is started or stopped."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.environments = Environments(root)

    @property
    def is_live(self) -> bool:
        """Whether it is this running system's."""
        return self.root == Path("/")

    # Putting there ---------------------------------------------------------------------------------------------------

    def write_config(self, settings: Mapping[str, str], trusted: Path | None) -> list[str]:
        """A first configuration, and a copy of the trusted key; what is there stays. Returns what was written."""
        written = []
        folder = self.root / CONFIG.parent
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o750)
        if not (self.root / CONFIG).exists():
            values = {
                "name": _host_name(),
                "site": "local",
                "broker": "mqtt://127.0.0.1:1883",
                "state_dir": f"/{STATE}",
                "trusted_key": f"/{TRUSTED}",
                "fabric": "pynq" if self.environments.is_pynq else "emulated",
                **settings,
            }
            # JSON's strings are TOML's.
            lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
            _write(self.root / CONFIG, "".join([_HEAD, *lines]), 0o640)
            written.append(f"/{CONFIG}")
        if trusted is not None and not (self.root / TRUSTED).exists():
            _write(self.root / TRUSTED, trusted.read_text(encoding="utf-8"), 0o644)
            written.append(f"/{TRUSTED}")
        return written

    def check_enrollable(self, name: str) -> None:
        """Raise `ConfigError` if the configuration that is there would not use what a claim of `name` gets."""
        if not (self.root / CONFIG).exists():
            return
        config, expected = self.config(), Path(f"/{STATE}/{name}.pem")
        if (config.name, config.certificate) != (name, expected):
            raise ConfigError(
                f"/{CONFIG} is there, of board {config.name} with certificate {config.certificate or 'none'}; a claim "
                f"of {name} makes {expected}: set it there, or move the file away and it is written anew",
                file=f"/{CONFIG}",
            )

    def write_units(self) -> bool:
        """Units, drop-ins, the user and the command; whether anything changed."""
        fabric = "board.conf" if self.fabric() == "pynq" else "emulated.conf"
        wanted = {
            _UNITS / SERVICE: _unit(SERVICE),
            _UNITS / JUDGE: _unit(JUDGE),
            _DROP_INS / "10-fabric.conf": _unit(fabric),
            _SYSUSERS: _unit("convoy-sysusers.conf"),
        }
        if self.systemd_version() >= _BACKOFF_SINCE:
            wanted[_DROP_INS / "20-backoff.conf"] = _unit("backoff.conf")
        changed = [path for path, text in wanted.items() if _write(self.root / path, text, 0o644)]
        command = self.root / _COMMAND
        if not command.is_symlink():
            command.parent.mkdir(parents=True, exist_ok=True)
            command.symlink_to("/opt/convoy/current/bin/convoy-device")
            changed.append(_COMMAND)
        return bool(changed)

    def enable(self) -> None:
        """Make the user, hand the configuration to it, and have the units started at boot."""
        where = [] if self.is_live else [f"--root={self.root}"]
        self.system("systemd-sysusers", *where, "/etc/sysusers.d/convoy.conf" if self.is_live else "convoy.conf")
        self.environments.run(["chown", "-R", f"root:{USER}", "/etc/convoy"], "the configuration's owner")
        if self.fabric() != "pynq" and (self.root / STATE).exists():
            self.environments.run(["chown", "-R", f"{USER}:{USER}", f"/{STATE}"], "the state's owner")
        if self.is_live:
            self.system("systemctl", "daemon-reload")
        self.system("systemctl", *where, "--quiet", "enable", SERVICE, JUDGE)

    def fabric(self) -> str:
        """What the configuration that is there says; raises `ConfigError`."""
        return self.config().fabric

    def config(self) -> Config:
        """The configuration that is there, its paths as they are inside the root; raises `ConfigError`."""
        return configs.load(self.root / CONFIG)

    def complaint(self) -> str:
        """Why the service cannot start yet, and what to do; '' if it can."""
        try:
            config = self.config()
            key = self.root / str(config.trusted_key).lstrip("/")
            if not key.exists():
                return f"{config.trusted_key} is missing: copy the controller's keys/trusted.pem there"
        except ConfigError as error:
            return str(error)
        return ""

    def start(self) -> None:
        """Start, or start anew, without waiting until it is ready."""
        self.system("systemctl", "reset-failed", SERVICE, check=False)
        self.system("systemctl", "restart", "--no-block", SERVICE)

    # Taking away -----------------------------------------------------------------------------------------------------

    def remove(self, *, purge: bool) -> None:
        """Stop it and remove it; `purge` removes state and configuration as well."""
        units = [SERVICE, JUDGE]
        where = [] if self.is_live else [f"--root={self.root}"]
        if self.is_live:
            self.system("systemctl", "stop", *units, check=False)
        self.system("systemctl", *where, "--quiet", "disable", *units, check=False)
        for path in (_UNITS / SERVICE, _UNITS / JUDGE, _SYSUSERS, _COMMAND):
            (self.root / path).unlink(missing_ok=True)
        shutil.rmtree(self.root / _DROP_INS, ignore_errors=True)
        if self.is_live:
            self.system("systemctl", "daemon-reload", check=False)
            self.system("systemctl", "reset-failed", *units, check=False)
        shutil.rmtree(self.environments.home, ignore_errors=True)
        if purge:
            for path in (STATE, CONFIG.parent):
                shutil.rmtree(self.root / path, ignore_errors=True)

    # The system ------------------------------------------------------------------------------------------------------

    def systemd_version(self) -> int:
        """Major version of the root's systemd; 0 where it does not say."""
        try:
            said = self.environments.run(["systemctl", "--version"], "systemd's version")
        except InstallError:
            return 0
        found = re.match(r"systemd (\d+)", said)
        return int(found[1]) if found else 0

    def system(self, *command: str, check: bool = True, timeout_s: float = 120.0) -> str:
        """What a command of systemd's prints; raises `InstallError` if it fails and `check`, or takes too long."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallError(f"{' '.join(command)}: {error}") from error
        if done.returncode and check:
            raise InstallError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
        return done.stdout


def _unit(name: str) -> str:
    return (resources.files("convoy_device") / "units" / name).read_text(encoding="utf-8")


def _write(path: Path, text: str, mode: int) -> bool:
    """Replace a file unless it says that already; whether it had to be."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(path)
    return True


def _host_name() -> str:
    """The machine's name in the letters that a board's may have."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")
    return name[:63] or "board"


def require_root(names: Sequence[str], user: int) -> None:
    """Raise `InstallError` unless `user` is root."""
    if user != 0:
        raise InstallError(f"{' '.join(names)} changes the system and must be root, it is user {user}: use sudo")

"""Convoy's own Python environments below /opt/convoy: one a version, and a link to the one that serves.

On a PYNQ image an environment stands on PYNQ's own: it is made by that one's interpreter and sees its packages (pynq,
and the numpy that goes with it), and nothing is installed into that one, so that a link is all that is turned to take a
version back.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from convoy_device.errors import InstallError

log = logging.getLogger(__name__)

DISTRIBUTION = "convoy-fleet"
HOME = Path("opt/convoy")
PYNQ_PYTHON = Path("usr/local/share/pynq-venv/bin/python3")
#: Made last, so that what lacks it was never finished.
_WHOLE = ".whole"
#: What a wheelhouse is called inside another root while something is installed there.
_LENT = Path("opt/convoy/.wheelhouse")
#: What the image has stays: its numpy fits its other packages, and there is no wheel of another for a board.
_CONSTRAINTS = "constraints.txt"
#: Seconds: a board's card is slow.
_PIP_S = 1800.0


class Environments:
    """Those below `root`, which is '/' or the root of an image; another than '/' is entered by chroot."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.home = root / HOME

    @property
    def is_pynq(self) -> bool:
        """Whether PYNQ's environment is there to stand on."""
        return (self.root / PYNQ_PYTHON).exists()

    def whole(self) -> list[str]:
        """Versions that are there, and complete."""
        folders = [path.parent for path in self.home.glob(f"*/{_WHOLE}")]
        return sorted(folder.name for folder in folders if not folder.is_symlink())

    def named(self, link: str) -> str:
        """The version that a link ('current', 'previous') leads to; '' without one."""
        path = self.home / link
        return path.readlink().name if path.is_symlink() else ""

    def point(self, link: str, version: str) -> None:
        """Turn a link to a version, in one step that is on disk when this returns."""
        if version not in self.whole():
            raise InstallError(f"{self.home / version} is not a whole environment: install that version first")
        new = self.home / f".{link}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(version)
        new.replace(self.home / link)
        sync(self.home)

    def make(self, version: str, wheels: Path | None) -> None:
        """Make the environment of `version` unless it is there: from the folder `wheels`, or without it from an index.

        Raises `InstallError` with what pip said.
        """
        if version in self.whole():
            return
        folder = self.home / version
        if folder.exists():
            shutil.rmtree(folder)
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self._make(version, wheels)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        (folder / _WHOLE).touch()
        os.sync()

    def _make(self, version: str, wheels: Path | None) -> None:
        inside = Path("/") / HOME / version
        python = Path("/") / PYNQ_PYTHON if self.is_pynq else Path("/usr/bin/python3")
        self.run([str(python), "-m", "venv", "--system-site-packages", str(inside)], "no environment could be made")
        if self.is_pynq:
            self._stand_on_pynq(version, python)
        command = [
            f"{inside}/bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ]
        wanted = f"{DISTRIBUTION}=={version}"
        if wheels is None:
            self.run([*command, wanted], f"{wanted} could not be installed from pip's index")
            return
        with _Lent(self.root, wheels) as lent:
            constraints = ["--constraint", f"{lent}/{_CONSTRAINTS}"] if (wheels / _CONSTRAINTS).exists() else []
            offline = ["--isolated", "--no-index", "--find-links", str(lent)]
            self.run([*command, *offline, *constraints, wanted], f"{wanted} could not be installed from {wheels}")

    def _stand_on_pynq(self, version: str, python: Path) -> None:
        """Let the environment see the packages of PYNQ's, after its own."""
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        theirs = self.run([str(python), "-c", ask], "PYNQ's environment does not answer").strip()
        ours = self.run([f"/{HOME}/{version}/bin/python", "-c", ask], "the environment does not answer").strip()
        (self.root / ours.lstrip("/") / "pynq-venv.pth").write_text(f"{theirs}\n", encoding="utf-8")

    def run(self, command: Sequence[str], failure: str) -> str:
        """What a command inside the root prints; raises `InstallError` that begins with `failure`."""
        entering = [] if self.root == Path("/") else ["chroot", str(self.root)]
        try:
            done = subprocess.run(
                [*entering, *command], capture_output=True, text=True, check=False, timeout=_PIP_S, cwd="/"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallError(f"{failure}: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise InstallError(f"{failure}: {' '.join(command[:3])} ended with {done.returncode}: {said[-2000:]}")
        return done.stdout

    def keep_only(self, versions: Sequence[str]) -> None:
        """Remove every other environment."""
        for path in self.home.glob("*/pyvenv.cfg"):
            if path.parent.name not in versions and not path.parent.is_symlink():
                log.info("version %s is removed", path.parent.name)
                # First what says that it is whole.
                (path.parent / _WHOLE).unlink(missing_ok=True)
                shutil.rmtree(path.parent)


class _Lent:
    """A folder as it is called inside `root`: a copy there for as long as it is needed, if that is another root."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder
        self._copy = None if root == Path("/") else root / _LENT

    def __enter__(self) -> Path:
        if self._copy is None:
            return self._folder.absolute()
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._folder, self._copy)
        return Path("/") / _LENT

    def __exit__(self, *_: object) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


def sync(folder: Path) -> None:
    """Have the names in `folder` on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

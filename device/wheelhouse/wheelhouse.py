"""Builds a wheelhouse: a folder with everything that a board without an index installs Convoy from.

`make wheelhouse` runs it on any machine that has an index; the folder is then copied to the board. It holds our wheel,
what is pure Python, and what has a wheel for the board; what the board's image must have itself is left out and named.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent.parent
#: Versions of glibc for which a wheel may have been made, up to that of Ubuntu 22.04, which the PYNQ image is.
_GLIBC = (17, 24, 27, 28, 31, 34, 35)
MACHINES = ("armv7l", "x86_64", "aarch64")
#: What no index has as a wheel for a machine, and what is done: built here as pure Python, or taken from the image.
PURE, IMAGE = "pure Python", "the image's own"
SPECIAL = {"armv7l": {"msgpack": PURE, "numpy": IMAGE, "cffi": IMAGE}}
#: What cannot stand beside what the image has. cryptography 46 wants cffi 2, and images have 1.15; 44.0.1 is the first
#: with a wheel for armv7l.
LIMITS = {"armv7l": {"cryptography": ">=44.0.1,<46"}}
#: A board's other packages were built against numpy 1.
_CONSTRAINTS = 'numpy<2; python_version < "3.12"\n'


class WheelhouseError(Exception):
    """Something that is needed could not be had; says what."""


@dataclass(frozen=True)
class Target:
    """A board: its machine and its Python, as 3.10."""

    machine: str
    python: str

    @property
    def platforms(self) -> list[str]:
        """Tags of wheels that it can use."""
        return [f"manylinux_2_{minor}_{self.machine}" for minor in _GLIBC] + [f"manylinux2014_{self.machine}"]


def base_requirements(python: str) -> list[str]:
    """The project's own dependencies that concern a Python, without their markers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for requirement in project["dependencies"]:
        wanted, _, marker = requirement.partition(";")
        bound = re.fullmatch(r"\s*python_version < '(\d+)\.(\d+)'\s*", marker)
        if marker and bound is None:
            raise WheelhouseError(f"marker {marker!r} of {wanted} is not understood here")
        if bound is None or tuple(map(int, python.split("."))) < (int(bound[1]), int(bound[2])):
            found.append(wanted.strip())
    return found


def name_of(requirement: str) -> str:
    """The distribution that a requirement names."""
    return re.split(r"[<>=!~ \[]", requirement, maxsplit=1)[0]


def download(target: Target, requirements: Sequence[str], folder: Path) -> None:
    """Wheels, and no other form, of `requirements` for `target`, without what they need themselves."""
    command = [*_pip("download"), "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command += ["--implementation", "cp", "--python-version", target.python]
    for platform in target.platforms:
        command += ["--platform", platform]
    _run([*command, *requirements], f"no wheel of {', '.join(requirements)} for {target.machine}, {target.python}")


def build_pure(name: str, requirement: str, folder: Path) -> None:
    """A wheel without compiled parts, built here from the source distribution."""
    command = [*_pip("wheel"), "--no-deps", "--no-binary", name, "--wheel-dir", str(folder), requirement]
    _run(command, f"{name} could not be built", MSGPACK_PUREPYTHON="1")
    (built,) = folder.glob(f"{name}-*.whl")
    if not built.name.endswith("-none-any.whl"):
        raise WheelhouseError(f"{built.name} should be pure Python and is not")


def build_own(folder: Path) -> Path:
    """Our own wheel."""
    _run([*_pip("wheel"), "--no-deps", "--wheel-dir", str(folder), str(ROOT)], "our own wheel could not be built")
    (built,) = folder.glob("convoy_fleet-*.whl")
    return built


def needs(target: Target) -> Iterator[tuple[str, str]]:
    """Every requirement of a target with where it comes from: '' for a wheel from the index, else as in `SPECIAL`."""
    special, limits = SPECIAL.get(target.machine, {}), LIMITS.get(target.machine, {})
    for requirement in [*base_requirements(target.python), "cffi>=1.14"]:
        name = name_of(requirement)
        limit = limits.get(name)
        wanted = f"{requirement},{limit}" if limit else requirement
        if name == "numpy" and tuple(map(int, target.python.split("."))) < (3, 12):
            wanted = f"{requirement},<2"
        yield wanted, special.get(name, "")


def build(target: Target, folder: Path, *, image: Sequence[str] = (), own: Path | None = None) -> list[str]:
    """Fill `folder` anew; `image` are distributions that the image has. Returns what was left to the image."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    left = []
    for requirement, source in needs(target):
        name = name_of(requirement)
        if source == IMAGE or name in image:
            left.append(requirement)
        elif source == PURE:
            build_pure(name, requirement, folder)
        else:
            download(target, [requirement], folder)
    if "cffi" not in [name_of(each) for each in left]:
        download(target, ["pycparser"], folder)
    if own is None:
        build_own(folder)
    else:
        shutil.copy2(own, folder)
    (folder / "constraints.txt").write_text(_CONSTRAINTS, encoding="utf-8")
    shutil.copy2(ROOT / "device" / "wheelhouse" / "install.sh", folder)
    return left


def check(targets: Sequence[Target]) -> int:
    """Ask the index for every wheel of every target, and say what it lacks; how many that are not known to lack."""
    surprises = 0
    with tempfile.TemporaryDirectory() as directory:
        for target in targets:
            for requirement, source in needs(target):
                try:
                    download(target, [requirement], Path(directory) / target.machine / target.python)
                    found = "a wheel"
                except WheelhouseError:
                    found = f"no wheel: {source}" if source else "NO WHEEL"
                    surprises += not source
                print(f"{target.machine:8} {target.python:5} {requirement:32} {found}", flush=True)
    return surprises


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-input"]


def _run(command: Sequence[str], failure: str, **variables: str) -> None:
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WheelhouseError(f"{failure}: {done.stderr.strip()[-1000:]}")


def main() -> int:
    """Build one, or check what the index has for all; the exit code."""
    parser = argparse.ArgumentParser(prog="make wheelhouse ARGS=...", description=__doc__.partition("\n")[0])
    parser.add_argument("--machine", choices=MACHINES, default="armv7l", help="the board's (armv7l)")
    parser.add_argument("--python", default="3.10", help="the board's (3.10)")
    parser.add_argument("--output", type=Path, default=None, help="folder (dist/wheelhouse-MACHINE-PYTHON)")
    parser.add_argument("--image-has", nargs="*", default=[], metavar="NAME", help="left to the board's image as well")
    parser.add_argument("--check", action="store_true", help="build nothing: ask what the index has, for every target")
    options = parser.parse_args()
    try:
        if options.check:
            every = [Target(machine, python) for machine in MACHINES for python in ("3.10", "3.11", "3.13")]
            return 1 if check(every) else 0
        target = Target(options.machine, options.python)
        folder = options.output or ROOT / "dist" / f"wheelhouse-{target.machine}-{target.python}"
        left = build(target, folder, image=options.image_has)
    except WheelhouseError as error:
        print(f"make wheelhouse: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if left:
        print(f"The image must have {', '.join(left)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Build sdist and wheel as a release would, and see that the wheel is whole.

`make check` runs it. Every file of every package directory must be in the wheel (code, networks, bitstreams,
migrations, configuration), and both commands must start from it, without the source tree. Exit code 1 if not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent

_IMPORTS = """
import importlib, sys
site = sys.argv[1]
sys.path[:0] = [site]
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(site), f"{name} comes from {module.__file__}"
"""


def source_files(packages: list[str]) -> set[str]:
    """What the wheel must contain, as the names inside it."""
    found = set()
    for package in packages:
        folder = ROOT / package
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                found.add(str(file.relative_to(folder.parent)))
    return found


def build(directory: Path) -> Path:
    """Build the sdist, and the wheel from the sdist; returns the wheel. What the tools say is shown only on failure."""
    command = [sys.executable, "-m", "build", "--outdir", str(directory), str(ROOT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\nThe distribution does not build.")
    (wheel,) = directory.glob("*.whl")
    return wheel


def cannot_start(wheel: Path, directory: Path, project: dict[str, Any]) -> str:
    """Import the packages and the commands' modules from the unpacked wheel; '' or what went wrong."""
    site = directory / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    packages = [Path(package).name for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    commands = [target.partition(":")[0] for target in project["project"]["scripts"].values()]
    command = [sys.executable, "-c", _IMPORTS, str(site), *packages, *commands]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return done.stderr


def main() -> int:
    """Build, compare, start."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = source_files(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    with tempfile.TemporaryDirectory() as directory:
        wheel = build(Path(directory))
        with zipfile.ZipFile(wheel) as archive:
            missing = sorted(wanted - set(archive.namelist()))
        failure = cannot_start(wheel, Path(directory), project)
    for name in missing:
        print(f"the wheel lacks {name}", file=sys.stderr)
    if failure:
        print(f"the wheel does not start without the source tree:\n{failure}", file=sys.stderr)
    if missing or failure:
        return 1
    kinds = Counter("".join(Path(name).suffixes[-1:]) or "no suffix" for name in wanted)
    print(f"Wheel: whole, {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

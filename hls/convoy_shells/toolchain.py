"""Finds Vivado and Vitis HLS, and says what is missing where they are not.

Needs nothing but Python's own library: `make bitstreams` runs this file before it sets anything up, so that a machine
without the tools hears so at once. `build` asks it for the commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Versions that the scripts are written for, ends included. PYNQ 3.0 is built with the first, 3.1 with the last.
OLDEST, NEWEST = (2022, 1), (2024, 1)
#: For each command the variables that its settings64.sh sets.
VARIABLES: Final = {"vivado": ("XILINX_VIVADO",), "vitis_hls": ("XILINX_HLS", "XILINX_VITIS")}
_NAMES: Final = {"vivado": "Vivado", "vitis_hls": "Vitis HLS"}

_ADVICE = """\
The bitstreams are built with AMD's Vivado and Vitis HLS, {oldest} to {newest} and both of one version. The free
Standard edition has the xc7z020; in its installer choose Vitis (which brings both) and the Zynq-7000 devices. Then:
    source /tools/Xilinx/Vivado/{newest}/settings64.sh
    source /tools/Xilinx/Vitis_HLS/{newest}/settings64.sh
    make bitstreams"""


@dataclass(frozen=True)
class Tools:
    """Commands of the two tools, and their version."""

    vivado: Path
    vitis_hls: Path
    version: str


def find(environment: Mapping[str, str]) -> tuple[Tools | None, list[str]]:
    """The tools, or a list of what is wrong: a line a tool."""
    found: dict[str, Path] = {}
    versions: dict[str, tuple[int, int]] = {}
    faults: list[str] = []
    for command in VARIABLES:
        path = _command(command, environment)
        if path is None:
            folders = " and ".join(VARIABLES[command])
            faults.append(f"{_NAMES[command]}: there is no {command} on the PATH, nor under bin of {folders}")
            continue
        found[command] = path
        version = _version(path)
        if version is None:
            faults.append(f"{_NAMES[command]}: {path} -version does not say which version it is")
        elif not OLDEST <= version <= NEWEST:
            faults.append(f"{_NAMES[command]}: {path} is {_text(version)}, not {_text(OLDEST)} to {_text(NEWEST)}")
        else:
            versions[command] = version
    if not faults and len(set(versions.values())) > 1:
        faults.append("Vivado and Vitis HLS are " + " and ".join(map(_text, versions.values())) + ", not one version")
    if faults:
        return None, faults
    return Tools(found["vivado"], found["vitis_hls"], _text(versions["vivado"])), []


def explain(faults: list[str]) -> str:
    """What to tell the person who asked: what is missing, and what to do."""
    lines = ["make bitstreams cannot run here:", *(f"  {fault}" for fault in faults)]
    return "\n".join([*lines, _ADVICE.format(oldest=_text(OLDEST), newest=_text(NEWEST))])


def _command(name: str, environment: Mapping[str, str]) -> Path | None:
    folders = [str(Path(environment[key]) / "bin") for key in VARIABLES[name] if environment.get(key)]
    path = shutil.which(name, path=os.pathsep.join([environment.get("PATH", ""), *folders]))
    return Path(path) if path else None


def _version(command: Path) -> tuple[int, int] | None:
    try:
        done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv(\d{4})\.(\d)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


if __name__ == "__main__":
    wrong = find(os.environ)[1]
    if wrong:
        sys.exit(explain(wrong))

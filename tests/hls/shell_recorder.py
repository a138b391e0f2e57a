"""Runs the scripts of hls/shells under tclsh against the recorder, in a folder of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from convoy_bitstreams import floorplans
from convoy_schema.floorplan import Floorplan
from convoy_shells.build import LIBRARY, SCRIPTS, write_files
from convoy_shells.plan import Folders

RECORDER = Path(__file__).parent / "recorder" / "recorder.tcl"
SHELLS = ("fixed", "layers", "partitions")

needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed (apt: tcl)")


@dataclass(frozen=True)
class Workplace:
    """A shell's generated files, and where the tools would leave theirs."""

    plan: Floorplan
    folder: Path
    script: Path

    @property
    def images(self) -> Path:
        """Where Vivado's script leaves images."""
        return self.folder / "images"

    def run(self, tool: str, scripts: Path = SCRIPTS) -> subprocess.CompletedProcess[str]:
        """Run a tool's script under the recorder."""
        name, place = {"vitis_hls": ("kernels.tcl", "kernels"), "vivado": ("shell.tcl", "images")}[tool]
        (self.folder / place).mkdir(exist_ok=True)
        return subprocess.run(
            ["tclsh", str(RECORDER), tool, str(scripts / name), str(self.record(tool))],
            cwd=self.folder / place,
            env={**os.environ, "CONVOY_PLAN": str(self.script)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def record(self, tool: str) -> Path:
        """The file that says what a tool made."""
        return self.folder / f"{tool}.txt"

    def made(self, tool: str, what: str) -> Iterator[list[str]]:
        """The words of every line of a tool's record that begins with `what`."""
        for line in self.record(tool).read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[0] == what:
                yield words[1:]


def workplace(shell: str, folder: Path) -> Workplace:
    """The files of one shell below `folder`."""
    plan = floorplans()[shell]
    script = write_files(plan, Folders(LIBRARY / "kernels", LIBRARY / "include", folder / "kernels", folder / "files"))
    return Workplace(plan, folder, script)

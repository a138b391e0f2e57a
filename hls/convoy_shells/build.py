"""Builds shells: writes the files of one, runs Vitis HLS and Vivado on them, checks each image and catalogues it.

`python -m convoy_shells` and so `make bitstreams` calls it; the decisions are in `plan`, `constraints`, `verilog` and
the Tcl. Files in hand, nothing is guessed: a tool that fails ends the build with its own errors and the log's place.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from convoy_schema.bitstream import Region, check_partial
from convoy_schema.errors import ConvoyError
from convoy_schema.floorplan import Floorplan

from convoy_shells import constraints, verilog
from convoy_shells.plan import Folders, shell_plan, to_tcl
from convoy_shells.toolchain import Tools

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "shells"
LIBRARY = ROOT / "convoy_hls"

Say = Callable[[str], None]

_MOST_ERRORS = 20


class BuildError(ConvoyError):
    """A tool failed, or made what the boards would refuse."""

    code = "build"
    retryable = False


@dataclass(frozen=True)
class Image:
    """A bitstream that a build left: a shell's, or with `partition` and `kind` a module's."""

    file: Path
    partition: str = ""
    kind: str = ""


def write_files(plan: Floorplan, folders: Folders) -> Path:
    """Write everything that the scripts read, into `folders.generated`; returns the plan, which names the rest."""
    files = {"plan.tcl": to_tcl(shell_plan(plan, folders))}
    if plan.partitions:
        files["top.v"] = verilog.top(plan)
        files["partitions.xdc"] = constraints.xdc(plan)
        files |= {f"{partition.name}.v": verilog.module(partition.name) for partition in plan.partitions}
    folders.generated.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folders.generated / name).write_text(text, encoding="utf-8")
    return folders.generated / "plan.tcl"


def build(plan: Floorplan, tools: Tools, out: Path, say: Say) -> list[Image]:
    """Build one shell below `out`; returns its images. Raises `BuildError`."""
    folders = Folders(LIBRARY / "kernels", LIBRARY / "include", out / "kernels", out / "files")
    script = write_files(plan, folders)
    results = out / "images"
    for folder in (folders.kernels, results):
        folder.mkdir(parents=True, exist_ok=True)
    kernels = [str(tools.vitis_hls), "-f", str(SCRIPTS / "kernels.tcl")]
    _run(kernels, folders.kernels, script, out / "vitis_hls.log", say)
    shell = [str(tools.vivado), "-mode", "batch", "-nojournal", "-nolog", "-source", str(SCRIPTS / "shell.tcl")]
    _run(shell, results, script, out / "vivado.log", say)
    images = list(expected_images(plan, results))
    for image in images:
        check(plan, image)
    return images


def expected_images(plan: Floorplan, folder: Path) -> Iterator[Image]:
    """Every image that a shell consists of, where the scripts leave it; the shell's own first."""
    yield Image(folder / f"{plan.shell}.bit")
    for partition in plan.partitions:
        for kind in plan.kinds:
            yield Image(folder / partition.name / f"{kind.value}.bit", partition.name, kind.value)


def check(plan: Floorplan, image: Image) -> None:
    """Refuse an image that is not there, or that a board would refuse for its partition."""
    if not image.file.is_file():
        raise BuildError(f"Vivado ended well but left no {image.file}: see its log")
    if not image.partition:
        return
    region = Region(plan.part, image.partition, plan.regions[image.partition])
    report = check_partial(image.file.read_bytes(), region)
    if not report.is_accepted:
        reasons = "; ".join(map(str, report.findings[:3]))
        raise BuildError(
            f"{image.file} would be refused by every board: {reasons}. If its frames are beside the partition's "
            "columns, Vivado snapped the region to others: vivado.log says which, and the floorplan must name those"
        )


def catalogue_commands(plan: Floorplan, images: Sequence[Image]) -> Iterator[list[str]]:
    """The `convoy` commands that add the images to the catalogue."""
    for image in images:
        where = ["--partition", image.partition, "--kind", image.kind] if image.partition else []
        yield ["convoy", "bitstream", "add", str(image.file), "--shell", plan.shell, *where]


def _run(command: list[str], folder: Path, plan: Path, log: Path, say: Say) -> None:
    """Run a tool to its end: lines for people are said with the time they came at, everything goes to the log."""
    begun = time.monotonic()
    errors: list[str] = []
    environment = {**os.environ, "CONVOY_PLAN": str(plan)}
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            command, cwd=folder, env=environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as tool,
    ):  # fmt: skip
        assert tool.stdout is not None
        for line in tool.stdout:
            stream.write(line)
            if line.startswith("convoy: "):
                minutes, seconds = divmod(int(time.monotonic() - begun), 60)
                say(f"{minutes:4d}:{seconds:02d}  {line[8:].rstrip()}")
            elif line.startswith("ERROR") and len(errors) < _MOST_ERRORS:
                errors.append(line.rstrip())
    if tool.returncode:
        shown = "".join(f"\n  {error}" for error in errors)
        raise BuildError(f"{Path(command[0]).name} failed with exit code {tool.returncode}; its log is {log}{shown}")


def add_to_catalogue(plan: Floorplan, images: Sequence[Image], say: Say) -> None:
    """Add every image to the catalogue, through the command that people use; raises `BuildError`."""
    for command in catalogue_commands(plan, images):
        done = subprocess.run(
            [sys.executable, "-m", "convoy_controller", *command[1:]], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    say(f"{len(images)} images of shell {plan.shell} are in the catalogue")

"""Vitis HLS' own reports of every module, beside what the model says.

`make hls-reports`, so `python -m convoy_hls.reports`, synthesises each module for the board's part and clock, reads its
csynth.xml files, and prints resources and each pipelined loop's interval and depth with the difference. Not yet run on
Vitis; the reader is tested on a report written after its documentation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convoy_schema import resources
from convoy_schema.cycles.loops import DEPTHS
from convoy_schema.resources import Resources
from convoy_schema.topology import Kind

from convoy_hls import vitis
from convoy_hls.build import ROOT
from convoy_hls.errors import HlsError
from convoy_hls.kernel import core_of

PART, CLOCK_NS = "xc7z020clg400-1", 10

_SCRIPT = """\
open_project -reset {name}
set_top {top}
add_files -cflags "-std=c++14 -I{include}" {source}
open_solution -reset -flow_target vivado solution
set_part {part}
create_clock -period {clock} -name default
csynth_design
exit
"""


@dataclass(frozen=True)
class Module:
    """A source below kernels/, its top function, and what the model says that it takes."""

    source: str
    top: str
    model: Resources


@dataclass(frozen=True)
class Pipeline:
    """A pipelined loop as Vitis reports it."""

    name: str
    interval: int
    depth: int


@dataclass(frozen=True)
class Report:
    """What Vitis says of one module."""

    taken: Resources
    pipelines: tuple[Pipeline, ...]


def modules() -> Iterator[Module]:
    """Every module: the library's, and the chain."""
    for kind in Kind:
        yield Module(core_of(kind), core_of(kind), resources.module(kind))
    yield Module("lenet5", "lenet5_chain", resources.chain())


def synthesise(command: Path, module: Module, folder: Path) -> Path:
    """Run Vitis HLS on one module below `folder`; returns its folder of reports. Raises `HlsError`."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"{module.source}.tcl"
    script.write_text(
        _SCRIPT.format(
            name=module.source,
            top=module.top,
            include=ROOT / "include",
            source=ROOT / "kernels" / f"{module.source}.cpp",
            part=PART,
            clock=CLOCK_NS,
        ),
        encoding="utf-8",
    )
    with (folder / f"{module.source}.log").open("w", encoding="utf-8") as log:
        done = subprocess.run([str(command), "-f", str(script)], cwd=folder, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise HlsError(f"vitis_hls failed on {module.source}: its log is {log.name}")
    return folder / module.source / "solution" / "syn" / "report"


def read(folder: Path, top: str) -> Report:
    """The report of `top` and of the loops below it; raises `HlsError` for a folder without one."""
    whole = folder / f"{top}_csynth.xml"
    if not whole.is_file():
        raise HlsError(f"there is no {whole}: Vitis has not synthesised it")
    area = ET.parse(whole).getroot().find("AreaEstimates/Resources")
    if area is None:
        raise HlsError(f"{whole} has no AreaEstimates/Resources")
    found = {element.tag: int(element.text or 0) for element in area}
    taken = Resources(found.get("DSP", 0), found.get("BRAM_18K", 0), found.get("LUT", 0), found.get("FF", 0))
    pipelines = [loop for file in sorted(folder.glob("*_csynth.xml")) for loop in _pipelines(file)]
    return Report(taken, tuple(dict.fromkeys(pipelines)))


def _pipelines(file: Path) -> Iterator[Pipeline]:
    for loop in ET.parse(file).getroot().iterfind("PerformanceEstimates/SummaryOfLoopLatency/*"):
        interval, depth = loop.findtext("PipelineII"), loop.findtext("PipelineDepth")
        if interval and depth:
            name = loop.findtext("Name") or loop.tag
            yield Pipeline(name, int(interval), int(depth))


def compare(module: Module, report: Report) -> Iterator[str]:
    """Lines for people: what Vitis says, what the model says, and the difference."""
    model, taken = module.model, report.taken
    rows = [
        ("DSP", taken.dsps, model.dsps),
        ("RAMB18", taken.ramb18, model.ramb18),
        ("LUT", taken.luts, model.luts),
        ("FF", taken.flip_flops, model.flip_flops),
    ]
    for pipeline in report.pipelines:
        if pipeline.name in DEPTHS:
            rows += [
                (f"interval of {pipeline.name}", pipeline.interval, 1),
                (f"depth of {pipeline.name}", pipeline.depth, DEPTHS[pipeline.name]),
            ]
    for what, said, ours in rows:
        yield f"{module.source:20} {what:24} Vitis {said:7}  model {ours:7}  {said - ours:+}"


def main() -> int:
    """Every module, or those named."""
    parser = argparse.ArgumentParser(description="Vitis HLS' reports beside the model")
    parser.add_argument("--out", type=Path, default=Path("build/hls-reports"), help="where projects and logs go")
    parser.add_argument("module", nargs="*", help="such as conv2d; every one when none is named")
    arguments = parser.parse_args()
    command = vitis.find(os.environ)
    if command is None:
        print(vitis.MISSING, file=sys.stderr)
        return 1
    out = arguments.out.resolve()
    for module in modules():
        if not arguments.module or module.source in arguments.module:
            for line in compare(module, read(synthesise(command, module, out), module.top)):
                print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

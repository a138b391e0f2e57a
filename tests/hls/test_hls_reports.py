"""Vitis' reports are read and compared; where Vitis is not, the target ends at once and says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import convoy_hls
import pytest
from convoy_hls import HlsError, reports, vitis

ROOT = Path(convoy_hls.__file__).parent

_WHOLE = """\
<profile><AreaEstimates><Resources>
<BRAM_18K>40</BRAM_18K><DSP>37</DSP><FF>7001</FF><LUT>6500</LUT><URAM>0</URAM>
</Resources></AreaEstimates></profile>"""
_LOOP = """\
<profile><PerformanceEstimates><SummaryOfLoopLatency>
<compute><Name>compute</Name><TripCount>undef</TripCount><PipelineII>2</PipelineII><PipelineDepth>26</PipelineDepth></compute>
</SummaryOfLoopLatency></PerformanceEstimates></profile>"""


def test_a_report_is_compared_with_the_model(tmp_path: Path) -> None:
    (tmp_path / "conv2d_csynth.xml").write_text(_WHOLE, encoding="utf-8")
    (tmp_path / "compute_csynth.xml").write_text(_LOOP, encoding="utf-8")
    module = next(module for module in reports.modules() if module.source == "conv2d")
    lines = list(reports.compare(module, reports.read(tmp_path, "conv2d")))
    assert [line.split()[-1] for line in lines] == [
        "+3", "+2", f"{6500 - module.model.luts:+}", f"{7001 - module.model.flip_flops:+}", "+1", "+2"
    ]  # fmt: skip


def test_a_report_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HlsError, match="has not synthesised"):
        reports.read(tmp_path, "conv2d")


def test_every_module_has_its_source_and_top() -> None:
    for module in reports.modules():
        source = (ROOT / "kernels" / f"{module.source}.cpp").read_text(encoding="utf-8")
        assert f"CONVOY_MODULE({module.top}, convoy_{module.source})" in source


def test_without_vitis_it_says_what_is_missing(tmp_path: Path) -> None:
    assert vitis.find({"PATH": str(tmp_path)}) is None
    command = tmp_path / "bin" / "vitis_hls"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    command.chmod(0o755)
    assert vitis.find({"PATH": "", "XILINX_HLS": str(tmp_path)}) == command
    environment = {"PATH": str(tmp_path)}
    command_line = [sys.executable, str(ROOT / "vitis.py")]
    done = subprocess.run(command_line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no vitis_hls" in done.stderr


def test_a_vitis_that_fails_names_its_log(tmp_path: Path) -> None:
    command = tmp_path / "vitis_hls"
    command.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    command.chmod(0o755)
    module = next(reports.modules())
    with pytest.raises(HlsError, match=r"conv2d\.log"):
        reports.synthesise(command, module, tmp_path / "out")

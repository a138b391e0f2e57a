"""`make bitstreams` finds the tools or says what is missing, passes their progress on, and refuses a bad image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from convoy_bitstreams import floorplans
from convoy_schema.bitstream import FRAME_WORDS, XC7Z020, write_partial
from convoy_shells import __main__ as command
from convoy_shells import build, toolchain
from convoy_shells.build import BuildError, Image
from convoy_shells.toolchain import Tools
from shell_recorder import RECORDER, needs_tclsh, workplace

ROOT = Path(__file__).parents[2]


def fake(folder: Path, name: str, says: str, body: str = "exit 0") -> Path:
    """A command that answers -version, and otherwise does `body`."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$1" != -version ] || {{ echo "{says}"; exit 0; }}\n{body}\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def both(folder: Path, vivado: str = "v2022.1", hls: str = "v2022.1") -> None:
    fake(folder, "vivado", f"Vivado {vivado} (64-bit)\nSW Build 3526262")
    fake(folder, "vitis_hls", f"Vitis HLS - High-Level Synthesis from C, C++ and OpenCL {hls} (64-bit)")


# ---- finding the tools -----------------------------------------------------------------------------------------------


def test_the_tools_are_found_on_the_path(tmp_path: Path) -> None:
    both(tmp_path)
    tools, faults = toolchain.find({"PATH": str(tmp_path)})
    assert tools == Tools(tmp_path / "vivado", tmp_path / "vitis_hls", "2022.1")
    assert faults == []


@pytest.mark.parametrize("variable", ["XILINX_HLS", "XILINX_VITIS"])
def test_the_tools_are_found_by_what_their_settings_set(tmp_path: Path, variable: str) -> None:
    fake(tmp_path / "v/bin", "vivado", "vivado v2023.2 (64-bit)")
    fake(tmp_path / "h/bin", "vitis_hls", "Vitis HLS v2023.2 (64-bit)")
    tools, _ = toolchain.find({"XILINX_VIVADO": str(tmp_path / "v"), variable: str(tmp_path / "h")})
    assert tools is not None
    assert tools.version == "2023.2"


@pytest.mark.parametrize(
    ("vivado", "hls", "reasons"),
    [
        ("v2021.2", "v2022.1", ["Vivado: ", "is 2021.2, not 2022.1 to 2024.1"]),
        ("v2022.1", "v2024.2", ["Vitis HLS: ", "is 2024.2, not 2022.1 to 2024.1"]),
        ("v2022.1", "v2024.1", ["Vivado and Vitis HLS are 2022.1 and 2024.1, not one version"]),
        ("nothing", "v2022.1", ["-version does not say"]),
    ],
)
def test_wrong_versions_are_named(tmp_path: Path, vivado: str, hls: str, reasons: list[str]) -> None:
    both(tmp_path, vivado, hls)
    tools, faults = toolchain.find({"PATH": str(tmp_path)})
    assert tools is None
    (fault,) = faults
    assert all(reason in fault for reason in reasons)


def test_each_missing_tool_is_named_with_what_to_do(tmp_path: Path) -> None:
    _, faults = toolchain.find({"PATH": str(tmp_path)})
    assert faults == [
        "Vivado: there is no vivado on the PATH, nor under bin of XILINX_VIVADO",
        "Vitis HLS: there is no vitis_hls on the PATH, nor under bin of XILINX_HLS and XILINX_VITIS",
    ]
    fake(tmp_path, "vivado", "Vivado v2022.1")
    _, faults = toolchain.find({"PATH": str(tmp_path)})
    assert [fault.split(":")[0] for fault in faults] == ["Vitis HLS"]
    text = toolchain.explain(faults)
    assert "settings64.sh" in text
    assert "2022.1 to 2024.1" in text


def test_without_the_tools_it_fails_at_once_and_needs_nothing_installed(tmp_path: Path) -> None:
    script = ROOT / "hls" / "convoy_shells" / "toolchain.py"
    # Isolated from every package: this runs before there is an environment.
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script)],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no vivado" in done.stderr
    both(tmp_path)
    found = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert subprocess.run([sys.executable, "-I", "-S", str(script)], env=found, timeout=30, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.skipif(shutil.which("vivado") is not None, reason="here it would build the bitstreams")
def test_make_bitstreams_names_what_is_missing_before_it_makes_anything(tmp_path: Path) -> None:
    (tmp_path / "hls").symlink_to(ROOT / "hls")
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    # Without .ci/setup beside it: it would fail otherwise if it came so far.
    done = subprocess.run(
        ["make", "bitstreams", f"PYTHON={sys.executable}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no vivado on the PATH" in done.stderr
    assert "setup" not in done.stderr.replace("settings", "")
    assert {path.name for path in tmp_path.iterdir()} == {"hls", "Makefile"}


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["convoy_shells"])
    monkeypatch.setattr(os, "environ", {"PATH": "/nowhere"})
    assert command.main() == 2
    assert "there is no vitis_hls" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["convoy_shells", "shed"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no shell 'shed'" in capsys.readouterr().err


# ---- building --------------------------------------------------------------------------------------------------------


@pytest.fixture
def recording_tools(tmp_path: Path) -> Tools:
    """Tools that are the recorder."""
    body = 'while [ $# -gt 1 ]; do shift; done\nexec tclsh "{recorder}" {tool} "$1" "{record}"'
    vivado, vitis_hls = (
        fake(tmp_path / "bin", tool, "v2022.1", body.format(recorder=RECORDER, tool=tool, record=tmp_path / tool))
        for tool in ("vivado", "vitis_hls")
    )
    return Tools(vivado, vitis_hls, "2022.1")


@needs_tclsh
def test_a_shell_is_built_with_progress(tmp_path: Path, recording_tools: Tools) -> None:
    said: list[str] = []
    images = build.build(floorplans()["layers"], recording_tools, tmp_path / "out", said.append)
    assert images == [Image(tmp_path / "out" / "images" / "layers.bit")]
    assert said[0].endswith("0:00  kernel 1/8: conv2d")
    assert said[-1].endswith("layers is built")
    assert (tmp_path / "out" / "vivado.log").read_text(encoding="utf-8").startswith("convoy: ")


@needs_tclsh
def test_a_module_that_no_board_would_take_is_refused(tmp_path: Path, recording_tools: Tools) -> None:
    """The recorder leaves empty files, which is the most wrong that an image can be."""
    with pytest.raises(BuildError, match=r"conv2d\.bit would be refused by every board"):
        build.build(floorplans()["partitions"], recording_tools, tmp_path / "out", lambda line: None)


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    failing = fake(tmp_path, "vitis_hls", "v2022.1", "echo 'ERROR: [HLS 200-70] no such top'; exit 3")
    tools = Tools(failing, failing, "2022.1")
    with pytest.raises(BuildError, match=r"(?s)exit code 3.*vitis_hls\.log.*ERROR: \[HLS 200-70\] no such top"):
        build.build(floorplans()["fixed"], tools, tmp_path / "out", lambda line: None)


@needs_tclsh
def test_a_design_that_misses_its_clock_is_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = workplace("fixed", tmp_path / "shell")
    assert place.run("vitis_hls").returncode == 0
    monkeypatch.setenv("RECORDER_SLACK", "-0.125")
    done = place.run("vivado")
    assert done.returncode == 1
    assert "fixed misses its clock by 0.125 ns" in done.stderr


def test_images_are_checked_as_a_board_would(tmp_path: Path) -> None:
    plan = floorplans()["partitions"]
    frames = plan.regions["west"]
    module = Image(tmp_path / "conv2d.bit", "west", "conv2d")
    with pytest.raises(BuildError, match="left no"):
        build.check(plan, module)
    module.file.write_bytes(write_partial(XC7Z020, "m", frames, np.zeros((len(frames), FRAME_WORDS), dtype=np.uint32)))
    build.check(plan, module)
    with pytest.raises(BuildError, match="would be refused by every board"):
        build.check(plan, replace(module, partition="east"))


def test_the_catalogue_takes_what_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_HOME", str(tmp_path / "home"))
    plan = floorplans()["partitions"]
    frames = plan.regions["west"]
    module = Image(tmp_path / "conv2d.bit", "west", "conv2d")
    module.file.write_bytes(write_partial(XC7Z020, "m", frames, np.zeros((len(frames), FRAME_WORDS), dtype=np.uint32)))
    said: list[str] = []
    build.add_to_catalogue(plan, [module], said.append)
    assert said == ["1 images of shell partitions are in the catalogue"]
    with pytest.raises(BuildError, match=r"bitstream add .* failed"):
        build.add_to_catalogue(plan, [replace(module, partition="east")], said.append)


def test_every_image_is_added_to_the_catalogue() -> None:
    plan = floorplans()["partitions"]
    commands = list(build.catalogue_commands(plan, list(build.expected_images(plan, Path("out")))))
    assert commands[0] == ["convoy", "bitstream", "add", "out/partitions.bit", "--shell", "partitions"]
    assert commands[1] == [
        *("convoy", "bitstream", "add", "out/west/conv2d.bit", "--shell", "partitions"),
        *("--partition", "west", "--kind", "conv2d"),
    ]
    assert len(commands) == 1 + 3 * 8

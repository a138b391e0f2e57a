"""The Tcl runs from end to end against the recorder, builds what the floorplans say, and no typo in it survives."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from convoy_schema.topology import Kind
from convoy_shells import verilog
from convoy_shells.build import SCRIPTS, expected_images
from convoy_shells.plan import identifier, kernel_names, vlnv
from shell_recorder import SHELLS, Workplace, needs_tclsh, workplace
from tcl_typos import NAMES, Token, misspelt, tokens

pytestmark = needs_tclsh

TOOLS = ("vitis_hls", "vivado")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Workplace]:
    """Every shell, both tools' scripts run over it."""
    places = {shell: workplace(shell, tmp_path_factory.mktemp(shell) / "shell") for shell in SHELLS}
    for place, tool in product(places.values(), TOOLS):
        done = place.run(tool)
        assert (done.returncode, done.stderr) == (0, ""), (place.plan.shell, tool)
    return places


@pytest.mark.parametrize("shell", SHELLS)
def test_every_image_is_made_and_nothing_else(built: dict[str, Workplace], shell: str) -> None:
    place = built[shell]
    assert {str(path) for path in place.images.rglob("*.bit")} == {
        str(image.file) for image in expected_images(place.plan, place.images)
    }
    assert (place.images / f"{shell}.hwh").is_file()


def test_each_partial_image_holds_its_own_module(built: dict[str, Workplace]) -> None:
    place = built["partitions"]
    partials = {words[0]: words[1:] for words in place.made("vivado", "bitstream") if len(words) > 1}
    assert partials == {
        f"{name}/{kind.value}.bit": [name, f"modules/{name}_{identifier(kind.value)}.dcp"]
        for name, kind in product(("west", "centre", "east"), Kind)
    }
    # Each configuration has been compared with the first, whose static design all the others keep.
    assert {words[1] for words in place.made("vivado", "verified")} == {
        *(f"{kind.value}.dcp" for kind in Kind if kind is not Kind.CONV2D),
        "partitions.dcp",
    }
    assert {words[0] for words in place.made("vivado", "verified")} == {"conv2d.dcp"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_block_is_at_the_floorplans_address(built: dict[str, Workplace], shell: str) -> None:
    plan = built[shell].plan
    table = plan.addresses
    assert table is not None
    expected = {
        "activation_dma/S_AXI_LITE": table.activation_dma,
        "parameter_dma/S_AXI_LITE": table.parameter_dma,
        "activation_switch/S_AXI_CTRL": table.activation_switch,
        "parameter_switch/S_AXI_CTRL": table.parameter_switch,
    }
    for slot in table.slots:
        name = identifier(slot.name)
        if plan.partitions:
            expected[f"registers_{name}"] = slot.registers
            expected[f"registers_decoupler_{name}/s_axi_reg"] = slot.registers_decoupler
            expected[f"streams_decoupler_{name}/s_axi_reg"] = slot.streams_decoupler
        else:
            expected[f"kernel_{name}/s_axi_control"] = slot.registers
    assigned = {words[1]: words[2:] for words in built[shell].made("vivado", "address") if words[0] == "processor/Data"}
    assert assigned == {segment: [f"0x{address:08X}", "64K"] for segment, address in expected.items()}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_switches_ports_are_in_the_order_of_the_slots(built: dict[str, Workplace], shell: str) -> None:
    plan = built[shell].plan
    wires = {tuple(sorted(words)) for words in built[shell].made("vivado", "wire")}
    assert plan.addresses is not None
    for number, slot in enumerate(plan.addresses.slots):
        name = identifier(slot.name)
        cell, prefix = (f"streams_decoupler_{name}", "s_") if plan.partitions else (f"kernel_{name}", "")
        names = ("activations", "parameters", "results") if plan.partitions else ("in_r", "parameters", "out_r")
        ends = (
            f"activation_switch/M{number + 1:02d}_AXIS",
            f"parameter_switch/M{number:02d}_AXIS",
            f"activation_switch/S{number + 1:02d}_AXIS",
        )
        for end, interface in zip(ends, names, strict=True):
            assert tuple(sorted((end, f"{cell}/{prefix}{interface}"))) in wires


@pytest.mark.parametrize("shell", SHELLS)
def test_no_partitions_name_begins_a_cells_name(built: dict[str, Workplace], shell: str) -> None:
    """PYNQ drops every entry whose name begins with the partition's when it loads one."""
    cells = [words[0] for words in built[shell].made("vivado", "cell")]
    ports = [words[0] for words in built[shell].made("vivado", "intf_port")]
    names = [partition.name for partition in built[shell].plan.partitions]
    for name in names:
        others = [other for other in (*cells, *ports, *names) if other is not name]
        assert not [other for other in others if other.startswith(name) or name.startswith(other)]


def test_the_top_level_verilog_fits_the_block_design(built: dict[str, Workplace]) -> None:
    place = built["partitions"]
    interfaces = {words[0]: words[1:] for words in place.made("vivado", "intf_port")}
    ports = {words[0] for words in place.made("vivado", "port")}
    pins = re.findall(r"\.(\w+)\(", verilog.top(place.plan).split("system_wrapper")[1].split(");")[0] + ");")
    of_interfaces = {"_".join(pin.split("_")[:2]) for pin in pins if pin.split("_")[0] not in ("DDR", "FIXED")}
    assert of_interfaces - ports == set(interfaces)
    assert {words[0] for words in place.made("vivado", "external")} == {"DDR", "FIXED_IO"}
    axis = {"tdata", "tkeep", "tlast", "tvalid", "tready"}
    for name, (_, kind) in interfaces.items():
        signals = {pin.removeprefix(f"{name}_") for pin in pins if pin.startswith(f"{name}_")}
        assert signals == axis if kind == "axis" else {"awaddr", "wdata", "bresp", "araddr", "rdata"} < signals


@pytest.mark.parametrize("shell", SHELLS)
def test_every_kernel_of_the_library_is_exported_as_the_shell_names_it(built: dict[str, Workplace], shell: str) -> None:
    plan = built[shell].plan
    assert [words for (words,) in built[shell].made("vitis_hls", "kernel")] == [
        vlnv(name) for name in kernel_names(plan)
    ]


# ---- the recorder refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("system.tcl", "ip:axi_dma:7.1", "ip:axi_dma:7.2", "there is no IP"),
        ("system.tcl", "[dict get $plan length_bits]", "27", "whole:8:26"),
        ("system.tcl", "CONFIG.c_include_s2mm $writes", "CONFIG.c_include_s2m $writes", "no parameter"),
        ("system.tcl", "clock memory/aclk\n", "\n", "memory/aclk is not connected"),
        ("system.tcl", "reset $cell/ap_rst_n", "clock $cell/ap_rst_n", "do not go together"),
        ("system.tcl", "wire memory/M00_AXI processor/S_AXI_HP0", "wire memory/M00_AXI memory/S00_AXI", "connected"),
        ("system.tcl", "-offset $address", "-offset 0x80000000", "reaches"),
        ("system.tcl", "    validate_bd_design\n", "", "validate it first"),
        ("system.tcl", "-target_address_space [get_bd_addr_spaces processor/Data]", "", "needs -target_address_space"),
        ("board.tcl", "{16 Bit}", "{16 Bits}", "must be one"),
        ("implement.tcl", "    opt_design\n    place_design\n", "    opt_design\n", "place_design has not run"),
        ("implement.tcl", "    generate_target all $design\n", "", "hw_handoff"),
        ("kernels.tcl", "    csynth_design\n", "", "csynth_design has not run"),
        ("kernels.tcl", "set_part [dict get $plan part]", "set_part xc7z020", "there is no part"),
        ("shell.tcl", "update_ip_catalog\n", "", "there is no IP"),
        ("shell.tcl", 'say "$shell is built"\nexit', "", "did not end with exit"),
    ],
)
def test_the_recorder_refuses(tmp_path: Path, file: str, old: str, new: str, reason: str) -> None:
    place = workplace("layers", tmp_path / "shell")
    scripts = changed_scripts(tmp_path, file, old, new)
    results = [place.run(tool, scripts) for tool in TOOLS]
    failed = next(done for done in results if done.returncode)
    assert reason in failed.stderr


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    lock_design -level routing\n", "    lock_design -level routed\n", "placement|routing|logical"),
        ("    empty_partitions $plan\n", "", "a partition is not empty"),
        ("    load_modules $plan $kernel\n    place_and_route", "    place_and_route", "a partition is empty"),
        ("modules/${partition}_[dict get", "modules/west_[dict get", "cell centre is a slot_centre, not a slot_west"),
        ("-mode out_of_context", "", "was not made out of context"),
        ("    read_xdc [dict get $plan constraints]\n", "", "there is no pblock"),
        ("    create_ip -vlnv [dict get $kernel vlnv] -module_name kernel\n", "", "no file kernel.xci"),
    ],
)
def test_the_recorder_refuses_a_wrong_order(tmp_path: Path, old: str, new: str, reason: str) -> None:
    place = workplace("partitions", tmp_path / "shell")
    assert place.run("vitis_hls").returncode == 0
    done = place.run("vivado", changed_scripts(tmp_path, "implement.tcl", old, new))
    assert done.returncode == 1
    assert reason in done.stderr


def test_a_refusal_names_file_and_line(tmp_path: Path) -> None:
    place = workplace("fixed", tmp_path / "shell")
    assert place.run("vitis_hls").returncode == 0
    for old, new in (("clock memory/aclk", "clock memory/aclock"), ("foreach space {", "foreeach space {")):
        scripts = changed_scripts(tmp_path, "system.tcl", old, new)
        lines = (scripts / "system.tcl").read_text(encoding="utf-8").splitlines()
        line = next(number for number, text in enumerate(lines, start=1) if new in text)
        places = place.run("vivado", scripts).stderr.split(": ", 1)[0].split(" from ")
        assert f"system.tcl:{line}" in places
        assert places[-1].startswith("shell.tcl:")


def changed_scripts(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the scripts in which `old` is `new` in one of them."""
    scripts = folder / "scripts"
    shutil.rmtree(scripts, ignore_errors=True)
    shutil.copytree(SCRIPTS, scripts)
    text = (scripts / file).read_text(encoding="utf-8")
    assert old in text
    (scripts / file).write_text(text.replace(old, new), encoding="utf-8")
    return scripts


# ---- typos -----------------------------------------------------------------------------------------------------------


def all_tokens() -> list[Token]:
    return [token for script in sorted(SCRIPTS.glob("*.tcl")) for token in tokens(script)]


def survives(folder: Path, token: Token, wrong: str, kernels: dict[str, Path]) -> bool:
    """Whether every shell is still built with `wrong` in the place of `token`."""
    shutil.copytree(SCRIPTS, folder / "scripts")
    script = folder / "scripts" / token.file
    text = script.read_text(encoding="utf-8")
    end = token.position + len(token.text)
    script.write_text(text[: token.position] + wrong + text[end:], encoding="utf-8")
    # The first that uses most of the script soonest.
    for shell in sorted(SHELLS, key=lambda shell: shell != ("partitions" if "implement" in token.file else "layers")):
        place = workplace(shell, folder / shell)
        if token.file == "kernels.tcl":
            tools: tuple[str, ...] = TOOLS
        else:
            tools = ("vivado",)
            shutil.copytree(kernels[shell], place.folder / "kernels")
        if any(place.run(tool, folder / "scripts").returncode for tool in tools):
            return False
        # As the build does: what should have been made is there.
        files = [image.file for image in expected_images(place.plan, place.images)]
        if not all(file.is_file() for file in (*files, place.images / f"{shell}.hwh")):
            return False
    return True


def typo_figures(
    chosen: list[Token], built: dict[str, Workplace], folder: Path, chance: random.Random
) -> tuple[Counter[str], list[str]]:
    """How many typos of each sort were made, and those that survived."""
    kernels = {shell: place.folder / "kernels" for shell, place in built.items()}
    wrong = [misspelt(token.text, chance) for token in chosen]

    def one(number: int) -> bool:
        mine = folder / str(number)
        mine.mkdir()
        try:
            return survives(mine, chosen[number], wrong[number], kernels)
        except subprocess.TimeoutExpired:
            return False
        finally:
            shutil.rmtree(mine)

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        survived = list(pool.map(one, range(len(chosen))))
    left = [
        f"{token.what} {token.file}:{token.line} {token.text} -> {changed}"
        for token, changed, is_left in zip(chosen, wrong, survived, strict=True)
        if is_left
    ]
    return Counter(token.what for token in chosen), left


def test_a_typo_in_a_name_of_the_tools_does_not_survive(built: dict[str, Workplace], tmp_path: Path) -> None:
    chance = random.Random(7)
    names = [token for token in all_tokens() if token.what in NAMES]
    made, left = typo_figures(chance.sample(names, 120), built, tmp_path, chance)
    assert min(made[what] for what in NAMES) >= 10
    assert len(left) <= 0.05 * made.total(), left


@pytest.mark.long
def test_hardly_a_typo_in_any_token_survives(
    built: dict[str, Workplace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = all_tokens()
    made, left = typo_figures(chosen, built, tmp_path, random.Random(2022))
    survived = Counter(line.split()[0] for line in left)
    with capsys.disabled():
        print()
        for what, count in sorted(made.items()):
            print(f"{what:10} {count:5} typos, {survived[what]:3} survive")
        print("\n".join(left))
    of_names = sum(made[what] for what in NAMES)
    assert sum(survived[what] for what in NAMES) <= 0.05 * of_names

"""The same transaction through the real `pynq` package, with its devices, buffers, registers, clocks and downloads.

`make test-pynq` runs these, in an environment of their own: the package wants numpy < 2 and pins much else. Only XRT,
/dev/mem and sysfs are stood in for (`recording_device`).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of the host's processor, and its dependencies of one another
    pynq = pytest.importorskip("pynq", reason="pynq is not installed here: make test-pynq runs these")

from chip_failures import FAILURES, FastTime, mend
from chip_images import module_image, shell_image
from chip_model import ChipModel
from convoy_bitstreams import floorplans
from convoy_device.errors import FabricError, ImageRefusedError
from convoy_device.fabric.pynq import board as boards
from convoy_device.fabric.pynq.board import PynqBoard, open_board
from convoy_device.fabric.pynq.fabric import PynqFabric
from convoy_device.fabric.pynq.images import to_bin
from convoy_schema.bitstream import Header
from convoy_schema.bitstream.header import build_header, parse_header
from convoy_schema.floorplan import Floorplan, parse
from convoy_schema.messages.boards import PartitionReport
from convoy_schema.topology import Kind
from pynq.pl_server import embedded_device
from real_bitstreams import real
from recording_device import RecordingDevice, install
from served_layers import batch, dense, serve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PARTIALS = {
    "zero": "prio_pr_0_gpio.bit",
    "three": "prio_pr_3_uart.bit",
}


def prio() -> Floorplan:
    """Two partitions of the PYNQ-PRIO design under names of ours, behind the addresses of our shell."""
    places = "".join(
        f'[[partitions]]\nname = "{name}"\nareas = [{{ clock_region = "{region}", columns = [{columns}] }}]\n'
        for name, region, columns in (("zero", "X0Y1", [26, 27]), ("three", "X1Y1", [38, 39]))
    )
    head = 'shell = "partitions"\npart = "xc7z020"\nclock_hz = 100_000_000\nmemory_bytes = 2\nusable_bytes = 1\n'
    kernel = '[[kernels]]\nkind = "dense"\nchannels = 1\nrow = 2\nfeatures = 64\n'
    plan = parse(head + places + kernel)
    shipped = floorplans()["partitions"].addresses
    assert shipped is not None
    slots = tuple(replace(slot, name=name) for slot, name in zip(shipped.slots, PARTIALS, strict=False))
    return replace(plan, addresses=replace(shipped, slots=slots))


class Bench:
    """A chip, the package's device on it, and the fabric under test."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, plan: Floorplan | None = None) -> None:
        plans = {plan.shell: plan} if plan else floorplans()
        self.model = ChipModel(root / "chip", plans)
        self.device: RecordingDevice = install(self.model, monkeypatch, root / "pl_server")
        self.state = root / "state"
        self.state.mkdir(exist_ok=True)
        self.plans = plans
        self.opened: list[PynqFabric] = []

    def open(self) -> PynqFabric:
        fabric = PynqFabric(
            PynqBoard(self.device, self.state),
            self.state,
            floorplans=self.plans,
            paths=self.model.paths,
            waiting=FastTime().waiting,
        )
        self.opened.append(fabric)
        return fabric


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(plan: Floorplan | None = None) -> Bench:
        made.append(Bench(tmp_path, monkeypatch, plan))
        return made[-1]

    yield make
    for bench in made:
        for fabric in bench.opened:
            fabric.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def library(bench: Bench) -> PynqFabric:
    fabric = bench.open()
    fabric.load_shell(shell_image())
    return fabric


def test_a_full_image_goes_through_the_package_without_a_handoff(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    library = bench.open()
    library.load_shell(shell_image())
    assert library.shell() == "partitions"
    assert all(bench.model.is_isolated(report.partition) for report in library.partitions())
    # Its container is loaded from our folder, whatever folder the process is in.
    assert bench.device.events[0].startswith(f"xclbin {bench.state} ")
    assert (bench.state / "loaded.xclbin").exists()
    assert Path.cwd() == tmp_path
    assert not Path("loaded.xclbin").exists()
    assert float(pynq.Clocks.fclk0_mhz) == 100.0
    assert not any(bench.model.paths.firmware.iterdir())


def test_a_module_runs_a_layer_to_the_last_bit(library: PynqFabric, bench: Bench) -> None:
    layer = dense(100, 33)
    serve(bench.model, layer)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    for rows in (1, 5):
        assert np.array_equal(library.run(layer, batch(layer, rows)), layer.run(batch(layer, rows)))
    library.close()
    allocated = [int(event.split()[1]) for event in bench.device.events if event.startswith("allocate")]
    assert sorted(bench.device.unmapped) == sorted(allocated)


@pytest.mark.parametrize(("inject", "message", "is_decoupler"), FAILURES)
def test_a_failure_at_any_step_leaves_it_cut_off_and_the_next_good_load_repairs(
    library: PynqFabric, bench: Bench, inject: Callable[[ChipModel], None], message: str, is_decoupler: bool
) -> None:
    library.configure("west", Kind.MAX_POOL, module_image("west", Kind.MAX_POOL))
    inject(bench.model)
    with pytest.raises(FabricError, match=message):
        library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert library.partitions()[0] == PartitionReport("west", None, False, True)
    assert bench.model.is_isolated("west") or is_decoupler
    mend(bench.model)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert library.partitions()[0] == PartitionReport("west", Kind.DENSE, True, False)


@pytest.mark.parametrize("fault", ["flags", "firmware"])
def test_a_full_load_that_the_kernel_refuses_is_told(library: PynqFabric, bench: Bench, fault: str) -> None:
    bench.model.faults[fault] = 5
    with pytest.raises(FabricError, match="full configuration failed"):
        library.load_shell(shell_image())
    assert library.shell() == ""
    mend(bench.model)
    library.load_shell(shell_image())
    assert library.shell() == "partitions"


def test_a_new_process_takes_over_what_the_package_says_was_loaded(library: PynqFabric, bench: Bench) -> None:
    library.configure("east", Kind.ADD, module_image("east", Kind.ADD))
    library.close()
    fabric = bench.open()
    assert fabric.shell() == "partitions"
    assert fabric.partitions()[2] == PartitionReport("east", Kind.ADD, True, False)


def test_memory_is_to_be_had_only_after_a_configuration(bench: Bench) -> None:
    with pytest.raises(FabricError, match="contiguous memory are not to be had"):
        PynqBoard(bench.device, bench.state).allocate(64)


def test_registers_take_numpys_integers_too(library: PynqFabric, bench: Bench) -> None:
    board = PynqBoard(bench.device, bench.state)
    board.write(0x43C0_0040, np.int64(3))  # type: ignore[arg-type]
    assert board.read(0x43C0_0040) == 3
    assert type(board.read(0x43C0_0040)) is int


# Real files ----------------------------------------------------------------------------------------------------------


def as_shell(image: bytes) -> bytes:
    """The real full image under the design's name that our shells have."""
    header, offset = parse_header(image)
    named = Header("convoy_partitions;UserID=0XFFFFFFFF;Version=2018.3", header.part, header.date, header.time)
    return build_header(named, len(image) - offset) + image[offset:]


@pytest.mark.parametrize("name", ["prio.bit.gz", *PARTIALS.values(), "prio_linux_pr_2_iic.bit"])
def test_words_are_turned_as_the_package_turns_them(name: str) -> None:
    image = real(name)
    assert to_bin(image) == embedded_device.bit2bin(image)


def test_real_images_are_loaded(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(prio())
    bench.model.unmarked = "partitions"
    fabric = bench.open()
    with pytest.raises(ImageRefusedError, match="none of ours"):
        fabric.load_shell(real("prio.bit.gz"))
    fabric.load_shell(as_shell(real("prio.bit.gz")))
    bench.model.unmarked = Kind.DENSE
    for name, file in PARTIALS.items():
        fabric.configure(name, Kind.DENSE, real(file))
    assert fabric.partitions() == (
        PartitionReport("zero", Kind.DENSE, True, False),
        PartitionReport("three", Kind.DENSE, True, False),
    )
    for other in (PARTIALS["three"], "prio_linux_pr_1_gpio.bit"):
        with pytest.raises(ImageRefusedError):
            fabric.configure("zero", Kind.DENSE, real(other))
        assert bench.model.is_isolated("zero")
    fabric.configure("zero", Kind.DENSE, real(PARTIALS["zero"]))
    assert fabric.partitions()[0].coupled


def test_an_overlay_that_somebody_else_loads_is_noticed(
    library: PynqFabric, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, handoff = real("prio.bit.gz"), real("prio.hwh.gz")
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "prio.bit").write_bytes(image)
    (folder / "prio.hwh").write_bytes(handoff)
    # The package packs memories into a container with a tool of XRT's.
    tool = folder / "xclbinutil"
    tool.write_text(f"#!/bin/sh\ncp {Path(embedded_device.__file__).parent}/default.xclbin t.xclbin\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def path(*parts: Any) -> Path:
        return bench.model.paths.firmware if parts == ("/lib/firmware",) else Path(*parts)

    monkeypatch.setattr(embedded_device, "Path", path)
    library.close()
    monkeypatch.chdir(folder)  # the package leaves a file where it stands
    bench.model.unmarked = "partitions"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        overlay = pynq.Overlay(str(folder / "prio.bit"), device=bench.device)
    assert overlay.is_loaded()
    assert "pr_0" in overlay.ip_dict
    fabric = bench.open()
    assert fabric.shell() == ""
    fabric.load_shell(shell_image())
    assert fabric.shell() == "partitions"


# Opening -------------------------------------------------------------------------------------------------------------


def test_off_a_board_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FabricError, match="needs a PYNQ board, and /proc/device-tree/chosen/pynq_board is not there"):
        open_board(tmp_path)


def test_it_must_be_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynq.ps, "ON_TARGET", True)
    monkeypatch.setattr(boards.os, "geteuid", lambda: 1000)
    with pytest.raises(FabricError, match="must be root, it is user 1000"):
        open_board(tmp_path)


def test_it_is_opened_in_the_main_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynq.ps, "ON_TARGET", True)
    monkeypatch.setattr(boards.os, "geteuid", lambda: 0)
    refused: list[BaseException] = []

    def open_in_thread() -> None:
        try:
            open_board(bench.state)
        except FabricError as error:
            refused.append(error)

    thread = threading.Thread(target=open_in_thread)
    thread.start()
    thread.join()
    assert "in the main thread" in str(refused[0])
    assert isinstance(open_board(bench.state), PynqBoard)


def test_without_a_device_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynq.ps, "ON_TARGET", True)
    monkeypatch.setattr(boards.os, "geteuid", lambda: 0)
    monkeypatch.delattr(pynq.Device, "_active_device", raising=False)
    monkeypatch.setattr(pynq.Device, "_devices", [], raising=False)
    with pytest.raises(FabricError, match="the pynq package found no device"):
        open_board(tmp_path)

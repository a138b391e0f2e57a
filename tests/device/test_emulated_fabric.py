"""What the frames say decides what runs, whole or not at all, whoever loaded it and however that daemon died."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from convoy_bitstreams import catalogue, floorplans
from convoy_device.errors import FabricError, ImageRefusedError, LayerRefusedError
from convoy_device.fabric import Fabric, emulated
from convoy_device.fabric.emulated import MEMORY_FILE, EmulatedFabric
from convoy_device.fabric.memory import ConfigurationMemory
from convoy_device.fabric.opening import open_fabric
from convoy_device.fabric.pace import Pace
from convoy_schema.bitstream import EMULATED_XC7Z020, XC7Z020, Descriptor, Part, embed, write_full, write_partial
from convoy_schema.fixedpoint import fixed_point
from convoy_schema.layers import Parameters, Prepared, prepare
from convoy_schema.limits import KernelLimits
from convoy_schema.messages.boards import PartitionReport
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from patience import PATIENCE_S

PART = EMULATED_XC7Z020.name
PLAN = floorplans()["partitions"]


def shell_image(shell: str) -> bytes:
    return catalogue().read(catalogue().shell(shell, PART).digest)


def module_image(partition: str, kind: Kind) -> bytes:
    return catalogue().read(catalogue().module("partitions", PART, partition, kind).digest)


def made_module(
    partition: str = "west",
    *,
    part: Part = EMULATED_XC7Z020,
    says: tuple[str, str] = ("partitions", "west"),
    kernels: tuple[KernelLimits, ...] = (KernelLimits(Kind.DENSE, 8, 8, 8),),
) -> bytes:
    """A partial image for `partition` whose frames say `says` (shell, partition) and `kernels`."""
    region = PLAN.regions[partition]
    frames = embed(Descriptor(*says, kernels), np.zeros((len(region), 101), dtype=np.uint32))
    return write_partial(part, "made", region, frames)


def dense(features: int = 12, outputs: int = 3) -> Prepared:
    weights = np.arange(features * outputs, dtype=np.int8).reshape(outputs, features)
    multiplier, shift = fixed_point(0.01)
    parameters = Parameters(
        weights,
        np.arange(outputs, dtype=np.int32),
        np.full(outputs, multiplier, np.int32),
        np.full(outputs, shift, np.int32),
    )
    layer = Layer("fc", Kind.DENSE, ("x",), "y", parameters="0" * 64)
    tensors = (Tensor("x", (features,), 0.1, 3), Tensor("y", (outputs,), 0.1, -5))
    return prepare(layer, Topology("t", tensors, (layer,), "x", "y"), parameters)


def max_pool(row: int = 8) -> Prepared:
    layer = Layer("pool", Kind.MAX_POOL, ("x",), "y", Window((2, 2), (2, 2)))
    tensors = (Tensor("x", (2, 8, row), 0.1, 0), Tensor("y", (2, 4, row // 2), 0.1, 0))
    return prepare(layer, Topology("t", tensors, (layer,), "x", "y"), None)


def batch(layer: Prepared, rows: int = 4) -> list[NDArray[np.int8]]:
    random = np.random.default_rng(rows)
    return [random.integers(-128, 128, (rows, *tensor.shape), dtype=np.int8) for tensor in layer.inputs]


def opened(folder: Path) -> EmulatedFabric:
    return EmulatedFabric(folder, floorplans=floorplans())


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[EmulatedFabric]:
    found = opened(tmp_path)
    yield found
    found.close()


@pytest.fixture
def library(fabric: EmulatedFabric) -> EmulatedFabric:
    """A fabric with the shell `partitions`."""
    fabric.load_shell(shell_image("partitions"))
    return fabric


# What runs -----------------------------------------------------------------------------------------------------------


def test_it_is_a_fabric_and_says_what_it_is(fabric: EmulatedFabric) -> None:
    as_protocol: Fabric = fabric
    facts = as_protocol.facts
    assert (facts.name, facts.part, facts.clock_hz) == ("emulated", PART, 100_000_000)
    assert facts.shells == ("fixed", "layers", "partitions")
    assert [p.name for p in facts.partitions] == ["west", "centre", "east"]
    assert all(set(p.kinds) == set(Kind) for p in facts.partitions)
    assert facts.memory_bytes == 128 * 2**20


def test_it_offers_as_many_partitions_as_it_may(tmp_path: Path) -> None:
    fabric = EmulatedFabric(tmp_path, floorplans=floorplans(), offered=2)
    assert [partition.name for partition in fabric.facts.partitions] == ["west", "centre"]
    fabric.load_shell(shell_image("partitions"))
    fabric.configure("centre", Kind.MAX_POOL, module_image("centre", Kind.MAX_POOL))
    assert [(report.partition, report.module) for report in fabric.partitions()] == [
        ("west", None),
        ("centre", Kind.MAX_POOL),
    ]
    fabric.close()


def test_a_blank_part_runs_nothing(fabric: EmulatedFabric) -> None:
    assert fabric.shell() == ""
    assert fabric.partitions() == ()
    assert not any(fabric.runs(kind) for kind in Kind)
    with pytest.raises(FabricError, match="no shell is loaded"):
        fabric.run(dense(), batch(dense()))
    with pytest.raises(FabricError, match="no shell is loaded"):
        fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))


def test_a_shell_of_fixed_kernels_runs_every_kind(fabric: EmulatedFabric) -> None:
    fabric.load_shell(shell_image("layers"))
    assert fabric.shell() == "layers"
    assert fabric.partitions() == ()
    assert all(fabric.runs(kind) for kind in Kind)
    for layer in (dense(), max_pool()):
        inputs = batch(layer)
        assert np.array_equal(fabric.run(layer, inputs), layer.run(inputs))
    with pytest.raises(FabricError, match="no partition 'west'; it has none"):
        fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))


def test_modules_come_and_go_by_partition(library: EmulatedFabric) -> None:
    blank = tuple(PartitionReport(name, None, False) for name in ("west", "centre", "east"))
    assert library.partitions() == blank
    with pytest.raises(FabricError, match="no such kernel or module"):
        library.run(dense(), batch(dense()))
    library.configure("centre", Kind.DENSE, module_image("centre", Kind.DENSE))
    assert library.partitions() == (blank[0], PartitionReport("centre", Kind.DENSE, True), blank[2])
    assert [kind for kind in Kind if library.runs(kind)] == [Kind.DENSE]
    inputs = batch(dense())
    assert np.array_equal(library.run(dense(), inputs), dense().run(inputs))
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    library.configure("centre", Kind.MAX_POOL, module_image("centre", Kind.MAX_POOL))
    assert [report.module for report in library.partitions()] == [Kind.DENSE, Kind.MAX_POOL, None]
    assert library.runs(Kind.DENSE)
    assert library.runs(Kind.MAX_POOL)
    library.configure("west", Kind.CONV2D, module_image("west", Kind.CONV2D))
    assert not library.runs(Kind.DENSE)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("partition", ["west", "centre", "east"])
def test_every_module_of_the_catalogue_loads(library: EmulatedFabric, partition: str, kind: Kind) -> None:
    library.configure(partition, kind, module_image(partition, kind))
    assert library.runs(kind)


def test_another_shell_clears_the_partitions(library: EmulatedFabric) -> None:
    library.configure("east", Kind.ADD, module_image("east", Kind.ADD))
    library.load_shell(shell_image("layers"))
    library.load_shell(shell_image("partitions"))
    assert library.partitions() == tuple(PartitionReport(n, None, False) for n in ("west", "centre", "east"))
    assert not library.runs(Kind.ADD)


def test_a_layer_beyond_the_limits_is_refused(library: EmulatedFabric) -> None:
    library.configure("west", Kind.DENSE, made_module())
    library.run(dense(8, 3), batch(dense(8, 3)))
    with pytest.raises(LayerRefusedError, match="needs 9 features, the dense kernel has room for 8"):
        library.run(dense(9, 3), batch(dense(9, 3)))
    assert library.partitions()[0].coupled


# What outlives the daemon --------------------------------------------------------------------------------------------


def test_a_restarted_daemon_finds_what_is_there(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.load_shell(shell_image("partitions"))
    first.configure("east", Kind.MAX_POOL, module_image("east", Kind.MAX_POOL))
    reports = first.partitions()
    first.close()
    first.close()
    second = opened(tmp_path)
    assert second.shell() == "partitions"
    assert second.partitions() == reports
    inputs = batch(max_pool())
    assert np.array_equal(second.run(max_pool(), inputs), max_pool().run(inputs))
    second.power_cycle()
    assert (second.shell(), second.partitions(), second.runs(Kind.MAX_POOL)) == ("", (), False)
    second.load_shell(shell_image("layers"))
    second.close()
    third = EmulatedFabric(tmp_path, floorplans=floorplans(), power_on=True)
    assert third.shell() == ""
    third.close()


def test_two_daemons_cannot_drive_one_part(fabric: EmulatedFabric, tmp_path: Path) -> None:
    with pytest.raises(FabricError, match="in use by another daemon"):
        opened(tmp_path)


def test_a_transfer_that_an_earlier_daemon_left_is_stopped(tmp_path: Path) -> None:
    opened(tmp_path).close()
    memory = ConfigurationMemory(tmp_path / MEMORY_FILE, EMULATED_XC7Z020.geometry.memory_frames)
    memory.dma_running = True
    memory.close()
    fabric = opened(tmp_path)
    fabric.quiesce()
    fabric.close()
    memory = ConfigurationMemory(tmp_path / MEMORY_FILE, EMULATED_XC7Z020.geometry.memory_frames)
    assert not memory.dma_running
    memory.close()


def test_dma_is_idle_after_a_layer_that_fails(fabric: EmulatedFabric, tmp_path: Path) -> None:
    fabric.load_shell(shell_image("layers"))
    with pytest.raises(Exception, match="takes 'x'"):
        fabric.run(dense(), [np.zeros((2, 5), np.int8)])
    fabric.close()
    memory = ConfigurationMemory(tmp_path / MEMORY_FILE, EMULATED_XC7Z020.geometry.memory_frames)
    assert not memory.dma_running
    memory.close()


class Died(BaseException):
    """Stands for SIGKILL: nothing of the daemon runs after it."""


def die_at(monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """Let the process die at its `write`-th write to the part."""
    left = [write]
    genuine = ConfigurationMemory._pwrite

    def pwrite(self: ConfigurationMemory, raw: bytes, at: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        genuine(self, raw, at)

    monkeypatch.setattr(ConfigurationMemory, "_pwrite", pwrite)


@pytest.mark.parametrize("write", [0, 1, 2, 3, 5, 8, 13, 21, 29, 30, 31, 32, 33, 34, 35, 40, 50, 55, 60])
def test_a_load_that_dies_leaves_no_old_module_pretending(tmp_path: Path, write: int) -> None:
    fabric = opened(tmp_path)
    fabric.load_shell(shell_image("partitions"))
    fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    fabric.configure("east", Kind.ADD, module_image("east", Kind.ADD))
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, write)
        try:
            fabric.configure("west", Kind.MAX_POOL, module_image("west", Kind.MAX_POOL))
            died = False
        except Died:
            died = True
    fabric.close()
    survivor = opened(tmp_path)
    west, _, east = survivor.partitions()
    assert east == PartitionReport("east", Kind.ADD, True)
    if write == 0:
        assert west == PartitionReport("west", Kind.DENSE, True)
    elif died:
        assert (west.coupled, west.degraded) == (False, True)
        assert not survivor.runs(Kind.DENSE)
        assert not survivor.runs(Kind.MAX_POOL)
    survivor.configure("west", Kind.MAX_POOL, module_image("west", Kind.MAX_POOL))
    assert survivor.partitions()[0] == PartitionReport("west", Kind.MAX_POOL, True)
    survivor.close()


def test_a_load_makes_as_many_writes_as_were_tried_above(
    library: EmulatedFabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the list above reaches from the first write to the end of the load."""
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    count = [0]
    genuine = ConfigurationMemory._pwrite

    def pwrite(self: ConfigurationMemory, raw: bytes, at: int) -> None:
        count[0] += 1
        genuine(self, raw, at)

    monkeypatch.setattr(ConfigurationMemory, "_pwrite", pwrite)
    library.configure("west", Kind.MAX_POOL, module_image("west", Kind.MAX_POOL))
    assert 50 <= count[0] <= 62


@pytest.mark.parametrize("write", [0, 1, 7, 12])
def test_a_shell_load_that_dies_leaves_a_blank_part(tmp_path: Path, write: int) -> None:
    fabric = opened(tmp_path)
    fabric.load_shell(shell_image("layers"))
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, write)
        with pytest.raises(Died):
            fabric.load_shell(shell_image("partitions"))
    fabric.close()
    survivor = opened(tmp_path)
    assert (survivor.shell(), survivor.partitions()) == ("", ())
    assert not survivor.runs(Kind.DENSE)
    survivor.load_shell(shell_image("partitions"))
    assert survivor.shell() == "partitions"
    survivor.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from convoy_bitstreams import catalogue, floorplans
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.fabric.memory import ConfigurationMemory
from convoy_schema.topology import Kind
images = catalogue()
load = lambda kind: images.read(images.module("partitions", "emulated-xc7z020", "west", kind).digest)
fabric = EmulatedFabric(Path(sys.argv[1]), floorplans=floorplans())
fabric.load_shell(images.read(images.shell("partitions", "emulated-xc7z020").digest))
fabric.configure("west", Kind.DENSE, load(Kind.DENSE))
genuine, left = ConfigurationMemory._pwrite, [20]
def pwrite(self, raw, at):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    genuine(self, raw, at)
ConfigurationMemory._pwrite = pwrite
fabric.configure("west", Kind.ADD, load(Kind.ADD))
"""


def test_a_daemon_killed_in_a_load_leaves_the_partition_decoupled(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == -signal.SIGKILL
    survivor = opened(tmp_path)
    assert survivor.shell() == "partitions"
    assert survivor.partitions()[0] == PartitionReport("west", None, False, True)
    assert not survivor.runs(Kind.DENSE)
    survivor.close()


def test_a_decoupled_module_does_not_run(tmp_path: Path) -> None:
    fabric = opened(tmp_path)
    fabric.load_shell(shell_image("partitions"))
    fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    fabric.close()
    memory = ConfigurationMemory(tmp_path / MEMORY_FILE, EMULATED_XC7Z020.geometry.memory_frames)
    memory.set_flags(0, 0)
    memory.close()
    fabric = opened(tmp_path)
    assert fabric.partitions()[0] == PartitionReport("west", Kind.DENSE, False)
    assert not fabric.runs(Kind.DENSE)
    with pytest.raises(FabricError, match="west holds one but is decoupled"):
        fabric.run(dense(), batch(dense()))
    fabric.close()


# What is refused -----------------------------------------------------------------------------------------------------


@cache
def refused_images() -> dict[str, tuple[bytes, str]]:
    """Images that partition west must not take, and why."""
    good = module_image("west", Kind.DENSE)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    fewer = PLAN.regions["west"][:-1]
    return {
        "garbage": (b"garbage", "preamble"),
        "empty": (b"", "preamble"),
        "cut": (good[:-100], "not whole"),
        "damaged": (bytes(flipped), "damaged"),
        "another partition": (module_image("centre", Kind.DENSE), "1424 frames outside"),
        "a shell": (shell_image("layers"), "frames outside"),
        "a real part": (made_module(part=XC7Z020), r"IDCODE 03727093 \(xc7z020\)"),
        "a smaller region": (
            write_partial(EMULATED_XC7Z020, "x", fewer, np.zeros((len(fewer), 101), dtype=np.uint32)),
            "leaves 1 frames as they were",
        ),
        "blank frames": (
            write_partial(
                EMULATED_XC7Z020, "x", PLAN.regions["west"], np.zeros((len(fewer) + 1, 101), dtype=np.uint32)
            ),
            "reads back as nothing that is whole",
        ),
        "another kind": (module_image("west", Kind.CONV2D), "reads back as a conv2d"),
        "says it is another partition's": (made_module(says=("partitions", "east")), "nothing that is whole"),
        "says it is another shell's": (made_module(says=("layers", "west")), "nothing that is whole"),
        "has no kernel": (made_module(kernels=()), "nothing that is whole"),
    }


@pytest.mark.parametrize("name", list(refused_images()))
def test_a_wrong_module_is_refused_and_the_next_good_one_repairs(library: EmulatedFabric, name: str) -> None:
    image, reason = refused_images()[name]
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    with pytest.raises(FabricError, match=reason):
        library.configure("west", Kind.DENSE, image)
    report = library.partitions()[0]
    assert (report.coupled, report.degraded) == (False, True)
    assert not library.runs(Kind.DENSE)
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert library.partitions()[0] == PartitionReport("west", Kind.DENSE, True)


def test_an_unknown_partition_is_refused(library: EmulatedFabric) -> None:
    with pytest.raises(FabricError, match="no partition 'north'; it has west, centre, east"):
        library.configure("north", Kind.DENSE, b"")


@pytest.mark.parametrize("image", [b"", b"garbage"])
def test_a_wrong_shell_leaves_everything_as_it_was(library: EmulatedFabric, image: bytes) -> None:
    library.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    partial = module_image("west", Kind.ADD)
    for wrong in (image, partial, shell_image("layers")[:-4]):
        with pytest.raises(ImageRefusedError):
            library.load_shell(wrong)
    assert library.shell() == "partitions"
    assert library.runs(Kind.DENSE)


def test_a_shell_without_a_floorplan_reads_back_as_none(fabric: EmulatedFabric) -> None:
    frames = np.zeros((EMULATED_XC7Z020.geometry.memory_frames, 101), dtype=np.uint32)
    for image in (
        write_full(EMULATED_XC7Z020, "blank", frames),
        write_full(EMULATED_XC7Z020, "foreign", embed(Descriptor("foreign", "", ()), frames)),
        write_full(EMULATED_XC7Z020, "module", embed(Descriptor("layers", "west", ()), frames)),
    ):
        with pytest.raises(FabricError, match="no shell that this fabric has a floorplan of"):
            fabric.load_shell(image)
        assert fabric.shell() == ""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutated_module_ever_runs(library: EmulatedFabric, data: st.DataObject) -> None:
    image = bytearray(module_image("west", Kind.DENSE))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(200, len(image) - 100))] ^= data.draw(st.integers(1, 255))
    if bytes(image) == module_image("west", Kind.DENSE):
        return
    try:
        library.configure("west", Kind.DENSE, bytes(image))
    except FabricError:
        assert not library.runs(Kind.DENSE)


def test_a_state_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FabricError, match="cannot be opened"):
        opened(tmp_path / "file" / "state")
    with pytest.raises(FabricError, match="one shell or more"):
        EmulatedFabric(tmp_path, floorplans={})


@pytest.mark.parametrize("content", [b"", b"short", bytes(10_000_000)])
def test_a_memory_of_another_size_is_a_blank_part(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MEMORY_FILE).write_bytes(content)
    fabric = opened(tmp_path)
    assert fabric.shell() == ""
    fabric.close()


def test_garbage_in_the_memory_runs_nothing(tmp_path: Path) -> None:
    opened(tmp_path).close()
    size = (tmp_path / MEMORY_FILE).stat().st_size
    (tmp_path / MEMORY_FILE).write_bytes(np.random.default_rng(1).bytes(size))
    fabric = opened(tmp_path)
    assert fabric.shell() == ""
    assert not any(fabric.runs(kind) for kind in Kind)
    fabric.close()


# Size and time -------------------------------------------------------------------------------------------------------


def test_the_memory_is_small_on_disk_and_stays_so(library: EmulatedFabric, tmp_path: Path) -> None:
    for kind in (*Kind, *Kind):
        for partition in ("west", "centre", "east"):
            library.configure(partition, kind, module_image(partition, kind))
    status = (tmp_path / MEMORY_FILE).stat()
    assert status.st_size == 4096 + 9996 * 404
    assert status.st_blocks * 512 < 1_500_000


def test_loads_are_quick(fabric: EmulatedFabric) -> None:
    shell, module = shell_image("partitions"), module_image("east", Kind.CONV2D)

    def best(work: object, *arguments: object) -> float:
        assert callable(work)
        times = []
        for _ in range(4):
            begun = time.thread_time()
            work(*arguments)
            times.append(time.thread_time() - begun)
        return min(times)

    assert best(fabric.load_shell, shell) < 0.3
    assert best(fabric.configure, "east", Kind.CONV2D, module) < 0.1


def test_a_paced_layer_takes_what_the_cycle_model_says(tmp_path: Path) -> None:
    layer = dense(1000, 100)
    rows = 50
    inputs = batch(layer, rows)
    modelled = layer.run_cycles(rows) / 100_000_000
    slowdown = 0.02 / modelled
    fabric = open_fabric("emulated", tmp_path, pace=slowdown)
    fabric.load_shell(shell_image("layers"))
    begun = time.perf_counter()
    for _ in range(5):
        assert np.array_equal(fabric.run(layer, inputs), layer.run(inputs))
    took = time.perf_counter() - begun
    fabric.close()
    assert 0.099 <= took < PATIENCE_S


def test_a_paced_kernel_takes_parameters_again_when_it_had_another_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(emulated, "Pace", lambda slowdown: Pace(slowdown, lambda: now[0], sleep))
    fabric = open_fabric("emulated", tmp_path, pace=1.0)
    fabric.load_shell(shell_image("partitions"))
    fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    one, other = dense(16, 40), dense(16, 40)

    def cycles(*layers: Prepared) -> int:
        begun = now[0]
        for layer in layers:
            fabric.run(layer, batch(layer, 2))
        return round((now[0] - begun) * 100_000_000)

    run, given = one.run_cycles(2), one.load_cycles()
    assert given > 0
    assert cycles(one) == run + given
    assert cycles(one, one) == 2 * run
    assert cycles(other, one) == 2 * (run + given)
    fabric.configure("west", Kind.DENSE, module_image("west", Kind.DENSE))
    assert cycles(one, one) == 2 * run + given
    fabric.close()

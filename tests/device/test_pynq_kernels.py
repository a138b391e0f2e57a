"""The board's driver and the layer library's own C++ together: its registers, streams and transfers are what they take.

The kernels in the register model are those that Vitis would build, compiled by g++.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import convoy_hls
import numpy as np
import pytest
from chip_failures import FastTime
from chip_images import module_image, shell_image
from chip_model import ChipModel
from convoy_bitstreams import floorplans
from convoy_device.fabric.pynq.fabric import PynqFabric
from convoy_device.modules import Modules
from convoy_device.sample_layers import sample
from convoy_hls.build import build
from convoy_schema.layers import Prepared
from convoy_schema.names import digest_of
from convoy_schema.streams import pack_parameters
from convoy_schema.topology import Kind
from driven_chip import ModelChip
from numpy.typing import NDArray
from served_kernels import serve_kernels
from served_layers import batch, conv2d, dense

pytestmark = pytest.mark.skipif(bool(convoy_hls.unavailable()), reason=convoy_hls.unavailable())


@pytest.fixture(scope="module")
def built() -> Path:
    return build()


@pytest.fixture
def fabric(built: Path, tmp_path: Path) -> Iterator[PynqFabric]:
    model = ChipModel(tmp_path / "chip")
    serve_kernels(model, convoy_hls.Library(built))
    found = PynqFabric(
        ModelChip(model), tmp_path / "state", floorplans=floorplans(), paths=model.paths, waiting=FastTime().waiting
    )
    found.load_shell(shell_image("layers"))
    yield found
    found.close()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_runs_to_the_last_bit(fabric: PynqFabric, kind: Kind) -> None:
    for seed in (1, 2, 1):
        one = sample(kind, seed)
        expected: NDArray[np.int8] = one.layer.run(one.inputs)
        assert np.array_equal(fabric.run(one.layer, one.inputs), expected)
        assert len(np.unique(expected)) > 10, "a sample that says something"
    assert set(fabric.phases.milliseconds) >= {"pack", "run", "unpack"}


@pytest.mark.parametrize("layer", [dense(1200, 70), conv2d(70, 64)], ids=["dense", "conv2d"])
def test_parameters_that_no_kernel_can_hold_stream_past_it(fabric: PynqFabric, layer: Prepared) -> None:
    assert not pack_parameters(layer.layer, layer.inputs, layer.output, layer.parameters).held
    for rows in (1, 3):
        assert np.array_equal(fabric.run(layer, batch(layer, rows)), layer.run(batch(layer, rows)))


@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (2, 1), (1, 2)])
def test_a_convolution_of_few_channels_is_folded_on_its_way(fabric: PynqFabric, channels: int, stride: int) -> None:
    layer = conv2d(channels, 9, stride)
    assert layer.given.folded is not None
    for rows in (1, 3):
        assert np.array_equal(fabric.run(layer, batch(layer, rows)), layer.run(batch(layer, rows)))


def test_layers_of_all_kinds_take_turns(fabric: PynqFabric) -> None:
    samples = [sample(kind, seed) for seed in (1, 2) for kind in Kind]
    order = np.random.default_rng(7).permutation(len(samples) * 3) % len(samples)
    for number in order.tolist():
        one = samples[number]
        assert np.array_equal(fabric.run(one.layer, one.inputs), one.layer.run(one.inputs))


def test_modules_are_swapped_where_kinds_outnumber_partitions(fabric: PynqFabric) -> None:
    fabric.load_shell(shell_image("partitions"))
    places = [(partition, kind) for partition in ("west", "centre") for kind in Kind]
    modules = Modules(fabric, lambda _, digest: contents[digest])
    contents = {digest_of(module_image(*place)): module_image(*place) for place in places}
    images = {place: digest_of(module_image(*place)) for place in places}
    for turn in range(2):
        for kind in Kind:
            one = sample(kind)
            assert np.array_equal(modules.run(one.layer, one.inputs, images, list(Kind)), one.layer.run(one.inputs))
        assert modules.swaps >= (turn + 1) * (len(Kind) - 2)
    assert not any(report.degraded for report in fabric.partitions())

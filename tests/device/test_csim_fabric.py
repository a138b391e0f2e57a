"""A board whose kernels are the layer library's own C++: equal to the exact arithmetic, alone and in a chain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from convoy_bitstreams import catalogue
from convoy_controller import lenet5
from convoy_controller.datasets import Dataset, digits, mnist
from convoy_controller.importer import ImportedModel
from convoy_device.errors import FabricError
from convoy_device.fabric import Fabric
from convoy_device.fabric.opening import open_fabric
from convoy_hls import unavailable
from convoy_models import LENET5
from convoy_schema.bitstream import EMULATED_XC7Z020
from convoy_schema.fixedpoint import quantise
from convoy_schema.layers import Prepared, evaluate, load, prepare
from convoy_schema.names import digest_of
from convoy_schema.network import PreparedNetwork, prepare_network
from convoy_schema.parameters import pack_parameters
from convoy_schema.topology import Kind
from mnist_data import mnist_folder
from numpy.typing import NDArray

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"the kernels cannot be compiled here: {unavailable()}")

PART = EMULATED_XC7Z020.name
Int8 = NDArray[np.int8]


@cache
def network() -> ImportedModel:
    return lenet5.quantised()[0]


def inputs(data: Dataset) -> Int8:
    real = data.images.astype(np.float32) * np.float32(LENET5.scale) + np.float32(LENET5.offset)
    return quantise(real, network().topology.tensor(network().topology.input))


def prepared() -> list[Prepared]:
    topology = network().topology
    return [prepare(layer, topology, load(layer, network().parameters)) for layer in topology.layers]


def whole() -> PreparedNetwork:
    return prepare_network(network().topology, network().parameters)


def configured(name: str, folder: Path, shell: str = "layers") -> Fabric:
    fabric = open_fabric(name, folder)
    fabric.load_shell(catalogue().read(catalogue().shell(shell, PART).digest))
    return fabric


def through(fabrics: list[Fabric], rows: Int8) -> list[Int8]:
    """Every layer's output, the layers dealt out to the fabrics in turn."""
    outputs = []
    for number, layer in enumerate(prepared()):
        rows = fabrics[number % len(fabrics)].run(layer, [rows])
        outputs.append(rows)
    return outputs


def same_as_one_process(fabrics: list[Fabric], rows: Int8) -> None:
    topology = network().topology
    expected = evaluate(topology, network().parameters, rows)
    for layer, found in zip(topology.layers, through(fabrics, rows), strict=True):
        np.testing.assert_array_equal(found, expected[layer.output], layer.name)
    for fabric in fabrics:
        fabric.close()


@pytest.mark.parametrize("names", [("csim",), ("csim", "emulated"), ("emulated", "csim", "csim")])
def test_every_layer_of_lenet5_is_equal_to_the_last_bit(tmp_path: Path, names: tuple[str, ...]) -> None:
    fabrics = [configured(name, tmp_path / str(number)) for number, name in enumerate(names)]
    same_as_one_process(fabrics, inputs(digits(train=False))[:64])


def test_a_thousand_mnist_digits(tmp_path: Path) -> None:
    fabrics = [configured(name, tmp_path / name) for name in ("csim", "emulated")]
    same_as_one_process(fabrics, inputs(mnist(mnist_folder()))[:1000])


@pytest.mark.parametrize("name", ["csim", "emulated"])
def test_shell_fixed_runs_the_network_as_a_whole_and_nothing_else(tmp_path: Path, name: str) -> None:
    fabric = configured(name, tmp_path, "fixed")
    rows = inputs(digits(train=False))[:32]
    expected = evaluate(network().topology, network().parameters, rows)[network().output]
    for _ in range(2):
        np.testing.assert_array_equal(fabric.run(whole(), [rows]), expected)
    with pytest.raises(FabricError, match="a conv2d cannot run alone: shell fixed computes its network as a whole"):
        fabric.run(prepared()[0], [rows])
    fabric.load_shell(catalogue().read(catalogue().shell("layers", PART).digest))
    with pytest.raises(FabricError, match="cannot run as a whole: shell layers is loaded"):
        fabric.run(whole(), [rows])
    fabric.close()


def test_new_parameters_between_two_images_count_from_the_second_on(tmp_path: Path) -> None:
    fabric = configured("csim", tmp_path, "fixed")
    image = inputs(digits(train=False))[:1]
    old, topology = whole(), network().topology
    last = old.layers[-1].parameters
    assert last is not None
    assert last.weights is not None
    turned = replace(last, weights=np.ascontiguousarray(-last.weights))
    digest = digest_of(pack_parameters(turned))
    changed = replace(topology, layers=(*topology.layers[:-1], replace(topology.layers[-1], parameters=digest)))
    new = prepare_network(changed, {**network().parameters, digest: pack_parameters(turned)})
    before, after = fabric.run(old, [image]), fabric.run(new, [image])
    np.testing.assert_array_equal(before, old.run([image]))
    np.testing.assert_array_equal(after, new.run([image]))
    assert (before != after).any()
    fabric.close()


def test_modules_are_swapped_and_sent_their_parameters_anew(tmp_path: Path) -> None:
    fabric = configured("csim", tmp_path, "partitions")
    rows = inputs(digits(train=False))[:4]
    expected = evaluate(network().topology, network().parameters, rows)
    for layer in prepared():
        if not fabric.runs(layer.kind):
            image = catalogue().read(catalogue().module("partitions", PART, "west", layer.kind).digest)
            fabric.configure("west", layer.kind, image)
        rows = fabric.run(layer, [rows])
        np.testing.assert_array_equal(rows, expected[layer.layer.output], layer.layer.name)
    with pytest.raises(FabricError, match="no such kernel or module"):
        fabric.run(prepared()[0], [inputs(digits(train=False))[:4]])
    fabric.close()


def test_what_is_configured_outlives_the_daemon_and_parameters_do_not(tmp_path: Path) -> None:
    configured("csim", tmp_path).close()
    fabric = open_fabric("csim", tmp_path)
    assert fabric.shell() == "layers"
    same_as_one_process([fabric], inputs(digits(train=False))[:2])


def test_without_a_compiler_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_HLS_HEADERS", str(tmp_path))
    with pytest.raises(FabricError, match=r"fabric csim: .*hls_stream\.h.*or set fabric to emulated"):
        open_fabric("csim", tmp_path)


def test_a_module_that_answers_as_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = configured("csim", tmp_path, "partitions")
    monkeypatch.setattr("convoy_hls.Kernel.identity", lambda kernel: 0xC5020001)
    image = catalogue().read(catalogue().module("partitions", PART, "west", Kind.CONV2D).digest)
    with pytest.raises(FabricError, match=r"should answer C5010001 .conv2d. and answers C5020001 .max-pool."):
        fabric.configure("west", Kind.CONV2D, image)
    fabric.close()

"""LeNet-5 on real digits: every layer by its kernel, compared at every layer; and the whole chain."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.datasets import Dataset, digits, find_mnist, mnist
from convoy_controller.importer import ImportedModel, import_model
from convoy_hls import Chain, Kernel, Library
from convoy_models import LENET5
from convoy_schema.layers import evaluate, load, quantise
from numpy.typing import NDArray

_COUNT = 1000


def real(data: Dataset) -> NDArray[np.float32]:
    return data.images[:_COUNT].astype(np.float32) * np.float32(LENET5.scale) + np.float32(LENET5.offset)


@cache
def lenet5() -> ImportedModel:
    return import_model(LENET5.path, real(digits(train=True)), name=LENET5.name)


def inputs(source: str) -> NDArray[np.int8]:
    """1,000 digits, as LeNet-5 takes them."""
    if source == "mnist":
        place = Path(os.environ.get("CONVOY_DATA") or Path(__file__).parents[3] / "shared")
        found = find_mnist(place)
        if found is None:
            pytest.skip(f"MNIST's files are not in {place}; set CONVOY_DATA")
        images = real(mnist(found))
    else:
        images = np.concatenate([real(digits()), real(digits(train=True))])[:_COUNT]
    assert len(images) == _COUNT
    topology = lenet5().topology
    return quantise(images, topology.tensor(topology.input))


@pytest.mark.parametrize("source", [pytest.param("mnist", marks=pytest.mark.long), "scikit-learn"])
def test_every_layer_of_lenet5(counting: Library, source: str) -> None:
    model, x = lenet5(), inputs(source)
    reference = evaluate(model.topology, model.parameters, x)
    for layer in model.topology.layers:
        taken = [model.topology.tensor(name) for name in layer.inputs]
        output = model.topology.tensor(layer.output)
        kernel = Kernel(counting, layer.kind).load(layer, taken, output, load(layer, model.parameters))
        made = kernel.run([x])
        np.testing.assert_array_equal(made, reference[layer.output], err_msg=layer.name)
        x = made


@pytest.mark.parametrize("source", ["mnist", "scikit-learn"])
def test_the_chain_of_lenet5(counting: Library, source: str) -> None:
    model, x = lenet5(), inputs(source)
    chain = Chain(counting)
    chain.load(model.topology, {layer.name: load(layer, model.parameters) for layer in model.topology.layers})
    np.testing.assert_array_equal(chain.run(x), evaluate(model.topology, model.parameters, x)[model.output])

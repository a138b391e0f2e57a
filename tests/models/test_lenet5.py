"""LeNet-5 as it ships, imported by the path of a user's model: accuracy, and agreement with ONNX Runtime."""

from functools import cache

import numpy as np
import onnxruntime
import pytest
from convoy_controller.datasets import Dataset, digits, mnist
from convoy_controller.importer import ImportedModel, import_model
from convoy_models import LENET5
from convoy_schema.layers import evaluate, quantise
from mnist_data import mnist_folder
from numpy.typing import NDArray


def real(data: Dataset) -> NDArray[np.float32]:
    return data.images.astype(np.float32) * np.float32(LENET5.scale) + np.float32(LENET5.offset)


@cache
def lenet5() -> ImportedModel:
    """Calibrated on the training half of scikit-learn's digits alone, as the demo does."""
    return import_model(LENET5.path, real(digits(train=True)), name=LENET5.name)


def logits(data: Dataset) -> NDArray[np.int8]:
    model = lenet5()
    inputs = quantise(real(data), model.topology.tensor(model.topology.input))
    return evaluate(model.topology, model.parameters, inputs)[model.output]


def onnxruntimes(data: Dataset) -> NDArray[np.int64]:
    """ORT's logits on the quantised model, as int8 steps."""
    model = lenet5()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.quantised_onnx, options)
    found = np.asarray(session.run(None, {session.get_inputs()[0].name: real(data)})[0])
    tensor = model.topology.tensor(model.output)
    return np.asarray(np.rint(found / np.float32(tensor.scale)) + tensor.zero_point, np.int64)


def accuracy(found: NDArray[np.int8], data: Dataset) -> float:
    return float((found.argmax(1) == data.labels).mean())


def test_the_file_is_small_and_says_nothing_of_where_it_was_made() -> None:
    content = LENET5.path.read_bytes()
    assert len(content) < 1_000_000
    for trace in (b".py", b"/home", b"/root", b"/tmp", b"site-packages", b"stack_trace"):
        assert trace not in content


def test_the_layers_are_lenets_and_pixels_are_taken_as_they_are() -> None:
    model = lenet5()
    names = [layer.name for layer in model.topology.layers]
    assert names == ["conv1", "pool1", "conv2", "pool2", "dense1", "dense2", "dense3"]
    source = model.topology.tensor(model.topology.input)
    assert source.shape == LENET5.shape
    pixels = np.arange(256, dtype=np.float32) * np.float32(LENET5.scale)
    np.testing.assert_array_equal(quantise(pixels, source), np.arange(-128, 128))
    assert model.topology.tensor(model.output).shape == (len(LENET5.class_names),)


def test_the_held_out_digits() -> None:
    data = digits()
    found = logits(data)
    assert accuracy(found, data) >= 0.97
    assert np.abs(found - onnxruntimes(data)).max() <= 1


@pytest.mark.long
def test_all_of_mnist() -> None:
    data = mnist(mnist_folder())
    found = logits(data)
    assert accuracy(found, data) >= 0.99
    apart = np.abs(found - onnxruntimes(data))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.001

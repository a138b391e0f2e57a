"""The networks that come along: small files, whole on demand, imported, and as ONNX Runtime has them layer by layer."""

import hashlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import pytest
from convoy_controller.datasets import Dataset, mnist
from convoy_controller.importer import ImportedModel, import_model
from convoy_models import RESIDUAL, SHIPPED, seeded
from convoy_schema.layers import evaluate, quantise
from convoy_schema.topology import Kind
from mnist_data import mnist_folder
from numpy.typing import NDArray

UNTRAINED = [model for model in SHIPPED.values() if not model.is_trained]
#: The most that a layer, fed with ONNX Runtime's integers, may differ in: one step, in 0.01 % of its elements.
STEPS, SHARE = 1, 1e-4
LAYERS = {
    "resnet8": {Kind.CONV2D: 9, Kind.ADD: 3, Kind.GLOBAL_AVERAGE_POOL: 1, Kind.DENSE: 1},
    "dscnn": {Kind.CONV2D: 9, Kind.AVERAGE_POOL: 1, Kind.DENSE: 1},
    "mobilenet": {Kind.CONV2D: 27, Kind.GLOBAL_AVERAGE_POOL: 1, Kind.DENSE: 1},
    "autoencoder": {Kind.DENSE: 10},
    "vgg": {Kind.CONV2D: 6, Kind.MAX_POOL: 3, Kind.DENSE: 2},
    "squeezenet": {Kind.CONV2D: 11, Kind.MAX_POOL: 2, Kind.CONCAT: 3, Kind.GLOBAL_AVERAGE_POOL: 1},
}


def real(data: Dataset) -> NDArray[np.float32]:
    return data.images.astype(np.float32) * np.float32(RESIDUAL.scale) + np.float32(RESIDUAL.offset)


@cache
def imported(name: str) -> ImportedModel:
    spec = SHIPPED[name]
    samples = real(mnist(mnist_folder(), train=True).take(500)) if spec.is_trained else spec.samples(96)
    with TemporaryDirectory() as folder:
        return import_model(spec.written(Path(folder)), samples, name=name)


def test_the_files_are_small_and_say_nothing_of_where_they_were_made() -> None:
    assert sum(spec.path.stat().st_size for spec in SHIPPED.values()) < 1_000_000
    for spec in SHIPPED.values():
        content = spec.path.read_bytes()
        for trace in (b".py", b"/home", b"/root", b"/tmp", b"site-packages", b"stack_trace"):
            assert trace not in content, spec.name


def test_seeded_values_are_the_same_everywhere() -> None:
    drawn = seeded.weights("a", (5, 3, 3, 3)).tobytes() + seeded.pixels("a", 2, (3, 8, 8)).tobytes()
    assert hashlib.sha256(drawn).hexdigest() == "325b206daea8b2f62f6a3243fbb24d318e872fc1ed7f05a3658d4ad46774ca5f"
    assert abs(float(seeded.weights("b", (64, 32, 3, 3)).std()) / (2 / (32 * 9)) ** 0.5 - 1) < 0.02


@pytest.mark.parametrize("spec", UNTRAINED, ids=lambda spec: spec.name)
def test_an_untrained_network_is_whole_once_its_weights_are_beside_it(tmp_path: Path, spec) -> None:  # type: ignore[no-untyped-def]
    path = spec.written(tmp_path)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    made = np.asarray(session.run(None, {session.get_inputs()[0].name: spec.samples(4)})[0])
    assert made.shape[1] == (len(spec.class_names) or 640)
    assert np.isfinite(made).all()
    assert 1e-3 < made.std() < 1e3


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_is_within_a_step_of_onnxruntime(name: str) -> None:
    model = imported(name)
    kinds = [layer.kind for layer in model.topology.layers]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} == LAYERS[name]
    found = model.agreement
    assert found.rows >= 16
    for layers in (found.layers, found.plain_layers):
        assert list(layers) == [layer.name for layer in model.topology.layers]
        for layer, difference in layers.items():
            assert difference.steps <= STEPS, layer
            assert difference.apart <= max(1, SHARE * difference.elements), (layer, difference)


@pytest.mark.long
def test_the_trained_residual_network_loses_little_by_being_quantised() -> None:
    data = mnist(mnist_folder())
    model = imported("residual")
    session = onnxruntime.InferenceSession(str(RESIDUAL.path))
    floats = np.asarray(session.run(None, {session.get_inputs()[0].name: real(data)})[0])
    inputs = quantise(real(data), model.topology.tensor(model.topology.input))
    ours = evaluate(model.topology, model.parameters, inputs)[model.output]
    before, after = (float((made.argmax(1) == data.labels).mean()) for made in (floats, ours))
    assert before >= 0.985
    assert after >= before - 0.002
    kinds = {layer.kind for layer in model.topology.layers}
    assert {Kind.ADD, Kind.GLOBAL_AVERAGE_POOL} < kinds
    assert any(layer.groups > 1 for layer in model.topology.layers)
    for difference in (*model.agreement.layers.values(), *model.agreement.plain_layers.values()):
        assert difference.steps <= STEPS
        assert difference.apart <= max(1, SHARE * difference.elements)

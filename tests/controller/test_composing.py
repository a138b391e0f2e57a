"""Composed networks: equal to the same written by hand, the same again from TOML, imported as any other, or refused."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from convoy_controller.composing import Network, weights
from convoy_controller.composing.operations import OPERATIONS
from convoy_controller.errors import CompositionError, DatasetError, NotFoundError
from convoy_controller.importer import import_model
from convoy_schema.topology import Kind
from float_networks import by_hand, networks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

TINY = Network("tiny", input=(1, 28, 28)).conv2d(8, 3).relu().max_pool(2).dense(10)
TEXT = """\
name = "tiny"
input = [1, 28, 28]

[[layer]]
op = "conv2d"
channels = 8
kernel = 3

[[layer]]
op = "relu"

[[layer]]
op = "max-pool"
size = 2

[[layer]]
op = "dense"
outputs = 10
"""
#: Every operation, branches that meet again, and a name of each sort.
WIDE = (
    Network("wide", input=(3, 12, 10))
    .conv2d(8, (3, 3), padding="same", stride=(2, 1), name="stem")
    .relu6()
    .depthwise(3, padding=1, dilation=1, bias=False)
    .clip(-1.5, 4)
    .conv2d(8, 1, groups=2, name="features.2")
    .add("stem", name="residual")
    .relu()
    .max_pool(3, stride=1, padding=(1, 1, 1, 1), name="left")
    .average_pool(3, stride=1, padding=1, count_padding=True, of="residual", name="right")
    .concat("left", "right", "residual")
    .global_average_pool()
    .flatten()
    .dense(5, bias=False)
)


def run(model: onnx.ModelProto, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"input": rows})[0]
    return found


def rows_for(network: Network, count: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0, 1, (count, *network.input)).astype(np.float32)


def reasons_of(error: pytest.ExceptionInfo[CompositionError]) -> list[str]:
    found = error.value.data["reasons"]
    assert isinstance(found, list)
    assert all(reason in str(error.value) for reason in found)
    return found


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.integers(0, 3))
def test_whatever_is_composed_computes_what_the_same_does_by_hand(network: Network, seed: int) -> None:
    held = weights.seeded(network.name, network.parameter_shapes(), seed)
    rows = rows_for(network)
    found, expected = run(network.onnx(seed=seed), rows), by_hand(network, held, rows)
    assert found.shape[1:] == network.check()[network.steps[-1].name] == expected.shape[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(expected).max())))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks())
def test_a_network_is_the_same_again_from_its_toml(network: Network) -> None:
    text = network.to_toml()
    again = Network.from_toml(text)
    assert again == network
    assert again.to_toml() == text
    assert again.onnx() == network.onnx()


def test_the_network_of_the_documentation_is_the_same_in_python_and_in_toml() -> None:
    assert TINY.to_toml() == TEXT
    assert Network.from_toml(TEXT) == TINY
    assert TINY.parameter_shapes() == {
        "conv2d1.weight": (8, 1, 3, 3),
        "conv2d1.bias": (8,),
        "dense1.weight": (10, 1352),
        "dense1.bias": (10,),
    }
    assert {step.op for step in WIDE.steps} == set(OPERATIONS)
    assert Network.from_toml(WIDE.to_toml()) == WIDE


def test_the_order_of_keys_and_the_sort_of_numbers_make_no_difference() -> None:
    one = Network.from_toml(
        'input = [1, 28, 28]\nname = "n"\n[[layer]]\nstride = 2\nkernel = 3\nop = "conv2d"\nbias = true\nchannels = 4'
    )
    size: Any = np.int64(3)
    other = Network("n").conv2d(4, size, stride=2)
    assert one == other
    assert one.to_toml() == other.to_toml()


def test_a_network_with_every_operation_is_imported_and_agrees_with_onnxruntime(tmp_path: Path) -> None:
    path = tmp_path / "wide.onnx"
    onnx.save(WIDE.onnx(seed=2), path)
    samples = rows_for(WIDE, 64)
    model = import_model(path, samples, name="wide")
    kinds = Counter(layer.kind for layer in model.topology.layers)
    assert kinds[Kind.CONV2D] == 3
    assert kinds.keys() == set(Kind) - {Kind.IDENTITY}
    agreement = model.agreement
    assert agreement.layers.keys() == {layer.name for layer in model.topology.layers}
    for name, found in agreement.layers.items():
        # A mean that is within float32's precision of half a step goes either way in onnxruntime's own two kernels.
        plain = agreement.plain_layers[name]
        assert max(found.steps, plain.steps) <= 1, name
        assert min(found.share, plain.share) <= 1e-4, name


def test_parameters_come_by_name_in_any_float(tmp_path: Path) -> None:
    held = weights.seeded("other", TINY.parameter_shapes(), 7)
    np.savez(tmp_path / "tiny.npz", **{name: array.astype(np.float64) for name, array in held.items()})
    rows = rows_for(TINY)
    found = run(TINY.onnx(weights.load(tmp_path / "tiny.npz")), rows)
    np.testing.assert_allclose(found, by_hand(TINY, held, rows), rtol=1e-4, atol=1e-4)
    assert not np.allclose(found, run(TINY.onnx(), rows))
    assert not np.array_equal(run(TINY.onnx(seed=1), rows), run(TINY.onnx(seed=2), rows))


def test_everything_wrong_with_parameters_is_told_at_once() -> None:
    held: dict[str, NDArray[np.generic]] = dict(weights.seeded("tiny", TINY.parameter_shapes(), 0))
    del held["conv2d1.bias"]
    held["conv2d1.weight"] = np.zeros((8, 3, 3, 3))
    held["dense1.bias"] = np.full(10, np.nan)
    held["dense1.weight"] = np.full((10, 1352), "x")
    held["fc.weight"] = np.zeros(3)
    with pytest.raises(CompositionError) as error:
        TINY.onnx(held)
    assert reasons_of(error) == [
        "parameter conv2d1.weight: must be float of shape (8, 1, 3, 3), float64 of (8, 3, 3, 3) came",
        "parameter conv2d1.bias: must be there, float of shape (8,); nothing came",
        "parameter dense1.weight: must be float of shape (10, 1352), <U1 of (10, 1352) came",
        "parameter dense1.bias: must be finite in float32, values that are not came",
        "parameters fc.weight: no layer has them; there may be "
        "conv2d1.weight, conv2d1.bias, dense1.weight, dense1.bias",
    ]


def test_everything_wrong_with_layers_is_told_at_once_and_what_follows_from_it_is_not() -> None:
    wrong: Any = "three"
    network = (
        Network("Tiny", input=(1, 8, 8))
        .conv2d(0, wrong, name="first")
        .relu()  # of a layer that was refused: nothing is said of it
        .conv2d(4, 9, of="input", name="large")
        .add("input", "nowhere")
        .conv2d(4, 3, groups=3, of="input", name="first")
        .clip(2, 1, of="input")
        .max_pool(2, padding=2, of="input")
        .with_step("tanh", None, "input", slope=1)
        .with_step("dense", "a/b", "input", inputs=3)
    )
    with pytest.raises(CompositionError) as error:
        network.check()
    reasons = reasons_of(error)
    expected = [
        "name 'Tiny' must be",
        "layer first (conv2d): `channels` must be a whole number of 1 to 65536, 0 came",
        'layer first (conv2d): `kernel` must be a whole number of 1 to 65536, or [height, width] of such, "three" came',
        "layer large (conv2d): its window reaches over (9, 9), which must fit into (8, 8) with its padding",
        'layer add1 (add): `of` must name layers before it (such as input, first, relu1, large), ["nowhere"] came',
        "layer first (conv2d): there is a layer (or the input) of that name before it",
        "layer clip1 (clip): low must be below high, 2.0 and 1.0 came",
        "layer max-pool1 (max-pool): padding must be less than the size (2, 2), (2, 2, 2, 2) came",
        "layer tanh1 (tanh): `op` must be one of conv2d, depthwise, dense, relu, relu6, clip, max-pool,",
        "layer a/b (dense): its name must be 1 to 100 of A-Z, a-z, 0-9, '_', '.' and '-', \"a/b\" came",
        "layer a/b (dense): has a key `inputs` = 3; dense knows outputs, bias, name, of",
        "layer a/b (dense): `outputs` must be there: a whole number of 1 to 65536; nothing came",
    ]
    assert len(reasons) == len(expected), reasons
    for reason, begin in zip(reasons, expected, strict=True):
        assert reason.startswith(begin)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Network("empty"), "there must be 1 to 1000 layers, 0 came"),
        (Network("no-input", input=(0, 4)).relu(), "input: must be [channels, height, width] or [elements]"),
        (Network("groups", input=(4, 6, 6)).conv2d(6, 1, groups=4), "groups must divide the channels"),
        (Network("flat", input=(9,)).conv2d(6, 1), "takes a picture of (channels, height, width), (9,) came"),
        (Network("shapes").conv2d(2, 3).add("input"), "adds layers of one shape, (2, 26, 26) and (1, 28, 28) came"),
        (Network("joins").conv2d(2, 3).concat("input"), "joins layers that differ in their channels alone"),
        (Network("idle").relu(name="lost").relu(of="input"), "layer lost (relu): its result must be taken"),
        (Network("huge").dense(60000).dense(60000), "parameters: there may be 62914560 in all"),
        (Network("long").concat(*["input"] * 65537), "no axis may be longer than 65536"),
        (Network("deep", steps=(TINY.relu().steps[1],) * 1001), "there must be 1 to 1000 layers, 1001 came"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(network: Network, reason: str) -> None:
    for attempt in (network.check, network.onnx, network.to_toml):
        with pytest.raises(CompositionError) as error:
            attempt()
        assert reason in str(error.value)


def test_everything_wrong_with_a_file_is_told_at_once() -> None:
    with pytest.raises(CompositionError) as error:
        Network.from_toml(
            'name = 3\nshape = [1]\ninput = [1, "x"]\n'
            'layer = [{op = 7, of = []}, 5, {op = "relu", name = 1, of = [2]}, {op = "clip", low = nan, high = 1e39}]'
        )
    reasons = reasons_of(error)
    expected = [
        "key `shape`: a network has `name`, `input` and `[[layer]]` alone",
        "name: must be 1 to 63 of a-z, 0-9 and '-', 3 came",
        "layer 1 (7): `of` must be the name of a layer or a list, [] came",
        "layer 2: must be a table, 5 came",
        "layer 3 (relu): `name` must be a text, 1 came",
        "layer 3 (relu): `of` must be the name of a layer or a list, [2] came",
        'input: must be [channels, height, width] or [elements], each 1 to 65536, [1, "x"] came',
        "layer 71 (7): `op` must be one of",
    ]
    for begin in expected:
        assert any(reason.startswith(begin) for reason in reasons), (begin, reasons)
    assert any("`low` must be a finite number, nan came" in reason for reason in reasons)
    assert any("`high` must be a finite number" in reason for reason in reasons)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_and_never_more(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([TEXT, WIDE.to_toml()]))
    at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 12))
    other = data.draw(
        st.sampled_from(["", "0", "-1", '"x"', "[", "1e400", "9" * 40, "true", "[[layer]]\n", "1979-05-27", "{}", "\0"])
    )
    damaged = text[:at] + other + text[at + length :]
    try:
        network = Network.from_toml(damaged)
    except CompositionError:
        return
    assert Network.from_toml(network.to_toml()) == network


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = ",
        "a = 1\na = 2",
        "[" * 5000,
        "layer = {}",
        "layer = " + "[" * 200 + "]" * 200,
        "x" * (1024 * 1024 + 1),
    ],
)
def test_what_is_no_network_at_all_is_refused(text: str) -> None:
    with pytest.raises(CompositionError):
        Network.from_toml(text)


def test_files_of_parameters_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="with parameters"):
        weights.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(DatasetError, match="plain arrays"):
        weights.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(DatasetError, match="plain arrays"):
        weights.load(tmp_path / "objects.npz")


@settings(max_examples=150, deadline=None)
@given(st.integers(0), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_of_parameters_is_refused_and_never_more(at: int, other: bytes, is_cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.npz"
        np.savez_compressed(path, a=np.arange(50.0), b=np.zeros((3, 4), np.float32))
        content = path.read_bytes()
        at %= len(content)
        path.write_bytes(content[:at] if is_cut else content[:at] + other + content[at + len(other) :])
        try:
            found = weights.load(path)
        except DatasetError:
            return
        assert all(isinstance(array, np.ndarray) for array in found.values())

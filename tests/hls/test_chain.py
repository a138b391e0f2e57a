"""Folding, and the chain of shell `fixed`: exact, in the cycles of its model, new parameters between two images."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import convoy_hls
import numpy as np
import pytest
from convoy_hls import Chain, Library
from convoy_schema import cycles
from convoy_schema.chain import LENET5, pack_chain, refusal
from convoy_schema.cycles import chain as chain_cycles
from convoy_schema.cycles.loops import Loop, gathered
from convoy_schema.errors import TopologyError
from convoy_schema.fixedpoint import fixed_point
from convoy_schema.folding import fold_tensor
from convoy_schema.layers import Parameters, evaluate, pack_parameters
from convoy_schema.names import digest_of
from convoy_schema.registers import CHAIN_IDENTITY
from convoy_schema.resources import chain
from convoy_schema.streams import pack_tensor, sample_words, unpack_tensor
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hls_cases import EXAMPLES, counted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

SOURCE = (Path(convoy_hls.__file__).parent / "kernels/lenet5.cpp").read_text(encoding="utf-8")


def network(seed: int) -> tuple[Topology, dict[str, Parameters | None]]:
    """A network of the chain's shapes, with random parameters, zero points and clamps."""
    random = np.random.default_rng(seed)
    tensors = [Tensor("t0", LENET5[0].source, 1.0, int(random.integers(-128, 128)))]
    layers, parameters = [], {}
    for number, stage in enumerate(LENET5):
        zero = tensors[-1].zero_point if stage.kind is Kind.MAX_POOL else int(random.integers(-128, 128))
        tensors.append(Tensor(f"t{number + 1}", stage.output, 1.0, zero))
        name = f"layer{number}"
        low, high = int(random.integers(-128, -60)), int(random.integers(60, 128))
        made = _random_parameters(random, stage.source, stage.output, stage.window, stage.kind)
        parameters[name] = made
        digest = None if made is None else digest_of(pack_parameters(made))
        layers.append(
            Layer(name, stage.kind, (f"t{number}",), f"t{number + 1}", stage.window, low=low, high=high,
                  parameters=digest)
        )  # fmt: skip
    return Topology("lenet5", tuple(tensors), tuple(layers), "t0", tensors[-1].name), parameters


def _random_parameters(
    random: np.random.Generator, source: tuple[int, ...], output: tuple[int, ...], window: Window | None, kind: Kind
) -> Parameters | None:
    if kind is Kind.MAX_POOL:
        return None
    out = output[0]
    shape = (out, source[0], *window.kernel) if window else (out, int(np.prod(source)))
    pairs = [fixed_point(float(scale)) for scale in random.uniform(0.001, 0.01, out)]
    return Parameters(
        random.integers(-128, 128, shape).astype(np.int8),
        random.integers(-5000, 5000, out).astype(np.int32),
        np.array([pair[0] for pair in pairs], np.int32),
        np.array([pair[1] for pair in pairs], np.int32),
    )


def expected(
    topology: Topology, parameters: dict[str, Parameters | None], images: NDArray[np.int8]
) -> NDArray[np.int8]:
    held = {
        layer.parameters: pack_parameters(made)
        for layer in topology.layers
        if layer.parameters is not None and (made := parameters[layer.name]) is not None
    }
    return evaluate(topology, held, images)[topology.output]


def images(seed: int, rows: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, (rows, 1, 28, 28)).astype(np.int8)


@settings(max_examples=min(EXAMPLES, 20), deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3))
def test_the_chain_is_exact(counting: Library, seed: int, rows: int) -> None:
    topology, parameters = network(seed)
    chain = Chain(counting)
    chain.load(topology, parameters)
    x = images(seed, rows)
    np.testing.assert_array_equal(chain.run(x), expected(topology, parameters, x))


def test_new_parameters_between_two_images(counting: Library) -> None:
    (one, first), (two, second) = network(1), network(2)
    chain, x = Chain(counting), images(3, 1)
    chain.load(one, first)
    before = chain.run(x)
    chain.load(two, second)
    after = chain.run(x)
    np.testing.assert_array_equal(before, expected(one, first, x))
    np.testing.assert_array_equal(after, expected(two, second, x))
    assert (before != after).any()


@pytest.mark.parametrize("rows", [1, 2])
def test_each_kernel_takes_the_cycles_of_the_model(counting: Library, rows: int) -> None:
    topology, parameters = network(4)
    chain = Chain(counting)
    chain.load(topology, parameters)
    counting.reset_loops()
    chain.run(images(5, rows))
    numbers = sorted({loop.instance for loop in counting.loops() if loop.trips})
    modelled = chain_cycles.kernels(rows)
    assert len(numbers) == len(modelled)
    for number, kernel in zip(numbers, modelled, strict=True):
        found = [Loop(loop.name, loop.entries, loop.trips) for loop in counting.loops() if loop.instance == number]
        assert gathered(found) == kernel.loops, kernel.name
        assert sum(loop.cycles for loop in counting.loops() if loop.instance == number) == kernel.cycles
    counted(counting)


def test_the_chain_is_what_was_promised() -> None:
    assert chain_cycles.interval() <= 5_000
    assert chain_cycles.interval() <= chain_cycles.latency() <= 30_000
    taken = chain()
    assert taken.dsps <= 200
    assert taken.bram36 <= 120
    assert taken.luts <= 45_000
    assert taken.flip_flops <= 106_400


def test_the_chain_answers_that_it_is_a_chain(counting: Library) -> None:
    assert Chain(counting).identity() == CHAIN_IDENTITY


def test_the_shapes_and_tiles_are_those_of_the_source() -> None:
    structs = dict(re.findall(r"struct (\w+) \{(.*?)\n\};", SOURCE, re.DOTALL))
    weighted = [name for name in structs if name.startswith(("Conv", "Dense"))]
    for name, stage in zip(weighted, [stage for stage in LENET5 if stage.tile], strict=True):
        found = {key: int(value) for key, value in re.findall(r"(\w+) = (\d+)", structs[name])}
        tile = stage.tile
        assert tile is not None
        assert found["OUT"] == stage.output[0]
        fields = ["pe", "simd", "rate", "line", "depth", "scales", "row", "entries", "blocks"]
        assert [found[field.upper()] for field in fields] == [getattr(tile, field) for field in fields]
        if stage.window is not None:
            assert (found["CHANNELS"], found["IN_HEIGHT"], found["IN_WIDTH"]) == stage.source
            assert (found["HEIGHT"], found["WIDTH"]) == stage.output[1:]
            assert (found["KERNEL"],) * 2 == stage.window.kernel
            assert (found["PAD"],) * 4 == stage.window.padding
        else:
            assert found["CHANNELS"] == stage.source[0]
            assert found["POSITIONS"] == np.prod(stage.source[1:], dtype=int)


def test_another_network_is_refused() -> None:
    topology, parameters = network(6)
    assert refusal(topology) == ""
    shorter = replace(topology, layers=topology.layers[:-1])
    assert "7 layers" in refusal(shorter)
    with pytest.raises(TopologyError, match="not what the chain computes"):
        pack_chain(shorter, parameters)
    wider = replace(topology.layers[0], window=Window((3, 3), padding=(1, 1, 1, 1)))
    assert "where the model has layer0" in refusal(replace(topology, layers=(wider, *topology.layers[1:])))


# Folding


@settings(max_examples=EXAMPLES // 10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.sampled_from([(1, 5), (3, 3), (6, 5), (8, 2)]),
    left=st.integers(0, 2),
    right=st.integers(0, 2),
    extent=st.tuples(st.integers(1, 4), st.integers(5, 12)),
    zero=st.integers(-128, 127),
    rows=st.integers(1, 2),
)
def test_the_fold_kernel(
    counting: Library, sizes: tuple[int, int], left: int, right: int, extent: tuple[int, int], zero: int, rows: int
) -> None:
    channels, width = sizes
    height, columns = extent
    layer = Layer("c", Kind.CONV2D, ("x",), "y", Window((1, width), padding=(0, left, 0, right)))
    source = Tensor("x", (channels, height, columns), 1.0, zero)
    x = np.random.default_rng(columns).integers(-128, 128, (rows, *source.shape)).astype(np.int8)
    wanted = fold_tensor(layer, source, x)
    registers = {"rows": rows, "in_height": height, "in_width": columns, "pad_left": left, "in_zero": zero}
    registers |= {"command": 2, "out_width": wanted.shape[3]}
    counting.reset_loops()
    room = rows * sample_words(wanted.shape[1:])
    outcome = counting.start(f"fold_{channels}_{width}", registers, pack_tensor(x), np.zeros(0, np.uint64), room)
    np.testing.assert_array_equal(unpack_tensor(outcome.words, rows, wanted.shape[1:]), wanted)
    parts = -(-channels * width // 8)
    assert counted(counting) == (Loop("fold", 1, rows * height * (width - 1 + wanted.shape[3] * parts)),)
    assert cycles.total(counted(counting)) > 0

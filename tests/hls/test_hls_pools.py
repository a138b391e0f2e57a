"""What the kernels without weights share: limits, tiles, layers of real networks, new scales between two images."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import convoy_hls
import numpy as np
import pytest
from convoy_hls import Kernel, KernelError, Library
from convoy_schema.costs import output_shape
from convoy_schema.cycles import load_loops, run_loops
from convoy_schema.layers import Parameters
from convoy_schema.registers import Command, layer_arguments
from convoy_schema.streams import pack_inputs, pack_parameters
from convoy_schema.tiles import ADD, AVERAGE_POOL, GLOBAL_AVERAGE_POOL, MODULES, ElementTile, PoolTile
from convoy_schema.topology import Kind, Layer, Tensor, Window
from hls_cases import EXAMPLES, Case, fixed
from hls_pools import (
    ADDS,
    AVERAGE_POOLS,
    CONCATS,
    GLOBAL_AVERAGE_POOLS,
    IDENTITIES,
    MAX_POOLS,
    PlainInstance,
    adds,
    average_pools,
    concats,
    global_average_pools,
    identities,
    max_pools,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOURCES = Path(convoy_hls.__file__).parent
LIBRARY = {
    instance.kind: instance
    for instance in (
        MAX_POOLS[0], AVERAGE_POOLS[0], GLOBAL_AVERAGE_POOLS[0], ADDS[0], CONCATS[0], IDENTITIES[0],
    )
}  # fmt: skip


def case_of(
    kind: Kind, shapes: list[tuple[int, ...]], window: Window | None = None, scales: list[float] | None = None
) -> Case:
    inputs = [Tensor(f"x{index}", shape, 1.0, 3) for index, shape in enumerate(shapes)]
    layer = Layer("layer1", kind, tuple(tensor.name for tensor in inputs), "y", window)
    output = Tensor("y", output_shape(layer, shapes), 1.0, 3)
    return Case(layer, inputs, output, Parameters(None, None, *fixed(scales)) if scales else None, 5)


POOL = Window((3, 3), (2, 2), (1, 1, 1, 1))
LARGE = {
    "resnet's first pool, a quarter as wide": case_of(Kind.MAX_POOL, [(64, 28, 28)], POOL),
    "alexnet's pool": case_of(Kind.MAX_POOL, [(96, 55, 55)], Window((3, 3), (2, 2))),
    "a spread window": case_of(Kind.MAX_POOL, [(8, 70, 70)], Window((2, 2), (1, 1), dilation=(63, 63))),
    "one tap far apart": case_of(Kind.MAX_POOL, [(8, 9, 9)], Window((1, 1), (3, 64), dilation=(999, 9999))),
    "densenet's average": case_of(Kind.AVERAGE_POOL, [(128, 14, 14)], Window((2, 2), (2, 2)), [0.2]),
    "inception's average": case_of(
        Kind.AVERAGE_POOL, [(192, 17, 17)], Window((3, 3), (1, 1), (1, 1, 1, 1)), [0.9 / n for n in range(1, 10)]
    ),
    "as many taps as there are": case_of(Kind.AVERAGE_POOL, [(3, 40, 40)], Window((32, 32), (8, 8)), [1 / 900]),
    "resnet's last": case_of(Kind.GLOBAL_AVERAGE_POOL, [(2048, 7, 7)], scales=[0.03]),
    "all sums": case_of(Kind.GLOBAL_AVERAGE_POOL, [(4096, 2, 2)], scales=[0.3]),
    "a large plane": case_of(Kind.GLOBAL_AVERAGE_POOL, [(3, 300, 200)], scales=[2e-5]),
    "a residual": case_of(Kind.ADD, [(64, 14, 14)] * 2, scales=[0.7, 0.31]),
    "squeezenet's concat": case_of(Kind.CONCAT, [(64, 13, 13)] * 2, scales=[0.7, 1.0]),
    "inception's concat": case_of(Kind.CONCAT, [(n, 9, 9) for n in (64, 30, 77, 1)], scales=[0.7, 1.0, 0.1, 2.0]),
    "flat ones": case_of(Kind.CONCAT, [(n,) for n in (1000, 1, 1, 1, 1, 1, 1, 1)], scales=[0.5] * 8),
    "an activation": case_of(Kind.IDENTITY, [(32, 28, 28)]),
    "a flat one": case_of(Kind.IDENTITY, [(65536,)]),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_layers_of_the_library(counting: Library, name: str) -> None:
    case = LARGE[name]
    instance = LIBRARY[case.layer.kind]
    assert instance.limits.refusal(case.layer, case.inputs, case.output) == ""
    instance.check(case, 2, counting)
    assert load_loops(case.layer, case.inputs, case.output) == instance.load(case.layer, case.inputs, case.output)
    assert run_loops(case.layer, case.inputs, case.output, 2) == instance.run(case.layer, case.inputs, case.output, 2)


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    drawn=st.one_of(
        st.tuples(st.sampled_from(MAX_POOLS[1:]), max_pools(24, 6)),
        st.tuples(st.sampled_from(AVERAGE_POOLS[1:]), average_pools(24, 6)),
        st.tuples(st.sampled_from(GLOBAL_AVERAGE_POOLS[1:]), global_average_pools()),
        st.tuples(st.sampled_from(CONCATS[1:]), concats()),
    )
)
def test_a_kernel_refuses_what_its_limits_refuse(counting: Library, drawn: tuple[PlainInstance, Case]) -> None:
    instance, case = drawn
    case.prepared()
    refused = bool(instance.limits.refusal(case.layer, case.inputs, case.output))
    registers = layer_arguments(case.layer, case.inputs, case.output)
    stream = pack_parameters(case.layer, case.inputs, case.output, case.parameters).load
    words = pack_inputs(case.layer.kind, case.arrays(1))
    for command, taken, given_, room in (
        (Command.LOAD, words[:0], stream, 0),
        (Command.RUN, words, stream[:0], pack_inputs(Kind.IDENTITY, [case.prepared().run(case.arrays(1))]).size),
    ):
        # Refused, it leaves every word where it is and writes none; else it takes and writes them all.
        if refused and (taken.size or given_.size):
            with pytest.raises(KernelError, match=rf"wrote 0 .* left {taken.size} .* {given_.size} of"):
                counting.start(instance.core, registers | {"command": command}, taken, given_, room)
        else:
            counting.start(instance.core, registers | {"command": command}, taken, given_, room)


#: Kind, input, window that are just within a limit, and those that are beyond it.
EDGES = {
    "stride down": (Kind.MAX_POOL, ((1, 90, 9), Window((1, 1), (64, 1))), ((1, 90, 9), Window((1, 1), (65, 1)))),
    "stride across": (Kind.AVERAGE_POOL, ((1, 9, 90), Window((1, 1), (1, 32))), ((1, 9, 90), Window((1, 1), (1, 33)))),
    "window": (Kind.AVERAGE_POOL, ((1, 33, 33), Window((1, 32))), ((1, 33, 33), Window((1, 33)))),
    "reach": (
        Kind.MAX_POOL,
        ((1, 70, 3), Window((8, 1), dilation=(9, 1))),
        ((1, 80, 3), Window((9, 1), dilation=(8, 1))),
    ),
    "row": (Kind.MAX_POOL, ((1, 2, 1024), Window((1, 2))), ((1, 2, 1025), Window((1, 2)))),
    "output row": (
        Kind.MAX_POOL,
        ((1, 1, 1023), Window((1, 2), (1, 1), (0, 1, 0, 1))),
        ((1, 1, 1024), Window((1, 2), (1, 1), (0, 1, 0, 1))),
    ),
    "channels": (Kind.MAX_POOL, ((4096, 2, 2), Window((2, 2))), ((4097, 2, 2), Window((2, 2)))),
    "line": (Kind.MAX_POOL, ((512, 6, 64), Window((1, 1))), ((512, 6, 65), Window((1, 1)))),
    "sums": (Kind.GLOBAL_AVERAGE_POOL, ((4096, 1, 2), None), ((4097, 1, 2), None)),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_edge_of_a_limit(counting: Library, name: str) -> None:
    kind, within, beyond = EDGES[name]
    instance = LIBRARY[kind]
    for (shape, window), refused in ((within, False), (beyond, True)):
        case = case_of(kind, [shape], window, None if kind is Kind.MAX_POOL else [0.5])
        assert bool(instance.limits.refusal(case.layer, case.inputs, case.output)) == refused
        kernel = Kernel(counting, kind)
        if refused:
            with pytest.raises(KernelError, match="limits"):
                kernel.load(case.layer, case.inputs, case.output, case.parameters).run(case.arrays(1))
        else:
            instance.check(case, 1, counting)


@pytest.mark.parametrize("kind", LIBRARY)
def test_a_run_beyond_a_boards_memory_is_refused(counting: Library, kind: Kind) -> None:
    if kind in (Kind.MAX_POOL, Kind.AVERAGE_POOL):
        return  # their line buffers are smaller than any such tensor's rows
    shape = (4096, 256, 256)
    case = case_of(kind, [shape] * (2 if kind is Kind.ADD else 1), scales=[1.0] * (2 if kind is Kind.ADD else 1))
    registers = layer_arguments(case.layer, case.inputs, case.output)
    nothing, one = np.zeros(0, np.uint64), np.ones(1, np.uint64)
    with pytest.raises(KernelError, match="left 1 of 1 inputs and 1"):
        counting.start(LIBRARY[kind].core, registers | {"command": Command.RUN}, one, one, 0)
    counting.start(LIBRARY[kind].core, registers | {"command": Command.RUN}, nothing, nothing, 0)


@pytest.mark.parametrize("name", ["densenet's average", "resnet's last", "a residual", "squeezenet's concat"])
def test_new_scales_between_two_images(counting: Library, name: str) -> None:
    case = LARGE[name]
    assert case.parameters is not None
    kernel = Kernel(counting, case.layer.kind)
    image = case.arrays(1)
    other = Case(
        case.layer, case.inputs, case.output, replace(case.parameters, shift=case.parameters.shift + np.int32(1)), 5
    )
    loaded = kernel.load(case.layer, case.inputs, case.output, case.parameters)
    before = loaded.run(image)
    np.testing.assert_array_equal(before, case.prepared().run(image))
    np.testing.assert_array_equal(loaded.run(image), before)
    after = kernel.load(case.layer, case.inputs, case.output, other.parameters).run(image)
    np.testing.assert_array_equal(after, other.prepared().run(image))
    assert (after != before).any()


@pytest.mark.parametrize("kind", [Kind.MAX_POOL, Kind.IDENTITY])
@pytest.mark.parametrize("command", [Command.LOAD, Command.RUN])
def test_parameters_for_a_kind_without_are_dropped(counting: Library, kind: Kind, command: Command) -> None:
    case = LARGE["alexnet's pool" if kind is Kind.MAX_POOL else "an activation"]
    arrays = case.arrays(1)
    words = pack_inputs(kind, arrays) if command is Command.RUN else np.zeros(0, np.uint64)
    expected = pack_inputs(Kind.IDENTITY, [case.prepared().run(arrays)])
    room = expected.size if command is Command.RUN else 0
    registers = layer_arguments(case.layer, case.inputs, case.output) | {"command": command}
    outcome = counting.start(LIBRARY[kind].core, registers, words, np.arange(7, dtype=np.uint64), room)
    np.testing.assert_array_equal(outcome.words, expected[:room])


def test_sums_at_their_ends_are_exact(counting: Library) -> None:
    # 8 million elements of 255 each, one short of what an int32 holds; and as many of -128.
    for value, zero in ((127, -128), (-128, 0)):
        case = case_of(Kind.GLOBAL_AVERAGE_POOL, [(1, 2048, 4111)], scales=[2.0**-22])
        inputs = [replace(case.inputs[0], zero_point=zero)]
        case = Case(case.layer, inputs, replace(case.output, zero_point=-128), case.parameters)
        array = np.full((1, *inputs[0].shape), value, np.int8)
        expected = case.prepared().run([array])
        loaded = Kernel(counting, Kind.GLOBAL_AVERAGE_POOL).load(case.layer, inputs, case.output, case.parameters)
        np.testing.assert_array_equal(loaded.run([array]), expected)


def constants(struct: str) -> dict[str, int]:
    text = (SOURCES / "include/convoy/tiles.hpp").read_text(encoding="utf-8")
    head = re.search(rf"struct {struct}(?: : (\w+))? \{{(.*?)\n\}};", text, re.DOTALL)
    assert head is not None
    own = {name: int(value) for name, value in re.findall(r"int32_t (\w+) = (\d+);", head[2])}
    return (constants(head[1]) if head[1] else {}) | own


@pytest.mark.parametrize("kind", LIBRARY)
def test_the_tiles_are_those_of_the_source(kind: Kind) -> None:
    tile, core = MODULES[kind], LIBRARY[kind].core
    source = (SOURCES / f"kernels/{core}.cpp").read_text(encoding="utf-8")
    name = "".join(part.capitalize() for part in core.split("_")) + "Tile"
    rate = f"{tile.rate}, " if kind in (Kind.AVERAGE_POOL, Kind.GLOBAL_AVERAGE_POOL, Kind.ADD) else ""
    assert f"convoy::{core}<{rate}convoy::{name}>" in source
    found = constants(name)
    assert found.pop("INSTANCE") == list(Kind).index(kind) + 1
    if isinstance(tile, PoolTile) and tile.line == 0:
        assert found == {"CHANNELS": tile.channels}
    elif isinstance(tile, PoolTile):
        taps = {"TAPS": tile.taps} if tile.taps else {}
        assert found == {
            "CHANNELS": tile.channels, "ROW": tile.row, "LINE": tile.line, "WINDOW": tile.window, **taps,
        }  # fmt: skip
    else:
        assert isinstance(tile, ElementTile)
        assert found == ({"INPUTS": tile.inputs} if kind is Kind.CONCAT else {})


def test_an_average_pool_holds_a_scale_for_every_count() -> None:
    assert AVERAGE_POOL.window**2 <= AVERAGE_POOL.taps
    assert {tile.rate for tile in (AVERAGE_POOL, GLOBAL_AVERAGE_POOL, ADD)} <= {1, 2, 4}


@settings(max_examples=EXAMPLES // 10, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(st.one_of(max_pools(), average_pools(), adds(), concats(), identities()), min_size=2, max_size=4))
def test_one_kernel_serves_layer_after_layer(counting: Library, cases: list[Case]) -> None:
    for case in cases:
        LIBRARY[case.layer.kind].check(case, 1, counting)

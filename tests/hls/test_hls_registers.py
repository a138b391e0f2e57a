"""The registers and the identity are those of the contract, in C++ as in Python."""

from __future__ import annotations

import re
from pathlib import Path

import convoy_hls
import numpy as np
import pytest
from convoy_hls import Kernel, Library
from convoy_hls.kernel import core_of
from convoy_schema import registers
from convoy_schema.registers import Command, identity, kind_of, layer_arguments, offset
from convoy_schema.topology import Kind, Layer, Tensor, Window

HEADER = (Path(convoy_hls.__file__).parent / "include/convoy/registers.hpp").read_text(encoding="utf-8")
_NONE = np.zeros(0, np.uint64)


def enumeration(name: str) -> dict[str, int]:
    body = re.search(rf"enum {name} \{{(.*?)\}}", HEADER, re.DOTALL)
    assert body is not None
    return {key: int(value) for key, value in re.findall(r"(\w+) = (\d+)", body[1])}


def test_the_header_lists_the_arguments_in_their_order() -> None:
    listed = re.search(r"#define CONVOY_ARGUMENTS\(X\)(.*?)\n\n", HEADER, re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r"X\((\w+)\)", listed[1])) == registers.ARGUMENTS


def test_the_header_has_the_same_numbers() -> None:
    assert enumeration("Command") == {command.name: command.value for command in Command}
    assert enumeration("KindNumber") == {kind.name: number for kind, number in registers.KIND_NUMBERS.items()}
    assert f"COUNT_INCLUDE_PAD = {registers.COUNT_INCLUDE_PAD};" in HEADER
    assert f"VERSION = {registers.VERSION};" in HEADER


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kernel_says_what_it_is_and_touches_nothing(counting: Library, kind: Kind) -> None:
    found = Kernel(counting, kind).identity()
    assert found == identity(kind)
    assert kind_of(found) is kind


@pytest.mark.parametrize("command", [Command.LOAD, Command.RUN])
@pytest.mark.parametrize("kind", list(Kind))
def test_it_says_so_to_commands_it_refuses_too(counting: Library, kind: Kind, command: Command) -> None:
    outcome = counting.start(core_of(kind), {"command": command, "in_channels": 1 << 20, "rows": 1}, _NONE, _NONE, 0)
    assert outcome.identity == identity(kind)


def test_identities_are_of_one_kind_each_and_the_chain_is_of_none() -> None:
    assert len({identity(kind) for kind in Kind}) == len(Kind)
    assert kind_of(registers.CHAIN_IDENTITY) is None
    assert kind_of(identity(Kind.ADD) + 1) is None


def test_the_block_is_short_enough_for_eight_bits_of_address() -> None:
    assert offset("command") == 0x20
    assert offset(registers.ARGUMENTS[-1]) < 0x100


def test_a_layers_arguments() -> None:
    layer = Layer("c", Kind.CONV2D, ("x",), "y", Window((3, 2), (2, 1), (1, 4, 5, 6), (1, 3)), 2, low=-5, high=9)
    found = layer_arguments(layer, [Tensor("x", (4, 8, 9), 1.0, 7)], Tensor("y", (6, 7, 16), 1.0, -1))
    assert found | {"command": 0, "in_words": 0, "parameter_words": 0, "out_words": 0} == dict(
        zip(
            registers.ARGUMENTS,
            (0, 1, 1, 4, 8, 9, 6, 7, 16, 3, 2, 2, 1, 1, 4, 1, 3, 2, 0, 7, -1, -5, 9, 0, 0, 0),
            strict=True,
        )
    )
    pool = Layer("g", Kind.GLOBAL_AVERAGE_POOL, ("x",), "y", count_include_pad=True)
    found = layer_arguments(pool, [Tensor("x", (4, 8, 9), 1.0, 7)], Tensor("y", (4, 1, 1), 1.0, -1))
    assert (found["kernel_height"], found["kernel_width"], found["flags"]) == (8, 9, 1)
    flat = layer_arguments(Layer("d", Kind.DENSE, ("x",), "y"), [Tensor("x", (5,), 1.0, 0)], Tensor("y", (6,), 1.0, 0))
    assert (flat["in_channels"], flat["in_height"], flat["in_width"], flat["out_channels"]) == (5, 1, 1, 6)

"""A kernel says which limit a layer exceeds, with need and have."""

from __future__ import annotations

import pytest
from convoy_schema.limits import KernelLimits
from convoy_schema.topology import Kind, Layer, Tensor, Window

CONV = KernelLimits(Kind.CONV2D, channels=8, row=32, features=0, window=5)
DENSE = KernelLimits(Kind.DENSE, channels=8, row=32, features=100)
ADD = KernelLimits(Kind.ADD, channels=8, row=32, features=100, inputs=2)


def tensor(*shape: int) -> Tensor:
    return Tensor("t", shape, 1.0, 0)


def layer(kind: Kind, window: Window | None = None, inputs: int = 1) -> Layer:
    return Layer("l", kind, ("t",) * inputs, "u", window)


@pytest.mark.parametrize(
    ("kernel", "window", "inputs", "output", "reason"),
    [
        (CONV, Window((5, 5)), [(8, 28, 32)], (8, 24, 28), ""),
        (CONV, Window((5, 5)), [(9, 28, 28)], (8, 24, 24), "needs 9 channels, the conv2d kernel has room for 8"),
        (CONV, Window((5, 5)), [(1, 28, 28)], (9, 24, 24), "needs 9 channels"),
        (CONV, Window((1, 1)), [(1, 4, 33)], (1, 4, 33), "needs 33 elements in a row"),
        (CONV, Window((1, 6)), [(1, 28, 28)], (1, 28, 23), "needs 6 elements along the window"),
        (CONV, Window((3, 3), dilation=(1, 3)), [(1, 28, 28)], (1, 26, 22), "needs 7 elements along the window"),
        (CONV, None, [(10,)], (10,), "needs 10 features, the conv2d kernel has room for 0"),
        (DENSE, None, [(8, 4, 4)], (100,), ""),
        (DENSE, None, [(101,)], (10,), "needs 101 features"),
        (DENSE, None, [(10,)], (101,), "needs 101 features"),
        (ADD, None, [(100,), (100,)], (100,), ""),
        (ADD, None, [(1,)] * 3, (1,), "needs 3 inputs"),
    ],
)
def test_a_layer_fits_or_is_told_why_not(
    kernel: KernelLimits, window: Window | None, inputs: list[tuple[int, ...]], output: tuple[int, ...], reason: str
) -> None:
    wanted = layer(kernel.kind, window, len(inputs))
    refusal = kernel.refusal(wanted, [tensor(*shape) for shape in inputs], tensor(*output))
    assert reason in refusal
    assert bool(reason) == bool(refusal)


def test_a_layer_of_another_kind_is_refused() -> None:
    assert "needs a dense kernel" in CONV.refusal(layer(Kind.DENSE), [tensor(1)], tensor(1))

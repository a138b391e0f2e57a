"""How a convolution or pool moves over its input, from ONNX's attributes: padding, dilation, ceil_mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convoy_schema.topology import Window

from convoy_controller.importing.call import Call
from convoy_controller.importing.values import Refusal


def window_of(given: Call, kernel: Sequence[int], shape: tuple[int, ...]) -> Window:
    """The window of a convolution or pool over an input of `shape`; raises `Refusal` for one that is not there."""
    kernel = tuple(given.attributes.get("kernel_shape", kernel))
    strides = tuple(given.attributes.get("strides", (1, 1)))
    dilations = tuple(given.attributes.get("dilations", (1, 1)))
    if not len(kernel) == len(strides) == len(dilations) == 2:
        raise Refusal(f"has a kernel of {kernel}; only two-dimensional ones are there")
    pads = list(given.attributes.get("pads", (0, 0, 0, 0)))
    automatic = given.attributes.get("auto_pad", b"NOTSET")
    if automatic != b"NOTSET":
        pads = _automatic_pads(automatic, kernel, strides, dilations, shape)
    if min(pads) < 0:
        raise Refusal(f"has negative padding {pads}; crop the input before it")
    top, left, bottom, right = pads
    window = Window(
        (kernel[0], kernel[1]), (strides[0], strides[1]), (top, left, bottom, right), (dilations[0], dilations[1])
    )
    return _rounded_up(given, window, shape) if given.attributes.get("ceil_mode", 0) else window


def _rounded_up(given: Call, window: Window, shape: tuple[int, ...]) -> Window:
    """`window` with as much more padding behind as a last, partial step needs (ceil_mode)."""
    pads = list(window.padding)
    for axis in (0, 1):
        stride, padded = window.stride[axis], shape[1 + axis] + pads[axis] + pads[2 + axis]
        room = padded - window.dilation[axis] * (window.kernel[axis] - 1) - 1
        starts = (room // stride + 1) * stride
        # A last window that would begin in the padding does not count.
        if room % stride and starts < shape[1 + axis] + pads[axis]:
            if given.op == "AveragePool":
                raise Refusal("rounds its output size up over a part of a window; export it with ceil_mode 0")
            pads[2 + axis] += -room % stride
    return replace(window, padding=(pads[0], pads[1], pads[2], pads[3]))


def _automatic_pads(
    how: bytes, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], shape: tuple[int, ...]
) -> list[int]:
    pads = [0, 0, 0, 0]
    if how == b"VALID":
        return pads
    for axis in (0, 1):
        size = shape[1 + axis]
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + reach - size)
        small, large = total // 2, total - total // 2
        pads[axis], pads[2 + axis] = (small, large) if how == b"SAME_UPPER" else (large, small)
    return pads

"""The registers of a kernel of the layer library: one AXI-Lite block for every kind, so that one driver serves all.

`hls/` compiles the same block into each kernel (its header is checked against this module), the board's fabric writes
it, and the emulated fabric answers it. Offsets are bytes, every register is 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from convoy_schema.topology import Kind, Layer, Tensor

#: Control register of Vitis HLS (`ap_ctrl_hs`) and its bits.
CONTROL: Final = 0x00
START, DONE, IDLE, READY = 1 << 0, 1 << 1, 1 << 2, 1 << 3

#: Written by every run, `Command.IDENTIFY` included: what the module is and which version of this contract it speaks.
IDENTITY: Final = 0x10
#: Set in `IDENTITY_VALID` once a run wrote the identity; reading clears it.
IDENTITY_VALID: Final = 0x14

#: Arguments, in this order from `FIRST_ARGUMENT` on, `ARGUMENT_STRIDE` apart. Unused ones are 0.
FIRST_ARGUMENT: Final = 0x20
ARGUMENT_STRIDE: Final = 8
ARGUMENTS: Final = (
    "command",
    "rows",  # samples of the batch
    "inputs",  # tensors that go in: 2 for add, up to the limit for concat, else 1
    "in_channels",  # C of (C, H, W); the N of a flat tensor, with height and width 1
    "in_height",
    "in_width",
    "out_channels",
    "out_height",
    "out_width",
    "kernel_height",
    "kernel_width",
    "stride_height",
    "stride_width",
    "pad_top",
    "pad_left",
    "dilation_height",
    "dilation_width",
    "groups",
    "flags",  # COUNT_INCLUDE_PAD
    "in_zero",  # zero point of the first input; those of add's and concat's inputs are parameters
    "out_zero",
    "low",  # the output's clamp
    "high",
    "in_words",  # of each stream in this start: the kernel's edge moves that many, TLAST on the last
    "parameter_words",
    "out_words",
)
_WINDOW: Final = ARGUMENTS[ARGUMENTS.index("kernel_height") : ARGUMENTS.index("groups")]
#: `flags`: an average pool divides by its whole window, padding included.
COUNT_INCLUDE_PAD: Final = 1

#: Bytes of a stream's word: activations and parameters are packed into 64 bits, the first byte lowest.
WORD_BYTES: Final = 8

_MAGIC = 0xC5
#: Counts up when registers, streams or arithmetic change, so that an old module is not taken for a new one.
VERSION: Final = 1


class Command(IntEnum):
    """What a start does."""

    IDENTIFY = 0  # only write the identity
    LOAD = 1  # take parameters off their stream and keep what fits the kernel's buffer
    RUN = 2  # compute `rows` samples with the parameters kept (or streamed past, where they do not fit)


KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(Kind, start=1)}


def offset(argument: str) -> int:
    """Byte offset of an argument's register."""
    return FIRST_ARGUMENT + ARGUMENT_STRIDE * ARGUMENTS.index(argument)


def identity(kind: Kind) -> int:
    """What a kernel of `kind` answers in `IDENTITY`: magic, kind and version."""
    return _MAGIC << 24 | KIND_NUMBERS[kind] << 16 | VERSION


#: What a whole network in one block (shell `fixed`) answers, which is of no kind.
CHAIN_IDENTITY: Final = _MAGIC << 24 | VERSION


def kind_of(value: int) -> Kind | None:
    """The kind that an identity stands for; None for another version, or for what is no kernel of this library."""
    return next((kind for kind in Kind if identity(kind) == value), None)


def layer_arguments(layer: Layer, inputs: Sequence[Tensor], output: Tensor) -> dict[str, int]:
    """The registers that describe a layer, for `LOAD` and `RUN` alike; command, rows and words are the caller's."""
    first, made = _extents(inputs[0].shape), _extents(output.shape)
    return {
        "rows": 1,
        "inputs": len(inputs),
        **dict(zip(("in_channels", "in_height", "in_width"), first, strict=True)),
        **dict(zip(("out_channels", "out_height", "out_width"), made, strict=True)),
        "groups": layer.groups,
        "flags": COUNT_INCLUDE_PAD if layer.count_include_pad else 0,
        "in_zero": inputs[0].zero_point,
        "out_zero": output.zero_point,
        "low": layer.low,
        "high": layer.high,
        **_window(layer, inputs[0]),
    }


def _extents(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def _window(layer: Layer, source: Tensor) -> dict[str, int]:
    values: tuple[int, ...] = (1, 1, 1, 1, 0, 0, 1, 1)
    if layer.window is not None:
        window = layer.window
        values = (*window.kernel, *window.stride, *window.padding[:2], *window.dilation)
    elif layer.kind is Kind.GLOBAL_AVERAGE_POOL:
        height, width = _extents(source.shape)[1:]
        values = (height, width, 1, 1, 0, 0, 1, 1)
    return dict(zip(_WINDOW, values, strict=True))

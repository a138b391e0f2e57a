"""The float arithmetic of composed networks, written by hand in NumPy, and networks that nobody thought of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from convoy_controller.composing import Network
from convoy_controller.composing.network import Step
from convoy_controller.errors import CompositionError
from hypothesis import strategies as st
from numpy.typing import NDArray

Real = NDArray[np.float64]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _padded(x: Real, step: Step, kernel: tuple[int, int], stride: tuple[int, int], dilation: int, fill: float) -> Real:
    padding = step.values.get("padding", 0)
    if padding == "same":
        around = []
        for at in (0, 1):
            size, reach = x.shape[2 + at], (kernel[at] - 1) * dilation + 1
            total = max(0, ((size + stride[at] - 1) // stride[at] - 1) * stride[at] + reach - size)
            around.append((total // 2, (total + 1) // 2))
    elif isinstance(padding, tuple) and len(padding) == 4:
        around = [(padding[0], padding[2]), (padding[1], padding[3])]
    else:
        around = [(size, size) for size in _pair(padding)]
    return np.pad(x, [(0, 0), (0, 0), *around], constant_values=fill)


def _windows(x: Real, kernel: tuple[int, int], stride: tuple[int, int], dilation: int) -> Real:
    """(rows, channels, height, width, kernel height, kernel width)."""
    reach = [(size - 1) * dilation + 1 for size in kernel]
    every = np.lib.stride_tricks.sliding_window_view(x, reach, (2, 3))
    return every[:, :, :: stride[0], :: stride[1], ::dilation, ::dilation]


def _conv(x: Real, step: Step, held: Mapping[str, Any], groups: int) -> Real:
    weight = held[f"{step.name}.weight"].astype(np.float64)
    kernel, stride = weight.shape[2:], _pair(step.values.get("stride", 1))
    dilation = step.values.get("dilation", 1)
    assert isinstance(dilation, int)
    seen = _windows(_padded(x, step, kernel, stride, dilation, 0.0), kernel, stride, dilation)
    parts = [
        np.einsum("nchwij,ocij->nohw", part, filters)
        for part, filters in zip(np.split(seen, groups, 1), np.split(weight, groups, 0), strict=True)
    ]
    return np.concatenate(parts, 1) + _bias(step, held)[:, None, None]


def _bias(step: Step, held: Mapping[str, Any]) -> Real:
    if step.values.get("bias", True):
        return np.asarray(held[f"{step.name}.bias"], np.float64)
    return np.zeros(len(held[f"{step.name}.weight"]))


def _pool(x: Real, step: Step) -> Real:
    kernel = _pair(step.values["size"])
    stride = _pair(step.values.get("stride", kernel))
    if step.op == "max-pool":
        return np.asarray(_windows(_padded(x, step, kernel, stride, 1, -np.inf), kernel, stride, 1).max((4, 5)))
    seen = _windows(_padded(x, step, kernel, stride, 1, 0.0), kernel, stride, 1).sum((4, 5))
    inside = np.ones_like(x)
    fill = 1.0 if step.values.get("count-padding", False) else 0.0
    count = _windows(_padded(inside, step, kernel, stride, 1, fill), kernel, stride, 1).sum((4, 5))
    return np.asarray(seen / count)


def _layer(step: Step, inputs: list[Real], held: Mapping[str, Any]) -> Real:
    x = inputs[0]
    if step.op in ("conv2d", "depthwise"):
        groups = x.shape[1] if step.op == "depthwise" else step.values.get("groups", 1)
        assert isinstance(groups, int)
        return _conv(x, step, held, groups)
    if step.op in ("max-pool", "average-pool"):
        return _pool(x, step)
    if step.op == "dense":
        return np.asarray(x.reshape(len(x), -1) @ held[f"{step.name}.weight"].astype(np.float64).T + _bias(step, held))
    low, high = step.values.get("low", 0), step.values.get("high", 6)
    assert isinstance(low, (int, float))
    assert isinstance(high, (int, float))
    simple = {
        "relu": lambda: np.maximum(x, 0),
        "relu6": lambda: np.clip(x, 0, 6),
        "clip": lambda: np.clip(x, low, high),
        "global-average-pool": lambda: x.mean((2, 3), keepdims=True),
        "flatten": lambda: x.reshape(len(x), -1),
        "add": lambda: inputs[0] + inputs[1],
        "concat": lambda: np.concatenate(inputs, 1),
    }
    return np.asarray(simple[step.op]())


def by_hand(network: Network, held: Mapping[str, Any], rows: NDArray[np.float32]) -> Real:
    """The network's output in float64."""
    values: dict[str, Real] = {"input": rows.astype(np.float64)}
    for step in network.steps:
        inputs = [values[name] for name in step.of]
        values[step.name] = _layer(step, inputs, held)
    return values[network.steps[-1].name]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Up to eight layers, of which those are kept that fit; every branch ends in a concat or an add."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(4, 9), st.integers(4, 9)))
    network = Network("drawn", input=shape)
    for _ in range(draw(st.integers(1, 8))):
        grown = _grown(draw, network)
        try:
            grown.check()
        except CompositionError:
            continue
        network = grown
    return network if network.steps else network.relu()


def _grown(draw: st.DrawFn, network: Network) -> Network:
    extent = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = st.one_of(
        st.just("same"),
        st.integers(0, 2),
        st.tuples(st.integers(0, 2), st.integers(0, 2)),
        st.tuples(*[st.integers(0, 2)] * 4),
    )
    name = draw(st.one_of(st.none(), st.just(f"features.{len(network.steps)}")))
    last = network.steps[-1].name if network.steps else "input"
    op = draw(st.sampled_from(["conv2d", "depthwise", "pool", "clamp", "dense", "global", "flatten", "branch"]))
    bias, stride, pads, dilation = draw(st.booleans()), draw(extent), draw(padding), draw(st.integers(1, 2))
    if op == "conv2d":
        return network.conv2d(
            draw(st.integers(1, 6)), draw(extent), stride=stride, padding=pads, groups=draw(st.sampled_from((1, 1, 2))),
            dilation=dilation, bias=bias, name=name,
        )  # fmt: skip
    if op == "depthwise":
        multiplier = draw(st.integers(1, 2))
        return network.depthwise(
            draw(extent), multiplier=multiplier, stride=stride, padding=pads, dilation=dilation, bias=bias, name=name
        )
    if op == "pool":
        step = draw(st.one_of(st.none(), extent))
        if draw(st.booleans()):
            return network.max_pool(draw(extent), stride=step, padding=pads, name=name)
        return network.average_pool(
            draw(extent), stride=step, padding=pads, count_padding=draw(st.booleans()), name=name
        )
    if op == "branch":
        made = network.conv2d(draw(st.integers(1, 4)), 3, padding="same", name=name, of=last)
        return made.concat(last) if draw(st.booleans()) else made.add(last)
    if op == "clamp":
        made = draw(st.sampled_from([network.relu(name=name), network.relu6(name=name)]))
        return draw(st.sampled_from([made, network.clip(-0.5, draw(st.floats(0, 2)), name=name)]))
    if op == "dense":
        return network.dense(draw(st.integers(1, 7)), bias=bias, name=name)
    return network.flatten(name=name) if op == "flatten" else network.global_average_pool(name=name)

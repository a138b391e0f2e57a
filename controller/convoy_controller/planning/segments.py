"""What every run of layers [i, j) costs every kind of board, as matrices over (i, j); infinite where it cannot be.

Swaps and reloads are paid by the batch. Runs that need more kinds of modules than there are partitions load some anew
for each batch, the least recently used one going; a board, which knows the order, swaps no more often. A kernel holds
one layer's parameters: of several layers of a kind each takes its own anew, and so does the only one of its kind in a
module that was just loaded. Where a layer may run on the processor, a kind of module may be left out altogether; the
best choice of modules is taken for each run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convoy_controller.planning.instance import BoardKind, Instance

Matrix = NDArray[np.float64]
#: Kinds of modules among which choices are weighed, at most; more of them are always kept.
MOST_CHOICES = 8


@dataclass(frozen=True)
class Segments:
    """Of one kind of board, for a sample: `compute` seconds; `receive[i]` and `send[j]` at the ends; `period` is the
    largest of the three, `delay` what a sample needs to get through and on to the next. Infinite where it cannot be.
    `least[i]`: layer i takes no less in any run.
    """

    compute: Matrix
    receive: NDArray[np.float64]
    send: NDArray[np.float64]
    period: Matrix
    delay: Matrix
    least: NDArray[np.float64]


def segments(instance: Instance, kind: BoardKind) -> Segments:
    """All runs on one kind of board."""
    crossing = np.array(instance.crossing, float)
    receive = crossing / kind.link_bytes_per_s
    send = receive + instance.hop_s / instance.batch_rows
    # What gateways send into the first stage is theirs: no stage waits for it in a pipeline that is full.
    receive[0] = 0.0
    compute = np.where(memory(instance) > kind.memory_bytes, np.inf, seconds(instance, kind))
    period = np.maximum(np.maximum(compute, receive[:, None]), send[None, :])
    least = np.array(kind.seconds, float)
    if kind.processor:
        least = np.minimum(least, kind.processor)
    return Segments(compute, receive, send, period, compute + send[None, :], least)


def memory(instance: Instance) -> Matrix:
    """Bytes of every run: parameters, every buffer of a batch, and the frames that wait before its first layer."""
    rows = instance.batch_rows
    parameters = _running([layer.parameter_bytes for layer in instance.layers])
    buffers = _running([layer.buffer_bytes for layer in instance.layers])
    held = parameters + buffers * rows
    queue = np.array(instance.crossing, float) * rows * instance.queue_frames
    found: Matrix = held[None, :] - held[:, None] + queue[:, None]
    return found


def seconds(instance: Instance, kind: BoardKind) -> Matrix:
    """Seconds a sample of every run, swaps included; infinite where i >= j and where a layer cannot run."""
    best = np.full((len(instance.layers) + 1,) * 2, np.inf)
    for kept in _choices(instance, kind):
        each, modules = _placed(instance, kind, kept)
        found = _sums(each) + _changes(kind, modules, kind.reload_s) / instance.batch_rows
        np.minimum(best, found, out=best)
    return best


def on_processor(instance: Instance, kind: BoardKind, first: int, last: int) -> tuple[int, ...]:
    """Layers of the run that its best choice leaves to the processor."""
    best = np.inf
    chosen: tuple[int, ...] = ()
    for kept in _choices(instance, kind):
        each, modules = _placed(instance, kind, kept)
        total = _total(instance, kind, first, each[first:last], modules[first:last])
        if total < best:
            best, chosen = total, tuple(at for at in range(first, last) if modules[at] == "")
    return chosen


def placed_seconds(instance: Instance, kind: BoardKind, first: int, last: int, processor: frozenset[int]) -> float:
    """Seconds a sample of the run, with just those layers on the processor; infinite where one cannot be there."""
    each, modules = [], []
    for at in range(first, last):
        own = kind.processor[at] if kind.processor else np.inf
        each.append(own if at in processor else kind.seconds[at])
        modules.append("" if at in processor else instance.layers[at].module)
    return _total(instance, kind, first, each, modules)


def _total(instance: Instance, kind: BoardKind, first: int, each: Sequence[float], modules: Sequence[str]) -> float:
    """Seconds a sample of the run from `first` on, whose layers take `each` and `modules`, with what changing takes."""
    changes = _changes(kind, modules, kind.reload_s[first : first + len(modules)])[0, len(modules)]
    return float(sum(each) + changes / instance.batch_rows)


def _choices(instance: Instance, kind: BoardKind) -> Iterator[frozenset[str]]:
    """Sets of kinds of modules that may be kept: all of them first, and others where the processor can stand in."""
    kinds = sorted({layer.module for layer in instance.layers} - kind.resident)
    yield frozenset(kinds) | kind.resident
    if kind.partitions is None or not kind.processor or len(kinds) <= kind.partitions or len(kinds) > MOST_CHOICES:
        return
    for size in range(len(kinds)):
        yield from (frozenset(kept) | kind.resident for kept in itertools.combinations(kinds, size))


def _placed(instance: Instance, kind: BoardKind, kept: frozenset[str]) -> tuple[list[float], list[str]]:
    """Seconds of each layer where it runs, and the module it takes; '' on the processor."""
    each, modules = [], []
    for at, layer in enumerate(instance.layers):
        fabric = kind.seconds[at] if layer.module in kept else np.inf
        processor = kind.processor[at] if kind.processor else np.inf
        each.append(min(fabric, processor))
        modules.append(layer.module if fabric <= processor else "")
    return each, modules


def _changes(kind: BoardKind, modules: Sequence[str], reload_s: Sequence[float]) -> Matrix:
    """Seconds a batch that every run spends on swapping modules and on giving kernels their layers' parameters."""
    own = ["" if module in kind.resident else module for module in modules]
    found = np.zeros((len(modules) + 1,) * 2)
    if kind.partitions is not None:
        found += swaps(own, kind.partitions) * kind.swap_s
    if not reload_s:
        return found
    # A kernel that others use too has had their layers' parameters since the batch before.
    shared = _running(
        [each if module in kind.resident else 0.0 for each, module in zip(reload_s, modules, strict=True)]
    )
    return found + reloads(own, reload_s, kind.partitions) + (shared[None, :] - shared[:, None])


def reloads(modules: Sequence[str], seconds: Sequence[float], partitions: int | None) -> Matrix:
    """Seconds a batch of every run in which kernels are given parameters; each layer's take `seconds`, '' none."""
    gone = {} if partitions is None else _gone(modules, partitions)
    found = np.zeros((len(modules) + 1,) * 2)
    for module in set(modules) - {""}:
        own = np.array([used == module for used in modules])
        layers, taken = _running(own), _running(np.where(own, seconds, 0.0))
        count = layers[None, :] - layers[:, None]
        is_given = (count > 1) | ((count == 1) & gone.get(module, False))
        found += np.where(is_given, taken[None, :] - taken[:, None], 0.0)
    return found


def swaps(modules: Sequence[str], partitions: int) -> Matrix:
    """Loads for each batch of every run in the steady state, with so many partitions; '' needs none.

    The least recently used module goes. So a layer finds its module gone when, since the last layer of that kind (of
    the batch before, for the first), at least `partitions` other kinds had their turn. Without a partition of its own a
    run borrows one from others, and finds it changed in every batch.
    """
    bit = _bits(modules)
    if len(bit) <= partitions:
        return np.zeros((len(modules) + 1,) * 2)
    loads = _within(modules, bit, max(partitions, 1))
    for found in _gone(modules, partitions).values():
        loads += found
    return loads


def _bits(modules: Sequence[str]) -> dict[str, int]:
    """A bit for every kind of module."""
    return {module: 1 << number for number, module in enumerate(sorted(set(modules) - {""}))}


def _gone(modules: Sequence[str], partitions: int) -> dict[str, NDArray[np.bool_]]:
    """By kind: whether the first layer of it in every run finds its module gone; none when there is room for all."""
    bit, length = _bits(modules), len(modules)
    if len(bit) <= partitions:
        return {}
    first, before = _first_uses(modules, bit)
    after = _after_last(modules, bit)
    found = {}
    for number, module in enumerate(bit):
        there = first[:, number][:, None] < np.arange(length + 1)[None, :]
        others = _ones(before[:, number][:, None] | after[:, number][None, :])
        found[module] = np.triu(there & (others >= partitions), 1)
    return found


def _first_uses(modules: Sequence[str], bit: dict[str, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From layer i on: where each kind is first used, and which kinds are used before that."""
    length = len(modules)
    first = np.full((length + 1, len(bit)), length + 1, np.int64)
    before = np.zeros((length + 1, len(bit)), np.int64)
    for i in range(length - 1, -1, -1):
        first[i], before[i] = first[i + 1], before[i + 1]
        if modules[i]:
            own = bit[modules[i]].bit_length() - 1
            before[i] |= bit[modules[i]]
            first[i, own], before[i, own] = i, 0
    return first, before


def _after_last(modules: Sequence[str], bit: dict[str, int]) -> NDArray[np.int64]:
    """Up to layer j: which kinds are used after the last use of each."""
    after = np.zeros((len(modules) + 1, len(bit)), np.int64)
    for j, module in enumerate(modules, start=1):
        after[j] = after[j - 1]
        if module:
            after[j] |= bit[module]
            after[j, bit[module].bit_length() - 1] = 0
    return after


def _within(modules: Sequence[str], bit: dict[str, int], partitions: int) -> Matrix:
    """Loads of those layers whose module was used earlier in the same run."""
    length = len(modules)
    loads = np.zeros((length + 1, length + 1))
    for at, module in enumerate(modules):
        since = 0
        for back in range(at - 1, -1, -1) if module else ():
            if modules[back] == module:
                if since.bit_count() >= partitions:
                    loads[: back + 1, at + 1 :] += 1.0
                break
            since |= bit.get(modules[back], 0)
    return loads


def _ones(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bits of each value are set."""
    counted = np.zeros(values.shape, np.int64)
    left = values.copy()
    while left.any():
        counted += left & 1
        left >>= 1
    return counted


def _sums(each: Sequence[float]) -> Matrix:
    length = len(each)
    found = np.full((length + 1, length + 1), np.inf)
    values = np.array(each, float)
    for i in range(length):
        found[i, i + 1 :] = np.cumsum(values[i:])
    return found


def _running(values: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    return np.concatenate(([0.0], np.cumsum(np.array(values, float))))

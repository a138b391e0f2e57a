"""Random instances of planning, and every plan of a small one: costs are counted anew here, step by step."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import chain, combinations

from convoy_controller.planning.instance import BoardKind, Instance, LayerLoad, Wish
from convoy_schema.messages.desired import Objective

Cuts = tuple[tuple[int, int, int, int], ...]


def instance(seed: int, most_layers: int = 6, most_kinds: int = 3, most_boards: int = 4) -> Instance:
    """A chain, or a graph whose tensors live over several layers, and boards that differ in everything."""
    r = random.Random(seed)
    length = r.randint(1, most_layers)
    layers = tuple(LayerLoad(f"l{at}", r.choice("abcd"), r.randint(0, 50), r.randint(1, 30)) for at in range(length))
    kinds, left = [], most_boards
    for number in range(r.randint(1, most_kinds)):
        count = r.randint(1, max(1, left - (most_kinds - number - 1)))
        left -= count
        kinds.append(_kind(r, number, max(1, count), length))
        if left <= 0:
            break
    crossing = graph_crossing(r, length)
    if r.random() < 0.2 and length > 1:
        crossing[r.randint(1, length - 1)] = math.inf  # a cut that no frame can hold
    return Instance(f"random-{seed}", layers, tuple(crossing), tuple(kinds), r.choice((1, 4)), r.choice((1, 3)), 0.2)


def _kind(r: random.Random, number: int, count: int, length: int) -> BoardKind:
    seconds = tuple(math.inf if r.random() < 0.03 else r.uniform(0.5, 8.0) for _ in range(length))
    processor = tuple(r.choice((math.inf, r.uniform(1.0, 20.0))) for _ in range(length)) if r.random() < 0.4 else ()
    return BoardKind(
        name=f"kind-{number}",
        count=count,
        seconds=seconds,
        memory_bytes=r.choice((200, 10**6, 10**6)),
        link_bytes_per_s=r.choice((5.0, 20.0, 1e6)),
        partitions=r.choice((None, 0, 1, 2, 3)),
        processor=processor,
        swap_s=r.uniform(0.0, 6.0),
        reload_s=tuple(r.uniform(0.0, 4.0) for _ in range(length)) if r.random() < 0.7 else (),
        resident=frozenset(r.sample("abcd", r.choice((0, 0, 1, 2)))),
    )


def graph_crossing(r: random.Random, length: int) -> list[float]:
    """Bytes over each cut, when each tensor lives from its maker to its last user."""
    is_chain = r.random() < 0.4
    crossing = [0.0] * (length + 1)
    for made in range(length + 1):  # tensor `made` is the output of layer made - 1; 0 is the input
        size = float(r.randint(1, 40))
        last = made if is_chain or made == length else r.randint(made, min(length - 1, made + 3))
        for cut in range(made, last + 1):
            crossing[cut] += size
    return crossing


def simulated_swaps(modules: Sequence[str], partitions: int) -> int:
    """Loads of the second of two batches in a row, the least recently used module going.

    Without partitions one is borrowed, in which others have loaded theirs between the batches.
    """
    held: list[str] = []
    loads = 0
    for _ in range(2):
        loads = 0
        held = held if partitions else []
        for module in filter(None, modules):
            if module in held:
                held.remove(module)
            else:
                loads += 1
                if len(held) == max(1, partitions):
                    held.pop(0)
            held.append(module)
    return loads if len(set(filter(None, modules))) > partitions else 0


def simulated_reloads(modules: Sequence[str], seconds: Sequence[float], partitions: int | None) -> float:
    """Seconds of the second of two batches in which kernels take parameters; a module just loaded holds none."""
    held: dict[str, int] = {}  # module to the layer whose parameters it has, the least recently used module first
    total = 0.0
    for _ in range(2):
        total = 0.0
        for at, module in enumerate(modules):
            if module and held.get(module) != at:
                total += seconds[at]
            if module:
                held.pop(module, None)
                held[module] = at
            if partitions is not None and len(held) > partitions:
                del held[next(iter(held))]
    return total


def stage_seconds(problem: Instance, kind: BoardKind, first: int, last: int) -> float:
    """Of the best choice of modules to keep."""
    names = sorted({layer.module for layer in problem.layers[first:last]} - kind.resident)
    processor = kind.processor or (math.inf,) * len(problem.layers)
    several = len({layer.module for layer in problem.layers} - kind.resident)
    free = kind.partitions is not None and several > kind.partitions and bool(kind.processor)
    choices = chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)) if free else [tuple(names)]
    best = math.inf
    for kept in choices:
        total, modules = 0.0, []
        for at in range(first, last):
            is_there = problem.layers[at].module in {*kept, *kind.resident}
            fabric = kind.seconds[at] if is_there else math.inf
            total += min(fabric, processor[at])
            needs_load = fabric <= processor[at] and problem.layers[at].module not in kind.resident
            modules.append(problem.layers[at].module if needs_load else "")
        if kind.partitions is not None:
            total += simulated_swaps(modules, kind.partitions) * kind.swap_s / problem.batch_rows
        if kind.reload_s:
            reloads = simulated_reloads(modules, kind.reload_s[first:last], kind.partitions)
            shared = [
                kind.reload_s[at]
                for at in range(first, last)
                if problem.layers[at].module in kind.resident and kind.seconds[at] <= processor[at]
            ]
            total += (reloads + sum(shared)) / problem.batch_rows
        best = min(best, total)
    return best


def stage(problem: Instance, kind: BoardKind, first: int, last: int) -> tuple[float, float]:
    """(period, delay) of a stage on one board."""
    inside = problem.layers[first:last]
    need = sum(layer.parameter_bytes for layer in inside)
    need += problem.batch_rows * sum(layer.buffer_bytes for layer in inside)
    if math.isinf(problem.crossing[first]) or math.isinf(problem.crossing[last]):
        return math.inf, math.inf
    if need + problem.crossing[first] * problem.batch_rows * problem.queue_frames > kind.memory_bytes:
        return math.inf, math.inf
    compute = stage_seconds(problem, kind, first, last)
    send = problem.crossing[last] / kind.link_bytes_per_s + problem.hop_s / problem.batch_rows
    receive = problem.crossing[first] / kind.link_bytes_per_s if first else 0.0
    return max(compute, send, receive), compute + send


def every_plan(problem: Instance, wish: Wish) -> Iterator[tuple[Cuts, float, float]]:
    """Every plan that is possible, with its period and latency."""
    most = (wish.replicas or problem.boards) if wish.replicate else 1
    costs = {
        (i, j, k): stage(problem, kind, i, j)
        for i in range(len(problem.layers))
        for j in range(i + 1, len(problem.layers) + 1)
        for k, kind in enumerate(problem.kinds)
    }

    def extend(
        at: int, left: tuple[int, ...], made: Cuts, period: float, latency: float
    ) -> Iterator[tuple[Cuts, float, float]]:
        if at == len(problem.layers):
            yield made, period, latency
            return
        for last in range(at + 1, len(problem.layers) + 1):
            for k, free in enumerate(left):
                each, delay = costs[at, last, k]
                if math.isinf(each):
                    continue
                for boards in range(1, min(free, most) + 1):
                    rest = (*left[:k], free - boards, *left[k + 1 :])
                    cut = (at, last, k, boards)
                    yield from extend(last, rest, (*made, cut), max(period, each / boards), latency + delay)

    yield from extend(0, tuple(kind.count for kind in problem.kinds), (), 0.0, 0.0)


def best(problem: Instance, wish: Wish) -> float | None:
    """The least objective of all plans; None when there is none."""
    found: dict[int, float] = {}
    for cuts, period, latency in every_plan(problem, wish):
        boards = sum(cut[3] for cut in cuts)
        if boards <= wish.limit(problem):
            value = latency if wish.objective is Objective.LATENCY else period
            found[boards] = min(found.get(boards, math.inf), value)
    if not found:
        return None
    return found[max(found)] if wish.exactly else min(found.values())

"""The planner's core beside every plan there is, by each of its methods; its bounds, notes and refusals."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from convoy_controller.errors import PlanError
from convoy_controller.planning import frontier, multisets, segments
from convoy_controller.planning.instance import BoardKind, Instance, LayerLoad, Wish
from convoy_controller.planning.solution import Solution
from convoy_controller.planning.solver import notes, one_more, solve
from convoy_schema.messages.desired import Objective
from planning_oracle import best, instance, simulated_reloads, simulated_swaps

Force = Callable[[str], None]
WISHES = [Wish(objective, replicate, worth=1.0) for objective in Objective for replicate in (False, True)]
#: At most two boards share a stage.
TWINS = Wish(replicate=True, replicas=2, worth=1.0)


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Force:
    """Leave only one method of search."""

    def only(method: str) -> None:
        monkeypatch.setattr(multisets, "MOST_WORK", 4e8 if method == "multisets" else 0)
        monkeypatch.setattr(frontier, "MOST_BYTES", 2.5e8 if method == "frontier" else 0)

    return only


def attempt(problem: Instance, wish: Wish) -> Solution | None:
    try:
        return solve(problem, wish)
    except PlanError:
        return None


@pytest.mark.parametrize("block", range(6))
def test_twelve_hundred_random_instances_and_four_wishes_equal_brute_force(block: int) -> None:
    placed = 0
    for seed in range(200 * block, 200 * block + 200):
        problem = instance(seed)
        for wish in WISHES:
            expected, found = best(problem, wish), attempt(problem, wish)
            assert (found is None) == (expected is None), (seed, wish)
            if found is not None:
                placed += 1
                assert found.exact
                assert found.value_s == pytest.approx(expected, rel=1e-9), (seed, wish)
                assert found.bound_s == pytest.approx(expected, rel=1e-9), (seed, wish)
    assert placed > 4 * 100  # of four wishes each


@pytest.mark.parametrize("wish", [*WISHES, TWINS, replace(TWINS, replicas=3)])
def test_more_boards_and_layers_equal_brute_force(wish: Wish) -> None:
    several = 0
    for seed in range(6000, 6060):
        problem = instance(seed, most_layers=7, most_boards=6)
        expected, found = best(problem, wish), attempt(problem, wish)
        assert (found is None) == (expected is None), seed
        if found is not None:
            several += found.boards > 2
            assert found.value_s == pytest.approx(expected, rel=1e-9), seed
    assert several > 5 or wish.objective is Objective.LATENCY


@pytest.mark.parametrize("wish", [*WISHES[:2], TWINS])
def test_the_search_for_a_period_equals_brute_force(force: Force, wish: Wish) -> None:
    force("frontier")
    for seed in range(5000, 5200):
        problem = instance(seed, most_boards=5)
        expected, found = best(problem, wish), attempt(problem, wish)
        assert (found is None) == (expected is None), seed
        if found is not None:
            assert found.exact
            assert found.value_s == pytest.approx(expected, rel=1e-9), seed


@pytest.mark.parametrize("wish", [*WISHES, TWINS])
def test_prices_never_claim_more_than_brute_force_allows(force: Force, wish: Wish) -> None:
    force("prices")
    proved = found_some = 0
    for seed in range(2000, 2150):
        problem = instance(seed)
        expected, found = best(problem, wish), attempt(problem, wish)
        if found is None:
            continue
        assert expected is not None, seed
        found_some += 1
        assert found.bound_s <= expected * (1 + 1e-9), seed
        assert found.value_s >= expected * (1 - 1e-9), seed
        if found.exact:
            proved += 1
            assert found.value_s == pytest.approx(expected, rel=1e-9), seed
    assert found_some > 80
    assert wish.objective is Objective.THROUGHPUT or proved > 80


def test_exactly_so_many_boards_and_spares_equal_brute_force() -> None:
    for seed in range(3000, 3080):
        problem = instance(seed, most_kinds=2, most_boards=5)
        for wish in (
            Wish(exactly=True, most=2),
            Wish(exactly=True, replicate=True),
            Wish(exactly=True, replicate=True, replicas=2),
            Wish(Objective.LATENCY, exactly=True),
            Wish(Objective.LATENCY, exactly=True, replicate=True),
            Wish(Objective.LATENCY, exactly=True, replicate=True, replicas=2),
            Wish(spare=1, worth=1.0),
        ):
            expected, found = best(problem, wish), attempt(problem, wish)
            assert (found is None) == (expected is None), (seed, wish)
            if found is not None:
                assert found.value_s == pytest.approx(expected, rel=1e-9), (seed, wish)
                assert found.boards <= wish.limit(problem)


def test_no_stage_has_more_boards_than_may_share_one() -> None:
    bound = 0
    for seed in range(3000, 3040):
        problem = instance(seed, most_kinds=1, most_boards=8)
        for exactly in (False, True):
            found, free = (attempt(problem, Wish(replicate=True, replicas=n, exactly=exactly)) for n in (2, 0))
            if found is not None and free is not None:
                assert max(stage.replicas for stage in found.stages) <= 2, seed
                bound += max(stage.replicas for stage in free.stages) > 2
    assert bound > 10


def test_a_plan_covers_every_layer_once_and_its_figures_follow_from_its_stages() -> None:
    for seed in range(4000, 4100):
        problem = instance(seed)
        found = attempt(problem, Wish(replicate=True))
        if found is None:
            continue
        assert [at for stage in found.stages for at in range(stage.first, stage.last)] == [*range(len(problem.layers))]
        counts = {kind.name: kind.count for kind in problem.kinds}
        memory = {kind.name: kind.memory_bytes for kind in problem.kinds}
        for stage in found.stages:
            counts[stage.kind] -= stage.replicas
            assert stage.memory_bytes <= memory[stage.kind]
        assert min(counts.values()) >= 0
        slowest = max(max(s.seconds, s.send_s, s.receive_s) / s.replicas for s in found.stages)
        assert found.period_s == slowest
        assert found.gap <= 1 / 0.99 - 1 + 1e-9


def test_swaps_of_every_run_are_those_of_the_least_recently_used() -> None:
    r = random.Random(7)
    for _ in range(60):
        modules = [r.choice(["", "a", "b", "c", "d"]) for _ in range(r.randint(1, 12))]
        partitions = r.randint(0, 4)
        matrix = segments.swaps(modules, partitions)
        for i in range(len(modules)):
            for j in range(i + 1, len(modules) + 1):
                assert matrix[i, j] == simulated_swaps(modules[i:j], partitions), (modules[i:j], partitions)


def test_reloads_of_every_run_are_those_of_kernels_that_hold_one_layer() -> None:
    r = random.Random(8)
    for _ in range(60):
        modules = [r.choice(["", "a", "b", "c", "d"]) for _ in range(r.randint(1, 12))]
        seconds = [float(r.randint(1, 9)) for _ in modules]
        partitions = r.choice([None, 1, 2, 3, 4])
        matrix = segments.reloads(modules, seconds, partitions)
        for i in range(len(modules)):
            for j in range(i + 1, len(modules) + 1):
                expected = simulated_reloads(modules[i:j], seconds[i:j], partitions)
                assert matrix[i, j] == expected, (modules[i:j], partitions)


def large(seed: int, layers: int = 100, counts: tuple[int, ...] = (16, 16, 16, 16)) -> Instance:
    r = random.Random(seed)
    base = [10 ** r.uniform(-5, -3) for _ in range(layers)]
    loads = tuple(LayerLoad(f"l{i}", r.choice("abcd"), r.randint(100, 400_000), 50_000) for i in range(layers))
    crossing = tuple(float(r.randint(200, 30_000)) for _ in range(layers + 1))
    kinds = tuple(
        BoardKind(f"kind-{k}", count, tuple(s * r.uniform(0.5, 2.0) for s in base), 16_000_000, 12.5e6)
        for k, count in enumerate(counts)
    )
    return Instance("large", loads, crossing, kinds, 8, 8, 1e-4)


@pytest.mark.parametrize("replicate", [False, True])
def test_64_boards_of_four_kinds_and_a_hundred_layers(replicate: bool) -> None:
    began = time.process_time()
    found = solve(large(1), Wish(replicate=replicate))
    assert time.process_time() - began < 2.0
    assert found.gap <= 0.05


def test_what_is_too_large_to_be_exact_is_labelled_and_bounded() -> None:
    found = solve(large(2, counts=(30,) * 8))
    assert found.method.startswith("bounded")
    assert found.gap <= 0.05
    assert not found.exact or found.gap == 0.0
    latency = solve(large(2, counts=(30,) * 8), Wish(Objective.LATENCY))
    assert latency.gap <= 0.05


def chain(seconds: list[float], count: int, crossing: float = 1.0, **facts: object) -> Instance:
    kind = BoardKind("board", count, tuple(seconds), 10**6, 1.0)
    layers = tuple(LayerLoad(f"l{at}", "a", 10, 10) for at in range(len(seconds)))
    kind = replace(kind, **facts)  # type: ignore[arg-type]
    return Instance("chain", layers, (crossing,) * (len(seconds) + 1), (kind,))


def test_when_two_boards_are_slower_than_one_it_says_so_and_uses_one() -> None:
    problem = chain([1.0, 1.0], 2, crossing=1.0)
    problem = replace(problem, crossing=(0.0, 10.0, 0.0))
    found = solve(problem)
    assert found.boards == 1
    assert notes(problem, Wish(), found) == ("1 board is used: two would be slower than one (1e+04 ms beside 2000 ms)",)
    asked = solve(problem, Wish(exactly=True))
    assert asked.boards == 2
    assert notes(problem, Wish(exactly=True), asked) == (
        "2 boards are used as asked, though one would take 2000 ms beside 1e+04 ms",
    )


def test_why_not_more_boards_are_used_is_said() -> None:
    three = chain([1.0, 1.0], 3, crossing=0.0)
    found = solve(three, Wish(exactly=True))
    assert notes(three, Wish(exactly=True), found) == ("only 2 of 3 boards can have a layer",)
    assert notes(three, Wish(), solve(three)) == ("2 of 3 boards are used: more would not make it 1% better",)
    alone = chain([1.0], 2)
    assert notes(alone, Wish(), solve(alone)) == ("1 board is used: the network cannot be divided over two",)
    assert notes(chain([1.0], 1), Wish(), solve(chain([1.0], 1))) == ()


def test_layers_that_take_no_time_are_planned_by_every_method(force: Force) -> None:
    for method in ("multisets", "frontier", "prices"):
        force(method)
        problem = chain([0.0, 0.0], 2, crossing=0.0)
        found = solve(problem)
        assert (found.period_s, found.gap, found.boards) == (0.0, 0.0, 1)


def test_what_one_more_board_would_buy() -> None:
    problem = chain([1.0, 1.0, 1.0, 1.0], 2, crossing=0.0)
    found = solve(problem)
    assert found.period_s == 2.0
    (more,) = one_more(problem, Wish(), found)
    assert (more.kind, more.value_s, more.gain) == ("board", 2.0, 0.0)
    (more,) = one_more(chain([1.0] * 3, 2, crossing=0.0), Wish(), solve(chain([1.0] * 3, 2, crossing=0.0)))
    assert more.gain == pytest.approx(0.5)


def test_the_processor_takes_what_would_cost_a_swap() -> None:
    loads = tuple(LayerLoad(f"l{n}", module, 0, 0) for n, module in enumerate("abc"))
    kind = BoardKind(
        "board", 1, (1.0, 1.0, 1.0), 100, 1e9, partitions=2, processor=(math.inf, 3.0, math.inf), swap_s=4.0
    )
    found = solve(Instance("three", loads, (0.0,) * 4, (kind,)))
    assert found.period_s == 5.0
    assert found.stages[0].processor == ("l1",)


def test_a_refusal_names_board_need_and_have() -> None:
    with pytest.raises(PlanError, match="layer l0 needs 120 bytes on board board that has 100") as refused:
        solve(
            Instance(
                "big",
                (LayerLoad("l0", "a", 120, 0),),
                (0.0, 0.0),
                (BoardKind("board", 2, (1.0,), 100, 1.0),),
            )
        )
    assert refused.value.data == {"need": 120, "have": 100, "layer": "l0", "board": "board"}
    with pytest.raises(PlanError, match="layer l1 cannot run on board board: it needs 9 channels") as refused:
        solve(chain([1.0, math.inf], 1, limits={1: "it needs 9 channels, the kernel has room for 8"}))
    with pytest.raises(PlanError, match="at least 3 boards are needed") as refused:
        solve(chain([1.0] * 3, 2, memory_bytes=21))
    assert (refused.value.data["need"], refused.value.data["have"]) == (3, 2)
    with pytest.raises(PlanError, match="at least one"):
        solve(chain([1.0], 1), Wish(spare=1))


def test_kinds_without_boards_are_left_out() -> None:
    problem = chain([1.0, 2.0], 1)
    none = replace(problem.kinds[0], name="none", count=0, seconds=(0.0, 0.0))
    assert solve(replace(problem, kinds=(none, *problem.kinds))).period_s == solve(problem).period_s


def test_needs_are_the_fewest_boards_that_keep_the_period() -> None:
    matrix = np.array([[3.0, np.inf]])
    assert frontier.needs([matrix], [4], 1.0)[0][0, 0] == 3
    assert frontier.needs([matrix], [4], 1.1)[0][0, 0] == 3
    assert frontier.needs([matrix], [2], 1.0)[0][0, 0] == frontier.NONE
    assert frontier.needs([matrix], [1], 1.0)[0][0, 0] == frontier.NONE
    assert frontier.needs([matrix], [1], 3.0)[0][0, 0] == 1

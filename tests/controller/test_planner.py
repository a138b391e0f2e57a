"""Plans against brute force, their bounds, and what a refusal says."""

import itertools
import math
from dataclasses import replace

import pytest
from convoy_controller import planner
from convoy_controller.errors import PlanError
from convoy_controller.planner import BoardModel, plan
from convoy_controller.planning.costing import crossing_bytes, instance_of
from convoy_controller.planning.segments import memory, segments
from convoy_schema import cycles
from convoy_schema.bundle import Method
from convoy_schema.limits import KernelLimits
from convoy_schema.messages.boards import Capability, Partition
from convoy_schema.messages.desired import Cut, Objective
from convoy_schema.network import chain_cycles
from convoy_schema.processors import ProcessorRate
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from hypothesis import given, settings
from hypothesis import strategies as st

BOARD = BoardModel(clock_hz=100e6, memory_bytes=512 * 2**20, partitions=None)


def chain(channels: list[int], extent: int = 8) -> Topology:
    """3x3 convolutions over `extent` x `extent`, with that many channels before, between and after them."""
    tensors = tuple(Tensor(f"t{i}", (c, extent, extent), 0.1, 0) for i, c in enumerate(channels))
    window = Window((3, 3), padding=(1, 1, 1, 1))
    layers = tuple(Layer(f"conv{i}", Kind.CONV2D, (f"t{i}",), f"t{i + 1}", window) for i in range(len(channels) - 1))
    return Topology("chain", tensors, layers, "t0", f"t{len(channels) - 1}")


def residual() -> Topology:
    """A convolution between a tensor and its sum with it, and one before and after."""
    tensors = tuple(Tensor(name, (8, 8, 8), 0.1, 0) for name in ("in", "a", "b", "sum", "out"))
    window = Window((3, 3), padding=(1, 1, 1, 1))
    layers = (
        Layer("before", Kind.CONV2D, ("in",), "a", window),
        Layer("inside", Kind.CONV2D, ("a",), "b", window),
        Layer("add", Kind.ADD, ("a", "b"), "sum"),
        Layer("after", Kind.CONV2D, ("sum",), "out", window),
    )
    return Topology("residual", tensors, layers, "in", "out")


def small_queue(memory_bytes: int) -> BoardModel:
    return replace(BOARD, memory_bytes=memory_bytes, queue_frames=1)


def brute_force(topology: Topology, boards: int, replicate: bool) -> float:
    """The least period over every cut and every share of the boards."""
    length = len(topology.layers)
    instance = instance_of(topology, [("board", BOARD, boards)], 32)
    costs = segments(instance, instance.kinds[0])
    best = math.inf
    for stages in range(1, min(boards, length) + 1):
        for cuts in itertools.combinations(range(1, length), stages - 1):
            ends = (0, *cuts, length)
            shares = itertools.product(range(1, boards + 1 if replicate else 2), repeat=stages)
            for share in (s for s in shares if sum(s) <= boards):
                times = [costs.compute[a, b] / n for a, b, n in zip(ends, ends[1:], share, strict=False)]
                links = [costs.send[b] / n for b, n in zip(ends[1:], share, strict=True)]
                links += [costs.receive[a] / n for a, n in zip(ends, share, strict=False)]
                best = min(best, max([*times, *links]))
    return best


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 24), min_size=2, max_size=7), st.integers(1, 5), st.booleans())
def test_a_plan_is_as_good_as_the_best_of_all(channels: list[int], boards: int, replicate: bool) -> None:
    topology = chain(channels)
    cut = Cut.REPLICATED if replicate else Cut.PIPELINE
    found = plan(topology, boards, BOARD, cut=cut)
    # A board more is only used for a percent or more.
    assert found.period_s <= brute_force(topology, boards, replicate) * 1.0101**boards
    assert found.boards <= boards
    assert [stage.first for stage in found.stages[1:]] == [stage.last for stage in found.stages[:-1]]
    assert (found.stages[0].first, found.stages[-1].last) == (0, len(topology.layers))
    assert found.period_s >= found.bound_s * 0.999


@given(st.lists(st.integers(1, 24), min_size=2, max_size=7), st.integers(1, 9))
def test_exactly_uses_every_board_that_can_have_a_layer(channels: list[int], boards: int) -> None:
    topology = chain(channels)
    found = plan(topology, boards, BOARD, exactly=True)
    assert found.boards == min(boards, len(topology.layers))


def test_latency_takes_one_board() -> None:
    assert plan(chain([8, 8, 8]), 3, BOARD, objective=Objective.LATENCY).boards == 1


def test_a_network_too_large_for_a_board_is_cut_and_too_large_for_all_is_refused_with_need_and_have() -> None:
    topology = chain([64, 64, 64, 64])
    whole = int(memory(instance_of(topology, [("board", small_queue(10**9), 1)], 1))[0, 3])
    small = small_queue(whole // 2)
    assert len(plan(topology, 3, small, batch=1).stages) > 1
    with pytest.raises(PlanError) as refusal:
        plan(topology, 3, small_queue(1000), batch=1)
    assert refusal.value.data["need"] > refusal.value.data["have"]
    assert "1000" in str(refusal.value)


def test_no_board_is_a_plan_error() -> None:
    with pytest.raises(PlanError, match="at least one"):
        plan(chain([1, 1]), 0, BOARD)


def test_the_batch_is_bounded_by_the_largest_cut() -> None:
    assert planner.batch_rows(chain([1, 200], 32), 32) == (256 - 2) * 1024 // (200 * 32 * 32)
    with pytest.raises(PlanError, match="frame bound"):
        planner.batch_rows(chain([1, 300], 32), 32)


def test_a_cut_too_large_for_a_frame_is_not_made_and_does_not_shrink_the_batch() -> None:
    topology = chain([1, 2, 300, 2, 1], 32)
    found = plan(topology, 4, BOARD, exactly=True)
    assert found.batch_rows == 32
    assert 2 not in {stage.first for stage in found.stages}
    assert found.boards == 3


def test_a_skip_connection_crosses_every_cut_it_spans() -> None:
    topology = residual()
    assert crossing_bytes(topology) == [
        sum(topology.tensor(name).size for name in topology.crossing(cut)) for cut in range(len(topology.layers) + 1)
    ]
    assert crossing_bytes(topology)[2] == 2 * crossing_bytes(topology)[0]


def test_a_layer_beyond_a_kernel_goes_where_it_fits_or_is_refused_with_need_and_have() -> None:
    topology = chain([4, 64, 4])
    narrow = replace(BOARD, kernels=(KernelLimits(Kind.CONV2D, 32, 64, 0, 3),))
    with pytest.raises(PlanError, match="board board: it needs 64 channels, the conv2d kernel has room for 32"):
        plan(topology, 2, narrow)
    found = planner.plan_fleet(topology, [("narrow", narrow, 2), ("wide", BOARD, 1)])
    assert {stage.kind for stage in found.stages} == {"wide"}
    with pytest.raises(PlanError, match="it has no conv2d kernel"):
        plan(topology, 2, replace(BOARD, kernels=(KernelLimits(Kind.DENSE, 0, 0, 9),)))


def test_a_layer_whose_tensors_do_not_fit_is_refused_by_name() -> None:
    topology = chain([4, 4, 4])
    for shape in ((4, 9, 8), (4,)):
        wrong = replace(topology, tensors=(replace(topology.tensors[0], shape=shape), *topology.tensors[1:]))
        with pytest.raises(PlanError, match="chain cannot be planned: layer conv0"):
            plan(wrong, 2, BOARD)


def test_a_faster_board_takes_more() -> None:
    topology = chain([16] * 9, 8)
    found = planner.plan_fleet(topology, [("slow", BOARD, 1), ("fast", replace(BOARD, clock_hz=300e6), 1)])
    layers = {stage.kind: stage.last - stage.first for stage in found.stages}
    assert layers == {"slow": 2, "fast": 6}


def test_a_small_dense_layer_goes_to_the_processor_where_that_is_cheaper_than_its_module() -> None:
    window = Window((3, 3), padding=(1, 1, 1, 1))
    tensors = tuple(Tensor(f"t{i}", shape, 0.1, 0) for i, shape in enumerate([(8, 16, 16), (8, 16, 16), (10,)]))
    layers = (Layer("conv", Kind.CONV2D, ("t0",), "t1", window), Layer("dense", Kind.DENSE, ("t1",), "t2"))
    network = Topology("small-head", tensors, layers, "t0", "t2")
    places = (Partition("west"),)
    capability = Capability(1, "part", "emulated", ("partitions",), places, 100_000_000, 2**28, 64, "0")
    a9 = replace(capability, processor=ProcessorRate(150e6, 200e6, 2e-4))
    alone = planner.plan(network, 1, planner.model_of(capability, Method.LIBRARY))
    shared = planner.plan(network, 1, planner.model_of(a9, Method.LIBRARY))
    assert (alone.stages[0].processor, shared.stages[0].processor) == ((), ("dense",))
    assert shared.period_s < alone.period_s
    # With a module's place for each kind nothing has to be loaded, and the kernel is the faster.
    roomy = replace(a9, partitions=(*places, Partition("east")))
    assert planner.plan(network, 1, planner.model_of(roomy, Method.LIBRARY)).stages[0].processor == ()
    for method in Method:
        assert planner.model_of(replace(a9, fabric="processor"), method).processor is None
    assert planner.model_of(a9, Method.STREAM).processor is None  # its chain is the whole network


def test_what_the_processor_is_faster_at_goes_there() -> None:
    model = replace(BOARD, processor=ProcessorRate(1e12, 1e12))
    found = plan(chain([8, 8, 8]), 1, model)
    assert found.stages[0].processor == ("conv0", "conv1")
    assert plan(chain([8, 8, 8]), 1, replace(BOARD, processor=ProcessorRate(1.0, 1.0))).stages[0].processor == ()


def test_a_batch_is_planned_by_what_one_run_of_it_takes_and_a_kernel_with_several_layers_reloads() -> None:
    topology = chain([8, 16, 8])
    described = [
        (layer, [topology.tensor(layer.inputs[0])], topology.tensor(layer.output)) for layer in topology.layers
    ]
    runs = [cycles.run(*each, 4) for each in described]
    loads = [cycles.load(*each) for each in described]
    whole = plan(topology, 1, BOARD, batch=4).stages[0].seconds
    assert whole == pytest.approx((sum(runs) + sum(loads)) / 4 / BOARD.clock_hz)
    alone = plan(topology, 2, BOARD, batch=4, exactly=True)
    assert [stage.seconds for stage in alone.stages] == pytest.approx([each / 4 / BOARD.clock_hz for each in runs])


def test_a_shell_that_is_one_network_takes_its_chains_time() -> None:
    board = replace(BOARD, is_network=True)
    found = planner.whole(chain([3, 5, 7]), 2, board, batch=8)
    assert found.stages[0].seconds == pytest.approx(chain_cycles(8) / 8 / board.clock_hz)


def test_the_whole_network_on_every_board_or_a_refusal_that_says_what_else_there_is() -> None:
    topology = chain([8, 8, 8])
    found = planner.whole(topology, 3, BOARD)
    (stage,) = found.stages
    assert (stage.first, stage.last, stage.replicas) == (0, 2, 3)
    assert found.period_s == pytest.approx(max(stage.seconds, stage.send_s) / 3)
    with pytest.raises(PlanError, match="allocate, library") as refusal:
        planner.whole(topology, 3, BoardModel(100e6, 100, None, queue_frames=1), batch=1)
    assert refusal.value.data["need"] > refusal.value.data["have"]
    with pytest.raises(PlanError, match="at least one"):
        planner.whole(topology, 0, BOARD)

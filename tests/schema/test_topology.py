"""The graph: what is consistent, what crosses a cut, what a stage needs; on chains and on residual networks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from convoy_schema import codec
from convoy_schema.errors import TopologyError
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from hypothesis import given
from hypothesis import strategies as st


def graph(layers: list[tuple[str, ...]], last: str, first: str = "x") -> Topology:
    """A topology out of (output, *inputs) for each layer; layer `l-t` makes tensor `t`."""
    names = dict.fromkeys([first, *(name for layer in layers for name in layer)])
    return Topology(
        "graph",
        tuple(Tensor(name, (4,), 1.0, 0) for name in names),
        tuple(
            Layer(f"l-{output}", Kind.ADD if len(inputs) > 1 else Kind.IDENTITY, inputs, output)
            for output, *rest in layers
            for inputs in [tuple(rest)]
        ),
        first,
        last,
    )


def chain(length: int) -> Topology:
    names = ["x", *(f"t{index}" for index in range(length))]
    return graph([(after, before) for before, after in itertools.pairwise(names)], names[-1])


#: x -> a -> b -> c, with x added to b, and a and c added at the end.
RESIDUAL = graph([("a", "x"), ("b", "a"), ("c", "b", "x"), ("d", "c"), ("e", "d", "a")], "e")


@st.composite
def graphs(draw: st.DrawFn) -> Topology:
    """A random graph in which every layer takes one to three tensors that are there already."""
    layers: list[tuple[str, ...]] = []
    made = ["x"]
    for index in range(draw(st.integers(1, 9))):
        inputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3))
        layers.append((f"t{index}", *inputs))
        made.append(f"t{index}")
    return graph(layers, draw(st.sampled_from(made[1:])))


# check ---------------------------------------------------------------------------------------------------------------


@given(graphs())
def test_a_graph_in_order_is_consistent_and_survives_packing(topology: Topology) -> None:
    topology.check()
    assert codec.unpack(Topology, codec.pack(topology)) == topology


@given(graphs(), st.data())
def test_a_layer_before_what_it_needs_is_refused(topology: Topology, data: st.DataObject) -> None:
    order = data.draw(st.permutations(topology.layers))
    made, runs = {topology.input}, True
    for layer in order:
        runs = runs and set(layer.inputs) <= made
        made.add(layer.output)
    shuffled = replace(topology, layers=tuple(order))
    if runs:
        shuffled.check()
    else:
        with pytest.raises(TopologyError, match="before it is made"):
            shuffled.check()


def test_a_network_without_layers_gives_back_its_input() -> None:
    graph([], "x").check()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (replace(RESIDUAL, tensors=(*RESIDUAL.tensors, RESIDUAL.tensors[0])), "names a tensor twice"),
        (replace(RESIDUAL, layers=(*RESIDUAL.layers, RESIDUAL.layers[0])), "names a layer twice"),
        (replace(RESIDUAL, tensors=RESIDUAL.tensors[:-1]), "refers to a tensor 'e' that is not there"),
        (replace(RESIDUAL, tensors=RESIDUAL.tensors[1:]), "refers to a tensor 'x' that is not there"),
        (replace(RESIDUAL, input="d"), r"layer l-a needs \['x'\] before it is made"),
        (replace(RESIDUAL, output="nowhere"), "lacks its input or output tensor"),
        (graph([("a", "x"), ("b",)], "a"), "layer l-b needs an input before it is made"),
        (graph([("a", "a")], "a"), r"layer l-a needs \['a'\] before it is made"),
        (graph([("a", "b"), ("b", "a")], "a"), r"needs \['b'\] before it is made"),
        (graph([("x", "x")], "x"), "layer l-x makes 'x' a second time"),
        (
            replace(RESIDUAL, layers=(*RESIDUAL.layers, Layer("again", Kind.IDENTITY, ("a",), "b"))),
            "layer again makes 'b' a second time",
        ),
        (replace(graph([], "x"), tensors=()), "lacks its input or output tensor"),
    ],
)
def test_a_contradiction_is_named(broken: Topology, reason: str) -> None:
    with pytest.raises(TopologyError, match=reason):
        broken.check()


def test_tensors_and_layers_are_found_by_name() -> None:
    assert RESIDUAL.tensor("c").name == "c"
    assert RESIDUAL.layer("l-c").inputs == ("b", "x")
    with pytest.raises(TopologyError, match="topology graph has no tensor 'z'"):
        RESIDUAL.tensor("z")
    with pytest.raises(TopologyError, match="topology graph has no layer 'c'"):
        RESIDUAL.layer("c")


def test_size_is_that_of_one_sample() -> None:
    assert Tensor("t", (3, 28, 28), 1.0, 0).size == 2352
    assert Tensor("t", (10,), 1.0, 0).size == 10


# crossing and needed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 7])
def test_one_tensor_crosses_each_cut_of_a_chain(length: int) -> None:
    topology = chain(length)
    made = ["x", *(layer.output for layer in topology.layers)]
    assert [topology.crossing(cut) for cut in range(length + 1)] == [(name,) for name in made]


def test_a_residual_crosses_until_it_is_added() -> None:
    assert [RESIDUAL.crossing(cut) for cut in range(6)] == [
        ("x",),
        ("a", "x"),
        ("b", "x", "a"),
        ("c", "a"),
        ("d", "a"),
        ("e",),
    ]


def test_an_output_made_early_crosses_every_later_cut() -> None:
    early = graph([("a", "x"), ("b", "a"), ("c", "b")], "a")
    early.check()
    assert [early.crossing(cut) for cut in range(4)] == [("x",), ("a",), ("b", "a"), ("a",)]


def test_what_nobody_uses_again_does_not_cross() -> None:
    dead = graph([("a", "x"), ("unused", "x"), ("b", "a")], "b")
    assert [dead.crossing(cut) for cut in range(4)] == [("x",), ("x", "a"), ("a",), ("b",)]


@given(graphs())
def test_what_crosses_a_cut_is_all_that_the_rest_needs(topology: Topology) -> None:
    for cut in range(len(topology.layers) + 1):
        crossing = topology.crossing(cut)
        assert len(crossing) == len(set(crossing))
        before = {topology.input, *(layer.output for layer in topology.layers[:cut])}
        assert set(crossing) <= before
        # Running the rest from these tensors alone reaches the output.
        there = set(crossing)
        for layer in topology.layers[cut:]:
            assert set(layer.inputs) <= there
            there.add(layer.output)
        assert topology.output in there
        # And none of them is superfluous.
        used = {name for layer in topology.layers[cut:] for name in layer.inputs} | {topology.output}
        assert set(crossing) <= used
    assert topology.crossing(len(topology.layers)) == (topology.output,)
    assert topology.crossing(len(topology.layers) + 5) == (topology.output,)


def test_a_stage_needs_what_it_does_not_make() -> None:
    assert RESIDUAL.needed(["l-a"]) == ("x",)
    assert RESIDUAL.needed(["l-b", "l-c"]) == ("a", "x")
    assert RESIDUAL.needed(["l-d", "l-e"]) == ("c", "a")
    assert RESIDUAL.needed([layer.name for layer in RESIDUAL.layers]) == ("x",)
    assert RESIDUAL.needed([]) == ()
    with pytest.raises(TopologyError, match="has no layer 'l-z'"):
        RESIDUAL.needed(["l-z"])


@given(graphs(), st.data())
def test_a_stage_needs_only_what_crossed_before_it(topology: Topology, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(topology.layers) - 1))
    end = data.draw(st.integers(start + 1, len(topology.layers)))
    needed = topology.needed([layer.name for layer in topology.layers[start:end]])
    assert len(needed) == len(set(needed))
    assert set(needed) <= set(topology.crossing(start))
    made = {layer.output for layer in topology.layers[start:end]}
    assert set(topology.crossing(end)) <= made | set(topology.crossing(start))

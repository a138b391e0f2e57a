"""Whether a placement hangs together: every stage there, the network covered in order, neighbours named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from convoy_schema import codec
from convoy_schema.bundle import Bundle, ModelAnnouncement
from convoy_schema.errors import ConvoyError
from convoy_schema.messages.desired import Assignment
from convoy_schema.messages.gateways import Route
from convoy_schema.names import Generation, digest_of
from convoy_schema.topology import Topology

from convoy_controller.conformance.played_board import Library


def faults(
    key: tuple[str, Generation], assigned: Mapping[str, Assignment], route: Route, library: Library
) -> Iterator[str]:
    """What does not fit together in a generation; nothing if it does."""
    stages: dict[int, dict[str, Assignment]] = {}
    for name, each in assigned.items():
        stages.setdefault(each.stage, {})[name] = each
    if sorted(stages) != list(range(route.stages)):
        yield f"{key[1]} has stages {sorted(stages)}, its route {route.stages}"
        return
    covered: list[str] = []
    for number, boards in sorted(stages.items()):
        layers = {each.layers for each in boards.values()}
        if len(layers) != 1:
            yield f"replicas of stage {number} with other layers"
        covered += next(iter(layers))
        after = set(stages.get(number + 1, {}))
        before = set(stages.get(number - 1, {}))
        for name, each in boards.items():
            if {hop.board for hop in each.next} != after or set(each.previous) != before:
                yield f"{name} of stage {number} names {each.previous} before and {each.next} behind it"
    if {hop.board for hop in route.entry} != set(stages[0]):
        yield f"the route enters at {[hop.board for hop in route.entry]}, stage 0 is on {sorted(stages[0])}"
    announcement = library.announcements.get(route.model.bundle)
    if announcement is not None:
        names = [layer.name for layer in codec.unpack(Topology, announcement.topology).layers]
        if covered != names:
            yield f"layers {covered} in place of {names}"


def digest_fault(announcement: ModelAnnouncement) -> str:
    """What of an announcement has not the digest that its bundle names, or ''."""
    try:
        bundle = codec.unpack(Bundle, announcement.bundle)
        topology = codec.unpack(Topology, announcement.topology)
    except ConvoyError as error:
        return str(error)
    if digest_of(announcement.topology) != bundle.topology:
        return "the topology has another digest"
    golden = {each.tensor: each.digest for each in bundle.golden}
    for tensor, content in ((topology.input, announcement.probe_input), (topology.output, announcement.probe_output)):
        if golden.get(tensor) != digest_of(content):
            return f"golden rows of {tensor} have another digest"
    return ""

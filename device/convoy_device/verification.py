"""What is checked before the fabric is touched: signature, digests, and that the assignment fits model and board.

Pure: bytes and descriptions in, a `StagePlan` or an error out. The structure of bitstreams is the fabric's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from convoy_schema import bundle as bundles
from convoy_schema import chain
from convoy_schema.bundle import Bundle, Method, ModelAnnouncement, VerifiedModel
from convoy_schema.frames import FRAME_OVERHEAD, MAX_FRAME
from convoy_schema.messages.desired import Assignment
from convoy_schema.names import Generation
from convoy_schema.topology import Kind, Topology
from convoy_schema.trust import Trust

from convoy_device.errors import (
    AssignmentError,
    BundleMismatchError,
    ModuleMissingError,
    PartMismatchError,
    ShellMismatchError,
)
from convoy_device.fabric import FabricFacts

#: The shell whose partitions take modules; every other shell brings its kernels along.
PARTITIONED_SHELL = "partitions"


@dataclass(frozen=True)
class StagePlan:
    """What brings one assignment up: layers [start, end) of `topology`, and every artifact by digest.

    `shell` is '' on a fabric that needs none; `shell_image` is None when the bundle has none for this part. `takes` and
    `gives` are the tensors that cross into and out of the stage. `images` holds module images by (partition, kind).
    """

    assignment: Assignment
    topology: Topology = field(repr=False)
    start: int
    end: int
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    shell: str
    shell_image: str | None
    images: Mapping[tuple[str, Kind], str]
    golden: Mapping[str, str]
    golden_rows: int

    @property
    def key(self) -> tuple[str, Generation]:
        """What names the assignment on a board."""
        return self.assignment.key

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Digests of the layers' parameters."""
        return tuple(layer.parameters for layer in self.topology.layers[self.start : self.end] if layer.parameters)

    @property
    def is_network(self) -> bool:
        """Whether the shell computes the network as a whole, so that no single layer is ever run."""
        return self.shell == Method.STREAM.shell

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Digests of every artifact but the shell, each once, in the order in which they are of use."""
        return tuple(dict.fromkeys((*self.images.values(), *self.parameters, *self.golden.values())))

    @cached_property
    def artifacts(self) -> frozenset[str]:
        """All that is to stay on disk: with the shell's image a board comes back from a power loss on its own."""
        return frozenset(filter(None, (*self.needs, self.shell_image)))


def verify_model(announcement: ModelAnnouncement, trust: Trust, expected: str) -> VerifiedModel:
    """Check signature, floor and digests; raises `SignatureError`, or `BundleMismatchError` if not `expected`."""
    # The digest is compared last: what is not signed by the trusted key is not even a mismatch.
    model = bundles.verify(announcement, trust)
    if model.digest != expected:
        raise BundleMismatchError(
            f"the assignment names bundle {expected[:12]}, bundle {model.digest[:12]} of "
            f"{model.bundle.model} {model.bundle.version} is announced",
            expected=expected,
            announced=model.digest,
        )
    return model


def plan_stage(assignment: Assignment, model: VerifiedModel, facts: FabricFacts) -> StagePlan:
    """Check that the assignment fits model and board; raises a `VerificationError` that says what does not."""
    intent, topology = assignment.intent, model.topology
    if (model.bundle.model, model.bundle.version) != (intent.model, intent.version):
        raise AssignmentError(
            f"the assignment is of {intent.model} {intent.version}, its bundle of "
            f"{model.bundle.model} {model.bundle.version}"
        )
    start, end = _cut(assignment, topology)
    takes, gives = topology.crossing(start), topology.crossing(end)
    _check_frames(assignment, topology, (takes, gives))
    _check_part(model.bundle, facts)
    # A fabric without shells runs any layer as it is: nothing has to be loaded for it.
    shell = intent.method.shell if facts.shells else ""
    if facts.shells and shell not in facts.shells:
        raise ShellMismatchError(
            f"method {intent.method.value} needs shell {shell!r}, this board has {_list(facts.shells)}",
            need=shell,
            have=facts.shells,
        )
    reason = chain.refusal(topology) if shell == Method.STREAM.shell else ""
    if reason:
        raise ShellMismatchError(f"shell {shell} computes one network alone: {reason}", need=topology.name, have=shell)
    if assignment.processor and shell == Method.STREAM.shell:
        raise AssignmentError(
            f"the processor cannot run {_list(assignment.processor)}: shell {shell} computes the network as a whole"
        )
    kinds = tuple(layer.kind for layer in topology.layers[start:end] if layer.name not in assignment.processor)
    return StagePlan(
        assignment,
        topology,
        start,
        end,
        takes,
        gives,
        shell,
        _shell_image(model.bundle, shell, facts.part),
        _images(assignment, model.bundle, facts, kinds) if shell == PARTITIONED_SHELL else {},
        _golden(model.bundle, (*takes, *gives)),
        model.bundle.golden_rows,
    )


def _cut(assignment: Assignment, topology: Topology) -> tuple[int, int]:
    names = [layer.name for layer in topology.layers]
    if not assignment.layers:
        raise AssignmentError("the assignment names no layer")
    if assignment.layers[0] not in names:
        raise AssignmentError(f"topology {topology.name} has no layer {assignment.layers[0]!r}")
    start = names.index(assignment.layers[0])
    end = start + len(assignment.layers)
    if tuple(names[start:end]) != assignment.layers:
        raise AssignmentError(f"layers {_list(assignment.layers)} do not follow each other in topology {topology.name}")
    first, last = assignment.stage == 0, assignment.stage == assignment.stages - 1
    if (start == 0) != first or (end == len(names)) != last or bool(assignment.next) == last:
        raise AssignmentError(
            f"stage {assignment.stage} of {assignment.stages} holds layers {start} to {end - 1} of {len(names)} "
            f"and has {len(assignment.next)} next boards: these contradict each other"
        )
    if bool(assignment.previous) == first:
        raise AssignmentError(f"stage {assignment.stage} names {len(assignment.previous)} senders")
    return start, end


def _check_part(bundle: Bundle, facts: FabricFacts) -> None:
    if facts.shells and bundle.parts and facts.part not in bundle.parts:
        raise PartMismatchError(
            f"this board is a {facts.part}, the images of {bundle.model} {bundle.version} are for "
            f"{_list(sorted(bundle.parts))}: publish the model again with images for this part",
            need=facts.part,
            have=sorted(bundle.parts),
        )


def _check_frames(assignment: Assignment, topology: Topology, cuts: Iterable[tuple[str, ...]]) -> None:
    for tensors in cuts:
        size = sum(topology.tensor(name).size for name in tensors) * assignment.batch_rows
        if size > MAX_FRAME - FRAME_OVERHEAD:
            raise AssignmentError(
                f"{assignment.batch_rows} rows of {_list(tensors)} take {size} bytes, "
                f"a frame holds {MAX_FRAME - FRAME_OVERHEAD}",
                size=size,
            )


def _shell_image(bundle: Bundle, shell: str, part: str) -> str | None:
    return next((image.digest for image in bundle.shells if (image.shell, image.part) == (shell, part)), None)


def _images(
    assignment: Assignment, bundle: Bundle, facts: FabricFacts, kinds: tuple[Kind, ...]
) -> dict[tuple[str, Kind], str]:
    """Images of every slot, and for a kind without a slot those that may be swapped in at run time."""
    there = {
        (image.partition, image.kind): image.digest
        for image in bundle.modules
        if (image.shell, image.part) == (PARTITIONED_SHELL, facts.part)
    }
    partitions = {partition.name for partition in facts.partitions}
    slots = dict.fromkeys((slot.partition, slot.kind) for slot in assignment.slots)
    if len({partition for partition, _ in slots}) != len(assignment.slots):
        raise AssignmentError("two slots name the same partition")
    found: dict[tuple[str, Kind], str] = {}
    for partition, kind in slots:
        if partition not in partitions:
            raise AssignmentError(f"this board has no partition {partition!r}, only {_list(sorted(partitions))}")
        if (partition, kind) not in there:
            raise ModuleMissingError(
                f"the bundle has no image of module {kind.value} for partition {partition} of {facts.part}",
                kind=kind.value,
                partition=partition,
                part=facts.part,
            )
        found[partition, kind] = there[partition, kind]
    for kind in dict.fromkeys(kinds):
        if any(kind == placed for _, placed in found):
            continue
        swaps = {(slot, kind): there[slot, kind] for slot, _ in slots if (slot, kind) in there}
        if not swaps:
            raise ModuleMissingError(
                f"layers of kind {kind.value} need a module, and the bundle has no image of it for "
                f"{_list([slot for slot, _ in slots]) if slots else 'a partition: it has no slot'} of {facts.part}",
                kind=kind.value,
                part=facts.part,
            )
        found.update(swaps)
    return found


def _golden(bundle: Bundle, tensors: Iterable[str]) -> dict[str, str]:
    there = {golden.tensor: golden.digest for golden in bundle.golden}
    missing = [tensor for tensor in tensors if tensor not in there]
    if missing:
        raise AssignmentError(f"the bundle has no golden values of {_list(missing)}, so the stage cannot be tested")
    return {tensor: there[tensor] for tensor in tensors}


def _list(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "") if shown else "none"

"""The networks that a board is tried with: small, drawn anew for each trial, signed on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgpack
import numpy as np
from convoy_bitstreams import Catalogue
from convoy_schema import codec
from convoy_schema.artifacts import Manifest, pack
from convoy_schema.bundle import (
    Bundle,
    GoldenTensor,
    InputSpec,
    Method,
    ModelAnnouncement,
    ModuleImage,
    ShellImage,
    announce,
)
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.messages.boards import Capability
from convoy_schema.messages.desired import Slot
from convoy_schema.names import digest_of
from convoy_schema.signing import SigningKey
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from numpy.typing import NDArray

from convoy_controller.errors import NotFoundError

GOLDEN_ROWS = 4
#: Kinds of layer that the trial networks are made of.
KINDS = (Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE)
#: Inputs and outputs of the wide network's one layer: 1 MiB of weights, which is 17 blocks.
WIDE = 1024

Array = NDArray[np.int8]


@dataclass(frozen=True)
class Footing:
    """How a network comes onto the board under trial: the method, and the images of its part that this takes."""

    method: Method
    shells: tuple[ShellImage, ...] = ()
    modules: tuple[ModuleImage, ...] = ()
    slots: tuple[Slot, ...] = ()
    images: Mapping[str, bytes] = field(default_factory=dict)


def footing(capability: Capability, catalogue: Catalogue) -> Footing:
    """The way that a board's capability leaves; raises `NotFoundError` where the catalogue lacks its images."""
    if not capability.shells:
        return Footing(Method.ALLOCATE)
    shells = tuple(image for image in catalogue.shells if image.part == capability.part)
    for method in (Method.ALLOCATE, Method.LIBRARY):
        shell = tuple(image for image in shells if image.shell == method.shell)
        if method.shell not in capability.shells or not shell:
            continue
        slots, modules = _modules(capability, catalogue) if method is Method.LIBRARY else ((), ())
        digests = (shell[0].digest, *(module.digest for module in modules))
        return Footing(method, shell, modules, slots, {digest: catalogue.read(digest) for digest in digests})
    raise NotFoundError(
        f"the board is a {capability.part} with shells {', '.join(capability.shells)}, and there is no image of shell "
        "layers or partitions for that part: name a folder that has them with --images"
    )


def _modules(capability: Capability, catalogue: Catalogue) -> tuple[tuple[Slot, ...], tuple[ModuleImage, ...]]:
    names = [partition.name for partition in capability.partitions]
    slots = tuple(Slot(name, kind) for name, kind in zip(names, KINDS))  # noqa: B905 (as many as there are of both)
    taken = {slot.partition for slot in slots}
    modules = tuple(
        image
        for image in catalogue.modules
        if image.part == capability.part and image.partition in taken and image.kind in KINDS
    )
    return slots, modules


@dataclass(frozen=True)
class TrialModel:
    """A signed network: artifacts by digest, and the exact values of every tensor over the golden rows."""

    bundle: Bundle
    topology: Topology
    announcement: ModelAnnouncement
    blobs: Mapping[str, bytes]
    values: Mapping[str, Array]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(layer.name for layer in self.topology.layers)

    def packed(self) -> dict[str, tuple[Manifest, bytes]]:
        """Manifest and packed content of each artifact."""
        return {digest: pack(content) for digest, content in self.blobs.items()}


def small(name: str, signer: SigningKey, way: Footing, *, serial: int = 1, lie: bool = False) -> TrialModel:
    """conv2d, max-pool and dense over (1, 8, 8). With `lie` the golden output is not what the layers give."""
    made: dict[str, bytes] = {}
    conv = _weights(made, (4, 1, 3, 3), 0.002, f"{name} conv")
    dense = _weights(made, (8, 36), 0.001, f"{name} dense")
    tensors = (
        Tensor("image", (1, 8, 8), 1 / 255, -128),
        Tensor("c1", (4, 6, 6), 0.05, -128),
        Tensor("p1", (4, 3, 3), 0.05, -128),
        Tensor("scores", (8,), 0.125, 3),
    )
    layers = (
        Layer("conv", Kind.CONV2D, ("image",), "c1", Window((3, 3)), parameters=conv),
        Layer("pool", Kind.MAX_POOL, ("c1",), "p1", Window((2, 2), (2, 2))),
        Layer("dense", Kind.DENSE, ("p1",), "scores", parameters=dense),
    )
    return _sign(Topology(name, tensors, layers, "image", "scores"), made, signer, way, serial, lie)


def wide(name: str, signer: SigningKey, way: Footing) -> TrialModel:
    """One dense layer whose parameters take more blocks than may be outstanding."""
    made: dict[str, bytes] = {}
    tensors = (Tensor("image", (WIDE,), 1 / 255, -128), Tensor("scores", (WIDE,), 0.125, 3))
    layer = Layer("dense", Kind.DENSE, ("image",), "scores", parameters=_weights(made, (WIDE, WIDE), 0.0001, name))
    return _sign(Topology(name, tensors, (layer,), "image", "scores"), made, signer, way, 1, False)


def _weights(made: dict[str, bytes], shape: tuple[int, ...], scale: float, name: str) -> str:
    """Drawn by a name that no other trial has: what a board kept of an earlier one it must fetch all the same."""
    random = np.random.default_rng(list(name.encode()))
    multiplier, shift = fixed_point(scale)
    content = pack_parameters(
        Parameters(
            random.integers(-127, 128, shape).astype(np.int8),
            random.integers(-500, 500, shape[0]).astype(np.int32),
            np.full(shape[0], multiplier, np.int32),
            np.full(shape[0], shift, np.int32),
        )
    )
    made[digest_of(content)] = content
    return digest_of(content)


def _sign(
    topology: Topology, blobs: Mapping[str, bytes], signer: SigningKey, way: Footing, serial: int, lie: bool
) -> TrialModel:
    shape = topology.tensor(topology.input).shape
    rows = np.random.default_rng(serial).integers(-128, 128, (GOLDEN_ROWS, *shape)).astype(np.int8)
    values = evaluate(topology, blobs, rows)
    if lie:
        values[topology.output] = values[topology.output] ^ np.int8(1)
    golden = {tensor: array.tobytes() for tensor, array in values.items()}
    bundle = Bundle(
        model=topology.name,
        version="1",
        serial=serial,
        topology=digest_of(codec.pack(topology)),
        golden=tuple(GoldenTensor(tensor, digest_of(content)) for tensor, content in golden.items()),
        golden_rows=GOLDEN_ROWS,
        shells=way.shells,
        modules=way.modules,
        input=InputSpec(topology.input),
        output=topology.output,
        class_names=(),
    )
    announcement = announce(bundle, topology, signer, (golden[topology.input], golden[topology.output]))
    contents = {**blobs, **{digest_of(content): content for content in golden.values()}, **way.images}
    return TrialModel(bundle, topology, announcement, contents, values)


def altered(model: TrialModel, signer: SigningKey) -> ModelAnnouncement:
    """The announcement with a bundle that was changed after `signer` signed it."""
    honest = announce(model.bundle, model.topology, signer, _probe(model))
    return replace(honest, bundle=codec.pack(replace(model.bundle, serial=model.bundle.serial + 1)))


def mixed(model: TrialModel) -> ModelAnnouncement:
    """The announcement with another topology of the same layers: only its digest tells, golden values are alike."""
    *others, output = model.topology.tensors
    topology = replace(model.topology, tensors=(*others, replace(output, scale=output.scale * 2)))
    return replace(model.announcement, topology=codec.pack(topology))


def restated(content: bytes) -> bytes:
    """Packed parameters that say the same in other bytes: only their digest tells, since golden values are alike."""
    body = msgpack.unpackb(content)
    return bytes(msgpack.packb({**body, "from-a-later-version": 1}))


def _probe(model: TrialModel) -> tuple[bytes, bytes]:
    return model.values[model.topology.input].tobytes(), model.values[model.topology.output].tobytes()


def crossing(model: TrialModel, layers: Sequence[str]) -> str:
    """The one tensor that goes into these layers of a chain."""
    return model.topology.layer(layers[0]).inputs[0]

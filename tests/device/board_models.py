"""Models, images and messages for the tests of boards: made, signed and packed on the spot."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from convoy_bitstreams import catalogue
from convoy_schema import codec
from convoy_schema.artifacts import Manifest, pack
from convoy_schema.bundle import (
    Bundle,
    GoldenTensor,
    InputSpec,
    Method,
    ModelAnnouncement,
    VerifiedModel,
    announce,
    verify,
)
from convoy_schema.frames import Frame, TensorData
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.messages.desired import Assignment, Desired, Hop, Intent, Role, Slot
from convoy_schema.names import Generation, digest_of
from convoy_schema.signing import SigningKey
from convoy_schema.topics import FrameTopic
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = Trust(KEY.public_key(), "main")
SIGNER = SigningKey(KEY)
FIRST = Generation(1, 1)
SECOND = Generation(1, 2)
GOLDEN_ROWS = 4

Array = NDArray[np.int8]


@dataclass(frozen=True)
class Model:
    """A signed model with everything it names: `blobs` by digest, `values` every tensor of its golden rows."""

    announcement: ModelAnnouncement
    verified: VerifiedModel
    blobs: Mapping[str, bytes]
    values: Mapping[str, Array]

    @property
    def topology(self) -> Topology:
        return self.verified.topology

    @property
    def bundle(self) -> Bundle:
        return self.verified.bundle

    def packed(self) -> dict[str, tuple[Manifest, bytes]]:
        """Manifest and packed content of every artifact, by digest."""
        return {digest: pack(content) for digest, content in self.blobs.items()}


def parameters(shape: tuple[int, ...], scale: float, seed: int) -> bytes:
    """The artifact of random weights of `shape`."""
    random = np.random.default_rng(seed)
    multiplier, shift = fixed_point(scale)
    return pack_parameters(
        Parameters(
            random.integers(-127, 128, shape).astype(np.int8),
            random.integers(-500, 500, shape[0]).astype(np.int32),
            np.full(shape[0], multiplier, np.int32),
            np.full(shape[0], shift, np.int32),
        )
    )


def make(
    topology: Topology,
    blobs: Mapping[str, bytes],
    *,
    key: SigningKey = SIGNER,
    serial: int = 1,
    images: bool = True,
    golden: Mapping[str, bytes] | None = None,
    version: str = "1",
) -> Model:
    """Sign a model over random golden rows; `golden` replaces what tensors should hold, `images` adds the catalogue."""
    shape = topology.tensor(topology.input).shape
    rows = np.random.default_rng(5).integers(-128, 128, (GOLDEN_ROWS, *shape)).astype(np.int8)
    values = evaluate(topology, blobs, rows)
    stored = dict(blobs)
    tensors = []
    for name, array in values.items():
        content = (golden or {}).get(name, array.tobytes())
        stored[digest_of(content)] = content
        tensors.append(GoldenTensor(name, digest_of(content)))
    shells, modules = (catalogue().shells, catalogue().modules) if images else ((), ())
    bundle = Bundle(
        model=topology.name,
        version=version,
        serial=serial,
        topology="0" * 64,
        golden=tuple(tensors),
        golden_rows=GOLDEN_ROWS,
        shells=shells,
        modules=modules,
        input=InputSpec(topology.input),
        output=topology.output,
        class_names=(),
    )
    return signed(replace(bundle, topology=digest_of(codec.pack(topology))), topology, stored, key)


def signed(bundle: Bundle, topology: Topology, blobs: Mapping[str, bytes], key: SigningKey = SIGNER) -> Model:
    """Sign a bundle whose artifacts are all in `blobs`; it is read as whoever trusts that key would."""
    golden = {tensor.tensor: blobs[tensor.digest] for tensor in bundle.golden}
    values = {
        name: np.frombuffer(content, np.int8).reshape(GOLDEN_ROWS, *topology.tensor(name).shape)
        for name, content in golden.items()
    }
    announcement = announce(bundle, topology, key, (golden[topology.input], golden[topology.output]))
    root = key.private if key.delegation is None else KEY
    return Model(announcement, verify(announcement, Trust(root.public_key())), blobs, values)


def with_images(model: Model, digests: Sequence[str]) -> Model:
    """The model with those images of the catalogue among its blobs."""
    return replace(model, blobs={**model.blobs, **{digest: catalogue().read(digest) for digest in digests}})


def copies(count: int = 2, width: int = 16, *, name: str = "copies", images: bool = True) -> Model:
    """A chain of `count` identities over int8 (width,): layers copy-1.., tensors t-0.."""
    tensors = tuple(Tensor(f"t-{index}", (width,), 0.5, 0) for index in range(count + 1))
    layers = tuple(
        Layer(f"copy-{index + 1}", Kind.IDENTITY, (f"t-{index}",), f"t-{index + 1}") for index in range(count)
    )
    return make(Topology(name, tensors, layers, "t-0", f"t-{count}"), {}, images=images)


def digits(*, images: bool = True, golden: Mapping[str, bytes] | None = None) -> Model:
    """conv2d, max-pool, conv2d, dense over 1x28x28: three kinds, more than two partitions hold."""
    blobs = {}

    def store(shape: tuple[int, ...], scale: float, seed: int) -> str:
        content = parameters(shape, scale, seed)
        blobs[digest_of(content)] = content
        return digest_of(content)

    tensors = (
        Tensor("image", (1, 28, 28), 1 / 255, -128),
        Tensor("c1", (4, 24, 24), 0.05, -128),
        Tensor("p1", (4, 12, 12), 0.05, -128),
        Tensor("c2", (6, 8, 8), 0.05, -128),
        Tensor("logits", (10,), 0.125, 3),
    )
    layers = (
        Layer("conv-1", Kind.CONV2D, ("image",), "c1", Window((5, 5)), parameters=store((4, 1, 5, 5), 0.001, 1)),
        Layer("pool-1", Kind.MAX_POOL, ("c1",), "p1", Window((2, 2), (2, 2))),
        Layer("conv-2", Kind.CONV2D, ("p1",), "c2", Window((5, 5)), parameters=store((6, 4, 5, 5), 0.0005, 2)),
        Layer("dense-1", Kind.DENSE, ("c2",), "logits", parameters=store((10, 384), 0.0005, 3)),
    )
    return make(Topology("digits", tensors, layers, "image", "logits"), blobs, images=images, golden=golden)


def residual(*, images: bool = False) -> Model:
    """t-0 -> copy -> t-1 -> copy -> t-2, and t-3 = t-0 + t-2: t-0 passes through a middle stage."""
    multiplier, shift = fixed_point(0.5)
    pair = np.array([multiplier] * 2, np.int32), np.array([shift] * 2, np.int32)
    content = pack_parameters(Parameters(None, None, *pair))
    tensors = tuple(Tensor(f"t-{index}", (8,), 0.5, 0) for index in range(4))
    layers = (
        Layer("copy-1", Kind.IDENTITY, ("t-0",), "t-1"),
        Layer("copy-2", Kind.IDENTITY, ("t-1",), "t-2"),
        Layer("add-1", Kind.ADD, ("t-0", "t-2"), "t-3", parameters=digest_of(content)),
    )
    topology = Topology("residual", tensors, layers, "t-0", "t-3")
    return make(topology, {digest_of(content): content}, images=images)


def place(
    model: Model,
    cuts: Sequence[int],
    boards: Sequence[str],
    *,
    method: Method = Method.ALLOCATE,
    generation: Generation = FIRST,
    role: Role = Role.SERVING,
    slots: Sequence[Slot] = (),
    deployment: str = "demo",
    queue_frames: int = 64,
    batch_rows: int = 4,
) -> tuple[Assignment, ...]:
    """One assignment a board: stage n holds layers [cuts[n - 1], cuts[n])."""
    names = [layer.name for layer in model.topology.layers]
    edges = [0, *cuts, len(names)]
    found = []
    for stage, (start, end) in enumerate(itertools.pairwise(edges)):
        found.append(
            Assignment(
                intent=Intent(deployment, model.bundle.model, model.bundle.version, method),
                generation=generation,
                role=role,
                bundle=model.announcement.digest,
                stage=stage,
                stages=len(boards),
                layers=tuple(names[start:end]),
                slots=tuple(slots),
                next=(Hop(boards[stage + 1]),) if stage + 1 < len(boards) else (),
                previous=(boards[stage - 1],) if stage else (),
                queue_frames=queue_frames,
                batch_rows=batch_rows,
            )
        )
    return tuple(found)


def alone(model: Model, board: str = "board-1", **options: object) -> Assignment:
    """The whole model on one board."""
    return place(model, (), (board,), **options)[0]  # type: ignore[arg-type]


def desired(*assignments: Assignment, revision: int = 1, epoch: int = 1) -> Desired:
    """What a controller would publish."""
    return Desired(epoch, revision, tuple(assignments))


def frame(
    assignment: Assignment,
    values: Mapping[str, Array],
    *,
    counter: int = 1,
    gateway: str = "gateway-1",
    budget_ms: float = 5000.0,
) -> Frame:
    """A batch for a stage; `values` are the tensors that it takes."""
    tensors = tuple(TensorData(name, array.shape, array.tobytes()) for name, array in values.items())
    return Frame(
        deployment=assignment.intent.deployment,
        generation=assignment.generation,
        stage=assignment.stage,
        gateway=gateway,
        batch=(77, counter),
        requests=(counter,),
        budget_ms=budget_ms,
        tensors=tensors,
    )


def address(assignment: Assignment, board: str, sender: str = "gateway-1") -> FrameTopic:
    """Where such a frame is sent to."""
    return FrameTopic(sender, board, assignment.intent.deployment, assignment.generation, assignment.stage)

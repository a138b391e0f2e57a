"""Two small models, made and signed on the spot: what the tests of gateway and client serve."""

from __future__ import annotations

import numpy as np
from convoy_controller.importer import ImportedModel
from convoy_schema import codec
from convoy_schema.bundle import Bundle, GoldenTensor, InputSpec, ModelAnnouncement, VerifiedModel, announce, verify
from convoy_schema.ending import Ending, Operation
from convoy_schema.layers import Parameters, evaluate, fixed_point, pack_parameters
from convoy_schema.names import digest_of
from convoy_schema.signing import SigningKey
from convoy_schema.topology import Kind, Layer, Tensor, Topology, Window
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = Trust(KEY.public_key())
#: What `digits` may end in.
SOFTMAX = Ending(Operation.SOFTMAX, "probabilities", (10,), 0, (10,))
ARGMAX = Ending(Operation.ARGMAX, "class", (10,), 0, (1,))
DIGITS = tuple(f"digit {index}" for index in range(10))


def identity(version: str = "1", width: int = 3, zero_point: int = 0) -> VerifiedModel:
    """A network that gives back its input, int8 (width,)."""
    tensors = (Tensor("x", (width,), 0.5, zero_point), Tensor("y", (width,), 0.5, zero_point))
    topology = Topology("identity", tensors, (Layer("copy", Kind.IDENTITY, ("x",), "y"),), "x", "y")
    golden = np.arange(4 * width, dtype=np.int8).tobytes()
    names = tuple(f"class {index}" for index in range(min(width, 10)))
    spec = InputSpec("x", "N")
    return verify(_announce("identity", version, topology, spec, "y", names, golden, golden, 4, Ending()), TRUSTED)


def digits(ending: Ending | None = None) -> tuple[ModelAnnouncement, dict[str, bytes]]:
    """A little network over 28x28 pixels, ten classes: its announcement, and its layers' parameters by digest."""
    random = np.random.default_rng(7)
    blobs: dict[str, bytes] = {}

    def parameters(shape: tuple[int, ...], scale: float) -> str:
        pairs = [fixed_point(scale)] * shape[0]
        packed = pack_parameters(
            Parameters(
                random.integers(-127, 128, shape).astype(np.int8),
                random.integers(-500, 500, shape[0]).astype(np.int32),
                np.array([pair[0] for pair in pairs], np.int32),
                np.array([pair[1] for pair in pairs], np.int32),
            )
        )
        blobs[digest_of(packed)] = packed
        return digest_of(packed)

    tensors = (
        Tensor("image", (1, 28, 28), 1 / 255, -128),
        Tensor("features", (4, 6, 6), 0.05, -128),
        Tensor("logits", (10,), 0.125, 3),
    )
    layers = (
        Layer(
            "c1",
            Kind.CONV2D,
            ("image",),
            "features",
            Window((5, 5), (4, 4)),
            parameters=parameters((4, 1, 5, 5), 0.001),
        ),
        Layer("f1", Kind.DENSE, ("features",), "logits", parameters=parameters((10, 144), 0.0005)),
    )
    topology = Topology("digits", tensors, layers, "image", "logits")
    rows = random.integers(-128, 128, (8, 1, 28, 28)).astype(np.int8)
    out = evaluate(topology, blobs, rows)["logits"]
    spec = InputSpec("image", "CHW", 1 / 255, 0.0)
    announcement = _announce(
        "digits", "1", topology, spec, "logits", DIGITS, rows.tobytes(), out.tobytes(), len(rows), ending or Ending()
    )
    return announcement, blobs


def announced(network: ImportedModel, spec: InputSpec) -> tuple[ModelAnnouncement, dict[str, bytes]]:
    """An imported network, signed as the catalogue would, and its layers' parameters."""
    topology, golden = network.topology, network.golden
    probe_in, probe_out = golden[topology.input], golden[topology.output]
    announcement = _announce(
        topology.name,
        "1",
        topology,
        spec,
        topology.output,
        (),
        probe_in,
        probe_out,
        network.golden_rows,
        network.ending,
    )
    return announcement, dict(network.parameters)


def _announce(
    model: str,
    version: str,
    topology: Topology,
    spec: InputSpec,
    output: str,
    names: tuple[str, ...],
    probe_in: bytes,
    probe_out: bytes,
    rows: int,
    ending: Ending,
) -> ModelAnnouncement:
    golden = (GoldenTensor(topology.input, digest_of(probe_in)), GoldenTensor(topology.output, digest_of(probe_out)))
    packed = digest_of(codec.pack(topology))
    bundle = Bundle(model, version, 1, packed, golden, rows, (), (), spec, output, names, ending)
    return announce(bundle, topology, SigningKey(KEY), (probe_in, probe_out))

"""The signed description of one model version, and the key that signs it.

What is signed is the bundle's packed bytes, which name everything else by digest: topology (and through it every
layer's parameters), golden tensors, shells and modules. So one signature covers all that a board will run. Who may
sign is `signing`'s and `trust`'s business.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from convoy_schema import codec
from convoy_schema.bounds import Range, Size
from convoy_schema.ending import Ending
from convoy_schema.errors import MixedBundleError, SignatureError, TopologyError
from convoy_schema.names import Count, Digest, Label, Name, digest_of
from convoy_schema.signing import Purpose, SignedDelegation, SigningKey, fingerprint, is_signed
from convoy_schema.topology import Kind, Topology
from convoy_schema.trust import Trust


class Method(enum.Enum):
    """How a network is brought onto boards; each has a shell of its own."""

    STREAM = "stream"
    ALLOCATE = "allocate"
    LIBRARY = "library"

    @property
    def shell(self) -> str:
        """Name of the static design this method needs."""
        return {"stream": "fixed", "allocate": "layers", "library": "partitions"}[self.value]


@dataclass(frozen=True)
class GoldenTensor:
    """The exact int8 values of one tensor over `Bundle.golden_rows` samples, as raw bytes in C order."""

    tensor: Label
    digest: Digest


@dataclass(frozen=True)
class ShellImage:
    """The full bitstream of a shell for one part."""

    shell: Name
    part: Annotated[str, Size(40)]
    digest: Digest


@dataclass(frozen=True)
class ModuleImage:
    """The partial bitstream of a module for one partition of a shell of one part."""

    shell: Name
    part: Annotated[str, Size(40)]
    partition: Name
    kind: Kind
    digest: Digest


@dataclass(frozen=True)
class InputSpec:
    """What a caller may send. Pixels (uint8) become the network's real input as pixel * scale + offset, per sample."""

    name: Label
    layout: Annotated[str, Size(8)] = "CHW"
    scale: Annotated[float, Range(1e-9, 1e9)] = 1.0
    offset: Annotated[float, Range(-1e9, 1e9)] = 0.0


@dataclass(frozen=True)
class Bundle:
    """One version of a model. `serial` only ever grows for a model; a floor refuses what lies below it.

    `output` is the network's own; `answer` names what callers get, which an `ending` may have made of it.
    """

    model: Name
    version: Name
    serial: Count
    topology: Digest
    golden: Annotated[tuple[GoldenTensor, ...], Size(4096)]
    golden_rows: Annotated[int, Range(1, 64)]
    shells: Annotated[tuple[ShellImage, ...], Size(64)]
    modules: Annotated[tuple[ModuleImage, ...], Size(1024)]
    input: InputSpec
    output: Label
    class_names: Annotated[tuple[Annotated[str, Size(200)], ...], Size(4096)]
    ending: Ending = field(default_factory=Ending)

    @property
    def answer(self) -> str:
        """Name of what callers get."""
        return self.ending.name or self.output

    @property
    def parts(self) -> frozenset[str]:
        """The parts that it has images for; none where it has no images at all."""
        return frozenset([*(shell.part for shell in self.shells), *(module.part for module in self.modules)])

    def artifacts(self, topology: Topology) -> frozenset[str]:
        """Digests of every artifact that a board may need for this version."""
        found = {golden.digest for golden in self.golden}
        found |= {shell.digest for shell in self.shells} | {module.digest for module in self.modules}
        found |= {layer.parameters for layer in topology.layers if layer.parameters}
        return frozenset(found)


#: Bounds of the two parts of an announcement; a topology of 2,000 layers fits.
MAX_TOPOLOGY = 400 * 1024
MAX_BUNDLE = 400 * 1024


@dataclass(frozen=True)
class ModelAnnouncement:
    """controller -> everyone, retained: topology and signed bundle of `models/{model}/{version}`.

    `probe_input` and `probe_output` are the golden rows of the network's input and output tensor, so that a gateway
    can test a generation end to end. `delegation` is the root's word for the key that signed; without, the root signed.
    """

    MAX_BYTES: ClassVar[int] = 900 * 1024

    topology: Annotated[bytes, Size(MAX_TOPOLOGY)]
    bundle: Annotated[bytes, Size(MAX_BUNDLE)]
    signature: Annotated[bytes, Size(64)]
    probe_input: Annotated[bytes, Size(256 * 1024)]
    probe_output: Annotated[bytes, Size(256 * 1024)]
    delegation: SignedDelegation | None = None

    @property
    def digest(self) -> str:
        """Digest of the bundle: the name by which an assignment refers to it."""
        return digest_of(self.bundle)


@dataclass(frozen=True)
class VerifiedModel:
    """An announcement whose signature and digests were checked."""

    digest: str
    bundle: Bundle
    topology: Topology
    probe_input: bytes
    probe_output: bytes


def announce(bundle: Bundle, topology: Topology, key: SigningKey, probe: tuple[bytes, bytes]) -> ModelAnnouncement:
    """Sign `bundle` and put it beside its topology."""
    packed = codec.pack(bundle)
    return ModelAnnouncement(codec.pack(topology), packed, key.private.sign(packed), *probe, key.delegation)


def sign_again(announcement: ModelAnnouncement, key: SigningKey) -> ModelAnnouncement:
    """The same bundle, and so the same digest, signed by another key."""
    return replace(announcement, signature=key.private.sign(announcement.bundle), delegation=key.delegation)


def verify(announcement: ModelAnnouncement, trust: Trust) -> VerifiedModel:
    """Check who signed, the floor, then every digest; raises `SignatureError`, `DecodeError` or `TopologyError`.

    A delegation that comes along is judged by what `trust` knows: let it learn that one first.
    """
    key = trust.key_of(announcement.delegation, Purpose.BUNDLE)
    if not is_signed(announcement.bundle, announcement.signature, key):
        raise SignatureError(
            f"bundle {announcement.digest[:12]} is not signed by the trusted key {fingerprint(key)}: it was changed on "
            "its way, or another fleet's key signed it; import the model again, or give this side that fleet's "
            "trusted.pem",
            bundle=announcement.digest,
            key=fingerprint(key),
        )
    bundle = codec.unpack(Bundle, announcement.bundle)
    trust.check_floor(bundle.model, bundle.version, bundle.serial)
    if digest_of(announcement.topology) != bundle.topology:
        raise MixedBundleError(
            f"bundle {bundle.model} {bundle.version} names topology {bundle.topology[:12]}, "
            f"{digest_of(announcement.topology)[:12]} came with it: import the model again",
            expected=bundle.topology,
        )
    topology = codec.unpack(Topology, announcement.topology)
    topology.check()
    size = topology.tensor(topology.output).size
    if not bundle.ending.fits(size):
        raise TopologyError(
            f"bundle {bundle.model} {bundle.version} ends in {bundle.ending.operation.value} of {bundle.ending.view}, "
            f"the network's output has {size} elements"
        )
    golden = {item.tensor: item.digest for item in bundle.golden}
    for tensor, content in ((topology.input, announcement.probe_input), (topology.output, announcement.probe_output)):
        if golden.get(tensor) != digest_of(content):
            raise MixedBundleError(
                f"golden values of {tensor!r} are not those the bundle names: import the model again", tensor=tensor
            )
    return VerifiedModel(announcement.digest, bundle, topology, announcement.probe_input, announcement.probe_output)


#: No file, no PEM, a password asked for, or an algorithm that this build lacks.
_UNREADABLE = (OSError, ValueError, TypeError, UnsupportedAlgorithm)


def load_private_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The private key in PEM file `path`, which asks for `passphrase` or for none."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=passphrase)
    except _UNREADABLE as error:
        raise SignatureError(f"the signing key {path} cannot be read: {error}", path=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} holds a {type(key).__name__}, an Ed25519 private key is needed")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The trusted key in PEM file `path`."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except _UNREADABLE as error:
        raise SignatureError(f"the trusted key {path} cannot be read: {error}", path=str(path)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} holds a {type(key).__name__}, an Ed25519 public key is needed")
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half of `key`, as PEM."""
    return public_pem_of(key.public_key())


def public_pem_of(key: Ed25519PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Ed25519PrivateKey, passphrase: bytes | None = None) -> bytes:
    """`key` itself, as PEM that asks for `passphrase` or for none."""
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

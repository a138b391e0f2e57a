"""A signed model is verified, and one in which anything was changed is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from convoy_schema import codec
from convoy_schema.bundle import (
    MAX_BUNDLE,
    MAX_TOPOLOGY,
    Bundle,
    GoldenTensor,
    InputSpec,
    Method,
    ModelAnnouncement,
    ModuleImage,
    ShellImage,
    announce,
    load_private_key,
    load_public_key,
    private_pem,
    public_pem,
    verify,
)
from convoy_schema.errors import DecodeError, SignatureError, TooLargeError, TopologyError
from convoy_schema.names import digest_of
from convoy_schema.signing import SigningKey
from convoy_schema.topology import Kind, Layer, Tensor, Topology
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER = SigningKey(KEY)
TRUSTED = Trust(KEY.public_key())
PROBE = (bytes(range(6)), bytes(range(6, 12)))
DIGESTS = tuple(digest_of(bytes([number])) for number in range(8))

TENSORS = (Tensor("x", (3,), 0.5, 0), Tensor("h", (3,), 0.5, 0), Tensor("y", (3,), 0.5, 0))
TOPOLOGY = Topology(
    "small",
    TENSORS,
    (Layer("first", Kind.DENSE, ("x",), "h", parameters=DIGESTS[0]), Layer("second", Kind.IDENTITY, ("h",), "y")),
    "x",
    "y",
)


def bundle_of(topology: Topology = TOPOLOGY, probe: tuple[bytes, bytes] = PROBE) -> Bundle:
    return Bundle(
        "small",
        "1",
        7,
        digest_of(codec.pack(topology)),
        (
            GoldenTensor("x", digest_of(probe[0])),
            GoldenTensor("h", DIGESTS[1]),
            GoldenTensor("y", digest_of(probe[1])),
        ),
        2,
        (ShellImage("layers", "xc7z020", DIGESTS[2]),),
        (ModuleImage("partitions", "xc7z020", "west", Kind.DENSE, DIGESTS[3]),),
        InputSpec("x", "N", 1 / 255, -0.5),
        "y",
        ("cat", "dog", "neither"),
    )


BUNDLE = bundle_of()
GOOD = announce(BUNDLE, TOPOLOGY, SIGNER, PROBE)


def signed(bundle: bytes, **changes: bytes) -> ModelAnnouncement:
    """An announcement whose signature fits, whatever its contents."""
    return replace(GOOD, bundle=bundle, signature=KEY.sign(bundle), **changes)


def test_what_is_announced_is_verified() -> None:
    travelled = codec.decode(ModelAnnouncement, codec.encode(GOOD))
    model = verify(travelled, TRUSTED)
    assert (model.bundle, model.topology) == (BUNDLE, TOPOLOGY)
    assert (model.probe_input, model.probe_output) == PROBE
    assert model.digest == travelled.digest == digest_of(travelled.bundle)


def test_a_signature_covers_every_artifact_a_board_may_need() -> None:
    golden = {item.digest for item in BUNDLE.golden}
    assert BUNDLE.artifacts(TOPOLOGY) == golden | {DIGESTS[0], DIGESTS[2], DIGESTS[3]}
    assert None not in BUNDLE.artifacts(TOPOLOGY)


def test_packing_is_canonical() -> None:
    assert GOOD.bundle == codec.pack(bundle_of())
    assert announce(codec.unpack(Bundle, GOOD.bundle), TOPOLOGY, SIGNER, PROBE) == GOOD


def test_every_method_has_a_shell() -> None:
    assert [method.shell for method in Method] == ["fixed", "layers", "partitions"]


# Tampering -----------------------------------------------------------------------------------------------------------


def test_any_byte_of_the_bundle_changed_is_refused() -> None:
    for place in range(len(GOOD.bundle)):
        changed = bytearray(GOOD.bundle)
        changed[place] ^= 0x40
        with pytest.raises(SignatureError, match="not signed by the trusted key"):
            verify(replace(GOOD, bundle=bytes(changed)), TRUSTED)


@given(st.binary(max_size=64))
def test_no_other_bytes_are_its_signature(signature: bytes) -> None:
    with pytest.raises(SignatureError, match="not signed by the trusted key"):
        verify(replace(GOOD, signature=signature), TRUSTED)


def test_any_bit_of_the_signature_changed_is_refused() -> None:
    for bit in range(8 * 64):
        changed = bytearray(GOOD.signature)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            verify(replace(GOOD, signature=bytes(changed)), TRUSTED)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 1000])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SignatureError):
        verify(replace(GOOD, signature=(GOOD.signature * 16)[:size]), TRUSTED)


def test_another_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify(GOOD, Trust(OTHER_KEY.public_key()))
    with pytest.raises(SignatureError):
        verify(announce(BUNDLE, TOPOLOGY, SigningKey(OTHER_KEY), PROBE), TRUSTED)


def test_a_signature_of_another_bundle_is_refused() -> None:
    later = announce(replace(BUNDLE, serial=8), TOPOLOGY, SIGNER, PROBE)
    with pytest.raises(SignatureError):
        verify(replace(GOOD, signature=later.signature), TRUSTED)


def test_another_topology_is_refused_by_name() -> None:
    for topology in (replace(TOPOLOGY, name="other"), replace(TOPOLOGY, layers=TOPOLOGY.layers[:1], output="h")):
        with pytest.raises(SignatureError, match="bundle small 1 names topology") as caught:
            verify(replace(GOOD, topology=codec.pack(topology)), TRUSTED)
        assert caught.value.data["expected"] == BUNDLE.topology


@pytest.mark.parametrize("damage", [b"", b"x", GOOD.topology[:-1], GOOD.topology + b"\0"], ids=len)
def test_a_damaged_topology_is_refused(damage: bytes) -> None:
    with pytest.raises(SignatureError, match="names topology"):
        verify(replace(GOOD, topology=damage), TRUSTED)


@pytest.mark.parametrize(("field", "tensor"), [("probe_input", "x"), ("probe_output", "y")])
def test_other_golden_values_are_refused_by_tensor(field: str, tensor: str) -> None:
    for content in (b"", getattr(GOOD, field)[:-1], getattr(GOOD, field) + b"\0", bytes(6)):
        with pytest.raises(SignatureError, match=f"golden values of '{tensor}'"):
            verify(replace(GOOD, **{field: content}), TRUSTED)
    # Nor may the two change places.
    with pytest.raises(SignatureError, match="golden values of 'x'"):
        verify(replace(GOOD, probe_input=GOOD.probe_output, probe_output=GOOD.probe_input), TRUSTED)


# Signed, and wrong all the same --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bundle",
    [b"", b"\xc1", b"\x80", b"\x90", codec.pack(TOPOLOGY), GOOD.bundle[:-1], GOOD.bundle + b"\0"],
    ids=lambda content: content[:4].hex() + f"-{len(content)}",
)
def test_a_signed_bundle_that_is_none_is_a_decode_error(bundle: bytes) -> None:
    with pytest.raises(DecodeError, match="Bundle"):
        verify(signed(bundle), TRUSTED)


def test_a_signed_topology_that_is_none_is_a_decode_error() -> None:
    for content in (b"\xc1", b"\x80", GOOD.bundle):
        bundle = codec.pack(replace(BUNDLE, topology=digest_of(content)))
        with pytest.raises(DecodeError, match="Topology"):
            verify(signed(bundle, topology=content), TRUSTED)


def test_a_signed_topology_that_contradicts_itself_is_a_topology_error() -> None:
    topology = replace(TOPOLOGY, output="nowhere")
    with pytest.raises(TopologyError, match="lacks its input or output"):
        verify(announce(bundle_of(topology), topology, SIGNER, PROBE), TRUSTED)


def test_an_announcement_of_before_delegations_is_the_roots_own() -> None:
    body = msgpack.unpackb(codec.encode(GOOD))
    assert body.pop("delegation") is None
    old = codec.decode(ModelAnnouncement, msgpack.packb(body))
    assert old == GOOD
    assert verify(old, TRUSTED).bundle == BUNDLE


def test_a_bundle_that_names_no_golden_values_for_an_end_is_refused() -> None:
    for index, tensor in ((0, "x"), (2, "y")):
        golden = tuple(item for number, item in enumerate(BUNDLE.golden) if number != index)
        with pytest.raises(SignatureError, match=f"golden values of '{tensor}'"):
            verify(announce(replace(BUNDLE, golden=golden), TOPOLOGY, SIGNER, PROBE), TRUSTED)


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_an_announcement_too_large_for_the_broker_is_refused_before_it_is_sent() -> None:
    large = replace(GOOD, topology=bytes(MAX_TOPOLOGY), bundle=bytes(MAX_BUNDLE))
    codec.encode(large)
    with pytest.raises(TooLargeError):
        codec.encode(replace(large, probe_input=bytes(256 * 1024)))


# Keys ----------------------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_keys_survive_their_files(tmp_path: Path) -> None:
    private = load_private_key(write(tmp_path / "private.pem", private_pem(KEY)))
    public = load_public_key(write(tmp_path / "public.pem", public_pem(KEY)))
    assert verify(announce(BUNDLE, TOPOLOGY, SigningKey(private), PROBE), Trust(public)) == verify(GOOD, TRUSTED)
    assert private_pem(private) == private_pem(KEY)
    assert b"PRIVATE" not in public_pem(KEY)


def test_an_encrypted_private_key_is_refused(tmp_path: Path) -> None:
    encrypted = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(SignatureError, match="cannot be read"):
        load_private_key(write(tmp_path / "key.pem", encrypted))


def elliptic(form: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    if form == "public":
        return key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(("form", "load"), [("public", load_public_key), ("private", load_private_key)])
def test_a_key_of_another_kind_is_refused(tmp_path: Path, form: str, load: Callable[[Path], object]) -> None:
    path = write(tmp_path / "key.pem", elliptic(form))
    with pytest.raises(SignatureError, match=f"an Ed25519 {form} key is needed"):
        load(path)


@pytest.mark.parametrize("load", [load_public_key, load_private_key])
@pytest.mark.parametrize(
    "content", [None, b"", b"-----BEGIN PUBLIC KEY-----\n", b"\xff" * 100], ids=("missing", "empty", "cut", "junk")
)
def test_a_file_that_is_no_key_is_refused(
    tmp_path: Path, load: Callable[[Path], ed25519.Ed25519PublicKey], content: bytes | None
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SignatureError, match=r"key\.pem cannot be read"):
        load(path)

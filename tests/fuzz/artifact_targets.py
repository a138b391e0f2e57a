"""Targets of artifacts: unpacking, putting blocks together, parameters, and signed bundles."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import replace

import gateway_models
import msgpack
import numpy as np
from convoy_schema import artifacts, codec
from convoy_schema.artifacts import Assembly, Manifest
from convoy_schema.bundle import Bundle, ModelAnnouncement, verify
from convoy_schema.errors import ConvoyError, DecodeError, IntegrityError, SignatureError, TopologyError
from convoy_schema.layers import load, prepare
from convoy_schema.names import digest_of
from convoy_schema.parameters import Parameters, pack_parameters, unpack_parameters
from convoy_schema.topology import Topology
from message_targets import nested
from mutation import mutate_msgpack
from target import target

_SIZE = 4


# Unpacking -----------------------------------------------------------------------------------------------------------


def _packed() -> Iterator[bytes]:
    for content in (b"", b"little", bytes(200_000), bytes(range(256)) * 20):
        yield len(content).to_bytes(_SIZE, "big") + zlib.compress(content)
    bomb = zlib.compress(bytes(40_000_000), 9)
    yield (1000).to_bytes(_SIZE, "big") + bomb
    yield (0).to_bytes(_SIZE, "big") + bomb


@target("unpack", IntegrityError, seeds=_packed, most_bytes=64 * 1024)
def unpack(data: bytes) -> object:
    """The announced size, and packed content: what comes out is what was announced."""
    size, packed = min(int.from_bytes(data[:_SIZE], "big"), 1_000_000), data[_SIZE:] or b"\0"
    unpacker = zlib.decompressobj()
    try:
        digest = digest_of(unpacker.decompress(packed, size + 1))
    except zlib.error:
        digest = "0" * 64
    found = artifacts.unpack(Manifest(digest, size, len(packed), (bytes(32),)), packed)
    assert len(found) == size
    assert digest_of(found) == digest
    return found


def _steps() -> Iterator[bytes]:
    chance = random.Random(1)
    yield bytes(range(12)) * 4
    yield chance.randbytes(60)
    yield b"\xff" * 20


@target("assembly", seeds=_steps, most_bytes=400)
def assembly(data: bytes) -> object:
    """Blocks that come, are damaged, or are asked for, in the order that the bytes say."""
    contents = [bytes([number]) * artifacts.BLOCK_BYTES for number in range(11)] + [b"the last"]
    hashes = tuple(bytes.fromhex(digest_of(content)) for content in contents)
    manifest = Manifest("0" * 64, 1, 11 * artifacts.BLOCK_BYTES + len(contents[-1]), hashes)
    under_test, now = Assembly(manifest), 0.0
    for what in data:
        block, act = what % 13 - 1, what // 13 % 4
        if act == 0:
            before = block in under_test.have
            taken = under_test.accept(block, contents[block] if block >= 0 else b"")
            assert taken == (block >= 0 and not before)
        elif act == 1:
            assert not under_test.accept(block, b"damaged")
        elif act == 2:
            wanted = under_test.ask(now, block)
            assert len(wanted) <= artifacts.WINDOW
            assert not under_test.have & set(wanted)
        now += what / 200
        assert len(under_test.asked) <= artifacts.WINDOW
    assert under_test.done_bytes == sum(len(contents[block]) for block in under_test.have)
    return under_test


# Parameters ----------------------------------------------------------------------------------------------------------


def _parameters() -> Iterator[bytes]:
    scales = np.full(3, 2**23, np.int32), np.full(3, 30, np.int32)
    conv = Parameters(np.ones((3, 2, 2, 2), np.int8), np.zeros(3, np.int32), *scales)
    dense = Parameters(np.ones((3, 7), np.int8), np.zeros(3, np.int32), *scales)
    for each in (conv, dense, Parameters(None, None, *scales)):
        packed = pack_parameters(each)
        yield packed
        body = msgpack.unpackb(packed)
        for shape in ([], [1], [0, 24], [2**26] * 4, [24, 1, 1, 1], [-1, 24]):
            yield msgpack.packb({**body, "shape": shape})
        yield msgpack.packb({**body, "multiplier": b"", "shift": b""})
    yield from nested(900)


@target("parameters", DecodeError, TopologyError, seeds=_parameters, mutate=mutate_msgpack)
def parameters(data: bytes) -> object:
    """What is taken packs to something that is taken and is the same."""
    found = unpack_parameters(data)
    packed = pack_parameters(found)
    assert pack_parameters(unpack_parameters(packed)) == packed
    return found


# Bundles -------------------------------------------------------------------------------------------------------------


def _announcements() -> Iterator[bytes]:
    announcement, _ = gateway_models.digits()
    yield codec.encode(announcement)
    yield codec.encode(replace(announcement, signature=bytes(64)))
    yield codec.encode(replace(announcement, topology=b""))


_REFUSED = (DecodeError, SignatureError, TopologyError)


@target("announcement", *_REFUSED, seeds=_announcements, mutate=mutate_msgpack)
def announcement(data: bytes) -> object:
    """As it comes: nothing but what was signed gets through."""
    found = codec.decode(ModelAnnouncement, data)
    known = gateway_models.digits()[0] if not _known else _known[0]
    _known[:] = [known]
    verified = verify(found, gateway_models.TRUSTED)
    assert found.bundle == known.bundle
    return verified


_known: list[ModelAnnouncement] = []


def _halves() -> Iterator[bytes]:
    found, _ = gateway_models.digits()
    yield msgpack.packb([msgpack.unpackb(found.bundle), msgpack.unpackb(found.topology)])
    yield msgpack.packb([{}, {}])
    yield from nested(500)


@target("signed-bundle", *_REFUSED, seeds=_halves, mutate=mutate_msgpack)
def signed_bundle(data: bytes) -> object:
    """[bundle, topology], signed and with their digests right, so that what lies behind the signature is reached too.

    A topology that is taken is also prepared, as a board would do.
    """
    try:
        both = msgpack.unpackb(data)
    except Exception:
        both = [data, data]
    bundle, topology = (both if isinstance(both, list) and len(both) == 2 else [both, both])[:2]
    packed = topology if isinstance(topology, bytes) else msgpack.packb(topology)
    if isinstance(bundle, dict):
        bundle = {**bundle, "topology": digest_of(packed)}
    content = bundle if isinstance(bundle, bytes) else msgpack.packb(bundle)
    probes = _probes(content, packed)
    signed = ModelAnnouncement(packed, content, gateway_models.KEY.sign(content), *probes)
    verified = verify(signed, gateway_models.TRUSTED)
    _, blobs = gateway_models.digits() if not _blobs else (None, _blobs)
    _blobs.update(blobs)
    for layer in verified.topology.layers:
        prepare(layer, verified.topology, load(layer, blobs))
    return verified


_blobs: dict[str, bytes] = {}


def _probes(content: bytes, packed: bytes) -> tuple[bytes, bytes]:
    """The golden rows that the bundle names, if they are those of our own."""
    try:
        golden = {item.tensor: item.digest for item in codec.unpack(Bundle, content).golden}
        topology = codec.unpack(Topology, packed)
    except ConvoyError:
        return b"", b""
    ours, _ = gateway_models.digits()
    by_digest = {digest_of(probe): probe for probe in (ours.probe_input, ours.probe_output)}
    return tuple(by_digest.get(golden.get(name, ""), b"") for name in (topology.input, topology.output))  # type: ignore[return-value]

"""What a root key says: which keys may sign in its stead, and below which serial no bundle may run any more.

A statement is packed bytes and a signature over them, so that it can be kept, sent on and checked by anyone who holds
the root's public key. This module makes and reads them; who believes which is `trust`'s business.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from convoy_schema import codec
from convoy_schema.bounds import Size
from convoy_schema.names import Count, Name, digest_of

#: Before the bytes that are signed, so that one sort of statement never passes for another. A bundle has none: its
#: packed form begins with a byte that is no letter.
_DELEGATION_SEAL = b"convoy delegation 1\0"
_FLOOR_SEAL = b"convoy floor 1\0"


class Purpose(enum.Enum):
    """What a delegated key may sign."""

    BUNDLE = "bundle"
    FLOOR = "floor"


@dataclass(frozen=True)
class Delegation:
    """The root's word that `key` (32 bytes, Ed25519) may sign for `purposes`, at `site` or (None) anywhere.

    Of two delegations for a purpose the higher `serial` is in force, and the other is void. `signed_at` and `not_after`
    are seconds since 1970 by the clock of whoever signs; `not_after` 0 is never. They are compared with other signed
    times only, never with a clock.
    """

    key: Annotated[bytes, Size(32)]
    serial: Count
    purposes: Annotated[tuple[Purpose, ...], Size(8)]
    signed_at: Count
    site: Name | None = None
    not_after: Count = 0


@dataclass(frozen=True)
class Floor:
    """No bundle of `model` (None: of any) with a serial below `lowest` may run. `signed_at` as in `Delegation`."""

    model: Name | None
    lowest: Count
    signed_at: Count


@dataclass(frozen=True)
class SignedDelegation:
    """A packed `Delegation` and the root's signature."""

    content: Annotated[bytes, Size(1024)]
    signature: Annotated[bytes, Size(64)]


@dataclass(frozen=True)
class SignedFloor:
    """A packed `Floor` and its signature: the root's, or that of the key that `delegation` names."""

    content: Annotated[bytes, Size(1024)]
    signature: Annotated[bytes, Size(64)]
    delegation: SignedDelegation | None = None


#: Floors in one message: models of a fleet that ever had one.
MOST_FLOORS = 256


@dataclass(frozen=True)
class Statements:
    """controller -> everyone, retained: the delegations in force and every floor. Boards keep the same on disk.

    `signed_time` is the newest signed time that its holder has seen; a holder believes its own disk, and no peer.
    """

    MAX_BYTES: ClassVar[int] = 400 * 1024

    delegations: Annotated[tuple[SignedDelegation, ...], Size(8)] = ()
    floors: Annotated[tuple[SignedFloor, ...], Size(MOST_FLOORS)] = ()
    signed_time: Count = 0


@dataclass(frozen=True)
class SigningKey:
    """A key that signs bundles, with the root's word for it; without one it is the root itself."""

    private: Ed25519PrivateKey
    delegation: SignedDelegation | None = None


def delegate(delegation: Delegation, root: Ed25519PrivateKey) -> SignedDelegation:
    """Sign `delegation` with the root key."""
    content = codec.pack(delegation)
    return SignedDelegation(content, root.sign(_DELEGATION_SEAL + content))


def set_floor(floor: Floor, key: SigningKey) -> SignedFloor:
    """Sign `floor` with the root key, or with one that is delegated for the purpose."""
    content = codec.pack(floor)
    return SignedFloor(content, key.private.sign(_FLOOR_SEAL + content), key.delegation)


def read_delegation(signed: SignedDelegation) -> Delegation:
    """What is signed; the signature is for the caller to check. Raises `DecodeError`."""
    return codec.unpack(Delegation, signed.content)


def read_floor(signed: SignedFloor) -> Floor:
    """What is signed; the signature is for the caller to check. Raises `DecodeError`."""
    return codec.unpack(Floor, signed.content)


def is_delegated_by(signed: SignedDelegation, root: Ed25519PublicKey) -> bool:
    """Whether `root` signed it."""
    return is_signed(_DELEGATION_SEAL + signed.content, signed.signature, root)


def is_floor_of(signed: SignedFloor, key: Ed25519PublicKey) -> bool:
    """Whether `key` signed it."""
    return is_signed(_FLOOR_SEAL + signed.content, signed.signature, key)


def is_signed(content: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    """Whether `signature` is that of `key` over `content`."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def raw_public(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def fingerprint(key: Ed25519PublicKey) -> str:
    """What people compare: the first 16 characters of the digest of a public key's 32 bytes."""
    return digest_of(raw_public(key))[:16]

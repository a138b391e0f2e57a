"""The folder of a fleet's keys: made at first use, kept readable by its owner alone.

`trusted.pem` is the root's public half, which boards are given. `root.pem` is the root itself, here or better
elsewhere. `signing.pem` is the key that signs bundles, with the root's delegation of it in the same file, so that the
two are exchanged as one. `next.pem` is another such that waits to be taken up, `trust` holds every delegation in force
and every floor. Called by whoever signs, by the controller, and by `convoy key`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convoy_schema import codec
from convoy_schema.bundle import load_private_key, load_public_key, private_pem, public_pem
from convoy_schema.errors import ConvoyError, SignatureError
from convoy_schema.signing import (
    Delegation,
    Purpose,
    SignedDelegation,
    SigningKey,
    Statements,
    delegate,
    fingerprint,
    is_delegated_by,
    raw_public,
    read_delegation,
)
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from convoy_controller.errors import KeyFileError

_BEGIN, _END = "-----BEGIN CONVOY DELEGATION-----", "-----END CONVOY DELEGATION-----"
DAY_S = 24 * 3600
_OWN, _PUBLIC = 0o600, 0o644


@dataclass(frozen=True)
class KeyFolder:
    """Paths below `path`."""

    path: Path

    @property
    def root(self) -> Path:
        """The root key, where it is kept here."""
        return self.path / "root.pem"

    @property
    def trusted(self) -> Path:
        """The root's public half."""
        return self.path / "trusted.pem"

    @property
    def signing(self) -> Path:
        """The key in use, with its delegation."""
        return self.path / "signing.pem"

    @property
    def next(self) -> Path:
        """A key that was delegated and is not in use yet."""
        return self.path / "next.pem"

    @property
    def trust(self) -> Path:
        """Every delegation in force and every floor."""
        return self.path / "trust"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Made if need be, and nobody else's meanwhile; turns what goes wrong into `KeyFileError`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except (OSError, ValueError, TypeError, SignatureError) as error:
            raise KeyFileError(
                f"the keys in {self.path} cannot be read or made: {error}; restore them from backup, or move them away "
                "to start with new ones (boards must then be given the new trusted.pem)",
                path=str(self.path),
            ) from error


# What is in use ------------------------------------------------------------------------------------------------------


def signing_key(folder: Path) -> SigningKey:
    """The key that signs bundles, made with a root of its own where there is none yet; raises `KeyFileError`.

    Of several processes that create it at once, one wins and all return its key. Whether it may still sign is
    `usable_signing_key`'s question: a controller serves on with a key that has ended.
    """
    keys = KeyFolder(folder)
    with keys.locked():
        if not keys.signing.exists():
            _begin(keys)
        key = read_signing(keys.signing)
        _offer_root(keys, key)
        if key.delegation is not None:
            _remember(keys, Statements((key.delegation,)))
    return key


def usable_signing_key(folder: Path) -> SigningKey:
    """As `signing_key`; raises `DelegationError` where boards would not believe it any more."""
    key = signing_key(folder)
    load_trust(folder).key_of(key.delegation, Purpose.BUNDLE)
    return key


def _begin(keys: KeyFolder) -> None:
    if not keys.root.exists():
        if keys.trusted.exists():
            raise KeyFileError(
                f"there is no signing key in {keys.path}, and its root is kept elsewhere: `convoy key delegate --root "
                "PATH` makes one where the root is, `convoy key rotate --from FILE` takes it up here",
                path=str(keys.path),
            )
        write_private(keys.root, private_pem(Ed25519PrivateKey.generate()))
    root = load_private_key(keys.root)
    _replace(keys.trusted, public_pem(root), _PUBLIC)
    new = new_signing_key(root, next_serial(_trust(keys, "")))
    write_private(keys.signing, signing_file(new))


def _offer_root(keys: KeyFolder, key: SigningKey) -> None:
    """See that `trusted.pem` is there, is the root's, and is the root of the signing key."""
    root = key.private if key.delegation is None else None
    if keys.root.exists() and (root is not None or not is_encrypted(keys.root)):
        root = load_private_key(keys.root)
    if root is not None:
        expected = public_pem(root)
        if not keys.trusted.exists() or keys.trusted.read_bytes() != expected:
            _replace(keys.trusted, expected, _PUBLIC)
    trusted = load_public_key(keys.trusted)
    if key.delegation is not None and not is_delegated_by(key.delegation, trusted):
        raise KeyFileError(
            f"{keys.signing} was delegated by another root than {keys.trusted} ({fingerprint(trusted)}): boards that "
            "trust the one refuse what the other signs; put the two that belong together there",
            path=str(keys.signing),
        )


# What was said -------------------------------------------------------------------------------------------------------


def load_trust(folder: Path, site: str = "") -> Trust:
    """What this fleet believes, seen from `site`; raises `KeyFileError`."""
    keys = KeyFolder(folder)
    with keys.locked():
        return _trust(keys, site)


def remember(folder: Path, statements: Statements) -> Trust:
    """Keep what is new in `statements` and believed; returns all that is. Raises `KeyFileError`."""
    keys = KeyFolder(folder)
    with keys.locked():
        return _remember(keys, statements)


def _trust(keys: KeyFolder, site: str) -> Trust:
    trust = Trust(load_public_key(keys.trusted), site)
    try:
        return trust.recall(codec.decode(Statements, keys.trust.read_bytes()))
    except FileNotFoundError:
        return trust
    except ConvoyError as error:
        raise KeyFileError(
            f"{keys.trust} cannot be read: {error}; restore it from backup, or remove it: the controller learns again "
            "what the broker retains",
            path=str(keys.trust),
        ) from error


def _remember(keys: KeyFolder, statements: Statements) -> Trust:
    before = _trust(keys, "")
    after, _ = before.learn(statements)
    if after.statements != before.statements or not keys.trust.exists():
        _replace(keys.trust, codec.encode(after.statements), _PUBLIC)
    return after


# Keys and their files ------------------------------------------------------------------------------------------------


def next_serial(*known: Trust) -> int:
    """A serial above every one of those delegations."""
    found = [trust.delegation(purpose) for trust in known for purpose in Purpose]
    return max((delegation.serial for delegation in found if delegation is not None), default=0) + 1


def signing_time(*known: Trust) -> int:
    """Seconds since 1970 to write into what is signed now: this machine's date, unless a later one was seen."""
    return max(int(time.time()), *(trust.signed_time for trust in known), 0)


def new_signing_key(
    root: Ed25519PrivateKey,
    serial: int,
    *,
    purposes: tuple[Purpose, ...] = (Purpose.BUNDLE,),
    site: str | None = None,
    days: int = 0,
    now: int = 0,
) -> SigningKey:
    """A fresh key with the root's word for it, for `days` (0: without end) from `now` (0: this machine's date)."""
    private = Ed25519PrivateKey.generate()
    signed_at = now or signing_time()
    not_after = signed_at + days * DAY_S if days else 0
    delegation = Delegation(raw_public(private.public_key()), serial, purposes, signed_at, site, not_after)
    return SigningKey(private, delegate(delegation, root))


def signing_file(key: SigningKey) -> bytes:
    """The content of a `signing.pem`."""
    content = private_pem(key.private)
    if key.delegation is not None:
        packed = codec.pack(key.delegation)
        lines = base64.encodebytes(packed).decode("ascii")
        content += f"{_BEGIN}\n{lines}{_END}\n".encode("ascii")
    return content


def read_signing(path: Path) -> SigningKey:
    """The key and delegation in a `signing.pem`; raises `KeyFileError` or `SignatureError`."""
    private = load_private_key(path)
    text = path.read_text(encoding="ascii")
    if _BEGIN not in text:
        return SigningKey(private)
    try:
        packed = base64.b64decode(text.partition(_BEGIN)[2].partition(_END)[0], validate=False)
        signed = codec.unpack(SignedDelegation, packed)
        delegation = read_delegation(signed)
    except (binascii.Error, ConvoyError) as error:
        raise KeyFileError(f"the delegation in {path} cannot be read: {error}", path=str(path)) from error
    if delegation.key != raw_public(private.public_key()):
        raise KeyFileError(f"the delegation in {path} is another key's: restore the file from backup", path=str(path))
    return SigningKey(private, signed)


def is_encrypted(path: Path) -> bool:
    """Whether a PEM file asks for a passphrase."""
    return b"ENCRYPTED" in path.read_bytes()


def write_private(path: Path, content: bytes) -> None:
    """Durably, for its owner alone, in place of what may be there."""
    _replace(path, content, _OWN)


def write_public(path: Path, content: bytes) -> None:
    """Durably, for everyone to read."""
    _replace(path, content, _PUBLIC)


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

"""The root key: made, found, opened and moved, in the key folder or in any other, such as one on a stick.

Beside it lies `root.serial`, the newest serial that it gave to a delegation, so that the root alone can delegate.
Called by `convoy key`; nothing that runs ever needs the root.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from convoy_schema.bundle import load_private_key, private_pem, public_pem
from convoy_schema.signing import fingerprint
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from convoy_controller.errors import KeyFileError, NotFoundError
from convoy_controller.keys import KeyFolder, is_encrypted, next_serial, read_signing, write_private, write_public

#: Asked only when a key wants one.
Passphrase = Callable[[], bytes]


def create_root(folder: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """A new root in `folder`, with its `trusted.pem`; raises `KeyFileError`, also when there are keys already."""
    keys = KeyFolder(folder)
    with keys.locked():
        for path in (keys.root, keys.signing, keys.trusted):
            if path.exists():
                raise KeyFileError(
                    f"{path} is there already: `convoy key rotate` exchanges the signing key; for another root move "
                    "the folder away first, and give every board the new trusted.pem",
                    path=str(path),
                )
        root = Ed25519PrivateKey.generate()
        write_private(keys.root, private_pem(root, passphrase))
        write_public(keys.trusted, public_pem(root))
    return root


def has_root(folder: Path) -> bool:
    """Whether the root is in `folder`: by itself, or as the one key of a fleet that never delegated."""
    keys = KeyFolder(folder)
    return keys.root.exists() or _is_single(keys)


def open_root(folder: Path, passphrase: Passphrase) -> Ed25519PrivateKey:
    """The root in `folder`; raises `NotFoundError` where there is none, `KeyFileError` where it cannot be read.

    A fleet that never delegated signs with its root: then a copy of that becomes `root.pem`, which outlives the first
    rotation.
    """
    keys = KeyFolder(folder)
    if not folder.is_dir() or not has_root(folder):
        raise NotFoundError(
            f"there is no root.pem in {folder}: say with --root in which folder the root key is kept", path=str(folder)
        )
    with keys.locked():
        if not keys.root.exists():
            write_private(keys.root, private_pem(read_signing(keys.signing).private))
        return load_private_key(keys.root, passphrase() if is_encrypted(keys.root) else None)


def check_root(root: Ed25519PrivateKey, trust: Trust, folder: Path) -> None:
    """Raise `KeyFileError` unless `root` is the one that this fleet's boards trust."""
    if fingerprint(root.public_key()) != fingerprint(trust.root):
        raise KeyFileError(
            f"the root in {folder} is {fingerprint(root.public_key())}, this fleet's boards trust "
            f"{fingerprint(trust.root)}: use the root that belongs to it (`convoy key show`)",
            path=str(folder),
        )


def take_serial(folder: Path, *known: Trust, least: int = 0) -> int:
    """A serial above every one that was ever given, noted beside the root in `folder`; raises `KeyFileError`."""
    keys = KeyFolder(folder)
    ledger = folder / "root.serial"
    with keys.locked():
        given = int(ledger.read_text(encoding="ascii")) if ledger.exists() else 0
        serial = max(given + 1, next_serial(*known), least)
        write_public(ledger, b"%d\n" % serial)
    return serial


def move_root(folder: Path, target: Path, passphrase: Passphrase, lock_with: bytes | None) -> None:
    """Put the root of `folder` into `target`, under `lock_with` if given, and take it away; raises `KeyFileError`."""
    keys, there = KeyFolder(folder), KeyFolder(target)
    root = open_root(folder, passphrase)
    if _is_single(keys):
        raise KeyFileError(
            f"{keys.signing} is the root itself, and signs: `convoy key rotate` first, so that another key does",
            path=str(keys.signing),
        )
    with there.locked():
        if there.root.exists():
            raise KeyFileError(f"{there.root} is there already: name another folder", path=str(there.root))
        # As it is, unless another passphrase is wanted: a copy keeps the one it had.
        write_private(there.root, private_pem(root, lock_with) if lock_with else keys.root.read_bytes())
        write_public(there.trusted, public_pem(root))
        ledger = folder / "root.serial"
        if ledger.exists():
            write_public(target / "root.serial", ledger.read_bytes())
        load_private_key(there.root, lock_with or (passphrase() if is_encrypted(there.root) else None))
    with keys.locked():
        keys.root.unlink()
        ledger.unlink(missing_ok=True)


def _is_single(keys: KeyFolder) -> bool:
    return keys.signing.exists() and read_signing(keys.signing).delegation is None

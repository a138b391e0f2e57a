"""The fleet's signing key: made at first use, kept readable by its owner alone.

One local key signs every bundle; `trusted.pem` beside it is what boards are given. Called by the catalogue's users.
"""

from __future__ import annotations

import os
from pathlib import Path

from convoy_schema.bundle import load_private_key, private_pem, public_pem
from convoy_schema.errors import SignatureError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from convoy_controller.errors import KeyFileError


def signing_key(folder: Path) -> Ed25519PrivateKey:
    """The key in `folder`/signing.pem, created with its `trusted.pem` when there is none; raises `KeyFileError`.

    Of several processes that create it at once, one wins and all return its key.
    """
    private, public = folder / "signing.pem", folder / "trusted.pem"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not private.exists():
            _create(private, private_pem(Ed25519PrivateKey.generate()), 0o600)
        key = load_private_key(private)
        expected = public_pem(key)
        if not public.exists() or public.read_bytes() != expected:
            _replace(public, expected, 0o644)
    except (OSError, ValueError, TypeError, SignatureError) as error:
        raise KeyFileError(
            f"the signing key {private} cannot be read or made: {error}; restore it from backup, or move it away to "
            "start with a new one (boards must then be given the new trusted.pem)",
            path=str(private),
        ) from error
    return key


def _temporary(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _create(path: Path, content: bytes, mode: int) -> None:
    """Unlike a rename, a link never takes the place of a key that another process has made meanwhile."""
    temporary = _temporary(path, content, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _replace(path: Path, content: bytes, mode: int) -> None:
    _temporary(path, content, mode).replace(path)

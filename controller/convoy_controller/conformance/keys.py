"""The root key that bundles under trial are signed with; a board trusts it before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convoy_schema.bundle import load_private_key, private_pem, public_pem
from convoy_schema.signing import SigningKey, fingerprint
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from convoy_controller.keys import write_private, write_public


@dataclass(frozen=True)
class TrialKeys:
    """A root key in a folder, and one that nobody trusts."""

    folder: Path
    root: Ed25519PrivateKey
    stranger: Ed25519PrivateKey

    @property
    def trusted(self) -> Path:
        """The public half, which a board under trial must trust."""
        return self.folder / "trusted.pem"

    @property
    def signer(self) -> SigningKey:
        """The root itself signs."""
        return SigningKey(self.root)

    @property
    def fingerprint(self) -> str:
        """As people compare it."""
        return fingerprint(self.root.public_key())


def trial_keys(folder: Path) -> TrialKeys:
    """The root in `folder`, made there at first use; raises `SignatureError` or `KeyFileError`."""
    path = folder / "root.pem"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        root = Ed25519PrivateKey.generate()
        write_private(path, private_pem(root))
        write_public(folder / "trusted.pem", public_pem(root))
    return TrialKeys(folder, load_private_key(path), Ed25519PrivateKey.generate())

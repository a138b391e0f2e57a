"""What the controller believes of keys and floors, and its share in telling it: learned, kept on disk, then published.

It learns from three sides: the key folder, where `convoy key` writes; what the broker retains, so that a controller
whose folder came back from a backup revokes no less than before; and the delegation in every announcement. `exchange`
alone blocks; `service` calls it in a thread, and everything else in its loop.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from convoy_schema import codec
from convoy_schema.bundle import ModelAnnouncement, VerifiedModel, verify
from convoy_schema.errors import ConvoyError
from convoy_schema.signing import Statements
from convoy_schema.trust import Trust

from convoy_controller.keys import KeyFolder, load_trust, remember

#: What tells one content of a file from another without reading it.
_Mark = tuple[int, int, int]


class StatementKeeper:
    """One controller's. `trust` is what it believes now."""

    def __init__(self, folder: Path, site: str) -> None:
        self._keys = KeyFolder(folder)
        self._site = site
        self._mark = self._look()
        self.trust: Trust = load_trust(folder, site)
        self._kept = self.trust.statements
        self._told: Statements | None = None

    # Learning --------------------------------------------------------------------------------------------------------

    def hear(self, payload: bytes) -> tuple[ConvoyError, ...]:
        """Take what is retained at the broker; returns why some of it is not believed. Raises `DecodeError`."""
        heard = codec.decode(Statements, payload)
        self.trust, refused = self.trust.learn(heard)
        # Whoever said less, or something else, does not have the last word.
        self._told = heard if heard == self.trust.statements else None
        return refused

    def verify(self, announcement: ModelAnnouncement) -> VerifiedModel:
        """As `bundle.verify`, with what the announcement itself brings; raises as that."""
        if announcement.delegation is not None:
            self.trust = self.trust.with_delegation(announcement.delegation)
        return verify(announcement, self.trust)

    # Files -----------------------------------------------------------------------------------------------------------

    def exchange(self, own: Statements) -> Statements | None:
        """Write what was heard, read what `convoy key` wrote; None where neither is new. Blocks; `KeyFileError`."""
        if self._look() == self._mark and own == self._kept:
            return None
        merged = remember(self._keys.path, own).statements
        self._mark = self._look()
        return merged

    def absorb(self, merged: Statements) -> bool:
        """Believe what the file holds; whether there is anything that models were not judged by yet."""
        before, self.trust = self._kept, self.trust.recall(merged)
        self._kept = self.trust.statements
        return self._kept != before

    def _look(self) -> _Mark:
        try:
            found = self._keys.trust.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return found.st_ino, found.st_mtime_ns, found.st_size

    # Telling ---------------------------------------------------------------------------------------------------------

    def forget_told(self) -> None:
        """Whether the broker still retains what was told is not known any more."""
        self._told = None

    def tell(self, publish: Callable[[Statements], bool]) -> None:
        """Publish what is believed unless that was the last word; nothing is said of nothing."""
        statements = self.trust.statements
        if statements not in (self._told, Statements()) and publish(statements):
            self._told = statements

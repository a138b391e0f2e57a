"""What a daemon says about itself to whoever is on the same machine: systemd, and `convoy-device upgrade`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

#: The file in the service's RuntimeDirectory; gone when the service is.
FILE = "condition.json"


@dataclass(frozen=True)
class Held:
    """An assignment and how far it is; `phase` as in `Phase`, `code` of the error if it failed."""

    deployment: str
    generation: str
    phase: str
    code: str = ""


@dataclass(frozen=True)
class Condition:
    """A board now. `epoch` and `revision` are of the desired state that it obeys; `stuck` says what stands still."""

    board: str
    version: str
    is_awake: bool
    is_connected: bool
    epoch: int = 0
    revision: int = 0
    held: tuple[Held, ...] = ()
    stuck: str = ""

    @property
    def is_ready(self) -> bool:
        """What systemd is told as READY."""
        return self.is_awake and self.is_connected

    def sentence(self) -> str:
        """One line for people."""
        if self.stuck:
            return f"stuck: {self.stuck}"
        if not self.is_awake:
            return "looking at what the fabric and the disk hold"
        phases = ", ".join(
            f"{held.deployment} {held.generation} is {held.phase}{f' ({held.code})' if held.code else ''}"
            for held in self.held
        )
        return f"{'connected' if self.is_connected else 'no broker, trying again'}; {phases or 'nothing to run'}"


def write(directory: Path, boards: tuple[Condition, ...]) -> None:
    """Replace the file as a whole; raises `OSError`."""
    partial = directory / f"{FILE}.new"
    partial.write_text(json.dumps([dataclasses.asdict(board) for board in boards]), encoding="utf-8")
    partial.replace(directory / FILE)


def read(directory: Path) -> tuple[Condition, ...]:
    """What the daemon last wrote; nothing while there is none, or none that this version can read."""
    try:
        found = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return tuple(Condition(**{**each, "held": tuple(Held(**held) for held in each["held"])}) for each in found)
    except (OSError, ValueError, TypeError, KeyError):
        return ()

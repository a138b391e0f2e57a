"""What memory each process of a run holds, life by life: its resident set, read from /proc every few seconds."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from pathlib import Path

from convoy_simulator.real.slope import Slope, fit

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Seconds between two looks.
EVERY_S = 2.0


def resident_bytes(pid: int) -> int | None:
    """Of a living process; None of one that is gone, or is a zombie."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * _PAGE_BYTES or None


class Memory:
    """The lives of every process so far, by its name."""

    def __init__(self) -> None:
        #: Seconds and bytes in turn: what is looked at for an hour should itself not grow by much.
        self._lives: dict[str, dict[int, array[float]]] = {}

    def look(self, processes: Mapping[str, int], now: float) -> None:
        """Note what each of these (name to process id) holds now; another id is another life."""
        for name, pid in processes.items():
            size = resident_bytes(pid)
            if size is not None:
                self._lives.setdefault(name, {}).setdefault(pid, array("d")).extend((now, float(size)))

    def write(self, path: Path) -> None:
        """Every look as a line: name, process id, seconds, bytes."""
        with path.open("w", encoding="utf-8") as file:
            for name, lives in self._lives.items():
                for pid, life in lives.items():
                    file.writelines(f"{name},{pid},{at:.1f},{size:.0f}\n" for at, size in _pairs(life))

    def slopes(self) -> dict[str, Slope]:
        """How fast each one grows."""
        return {name: fit([_pairs(life) for life in lives.values()]) for name, lives in sorted(self._lives.items())}


def _pairs(life: array[float]) -> list[tuple[float, float]]:
    return list(zip(life[::2], life[1::2], strict=True))

"""Processes that are told another date, by libfaketime (apt package `faketime`); their monotonic clock stays real.

`WrongClock` is one such date. Only processes that are started with its `environment` see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

#: Seconds until a process has seen that its clock was set.
NOTICED_S = 1.0


def library() -> Path | None:
    """The part of libfaketime that is for programs with threads; None where it is not installed."""
    return next(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"), None)


class WrongClock:
    """A clock that begins at a date (`@1970-01-01 00:00:10`) or so far from the true one (`+1y`, `-3600`)."""

    def __init__(self, file: Path, date: str = "+0") -> None:
        self._file = file
        self.set(date)

    def set(self, date: str) -> None:
        """Let it jump; whoever is told by it notices within `NOTICED_S`."""
        following = self._file.with_suffix(".next")
        following.write_text(f"{date}\n")
        following.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process must be started with."""
        found = library()
        assert found is not None, "libfaketime is not installed"
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    @property
    def prefix(self) -> Sequence[str]:
        """What goes before the command of such a process."""
        return ["env", *(f"{name}={value}" for name, value in self.environment.items())]

"""Boards as a TOML file describes them: the profiles that come along, and the boards of a file that a user wrote.

`profiles.toml` beside this module explains the format. Every fault of a file is a `ProfileError` that names the entry
and the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from convoy_schema.bitstream import PARTS
from convoy_schema.bundle import Method
from convoy_schema.errors import TomlError, shown
from convoy_schema.limits import KernelLimits
from convoy_schema.messages.boards import Capability
from convoy_schema.processors import ProcessorRate
from convoy_schema.resources import Resources, module, total
from convoy_schema.toml import MAX_TEXT, parse_toml
from convoy_schema.topology import Kind

from convoy_controller.errors import ProfileError
from convoy_controller.planning.costing import (
    LINK_BYTES_PER_S,
    SHELL_S,
    SWAP_S,
    BoardModel,
)
from convoy_controller.planning.instance import QUEUE_FRAMES

#: The fabric of a board without logic.
PROCESSOR = "processor"
#: Boards of one entry, and entries of a file, at most.
MOST_BOARDS, MOST_ENTRIES = 100_000, 1000
#: Bytes of a file, at most.
MAX_FILE = MAX_TEXT


@dataclass(frozen=True)
class Profile:
    """One kind of board; 0 DSPs or RAMB36s: not counted. `part` '' or unknown: no limits of kernels are known.

    `fabric` "processor": it has no logic and runs any layer on its processor, under every method, at `clock_hz` as if
    that were a kernel's.
    """

    name: str
    clock_hz: float
    memory_bytes: int
    part: str = ""
    partitions: int = 0
    dsps: int = 0
    ramb36: int = 0
    partition_dsps: int = 0
    partition_ramb36: int = 0
    link_bytes_per_s: float = LINK_BYTES_PER_S
    swap_s: float = SWAP_S
    shell_s: float = SHELL_S
    queue_frames: int = QUEUE_FRAMES
    processor_macs_per_s: float = 0.0
    processor_bytes_per_s: float = 0.0
    processor_call_s: float = 0.0
    fabric: str = ""

    @classmethod
    def of(cls, name: str, board: Capability) -> Profile:
        """What a board says of itself, under `name`."""
        rate = board.processor
        return cls(
            name=name,
            clock_hz=board.clock_hz,
            memory_bytes=board.memory_bytes,
            part=board.part,
            partitions=len(board.partitions),
            queue_frames=min(QUEUE_FRAMES, board.queue_frames),
            processor_macs_per_s=0.0 if rate is None else rate.macs_per_s,
            processor_bytes_per_s=0.0 if rate is None else rate.bytes_per_s,
            processor_call_s=0.0 if rate is None else rate.call_s,
            fabric=PROCESSOR if board.fabric == PROCESSOR else "",
        )

    def slowed(self, factor: float) -> Profile:
        """The same board where everything that it computes or loads takes `factor` times as long."""
        return replace(
            self,
            clock_hz=self.clock_hz / factor,
            swap_s=self.swap_s * factor,
            processor_macs_per_s=self.processor_macs_per_s / factor,
            processor_bytes_per_s=self.processor_bytes_per_s / factor,
            processor_call_s=self.processor_call_s * factor,
        )

    def model(self, method: Method, *, processor: bool = False) -> BoardModel:
        """What the planner takes it for, under `method`; with `processor`, layers may run on that as well."""
        has_logic = self.fabric != PROCESSOR
        library = method is Method.LIBRARY and has_logic
        processor = processor and has_logic and method is not Method.STREAM  # whose chain is the whole network
        rate = ProcessorRate(self.processor_macs_per_s, self.processor_bytes_per_s, self.processor_call_s)
        return BoardModel(
            clock_hz=self.clock_hz,
            memory_bytes=self.memory_bytes,
            partitions=self.partitions if library else None,
            queue_frames=self.queue_frames,
            kernels=kernels_of(self.part, method) if has_logic else (),
            missing=tuple(self._missing(method)) if has_logic else (),
            link_bytes_per_s=self.link_bytes_per_s,
            swap_s=self.swap_s,
            shell_s=self.shell_s,
            processor=rate if processor and min(rate.macs_per_s, rate.bytes_per_s) > 0 else None,
            is_network=method is Method.STREAM and has_logic,
        )

    def _missing(self, method: Method) -> Iterable[tuple[Kind, str]]:
        if method is Method.LIBRARY:
            have = self.partition_dsps, self.partition_ramb36
            for kind in Kind:
                if not self.partitions:
                    yield kind, "the board has no partition to load a module into"
                elif reason := _lacking(module(kind), *have):
                    yield kind, f"its module needs {reason} in the smallest partition"
        elif method is Method.ALLOCATE and (
            reason := _lacking(total(module(kind) for kind in Kind), self.dsps, self.ramb36)
        ):
            yield from ((kind, f"kernels of every kind together need {reason} on the board") for kind in Kind)


def _lacking(needed: Resources, dsps: int, ramb36: int) -> str:
    """What there is too little of; '' when all fits. 0 is not counted."""
    if dsps and needed.dsps > dsps:
        return f"{needed.dsps} DSPs, there are {dsps}"
    if ramb36 and needed.bram36 > ramb36:
        return f"{needed.bram36} RAMB36s, there are {ramb36}"
    return ""


def kernels_of(part: str, method: Method) -> tuple[KernelLimits, ...]:
    """Limits of the kernels that `method` brings onto that part, as its floorplan says; none where it says nothing.

    A floorplan is of the emulated part as well, which has the same columns under another name.
    """
    from convoy_bitstreams import floorplans

    plan = floorplans().get(method.shell)
    known = PARTS.get(part)
    if plan is None or known is None or known.geometry != plan.part.geometry or method is Method.STREAM:
        return ()
    return plan.kernels


def shipped() -> dict[str, Profile]:
    """The profiles that come along, by name."""
    text = (resources.files(__package__) / "profiles.toml").read_text(encoding="utf-8")
    return _profiles(parse_toml(text), "profiles.toml", {})


def boards_of(path: Path) -> list[tuple[Profile, int]]:
    """The boards that the file lists: each kind's profile, under its name in the plan, and how many there are."""
    table = _read(path)
    profiles = _profiles(table, str(path), shipped())
    entries = _entries(table, "boards", str(path))
    if not entries:
        raise ProfileError(f'{path} lists no board: it needs a [[boards]] with profile = "pynq-z2" and a count')
    found: list[tuple[Profile, int]] = []
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, [[boards]] number {number}"
        rest = {key: value for key, value in entry.items() if key not in ("profile", "count")}
        name = entry.get("profile")
        if not isinstance(name, str) or name not in profiles:
            raise ProfileError(f"{where}: profile {shown(name)} is not one of {', '.join(sorted(profiles))}")
        count = entry.get("count", 1)
        if type(count) is not int or not 1 <= count <= MOST_BOARDS:
            raise ProfileError(f"{where}: count must be a whole number from 1 to {MOST_BOARDS}, {shown(count)} came")
        profile = _profile({**_plain(profiles[name]), **rest}, where)
        taken = {other.name for other, _ in found}
        if profile.name in taken:
            raise ProfileError(f"{where}: {profile.name!r} is the name of an entry above; give it another `name`")
        found.append((profile, count))
    return found


def written(boards: Sequence[tuple[Profile, int]], comments: Sequence[str] = ()) -> str:
    """A file that `boards_of` reads as `boards`, with `comments` at its head."""
    lines = [f"# {comment}" for comment in comments]
    for profile, _ in boards:
        lines += ["", "[[profiles]]"]
        for item in fields(Profile):
            value = getattr(profile, item.name)
            if item.default is MISSING or value != item.default:
                lines.append(f"{item.name} = {json.dumps(value, ensure_ascii=False)}")
    for profile, count in boards:
        lines += ["", "[[boards]]", f"profile = {json.dumps(profile.name, ensure_ascii=False)}", f"count = {count}"]
    return "\n".join(lines).lstrip() + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise ProfileError(f"{path} has {path.stat().st_size} bytes, at most {MAX_FILE} are read")
        return parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TomlError) as error:
        raise ProfileError(f"{path} is not a TOML file of boards: {error}") from error


def _profiles(table: Mapping[str, Any], where: str, known: Mapping[str, Profile]) -> dict[str, Profile]:
    found = dict(known)
    for number, entry in enumerate(_entries(table, "profiles", where), start=1):
        profile = _profile(entry, f"{where}, [[profiles]] number {number}")
        found[profile.name] = profile
    return found


def _entries(table: Mapping[str, Any], key: str, where: str) -> Sequence[Mapping[str, Any]]:
    entries = table.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ProfileError(f"{where}: {key} must be written as [[{key}]] tables")
    if len(entries) > MOST_ENTRIES:
        raise ProfileError(f"{where}: {len(entries)} [[{key}]], at most {MOST_ENTRIES} are read")
    return entries


def _plain(profile: Profile) -> dict[str, Any]:
    return {field.name: getattr(profile, field.name) for field in fields(profile)}


def _profile(entry: Mapping[str, Any], where: str) -> Profile:
    types = {field.name: str(field.type) for field in fields(Profile)}
    unknown = sorted(set(entry) - set(types))
    if unknown:
        raise ProfileError(f"{where}: {shown(unknown[0])} is not one of {', '.join(types)}")
    lacking = [key for key in ("name", "clock_hz", "memory_bytes") if key not in entry]
    if lacking:
        raise ProfileError(f"{where}: {lacking[0]} is missing")
    for key, value in entry.items():
        _check(key, value, types[key], where)
    return Profile(**entry)


#: Figures that nothing can be divided by, or planned with, unless they are above 0.
_POSITIVE = ("clock_hz", "memory_bytes", "link_bytes_per_s", "queue_frames")


def _check(key: str, value: object, wanted: str, where: str) -> None:
    if wanted == "str":
        if not isinstance(value, str) or len(value) > 63 or (key == "name" and not value):
            raise ProfileError(f"{where}: {key} must be a text of at most 63 characters, {shown(value)} came")
        return
    whole = wanted == "int"
    kinds = (int,) if whole else (int, float)
    least = 1 if key in _POSITIVE else 0
    if type(value) not in kinds or not least <= value <= 1e15:  # type: ignore[operator]
        raise ProfileError(
            f"{where}: {key} must be a {'whole ' if whole else ''}number from {least} on, {shown(value)} came"
        )

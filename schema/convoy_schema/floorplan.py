"""A shell's floorplan as data: part, clock, memory, partitions with their columns, and the kernels it is for.

One TOML file a shell is the source of partition tables, capability messages, allowed columns and emulated images.
`parse` checks it against the part's geometry; nothing here reads files, the catalogue of bitstreams does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import Any

import msgpack
import numpy as np

from convoy_schema import addresses, codec
from convoy_schema.addresses import NETWORK, Addresses
from convoy_schema.bitstream import Block, ColumnSpan, Geometry, Indices, Part, part_named
from convoy_schema.errors import BitstreamError, DecodeError, FloorplanError, TomlError, TopicError, shown
from convoy_schema.limits import KernelLimits
from convoy_schema.names import check_name
from convoy_schema.toml import parse_toml
from convoy_schema.topology import Kind

Spans = tuple[tuple[int, int], ...]

_CLOCK_REGION = re.compile(r"X([01])Y(\d)")


@dataclass(frozen=True)
class Area:
    """Columns of one clock region, from the first to the last: logic columns, and columns of block-RAM contents."""

    clock_region: str
    columns: Spans
    memory_columns: Spans = ()


@dataclass(frozen=True)
class PartitionPlan:
    """A region that can be reconfigured: whole clock regions tall, because a frame is."""

    name: str
    areas: tuple[Area, ...]


@dataclass(frozen=True)
class Floorplan:
    """One shell on one part. Without partitions the shell itself holds a kernel of every kind in `kernels`.

    `memory_bytes` is the board's, `usable_bytes` what DMA can reach and a plan may fill. `addresses` are None for a
    shell that no real board loads.
    """

    shell: str
    part: Part
    clock_hz: int
    memory_bytes: int
    usable_bytes: int
    partitions: tuple[PartitionPlan, ...]
    kernels: tuple[KernelLimits, ...]
    addresses: Addresses | None = None

    @property
    def fixed_kernels(self) -> tuple[KernelLimits, ...]:
        """Kernels of the static design."""
        return () if self.partitions else self.kernels

    @property
    def is_network(self) -> bool:
        """Whether the shell is one whole network, and runs no single layer."""
        return self.addresses is not None and any(slot.name == NETWORK for slot in self.addresses.slots)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds that a kernel or module of this shell can run."""
        return tuple(kernel.kind for kernel in self.kernels)

    @cached_property
    def regions(self) -> Mapping[str, Indices]:
        """Frame numbers of each partition, ascending."""
        return {plan.name: frames_of(self.part.geometry, plan) for plan in self.partitions}

    @cached_property
    def static(self) -> Indices:
        """Frame numbers of everything outside the partitions, ascending."""
        free = np.ones(self.part.geometry.memory_frames, dtype=bool)
        for region in self.regions.values():
            free[region] = False
        return np.flatnonzero(free).astype(np.int32)


def parse(text: str) -> Floorplan:
    """The floorplan in TOML `text`; raises `FloorplanError` that names the key, what it must be and what came."""
    body = _body(text)
    _refuse_unknown(
        body, {"shell", "part", "clock_hz", "memory_bytes", "usable_bytes", "partitions", "kernels", "addresses"}
    )
    try:
        plan = Floorplan(
            shell=check_name(_take(body, "shell", str), "shell"),
            part=part_named(_take(body, "part", str)),
            clock_hz=_positive(body, "clock_hz"),
            memory_bytes=_positive(body, "memory_bytes"),
            usable_bytes=_positive(body, "usable_bytes"),
            partitions=tuple(_partition(item) for item in _take(body, "partitions", list, ())),
            kernels=tuple(_kernel(item) for item in _take(body, "kernels", list, ())),
            addresses=addresses.parse(body["addresses"]) if "addresses" in body else None,
        )
    except (BitstreamError, TopicError, DecodeError) as error:
        raise FloorplanError(f"floorplan: {error}") from error
    _check(plan)
    return plan


def parse_regions(text: str) -> tuple[Part, dict[str, Indices]]:
    """Part and each partition's frames, of any design's floorplan: nothing else has to be there.

    Partitions may be called as in Vivado, where a shell's own floorplan keeps to the names that topics can carry.
    """
    body = _body(text)
    try:
        part = part_named(_take(body, "part", str))
    except BitstreamError as error:
        raise FloorplanError(f"floorplan: {error}") from error
    regions: dict[str, Indices] = {}
    for item in _take(body, "partitions", list, ()):
        table = _table(item, "partitions")
        name = _take(table, "name", str)
        plan = PartitionPlan(name, tuple(_area(area) for area in _take(table, "areas", list)))
        if not name or name in regions:
            raise FloorplanError(f"floorplan: partitions must have names of their own, {shown(name)} came")
        regions[name] = frames_of(part.geometry, plan)
        if not regions[name].size:
            raise FloorplanError(f"floorplan: partition {name} has no columns")
    return part, regions


def _body(text: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except TomlError as error:
        raise FloorplanError(f"a floorplan must be TOML: the text {error}") from error


def _check(plan: Floorplan) -> None:
    if (not plan.kernels and not plan.is_network) or len(set(plan.kinds)) != len(plan.kernels):
        raise FloorplanError(f"floorplan {plan.shell} must name one kernel or more, each kind once")
    if plan.usable_bytes > plan.memory_bytes:
        raise FloorplanError(f"floorplan {plan.shell}: usable_bytes exceed memory_bytes")
    for first, second in combinations(plan.partitions, 2):
        # PYNQ looks a partition's entries up by the beginning of their names.
        if first.name.startswith(second.name) or second.name.startswith(first.name):
            raise FloorplanError(
                f"floorplan {plan.shell}: partition {first.name!r} and {second.name!r}: no name may begin another one"
            )
        if np.intersect1d(plan.regions[first.name], plan.regions[second.name]).size:
            raise FloorplanError(f"floorplan {plan.shell}: partitions {first.name} and {second.name} overlap")
    for region in plan.regions.values():
        if not region.size:
            raise FloorplanError(f"floorplan {plan.shell}: a partition without columns")
    if plan.addresses is not None:
        _check_slots(plan, plan.addresses)


def _check_slots(plan: Floorplan, table: Addresses) -> None:
    names = [slot.name for slot in table.slots]
    if plan.partitions:
        needed = [place.name for place in plan.partitions]
        fits = names == needed and all(slot.streams_decoupler for slot in table.slots)
        rule = f"its partitions in their order, {', '.join(needed)}, each with its decouplers"
    else:
        needed = [kind.value for kind in plan.kinds]
        fits = sorted(names) == sorted(needed) or names == [NETWORK]
        fits = fits and not any(slot.streams_decoupler for slot in table.slots)
        rule = f"{', '.join(needed)}, or {NETWORK} alone, without decouplers"
    if not fits:
        raise FloorplanError(f"floorplan {plan.shell}: the slots of its addresses must be {rule}; {names} came")


def _partition(item: Any) -> PartitionPlan:
    table = _table(item, "partitions")
    _refuse_unknown(table, {"name", "areas"})
    name = check_name(_take(table, "name", str), "partition")
    return PartitionPlan(name, tuple(_area(area) for area in _take(table, "areas", list)))


def _area(item: Any) -> Area:
    table = _table(item, "areas")
    _refuse_unknown(table, {"clock_region", "columns", "memory_columns"})
    return Area(_take(table, "clock_region", str), _spans(table, "columns"), _spans(table, "memory_columns"))


def _kernel(item: Any) -> KernelLimits:
    table = _table(item, "kernels")
    _refuse_unknown(table, {field.name for field in fields(KernelLimits)})
    # Through the codec, because the limits' bounds are in their annotations.
    return codec.unpack(KernelLimits, _packed(table))


def _packed(table: dict[str, Any]) -> bytes:
    try:
        return bytes(msgpack.packb(table))
    except (TypeError, ValueError, OverflowError) as error:
        raise FloorplanError(f"floorplan: kernels must be tables of strings and integers: {error}") from error


def frames_of(geometry: Geometry, plan: PartitionPlan) -> Indices:
    """Frame numbers of a partition, ascending; raises `FloorplanError` for columns that no partition may have."""
    pieces: list[Indices] = [np.zeros(0, dtype=np.int32)]
    for area in plan.areas:
        half, row, right = _clock_region(geometry, area.clock_region, plan.name)
        for block, spans, divide in (
            (Block.LOGIC, area.columns, geometry.divide[0]),
            (Block.MEMORY, area.memory_columns, geometry.divide[1]),
        ):
            for first, last in spans:
                where = f"partition {plan.name}: columns {first} to {last}"
                if (first >= divide) is not right or (last >= divide) is not right:
                    raise FloorplanError(f"{where} are not inside clock region {area.clock_region}")
                # The part's columns first: how many there are bounds what is looked at one by one.
                found = _span(geometry, block, ColumnSpan(half, row, first, last), where)
                if block is Block.LOGIC and any(geometry.is_reserved(half, row, c) for c in range(first, last + 1)):
                    raise FloorplanError(
                        f"{where} hold the processor or the configuration logic in {area.clock_region}"
                    )
                pieces.append(found)
    frames = np.concatenate(pieces)
    if np.unique(frames).size != frames.size:
        raise FloorplanError(f"partition {plan.name} names a column twice")
    return np.sort(frames)


def _span(geometry: Geometry, block: Block, span: ColumnSpan, where: str) -> Indices:
    try:
        return geometry.span(block, span)
    except BitstreamError as error:
        raise FloorplanError(f"{where}: {error}") from error


def _clock_region(geometry: Geometry, text: str, partition: str) -> tuple[int, int, bool]:
    """(half, row, whether it is the right side) of a clock region such as X0Y1."""
    match = _CLOCK_REGION.fullmatch(text)
    if match is None or int(match[2]) >= len(geometry.clock_rows):
        most = len(geometry.clock_rows) - 1
        raise FloorplanError(f"partition {partition}: clock region {text!r} must be one of X0Y0 to X1Y{most}")
    return (*geometry.clock_rows[int(match[2])], match[1] == "1")


def _table(item: Any, what: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise FloorplanError(f"floorplan: each of {what} must be a table, {shown(item)} came")
    return item


_REQUIRED = object()


def _take(table: Mapping[str, Any], key: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = table.get(key, default)
    if value is _REQUIRED:
        raise FloorplanError(f"floorplan: {key} is missing", key=key)
    if value is not default and type(value) is not kind:
        raise FloorplanError(f"floorplan: {key} must be of type {kind.__name__}, {shown(value)} came", key=key)
    return value


def _positive(table: Mapping[str, Any], key: str) -> int:
    value: int = _take(table, key, int)
    if value < 1:
        raise FloorplanError(f"floorplan: {key} must be 1 or more, {value} came", key=key)
    return value


def _spans(table: Mapping[str, Any], key: str) -> Spans:
    spans = _take(table, key, list, [])
    for span in spans:
        pair = isinstance(span, list) and len(span) == 2 and all(type(column) is int for column in span)
        if not pair or not 0 <= span[0] <= span[1]:
            raise FloorplanError(f"floorplan: {key} must be pairs [first, last], {shown(span)} came", key=key)
    return tuple((span[0], span[1]) for span in spans)


def _refuse_unknown(table: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise FloorplanError(f"floorplan: unknown key {shown(unknown[0])}; known are {', '.join(sorted(known))}")

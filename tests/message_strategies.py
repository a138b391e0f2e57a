"""Every message of the contract, and hypothesis strategies made from the bounds in its annotations.

`MESSAGES` travel alone, `RECORDS` are packed inside something else; `tests/schema/test_messages.py` holds the first
list complete. `strategy` draws any value a field may have but keeps it short, so that an encoded message stays within
its bound; `places` names every field and item in an encoded message, for tests that put something wrong there.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union

from convoy_schema import artifacts
from convoy_schema.bitstream.descriptor import Descriptor
from convoy_schema.bounds import Pattern, Range, Size
from convoy_schema.bundle import Bundle, ModelAnnouncement
from convoy_schema.ending import Ending, Operation
from convoy_schema.frames import Frame
from convoy_schema.messages.boards import BoardState, Capability, Command, Pulse, Reported, Want
from convoy_schema.messages.desired import Assignment, Desired
from convoy_schema.messages.gateways import ControllerState, GatewayDesired, GatewayReported, GatewayState
from convoy_schema.messages.logs import BoardLog
from convoy_schema.names import LABEL_PATTERN, NAME_PATTERN, Label
from convoy_schema.signing import Delegation, Floor, Statements
from convoy_schema.topology import Topology
from hypothesis import strategies as st

MESSAGES: tuple[type[Any], ...] = (
    BoardLog,
    BoardState,
    Capability,
    Command,
    ControllerState,
    Desired,
    Frame,
    GatewayDesired,
    GatewayReported,
    GatewayState,
    artifacts.Manifest,
    ModelAnnouncement,
    Pulse,
    Reported,
    Statements,
    Want,
)
RECORDS: tuple[type[Any], ...] = (Assignment, Bundle, Delegation, Descriptor, Floor, Topology)

#: What an unbounded integer on the wire may be.
INT_RANGE = Range(-(2**63), 2**63 - 1)
#: Unless annotated otherwise, as the contract has it: characters, bytes, items.
STRING_SIZE, BYTES_SIZE, ITEMS_SIZE = 1000, 64 * 1024, 4096
#: What strategies draw at most, so that nested messages stay small.
_SHORT_TEXT, _SHORT_BYTES, _FEW = 12, 40, 2

_printable = st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f")
_PATTERNS = {
    NAME_PATTERN: st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63),
    LABEL_PATTERN: st.text(_printable, min_size=1, max_size=_SHORT_TEXT),
    "[0-9a-f]{64}": st.binary(min_size=32, max_size=32).map(bytes.hex),
}


def manifest_of(sizes: tuple[int, int], seed: int) -> artifacts.Manifest:
    """A consistent manifest of (size, packed size) bytes whose hashes are made up."""
    size, packed_size = sizes
    blocks = -(-packed_size // artifacts.BLOCK_BYTES)
    hashes = tuple((seed + block).to_bytes(32, "big") for block in range(blocks))
    return artifacts.Manifest(seed.to_bytes(32, "big").hex(), size, packed_size, hashes)


@st.composite
def assignments(draw: st.DrawFn) -> Assignment:
    """Any assignment that leaves some of its own layers to the processor."""
    rest = {name: hint for name, hint in hints(Assignment).items() if name != "processor"}
    made = draw(st.builds(Assignment, **{name: strategy(hint) for name, hint in rest.items()}))
    own = st.lists(st.sampled_from(made.layers)).map(tuple) if made.layers else st.just(())
    return dataclasses.replace(made, processor=draw(own))


@st.composite
def endings(draw: st.DrawFn) -> Ending:
    """Any ending whose shapes belong together."""
    operation = draw(st.sampled_from(list(Operation)))
    view = tuple(draw(st.lists(st.sampled_from([1, 2, 2**24]), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(view) - 1))
    shape = view if operation is not Operation.ARGMAX else (*view[:axis], *view[axis + 1 :])
    return Ending(operation, draw(strategy(Label | None)), view, axis, shape, draw(st.booleans()))


_sizes = st.tuples(st.integers(0, artifacts.MAX_ARTIFACT), st.integers(1, artifacts.MAX_ARTIFACT))
#: Classes whose fields depend on each other.
_OWN: dict[Any, st.SearchStrategy[Any]] = {
    artifacts.Manifest: st.builds(manifest_of, _sizes, st.integers(0, 2**200)),
    Assignment: assignments(),
    Ending: endings(),
}
#: Fields whose outermost values are refused or taken depending on what stands beside them.
TIED = frozenset({"Assignment.layers", "Assignment.processor", "Ending.operation"})


def split(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and the bounds it is annotated with."""
    if typing.get_origin(kind) is Annotated:
        inner, *bounds = typing.get_args(kind)
        return inner, tuple(bounds)
    return kind, ()


def bound(bounds: tuple[Any, ...], kind: type[Any], default: Any) -> Any:
    """The first of `bounds` that is a `kind`."""
    return next((item for item in bounds if isinstance(item, kind)), default)


def hints(cls: type[Any]) -> dict[str, Any]:
    """Annotations of the fields of a dataclass."""
    found = typing.get_type_hints(cls, include_extras=True)
    return {item.name: found[item.name] for item in dataclasses.fields(cls)}


def is_union(kind: Any) -> bool:
    """Whether a type is `X | None`, the only union there is."""
    return typing.get_origin(kind) in (Union, types.UnionType)


def one_of_union(kind: Any) -> Any:
    """X of `X | None`."""
    return next(item for item in typing.get_args(kind) if item is not type(None))


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Values that a field annotated with `kind` may have; also for a message class itself."""
    return _strategy(kind)


@functools.cache
def _strategy(kind: Any) -> st.SearchStrategy[Any]:
    inner, bounds = split(kind)
    if inner in _OWN:
        return _OWN[inner]
    if is_union(inner):
        return st.none() | strategy(one_of_union(inner))
    origin = typing.get_origin(inner)
    if origin in (tuple, dict):
        return _container(inner, min(_FEW, bound(bounds, Size, Size(ITEMS_SIZE)).most))
    if dataclasses.is_dataclass(inner):
        return st.builds(
            typing.cast(Any, inner), **{name: strategy(hint) for name, hint in hints(typing.cast(Any, inner)).items()}
        )
    if issubclass(inner, enum.Enum):
        return st.sampled_from(list(inner))
    return _scalar(inner, bounds)


def _container(kind: Any, most: int) -> st.SearchStrategy[Any]:
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return st.dictionaries(strategy(arguments[0]), strategy(arguments[1]), max_size=most)
    if arguments[-1] is Ellipsis:
        return st.lists(strategy(arguments[0]), max_size=most).map(tuple)
    return st.tuples(*map(strategy, arguments))


def _scalar(kind: type[Any], bounds: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if kind is bool:
        return st.booleans()
    if kind is int:
        limits = bound(bounds, Range, INT_RANGE)
        # The edges are where a codec goes wrong, and hypothesis rarely draws them out of 2 ** 63.
        return st.sampled_from([limits.low, limits.high]) | st.integers(limits.low, limits.high)
    if kind is float:
        limits = bound(bounds, Range, Range(-1e300, 1e300))
        return st.floats(limits.low, limits.high)
    if kind is bytes:
        return st.binary(max_size=min(_SHORT_BYTES, bound(bounds, Size, Size(BYTES_SIZE)).most))
    assert kind is str, f"no strategy for {kind}: write one"
    pattern = bound(bounds, Pattern, None)
    if pattern is not None:
        return _PATTERNS[pattern.regex]
    return st.text(st.characters(codec="utf-8"), max_size=min(_SHORT_TEXT, bound(bounds, Size, Size(STRING_SIZE)).most))


@dataclasses.dataclass(frozen=True)
class Place:
    """Somewhere in an encoded message: how to get there, the name an error gives it, and what belongs there."""

    path: tuple[Any, ...]
    label: str
    kind: Any
    bounds: tuple[Any, ...]
    #: Whether None may stand here.
    is_optional: bool
    #: Whether the field may be left out.
    has_default: bool

    def put(self, body: Any, value: Any) -> None:
        """Replace what stands there in `body`, which is lists and dicts."""
        self._holder(body)[self.path[-1]] = value

    def take(self, body: Any) -> Any:
        """Remove and return what stands there in `body`."""
        return self._holder(body).pop(self.path[-1])

    def get(self, body: Any) -> Any:
        """What stands there in `body`."""
        return self._holder(body)[self.path[-1]]

    def _holder(self, body: Any) -> Any:
        for step in self.path[:-1]:
            body = body[step]
        return body


def full(kind: Any) -> Any:
    """A plain value (dicts, lists, scalars) for `kind` with nothing empty or absent in it, as MessagePack gives it."""
    inner, bounds = split(kind)
    if inner is artifacts.Manifest:
        return {"digest": "0" * 64, "size": 5, "packed_size": 7, "hashes": [b"1" * 32]}
    if is_union(inner):
        return full(one_of_union(inner))
    origin, arguments = typing.get_origin(inner), typing.get_args(inner)
    if origin is dict:
        return {full(arguments[0]): full(arguments[1])}
    if origin is tuple:
        return [full(item) for item in arguments if item is not Ellipsis]
    if dataclasses.is_dataclass(inner):
        return {name: full(hint) for name, hint in hints(typing.cast(Any, inner)).items()}
    if issubclass(inner, enum.Enum):
        return next(iter(inner)).value
    if inner is bool:
        return False
    if inner in (int, float):
        return inner(max(1, bound(bounds, Range, INT_RANGE).low))
    if inner is bytes:
        return b"x"
    pattern = bound(bounds, Pattern, None)
    return "0" * 64 if pattern is not None and "64" in pattern.regex else "x"


def places(cls: type[Any], path: tuple[Any, ...] = ()) -> Iterator[Place]:
    """Every place in `full(cls)`."""
    defaults = {
        item.name
        for item in dataclasses.fields(cls)
        if item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
    }
    for name, hint in hints(cls).items():
        yield from _places(hint, (*path, name), f"{cls.__name__}.{name}", name in defaults)


def _places(hint: Any, path: tuple[Any, ...], label: str, has_default: bool) -> Iterator[Place]:
    kind, bounds = split(hint)
    is_optional = is_union(kind)
    if is_optional:
        kind, bounds = split(one_of_union(kind))
    yield Place(path, label, kind, bounds, is_optional, has_default)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        for index, item in enumerate(item for item in arguments if item is not Ellipsis):
            yield from _places(item, (*path, index), label, False)
    elif origin is dict:
        key = full(arguments[0])
        yield from _places(arguments[1], (*path, key), f"{label}[{key!r}]", False)
    elif dataclasses.is_dataclass(kind):
        yield from places(typing.cast(Any, kind), path)

"""How a fault is planted in a program of ours, and the rules at which the conformance kit must find it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What is planted, the rules that must fail for it, and those that may."""

    rules: frozenset[str]
    plant: Callable[[], None]
    also: frozenset[str]


class Faults(dict[str, Fault]):
    """Faults by name, which is their function's."""

    def fault(self, *rules: str, also: str = "") -> Callable[[Callable[[], None]], Callable[[], None]]:
        def register(plant: Callable[[], None]) -> Callable[[], None]:
            self[plant.__name__.replace("_", "-")] = Fault(frozenset(rules), plant, frozenset(also.split()))
            return plant

        return register


def wrap(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
    """Replace an attribute by what `made` makes of it."""
    honest = getattr(owner, name)
    setattr(owner, name, functools.wraps(honest)(made(honest)) if callable(honest) else made(honest))


def change_wills(change: Callable[[tuple[str, bytes]], tuple[str, bytes] | None]) -> None:
    """Every connection that has a will has what `change` makes of it."""
    from convoy_schema.link import Link

    def made(honest: Any) -> Any:
        def init(self: Any, *arguments: Any, **more: Any) -> None:
            if more.get("will"):
                more["will"] = change(more["will"])
            honest(self, *arguments, **more)

        return init

    wrap(Link, "__init__", made)

"""What a daemon, a controller or a gateway meets outside itself: one place where the simulator puts its own instead.

Time is not among them: all of them read their event loop's clock, and wait by it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from convoy_schema.link import Link
from convoy_schema.resident import resident_bytes


@dataclass(frozen=True)
class Surroundings:
    """The broker, as connections that are made by `link`; `chance`; and the memory that this process holds, in bytes.

    `clock` tells monotonic seconds; None: that of the running event loop.
    """

    link: Callable[..., Link] = Link
    chance: random.Random = field(default_factory=random.SystemRandom)
    resident_bytes: Callable[[], int] = resident_bytes
    clock: Callable[[], float] | None = None


#: Those of a process on a machine.
REAL = Surroundings()

"""What is planned: layers in an order, kinds of boards, and what is wanted. Seconds and bytes, nothing else.

A graph's layers come in a topological order; a cut before layer c sends every tensor that is made before and needed
after it, so a skip connection counts in every cut that it spans.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from convoy_schema.messages.desired import Objective

#: Frames that a stage may hold queued, unless a board says less.
QUEUE_FRAMES = 64


@dataclass(frozen=True)
class LayerLoad:
    """One layer on any board: the kind of module it needs, its parameters' bytes, and a sample's buffers in bytes."""

    name: str
    module: str
    parameter_bytes: int
    buffer_bytes: int


@dataclass(frozen=True)
class BoardKind:
    """`count` identical boards. `seconds` are a sample's in each layer on the fabric, infinite where no kernel fits; a
    batch's are as many times that.

    `processor`: the same on its processor, where a layer may run instead; empty when none may. `partitions` hold one
    module each, None: kernels of every kind are fixed; 0: modules take turns with those of others. Kinds in `resident`
    are loaded already and stay, but others use them too. A module takes `swap_s` to load, the shell `shell_s`, and a
    kernel `reload_s` to be given each layer's parameters when it had another's (empty: no time). Parameters arrive at
    `load_bytes_per_s`; the link carries `link_bytes_per_s` each way at once. `limits` say why a layer's seconds are
    infinite, by layer, and `held` what others hold of the board.
    """

    name: str
    count: int
    seconds: tuple[float, ...]
    memory_bytes: int
    link_bytes_per_s: float
    partitions: int | None = None
    processor: tuple[float, ...] = ()
    swap_s: float = 0.0
    reload_s: tuple[float, ...] = ()
    shell_s: float = 0.0
    load_bytes_per_s: float = math.inf
    limits: dict[int, str] = field(default_factory=dict)
    resident: frozenset[str] = frozenset()
    held: str = ""


@dataclass(frozen=True)
class Instance:
    """A network and the boards there are. `crossing[c]` bytes a sample cross before layer c; infinite: no cut there.

    `batch_rows` samples share a frame, a hop's `hop_s` and a module's swap; a stage queues up to `queue_frames`.
    """

    name: str
    layers: tuple[LayerLoad, ...]
    crossing: tuple[float, ...]
    kinds: tuple[BoardKind, ...]
    batch_rows: int = 1
    queue_frames: int = 1
    hop_s: float = 0.0

    @property
    def boards(self) -> int:
        """Boards of all kinds."""
        return sum(kind.count for kind in self.kinds)


@dataclass(frozen=True)
class Wish:
    """What is wanted of a plan.

    `replicate`: several boards of one kind may share a stage, at most `replicas` of them (0: as many as there are).
    `most`: boards used at most, None: all; `spare` of those there are stay out of it. `exactly`: use as many of them as
    can have a layer, even where that is slower. Otherwise a plan with fewer boards is taken when it is no worse than
    the best one divided by `worth`.
    """

    objective: Objective = Objective.THROUGHPUT
    replicate: bool = False
    replicas: int = 0
    most: int | None = None
    spare: int = 0
    exactly: bool = False
    worth: float = 0.99

    def sharing(self, count: int) -> int:
        """Boards that may share a stage, of `count` of one kind."""
        if not self.replicate:
            return min(count, 1)
        return min(count, self.replicas) if self.replicas else count

    def limit(self, instance: Instance) -> int:
        """Boards that may be used."""
        there = instance.boards - self.spare
        return there if self.most is None else min(self.most, there)

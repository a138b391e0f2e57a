"""Requests, the shares of them that batches are made of, and the ids of batches: the data that `lane` decides over.

Inference is pure, so an answer is worth the same from whichever sending it comes: a request keeps account of its rows,
and takes each of them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from convoy_schema.bundle import VerifiedModel
from convoy_schema.frames import FRAME_OVERHEAD, MAX_FRAME, Frame, TensorData, choose
from convoy_schema.messages.desired import Hop
from convoy_schema.messages.gateways import Route
from convoy_schema.names import Generation
from convoy_schema.topology import Tensor
from numpy.typing import NDArray

from convoy_controller.errors import InvalidInputError

#: Requests that one frame may name (the bound of `Frame.requests`).
MAX_SHARES = 4096
#: A request id in a frame takes at most this many bytes.
_ID_BYTES = 9


class Contract:
    """What goes into and comes out of one model: its tensors, looked up once."""

    def __init__(self, model: VerifiedModel) -> None:
        self.model = model
        self.input: Tensor = model.topology.tensor(model.topology.input)
        self.output: Tensor = model.topology.tensor(model.topology.output)

    @cached_property
    def frame_rows(self) -> int:
        """Rows that fit a frame on the way in and on the way out; 0 when not even one does."""
        return (MAX_FRAME - FRAME_OVERHEAD) // (max(self.input.size, self.output.size) + _ID_BYTES)

    def rows_for(self, route: Route) -> int:
        """Rows of a full batch on `route`."""
        return min(route.batch_rows, self.frame_rows)

    def check(self, rows: NDArray[np.int8]) -> None:
        """Raise `InvalidInputError` unless these can be a request's rows."""
        name, shape = self.model.bundle.model, self.input.shape
        if rows.dtype != np.int8 or rows.ndim < 2 or rows.shape[1:] != shape or not len(rows):
            expected = ", ".join(["n", *map(str, shape)])
            raise InvalidInputError(f"{name} takes int8 rows ({expected}), {rows.dtype} {rows.shape} came", model=name)
        if not self.frame_rows:
            raise InvalidInputError(f"one row of {name} does not fit a frame of {MAX_FRAME} bytes", model=name)

    def refusal(self, frame: Frame, rows: int) -> str:
        """Why `frame` cannot be the answer to a batch of `rows`; '' when it can."""
        if len(frame.tensors) != 1 or frame.tensors[0].name != self.output.name:
            return "tensor"
        answer = frame.tensors[0]
        if answer.dtype != "int8":
            return "dtype"
        if answer.shape != (rows, *self.output.shape) or len(answer.data) != rows * self.output.size:
            return "shape"
        return ""


class Request:
    """One accepted request: `rows` int8 (n, input size), and its account of the rows answered."""

    __slots__ = (
        "_answered",
        "accepted_at",
        "contract",
        "cut",
        "cut_at",
        "deadline",
        "generation",
        "id",
        "is_done",
        "missing",
        "outputs",
        "rows",
        "size",
    )

    def __init__(self, ident: int, contract: Contract, rows: NDArray[np.int8], deadline: float, now: float) -> None:
        self.id = ident
        self.contract = contract
        self.size = len(rows)
        self.rows = np.ascontiguousarray(rows).reshape(self.size, -1)
        self.deadline = deadline
        self.accepted_at = now
        self.cut = 0  # rows before this one are in batches already
        self.cut_at = now  # when all of them were
        self.missing = self.size
        self.is_done = False
        self.generation: Generation | None = None
        self.outputs: NDArray[np.int8] | None = None
        self._answered: NDArray[np.bool_] | None = None

    def needs(self, start: int, stop: int) -> bool:
        """Whether any row of [start, stop) still awaits its answer."""
        if self.is_done:
            return False
        return self._answered is None or not bool(self._answered[start:stop].all())

    def fill(self, start: int, stop: int, values: NDArray[np.int8], generation: Generation) -> int:
        """Take the answer (stop - start, output size) to rows [start, stop); returns how many were still missing."""
        if self.is_done:
            return 0
        self.generation = generation if self.generation is None else max(self.generation, generation)
        if self.missing == self.size == stop - start:
            self.outputs, self.missing, self.is_done = values, 0, True
            return self.size
        if self._answered is None or self.outputs is None:
            self._answered = np.zeros(self.size, np.bool_)
            self.outputs = np.empty((self.size, values.shape[1]), np.int8)
        fresh = (stop - start) - int(np.count_nonzero(self._answered[start:stop]))
        if fresh:
            self.outputs[start:stop] = values
            self._answered[start:stop] = True
            self.missing -= fresh
            self.is_done = self.missing == 0
        return fresh

    def result(self) -> NDArray[np.int8]:
        """The outputs of a request that is done, (n, *output shape)."""
        assert self.outputs is not None, "only an answered request has a result"
        return self.outputs.reshape(self.size, *self.contract.output.shape)


@dataclass(slots=True)
class Share:
    """Rows [start, stop) of one request."""

    request: Request
    start: int
    stop: int


@dataclass(slots=True)
class Batch:
    """Shares that travel together. `attempts` counts the sendings overdue, `receiver` is who got the last one."""

    contract: Contract
    shares: list[Share]
    attempts: int = 0
    receiver: str = ""
    is_repeated: bool = False

    @property
    def rows(self) -> int:
        """Rows of all shares."""
        return sum(share.stop - share.start for share in self.shares)

    def data(self) -> bytes:
        """The input tensor's bytes, rows in the order of the shares."""
        if len(self.shares) == 1:
            share = self.shares[0]
            return share.request.rows[share.start : share.stop].tobytes()
        return b"".join([share.request.rows[share.start : share.stop].tobytes() for share in self.shares])

    def unanswered(self) -> list[Share]:
        """Shares that still need an answer."""
        return [share for share in self.shares if share.request.needs(share.start, share.stop)]

    def deadline(self) -> float:
        """When the last request that waits for this batch gives up."""
        return max(share.request.deadline for share in self.shares)

    def split(self, limit: int) -> tuple[Batch, Batch | None]:
        """The first `limit` rows, and the rest if there is any."""
        if self.rows <= limit:
            return self, None
        head: list[Share] = []
        tail: list[Share] = []
        left = limit
        for share in self.shares:
            middle = min(share.stop, share.start + left)
            if middle > share.start:
                head.append(Share(share.request, share.start, middle))
            if middle < share.stop:
                tail.append(Share(share.request, middle, share.stop))
            left -= middle - share.start
        return self._with(head), self._with(tail)

    def _with(self, shares: list[Share]) -> Batch:
        return Batch(self.contract, shares, self.attempts, self.receiver, self.is_repeated)


class BatchIds:
    """The counters of this gateway's batch ids, unique over all its deployments."""

    def __init__(self) -> None:
        self._next = 0

    def take(self) -> int:
        """A fresh counter."""
        self._next += 1
        return self._next

    def take_for(self, batch: Batch, session: int, entry: tuple[Hop, ...]) -> int:
        """A fresh counter; for a repeat one that routing gives to another replica than the last, where there is one."""
        found = self.take()
        if batch.is_repeated and len(entry) > 1:
            for _ in range(min(64, sum(hop.weight for hop in entry))):
                if choose((session, found), entry).board != batch.receiver:
                    break
                found = self.take()
        return found

    def take_congruent(self, residue: int, modulus: int) -> int:
        """A fresh counter that routing treats as it would `residue`."""
        found = self.take()
        self._next += (residue - found) % modulus
        return self._next


def frame_for(
    gateway: str,
    deployment: str,
    generation: Generation,
    ident: tuple[int, int],
    requests: Sequence[int],
    budget_s: float,
    tensor: TensorData,
) -> Frame:
    """The frame that carries a batch to the entry of its route."""
    budget = min(3.6e6, max(0.0, budget_s * 1000.0))
    return Frame(deployment, generation, 0, gateway, ident, tuple(requests), budget, (tensor,))

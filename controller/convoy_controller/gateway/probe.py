"""The golden vector's way through a generation: sent, awaited, compared byte for byte.

Deterministic: `lane` calls it with `now` and sends what it returns. Routing depends on the batch id alone, so the
golden rows go once for each residue of the entry's weights: every replica there answers at least once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from convoy_schema.frames import Frame, TensorData, choose
from convoy_schema.messages.gateways import ProbeReport, Route
from numpy.typing import NDArray

from convoy_controller.gateway.batches import BatchIds, Contract, frame_for
from convoy_controller.gateway.effects import SendFrame

RETRY_S = 0.5
TRIES = 10
#: Golden rows travel at least so many times, that stages behind the entry with a few replicas are met as well.
LEAST_PASSES = 4
MOST_PASSES = 64


@dataclass
class _Part:
    """Golden rows [start, stop) on the path of one residue."""

    residue: int
    start: int
    stop: int
    tries: int = 0
    sent_at: float = 0.0
    ids: set[int] = field(default_factory=set)
    receiver: str = ""


class Probe:
    """One test of one generation; `report` is None until it is decided."""

    def __init__(self, deployment: str, gateway: str, session: int, route: Route, contract: Contract) -> None:
        self.route = route
        self.contract = contract
        self.report: ProbeReport | None = None
        self._deployment = deployment
        self._gateway = gateway
        self._session = session
        self._expected = np.frombuffer(contract.model.probe_output, np.int8).reshape(-1, contract.output.size)
        weight = sum(hop.weight for hop in route.entry) or 1
        self._passes = max(1, min(MOST_PASSES, weight * -(-LEAST_PASSES // weight)))
        rows, limit = len(self._expected), max(1, contract.rows_for(route))
        self._parts = [
            _Part(residue, start, min(start + limit, rows))
            for residue in range(self._passes)
            for start in range(0, rows, limit)
        ]
        self._open: dict[int, _Part] = {}
        if not route.entry or contract.frame_rows < 1:
            self._decide(False, "the route has no entry" if not route.entry else "one row does not fit a frame")

    @property
    def awaited(self) -> int:
        """Golden frames in flight; those given up are not."""
        return sum(1 for part in self._parts if part.ids)

    @property
    def has_missed(self) -> bool:
        """Whether an answer that was due did not come."""
        return any(part.tries > 1 for part in self._parts)

    def tick(self, ids: BatchIds, now: float, patience_s: float = RETRY_S) -> list[SendFrame]:
        """Golden frames to send now: those not sent yet, as the window allows, and those unanswered for too long."""
        if self.report is not None:
            return []
        effects: list[SendFrame] = []
        awaited = self.awaited
        for part in self._parts:
            if part.ids and now - part.sent_at < patience_s:
                continue
            if part.tries >= TRIES:
                self._decide(False, f"{TRIES} golden frames by way of {part.receiver} went unanswered")
                return []
            if not part.ids:
                if awaited >= self.route.window:
                    continue
                awaited += 1
            effects.append(self._send(part, ids, now))
        return effects

    def answers(self, counter: int) -> bool:
        """Whether this batch id is one of this probe's."""
        return counter in self._open

    def frame(self, counter: int, frame: Frame) -> str:
        """Take the answer to a golden frame; returns why it is refused, '' when it is not."""
        part = self._open.get(counter)
        if part is None or self.report is not None:
            return "late"
        if frame.generation != self.route.generation:
            return "generation"
        if frame.stage != self.route.stages:
            return "stage"
        refusal = self.contract.refusal(frame, part.stop - part.start)
        if refusal:
            return refusal
        for ident in part.ids:
            del self._open[ident]
        self._parts.remove(part)
        came = np.frombuffer(frame.tensors[0].data, np.int8).reshape(part.stop - part.start, -1)
        self._compare(part, came)
        return ""

    def restart(self) -> None:
        """Frames may have been lost with the connection: all of them are due again, and no try is held against them."""
        for part in self._parts:
            part.tries = 0
            part.sent_at = -RETRY_S

    def _compare(self, part: _Part, came: NDArray[np.int8]) -> None:
        wrong = np.argwhere(came != self._expected[part.start : part.stop])
        if len(wrong):
            row, element = (int(index) for index in wrong[0])
            expected = self._expected[part.start + row, element]
            self._decide(
                False,
                f"golden row {part.start + row} by way of {part.receiver}: {self.contract.output.name!r}[{element}] "
                f"must be {expected}, {came[row, element]} came; {len(wrong)} of {came.size} differ",
            )
        elif not self._parts:
            self._decide(True, "")

    def _decide(self, passed: bool, message: str) -> None:
        self.report = ProbeReport(self.route.generation, passed, message[:500])
        self._open.clear()

    def _send(self, part: _Part, ids: BatchIds, now: float) -> SendFrame:
        counter = ids.take_congruent(part.residue, self._passes)
        part.ids.add(counter)
        part.tries += 1
        part.sent_at = now
        self._open[counter] = part
        ident = (self._session, counter)
        part.receiver = choose(ident, self.route.entry).board
        rows, tensor = part.stop - part.start, self.contract.input
        begin, end = part.start * tensor.size, part.stop * tensor.size
        data = TensorData(tensor.name, (rows, *tensor.shape), self.contract.model.probe_input[begin:end])
        budget = RETRY_S * TRIES
        return SendFrame(
            part.receiver,
            frame_for(self._gateway, self._deployment, self.route.generation, ident, (), budget, data),
        )

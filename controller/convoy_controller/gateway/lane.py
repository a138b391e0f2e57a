"""One deployment at a gateway: its queue of requests, the batches in flight, its probe, and every decision about them.

Deterministic: methods take `now` (monotonic seconds) and return effects. Batches leave as soon as the window has room;
when the pipeline is full anyway, rows wait for each other, so that batches grow with the load and not the waiting.
"""

from __future__ import annotations

import heapq
from collections import deque

import numpy as np
from convoy_schema.errors import ConvoyError
from convoy_schema.frames import Frame, TensorData, choose
from convoy_schema.messages.gateways import Feed, FeedReport, ProbeReport, Route
from convoy_schema.names import Generation
from numpy.typing import NDArray

from convoy_controller.errors import DeadlineError, InvalidInputError, ModelChangedError, NotServingError, OverloadError
from convoy_controller.gateway.batches import MAX_SHARES, Batch, BatchIds, Contract, Request, Share, frame_for
from convoy_controller.gateway.effects import Complete, Effect, Fail, SendFrame
from convoy_controller.gateway.flights import Flights, Sending
from convoy_controller.gateway.probe import Probe
from convoy_controller.gateway.timing import Rate, RecentLatency

#: After a switch, what the old generation has not answered by then is sent to the new one.
SWITCH_GRACE_S = 0.5
#: A partial batch waits no longer than this for more rows, however full the pipeline is.
HOLD_S = 0.02


class Lane:
    """The part of a session that serves one deployment."""

    def __init__(self, deployment: str, gateway: str, session: int, ids: BatchIds, max_rows: int) -> None:
        self.deployment = deployment
        self.feed: Feed | None = None
        self.contract: Contract | None = None
        self.has_changed = False  # something the controller waits for; the session clears it
        self.held_bytes = 0
        self._gateway = gateway
        self._session = session
        self._ids = ids
        self._max_rows = max_rows
        self._is_connected = False
        self._route: Route | None = None
        self._requests: dict[int, Request] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._queue: deque[Request] = deque()
        self._again: deque[Batch] = deque()
        self._flights = Flights()
        self._probe: Probe | None = None
        self._verdicts: dict[Generation, ProbeReport] = {}
        self._held_rows = self._waiting_rows = 0
        self._accepted = self._answered = self._failed = self._retried = self._late = 0
        self._refused: dict[str, int] = {}
        self._latency, self._rate = RecentLatency(), Rate()
        self._hops = RecentLatency()

    # Requests --------------------------------------------------------------------------------------------------------

    def accept(self, ident: int, rows: NDArray[np.int8], deadline: float, now: float) -> list[Effect]:
        """Queue a request; raises `NotServingError`, `InvalidInputError` or `OverloadError` and then keeps nothing."""
        contract = self.contract
        if self.feed is None or contract is None:
            raise NotServingError(f"deployment {self.deployment} has no verified model here yet; try again shortly")
        contract.check(rows)
        if len(rows) > self._max_rows:
            raise InvalidInputError(f"a request may have {self._max_rows} rows, {len(rows)} came: send it in parts")
        if ident in self._requests:
            raise InvalidInputError(f"request {ident} is being answered already", request=ident)
        if self._held_rows + len(rows) > self._max_rows:
            raise OverloadError(
                f"{self.deployment} holds {self._held_rows} of at most {self._max_rows} rows: try again later",
                retry_after_s=self.retry_after(),
            )
        request = Request(ident, contract, rows, deadline, now)
        self._requests[ident] = request
        heapq.heappush(self._deadlines, (deadline, ident))
        self._queue.append(request)
        self._accepted += 1
        self._held_rows += request.size
        self._waiting_rows += request.size
        self.held_bytes += request.size * (contract.input.size + contract.output.size)
        return self._pump(now)

    def cancel(self, ident: int, now: float) -> list[Effect]:
        """Forget a request whose caller is gone; nothing is said about it any more."""
        request = self._requests.get(ident)
        if request is None:
            return []
        self._close(request)
        return self._pump(now)

    def retry_after(self) -> float:
        """Seconds until about half of what is held will have been answered."""
        return self._rate.seconds_for(self._held_rows // 2 + 1)

    @property
    def is_busy(self) -> bool:
        """Whether anything here waits for a timer."""
        return bool(self._requests or self._flights or (self._probe and self._probe.report is None))

    @property
    def is_serving(self) -> bool:
        """Whether a generation takes requests now."""
        return self._route is not None and self._is_connected

    # What the controller says ----------------------------------------------------------------------------------------

    def configure(
        self, feed: Feed | None, contract: Contract | None, now: float, probed: Contract | None = None
    ) -> list[Effect]:
        """Follow `feed`; None when the deployment is withdrawn.

        `contract` is that of the feed's model, `probed` of the generation under test; None until they are verified.
        """
        self.feed = feed
        effects: list[Effect] = []
        if contract is not None and (self.contract is None or contract.model.digest != self.contract.model.digest):
            self.contract = contract
            effects += self._purge(contract)
        elif contract is None:
            self.contract = None
        if feed is None:
            effects += self._purge(None)
        self._switch(feed.serving if feed is not None and contract is not None else None, effects, now)
        self._watch(feed.probing if feed is not None else None, probed)
        named = {route.generation for route in (feed.serving, feed.probing) if route} if feed else set()
        self._verdicts = {generation: verdict for generation, verdict in self._verdicts.items() if generation in named}
        return effects + self.tick(now)

    def _switch(self, route: Route | None, effects: list[Effect], now: float) -> None:
        before, self._route = self._route, route
        current = route.generation if route else None
        self._flights.serve(current)
        if current == (before.generation if before else None):
            return
        self.has_changed = True
        self._hops = RecentLatency()  # those of another pipeline
        for counter, sending in self._flights:
            if sending.generation == current:
                continue
            if sending.batch.attempts or now - sending.sent_at > self._flights.timeout(sending.generation):
                sending.batch.attempts = 0
                effects += self._recall(counter, sending)
            else:
                sending.due = min(sending.due, now + SWITCH_GRACE_S)

    def _watch(self, route: Route | None, contract: Contract | None) -> None:
        if route is None or contract is None:
            self._probe = None
        elif self._probe is None or self._probe.route != route:
            self._probe = Probe(self.deployment, self._gateway, self._session, route, contract)

    def _purge(self, contract: Contract | None) -> list[Effect]:
        """Fail what waits and was prepared for another model (for any, when the deployment is withdrawn)."""
        waiting = {request.id: request for request in self._queue}
        waiting |= {share.request.id: share.request for batch in self._again for share in batch.shares}
        stale = [r for r in waiting.values() if contract is None or r.contract.model.digest != contract.model.digest]
        effects = [effect for request in stale for effect in self._fail(request, self._stale_error())]
        self._again = deque(batch for batch in self._again if batch.unanswered())
        return effects

    def _stale_error(self) -> ConvoyError:
        if self.feed is None:
            return NotServingError(f"deployment {self.deployment} was withdrawn", deployment=self.deployment)
        return ModelChangedError(f"deployment {self.deployment} serves another model now: prepare the request anew")

    # The link --------------------------------------------------------------------------------------------------------

    def disconnected(self) -> None:
        """Nothing can be sent for now."""
        self._is_connected = False

    def reconnected(self, now: float) -> list[Effect]:
        """Frames in flight may have been lost with the connection: send all of them again."""
        self._is_connected = True
        effects: list[Effect] = []
        for counter, sending in self._flights:
            effects += self._recall(counter, sending)
        if self._probe is not None:
            self._probe.restart()
        return effects + self.tick(now)

    # Answers ---------------------------------------------------------------------------------------------------------

    def frame(self, frame: Frame, now: float) -> list[Effect]:
        """Take the answer to a batch of this session, or count why not."""
        counter = frame.batch[1]
        if self._probe is not None and self._probe.answers(counter):
            self._count(self._probe.frame(counter, frame))
            self._judge()
            return list(self._probe.tick(self._ids, now)) if self._is_connected else []
        sending = self._flights.find(counter)
        if sending is None:
            self._late += 1
            return []
        refusal = self._refusal(sending, frame)
        if refusal:
            self._count(refusal)
            return []
        self.has_changed |= self._flights.arrive(counter, now)
        # By difference: no clock of one machine is compared with another's.
        on_the_way_s = now - sending.sent_at - sum(frame.residence_us) / 1e6
        if self._route is not None and sending.generation == self._route.generation:
            self._hops.add(max(0.0, on_the_way_s) / (sending.stages + 1))
        return self._settle(sending, frame, now) + self._pump(now)

    @staticmethod
    def _refusal(sending: Sending, frame: Frame) -> str:
        if frame.generation != sending.generation:
            return "generation"
        if frame.stage != sending.stages:
            return "stage"
        return sending.batch.contract.refusal(frame, sending.rows)

    def _settle(self, sending: Sending, frame: Frame, now: float) -> list[Effect]:
        values = np.frombuffer(frame.tensors[0].data, np.int8).reshape(sending.rows, -1)
        effects: list[Effect] = []
        row = fresh = 0
        for share in sending.batch.shares:
            end = row + share.stop - share.start
            request = share.request
            fresh += request.fill(share.start, share.stop, values[row:end], frame.generation)
            row = end
            if request.is_done and request.id in self._requests and not request.missing:
                self._close(request)
                self._answered += 1
                self._latency.add(now - request.accepted_at)
                effects.append(Complete(request.id, request.result(), request.generation or frame.generation))
        if fresh:
            self._rate.add(fresh, now)
        else:
            self._late += 1
        return effects

    def _count(self, reason: str) -> None:
        if reason:
            self._refused[reason] = self._refused.get(reason, 0) + 1

    def _judge(self) -> None:
        verdict = self._probe.report if self._probe is not None else None
        if verdict is not None and self._verdicts.get(verdict.generation) != verdict:
            self._verdicts[verdict.generation] = verdict
            self.has_changed = True

    # Time ------------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Deadlines, answers overdue, held rows, the probe: everything that time alone brings about."""
        effects: list[Effect] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            request = self._requests.get(heapq.heappop(self._deadlines)[1])
            if request is not None and request.deadline <= now:
                effects += self._fail(request, self._deadline_error(request))
        for counter, sending in self._flights:
            if sending.due <= now:
                sending.batch.attempts += 1
                effects += self._recall(counter, sending)
        self._flights.sweep(now)
        if self._probe is not None and self._is_connected:
            effects += self._probe.tick(self._ids, now)
            self._judge()
        return effects + self._pump(now)

    def _deadline_error(self, request: Request) -> ConvoyError:
        if not self._is_connected:
            why = "the gateway has lost the broker"
        elif self._route is None:
            why = "no generation is serving"
        else:
            why = (
                f"{request.missing} of {request.size} rows were still unanswered by generation {self._route.generation}"
            )
        spent = request.deadline - request.accepted_at
        return DeadlineError(
            f"no answer from {self.deployment} within {round(spent, 2):g} s: {why}", deployment=self.deployment
        )

    # Sending ---------------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> list[Effect]:
        """Send what the window of the serving generation allows."""
        effects: list[Effect] = []
        route, contract = self._route, self.contract
        if route is None or contract is None or not route.entry or not self._is_connected:
            return effects
        while (in_flight := self._flights.frames(route.generation)) < route.window:
            batch = self._next_batch(route, contract, in_flight, now)
            if batch is None:
                break
            effects.append(self._send(batch, route, now))
        return effects

    def _next_batch(self, route: Route, contract: Contract, in_flight: int, now: float) -> Batch | None:
        limit = contract.rows_for(route)
        while self._again:
            batch = self._again.popleft()
            batch.shares = batch.unanswered()
            if not batch.shares:
                continue
            head, rest = batch.split(limit)
            if rest is not None:
                self._again.appendleft(rest)
            return head
        while self._queue and self._queue[0].is_done:
            self._queue.popleft()
        if not self._queue:
            return None
        if self._waiting_rows < limit and in_flight >= (route.stages + 1) * len(route.entry):
            held_since = self._queue[0].accepted_at
            if now - held_since < HOLD_S:
                return None
        return Batch(contract, self._gather(limit))

    def _gather(self, limit: int) -> list[Share]:
        shares: list[Share] = []
        while self._queue and limit and len(shares) < MAX_SHARES:
            request = self._queue[0]
            if request.is_done:
                self._queue.popleft()
                continue
            start, stop = request.cut, min(request.size, request.cut + limit)
            shares.append(Share(request, start, stop))
            request.cut = stop
            limit -= stop - start
            self._waiting_rows -= stop - start
            if stop == request.size:
                self._queue.popleft()
        return shares

    def _send(self, batch: Batch, route: Route, now: float) -> SendFrame:
        ident = self._identify(batch, route)
        batch.receiver = choose(ident, route.entry).board
        if batch.is_repeated:
            self._retried += 1
        batch.is_repeated = True
        rows, tensor = batch.rows, batch.contract.input
        due = now + self._flights.timeout(route.generation, batch.attempts)
        self._flights.depart(ident[1], Sending(batch, rows, route.generation, route.stages, now, due))
        data = TensorData(tensor.name, (rows, *tensor.shape), batch.data())
        requests = [share.request.id for share in batch.shares]
        budget = batch.deadline() - now
        frame = frame_for(self._gateway, self.deployment, route.generation, ident, requests, budget, data)
        return SendFrame(batch.receiver, frame)

    def _identify(self, batch: Batch, route: Route) -> tuple[int, int]:
        """A fresh id; for a repeat one that routing gives to another replica than the last, where there is one."""
        ident = self._session, self._ids.take()
        if batch.is_repeated and len(route.entry) > 1:
            for _ in range(min(64, sum(hop.weight for hop in route.entry))):
                if choose(ident, route.entry).board != batch.receiver:
                    break
                ident = self._session, self._ids.take()
        return ident

    def _recall(self, counter: int, sending: Sending) -> list[Effect]:
        """Take a batch out of flight to send it again; its old id stays known, a late answer is as good as any."""
        self.has_changed |= self._flights.abandon(counter)
        batch = sending.batch
        shares = batch.unanswered()
        if not shares:
            return []
        stale = self.contract is not None and batch.contract.model.digest != self.contract.model.digest
        if stale or self.feed is None:
            requests = {share.request.id: share.request for share in shares}
            return [effect for r in requests.values() for effect in self._fail(r, self._stale_error())]
        self._again.append(Batch(batch.contract, shares, batch.attempts, batch.receiver, is_repeated=True))
        return []

    def _fail(self, request: Request, error: ConvoyError) -> list[Effect]:
        if request.id not in self._requests:
            return []
        self._close(request)
        self._failed += 1
        return [Fail(request.id, error)]

    def _close(self, request: Request) -> None:
        """Let go of a request, answered or not."""
        del self._requests[request.id]
        self._held_rows -= request.size
        self._waiting_rows -= request.size - request.cut
        request.cut = request.size
        request.is_done = True
        sizes = request.contract
        self.held_bytes -= request.size * (sizes.input.size + sizes.output.size)
        if len(self._deadlines) > 64 and len(self._deadlines) > 4 * len(self._requests):
            self._deadlines = [(r.deadline, r.id) for r in self._requests.values()]
            heapq.heapify(self._deadlines)

    def report(self) -> FeedReport:
        """State and counters of this deployment."""
        p50, p99 = self._latency.quantiles_us()
        serving = self._route.generation if self._route else None
        return FeedReport(
            deployment=self.deployment,
            serving=serving,
            in_flight=self._flights.report(),
            probes=tuple(verdict for _, verdict in sorted(self._verdicts.items()))[-8:],
            waiting_rows=self._waiting_rows + sum(batch.rows for batch in self._again),
            accepted=self._accepted,
            answered=self._answered,
            failed=self._failed,
            retried_frames=self._retried,
            late_frames=self._late,
            refused=dict(self._refused),
            latency_p50_us=p50,
            latency_p99_us=p99,
            hop_us=self._hops.quantiles_us()[0],
        )

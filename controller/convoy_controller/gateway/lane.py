"""One deployment at a gateway: its queue of requests, the batches in flight, its probe, and every decision about them.

Deterministic: methods take `now` (monotonic seconds) and return effects. Batches leave as soon as the window has room;
when the pipeline is full anyway, rows wait for each other, so that batches grow with the load and not the waiting.
"""

from __future__ import annotations

import math
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
from convoy_controller.gateway.readiness import Readiness
from convoy_controller.gateway.statistics import Counters, Served
from convoy_controller.gateway.timing import RecentLatency
from convoy_controller.gateway.waiting import DEFAULT_PRIORITY, Deadlines, Waiting

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
        self._deadlines = Deadlines()
        self._queue = Waiting()
        self._again: deque[Batch] = deque()
        self._flights = Flights()
        self._probe: Probe | None = None
        self._verdicts: dict[Generation, ProbeReport] = {}
        self._held_rows = self._waiting_rows = 0
        self.count = Counters()
        #: Of the model version that requests are prepared for.
        self.served = Served()
        self.readiness = Readiness(deployment, gateway, session)

    # Requests --------------------------------------------------------------------------------------------------------

    def check_room(self, rows: int) -> None:
        """Raise `OverloadError` where so many more are not held."""
        if self._held_rows + rows > self._max_rows:
            raise OverloadError(
                f"{self.deployment} holds {self._held_rows} of at most {self._max_rows} rows: try again later",
                retry_after_s=self.retry_after(),
            )

    def accept(
        self, ident: int, rows: NDArray[np.int8], deadline: float, now: float, priority: int = DEFAULT_PRIORITY
    ) -> list[Effect]:
        """Queue a request; raises `NotServingError`, `InvalidInputError` or `OverloadError` and then keeps nothing."""
        contract = self.contract
        if self.feed is None or contract is None:
            raise NotServingError(f"deployment {self.deployment} has no verified model here yet; try again shortly")
        contract.check(rows)
        if len(rows) > self._max_rows:
            raise InvalidInputError(f"a request may have {self._max_rows} rows, {len(rows)} came: send it in parts")
        self.check_room(len(rows))
        request = Request(ident, contract, rows, deadline, now)
        self._requests[ident] = request
        self._deadlines.add(request)
        self._queue.add(request, priority)
        self.count.accepted += 1
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
        self.count.cancelled += 1
        return self._pump(now)

    def retry_after(self) -> float:
        """Seconds until about half of what is held will have been answered."""
        return self.count.rate.seconds_for(self._held_rows // 2 + 1)

    def wait_s(self) -> float:
        """Seconds until about all of what is held will have been answered; infinite where no more is."""
        return self.count.rate.wait_s(self._held_rows) if self._held_rows < self._max_rows else math.inf

    @property
    def is_busy(self) -> bool:
        """Whether anything here waits for a timer."""
        is_probing = self._probe is not None and self._probe.report is None
        return is_probing or bool(self._requests or self._flights or self.readiness.is_busy)

    @property
    def is_serving(self) -> bool:
        """Whether a generation takes requests now."""
        return self._route is not None and self._is_connected

    @property
    def is_ready(self) -> bool:
        """Whether such a generation is also known to answer its golden vector."""
        return self.is_serving and self.readiness.is_proved

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
            self.contract, self.served = contract, Served()
            effects += self._purge(contract, now)
        elif contract is None:
            self.contract = None
        if feed is None:
            effects += self._purge(None, now)
        self._switch(feed.serving if feed is not None and contract is not None else None, effects, now)
        self._watch(feed.probing if feed is not None else None, probed)
        named = {route.generation for route in (feed.serving, feed.probing) if route} if feed else set()
        self._verdicts = {generation: verdict for generation, verdict in self._verdicts.items() if generation in named}
        return effects + self.tick(now)

    def _switch(self, route: Route | None, effects: list[Effect], now: float) -> None:
        before, self._route = self._route, route
        current = route.generation if route else None
        self._flights.serve(current)
        verdict = self._verdicts.get(current) if current is not None else None
        self.readiness.serve(route, self.contract, verdict is not None and verdict.passed, now)
        if current == (before.generation if before else None):
            return
        self.has_changed = True
        self.count.hops = RecentLatency()  # those of another pipeline
        for counter, sending in self._flights:
            if sending.generation == current:
                continue
            if sending.batch.attempts or now - sending.sent_at > self._flights.timeout(sending.generation):
                sending.batch.attempts = 0
                effects += self._recall(counter, sending, now)
            else:
                sending.due = min(sending.due, now + SWITCH_GRACE_S)

    def _watch(self, route: Route | None, contract: Contract | None) -> None:
        if route is None or contract is None:
            self._probe = None
        elif self._probe is None or self._probe.route != route:
            self._probe = Probe(self.deployment, self._gateway, self._session, route, contract)

    def _purge(self, contract: Contract | None, now: float) -> list[Effect]:
        """Fail what waits and was prepared for another model (for any, when the deployment is withdrawn)."""
        waiting = {request.id: request for request in self._queue}
        waiting |= {share.request.id: share.request for batch in self._again for share in batch.shares}
        stale = [r for r in waiting.values() if contract is None or r.contract.model.digest != contract.model.digest]
        effects = [effect for request in stale for effect in self._fail(request, self._stale_error(), now)]
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
            effects += self._recall(counter, sending, now)
        self.readiness.restart(now)
        if self._probe is not None:
            self._probe.restart()
        return effects + self.tick(now)

    # Answers ---------------------------------------------------------------------------------------------------------

    def frame(self, frame: Frame, now: float) -> list[Effect]:
        """Take the answer to a batch of this session, or count why not."""
        counter = frame.batch[1]
        if self._probe is not None and self._probe.answers(counter):
            self.count.refuse(self._probe.frame(counter, frame))
            self._judge()
            return list(self._probe.tick(self._ids, now)) if self._is_connected else []
        if self.readiness.answers(counter):
            self.count.refuse(self.readiness.frame(counter, frame, now))
            return self._pump(now)
        sending = self._flights.find(counter)
        if sending is None:
            self.count.late += 1
            return []
        refusal = sending.refusal(frame)
        if refusal:
            self.count.refuse(refusal)
            return []
        self.has_changed |= self._flights.arrive(counter, now)
        # By difference: no clock of one machine is compared with another's.
        on_the_way_s = now - sending.sent_at - sum(frame.residence_us) / 1e6
        self.served.batch(sending.rows, now - sending.sent_at)
        if self._route is not None and sending.generation == self._route.generation:
            self.readiness.heard(now)
            self.count.hops.add(max(0.0, on_the_way_s) / (sending.stages + 1))
        return self._settle(sending, frame, now) + self._pump(now)

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
                self.count.answer(request.size, now - request.accepted_at)
                self.served.answered(request.size, request.cut_at - request.accepted_at, now - request.cut_at)
                effects.append(Complete(request.id, request.result(), request.generation or frame.generation))
        if fresh:
            self.count.rate.add(fresh, now)
        else:
            self.count.late += 1
        return effects

    def _judge(self) -> None:
        verdict = self._probe.report if self._probe is not None else None
        if verdict is not None and self._verdicts.get(verdict.generation) != verdict:
            self._verdicts[verdict.generation] = verdict
            self.has_changed = True

    # Time ------------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Deadlines, answers overdue, held rows, the probe: everything that time alone brings about."""
        effects: list[Effect] = []
        for request in self._deadlines.due(now):
            effects += self._fail(request, self._deadline_error(request), now)
        for counter, sending in self._flights:
            if sending.due <= now:
                sending.batch.attempts += 1
                effects += self._recall(counter, sending, now)
                if self._route is not None and sending.generation == self._route.generation:
                    self.readiness.suspect(now)
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
            generation = self._route.generation
            why = f"{request.missing} of {request.size} rows were still unanswered by generation {generation}"
        spent = round(request.deadline - request.accepted_at, 2)
        sentence = f"no answer from {self.deployment} within {spent:g} s: {why}"
        return DeadlineError(sentence, deployment=self.deployment)

    # Sending ---------------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> list[Effect]:
        """Send what the window of the serving generation allows."""
        effects: list[Effect] = []
        route, contract = self._route, self.contract
        if route is None or contract is None or not route.entry or not self._is_connected:
            return effects
        if self.readiness.awaited or self._flights.frames(route.generation) < route.window:
            effects += self.readiness.tick(self._ids, now, self._flights.timeout(route.generation))
        while (in_flight := self._flights.frames(route.generation) + self.readiness.awaited) < route.window:
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
        first = self._queue.first()
        if first is None:
            return None
        is_full = in_flight >= (route.stages + 1) * len(route.entry)
        if is_full and self._waiting_rows < limit and now - first.accepted_at < HOLD_S:
            return None
        return Batch(contract, self._gather(limit, now))

    def _gather(self, limit: int, now: float) -> list[Share]:
        shares: list[Share] = []
        while limit and len(shares) < MAX_SHARES and (request := self._queue.first()) is not None:
            start, stop = request.cut, min(request.size, request.cut + limit)
            shares.append(Share(request, start, stop))
            request.cut = stop
            limit -= stop - start
            self._waiting_rows -= stop - start
            if stop == request.size:
                request.cut_at = now
                self._queue.pop()
        return shares

    def _send(self, batch: Batch, route: Route, now: float) -> SendFrame:
        ident = self._session, self._ids.take_for(batch, self._session, route.entry)
        batch.receiver = choose(ident, route.entry).board
        if batch.is_repeated:
            self.count.retried += 1
        batch.is_repeated = True
        rows, tensor = batch.rows, batch.contract.input
        due = now + self._flights.timeout(route.generation, batch.attempts)
        self._flights.depart(ident[1], Sending(batch, rows, route.generation, route.stages, now, due))
        data = TensorData(tensor.name, (rows, *tensor.shape), batch.data())
        requests = [share.request.id for share in batch.shares]
        budget, generation = batch.deadline() - now, route.generation
        frame = frame_for(self._gateway, self.deployment, generation, ident, requests, budget, data)
        return SendFrame(batch.receiver, frame)

    def _recall(self, counter: int, sending: Sending, now: float) -> list[Effect]:
        """Take a batch out of flight to send it again; its old id stays known, a late answer is as good as any."""
        self.has_changed |= self._flights.abandon(counter)
        batch = sending.batch
        shares = batch.unanswered()
        if not shares:
            return []
        stale = self.contract is not None and batch.contract.model.digest != self.contract.model.digest
        if stale or self.feed is None:
            requests = {share.request.id: share.request for share in shares}
            return [effect for r in requests.values() for effect in self._fail(r, self._stale_error(), now)]
        self._again.append(Batch(batch.contract, shares, batch.attempts, batch.receiver, is_repeated=True))
        return []

    def _fail(self, request: Request, error: ConvoyError, now: float) -> list[Effect]:
        if request.id not in self._requests:
            return []
        self._close(request)
        self.count.failed += 1
        self.served.fail.add(now - request.accepted_at)
        return [Fail(request.id, error)]

    def _close(self, request: Request) -> None:
        """Let go of a request, answered or not."""
        del self._requests[request.id]
        self._held_rows -= request.size
        self._waiting_rows -= request.size - request.cut
        request.is_done = True
        if request.cut < request.size:
            self._queue.ended()
        request.cut = request.size
        sizes = request.contract
        self.held_bytes -= request.size * (sizes.input.size + sizes.output.size)
        self._deadlines.ended(len(self._requests))

    def report(self) -> FeedReport:
        """State and counters of this deployment."""
        return self.count.report(
            self.deployment,
            self._route.generation if self._route else None,
            self._flights.report(),
            tuple(verdict for _, verdict in sorted(self._verdicts.items()))[-8:],
            self._waiting_rows + sum(batch.rows for batch in self._again),
        )

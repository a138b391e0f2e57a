"""Whether the serving generation is known to answer its golden vector, and how a gateway keeps knowing it.

Deterministic: `lane` calls it with `now` and sends what it returns. Evidence is a probe that passed: before the switch,
or through the serving generation itself. It is asked for anew after a frame that is overdue, which may be lost or only
slow, and, so that a dead board is noticed without requests too, when nothing was answered for a while. A golden frame
that is overdue or answered wrong, or a connection that was lost, takes the evidence away.
"""

from __future__ import annotations

from dataclasses import replace

from convoy_schema.frames import Frame
from convoy_schema.messages.gateways import Route

from convoy_controller.gateway.batches import BatchIds, Contract
from convoy_controller.gateway.effects import SendFrame
from convoy_controller.gateway.probe import RETRY_S, Probe

#: Without any answer for so long, the golden rows are sent again.
SILENCE_S = 5.0
#: After a probe that failed, the next one begins so much later.
AGAIN_S = 1.0


class Readiness:
    """The evidence about one deployment's serving generation. Its probe has one frame in flight at most."""

    def __init__(self, deployment: str, gateway: str, session: int) -> None:
        self._who = deployment, gateway, session
        self._route: Route | None = None
        self._contract: Contract | None = None
        self._probe: Probe | None = None
        self._is_proved = False
        self._began_at = self._suspected_at = 0.0
        self._next_at = 0.0
        self._failure = ""

    @property
    def is_proved(self) -> bool:
        """Whether the serving generation answers its golden vector, as far as can be known."""
        return self._is_proved and self._route is not None

    @property
    def why_not(self) -> str:
        """A sentence about a generation that is not proved."""
        if self._route is None:
            return "no generation is serving"
        told = f": {self._failure}" if self._failure else ""
        return f"generation {self._route.generation} has not answered its golden vector (again){told}"

    @property
    def awaited(self) -> int:
        """Golden frames in flight."""
        return self._probe.awaited if self._probe is not None else 0

    @property
    def is_busy(self) -> bool:
        """Whether a golden frame is awaited or due."""
        return self._probe is not None

    def serve(self, route: Route | None, contract: Contract | None, is_tested: bool, now: float) -> None:
        """Requests go to `route` from now on; `is_tested` when it passed its probe before."""
        before = self._route
        self._route, self._contract = (route, contract) if contract is not None else (None, None)
        if self._route is None:
            self._probe, self._is_proved = None, False
        elif before is None or before.generation != self._route.generation:
            self._probe, self._failure = None, ""
            self._is_proved = is_tested
            self._next_at = now + SILENCE_S if is_tested else now
        elif replace(before, window=1) != replace(self._route, window=1):
            self._probe = None  # it was cut for other batches
            self._next_at = min(self._next_at, now)

    def suspect(self, now: float) -> None:
        """Something may have been lost: ask anew, and what a probe that runs has gathered does not count."""
        self._suspected_at = now
        self._next_at = min(self._next_at, now)

    def restart(self, now: float) -> None:
        """The connection was lost and is back."""
        self._probe, self._is_proved = None, False
        self.suspect(now)

    def heard(self, now: float) -> None:
        """An answer came under the serving generation."""
        if self._is_proved:
            self._next_at = now + SILENCE_S

    def answers(self, counter: int) -> bool:
        """Whether this batch id is that of a golden frame."""
        return self._probe is not None and self._probe.answers(counter)

    def frame(self, counter: int, frame: Frame, now: float) -> str:
        """Take the answer to a golden frame; returns why it is refused, '' when it is not."""
        assert self._probe is not None, "`answers` comes first"
        refusal = self._probe.frame(counter, frame)
        self._judge(now)
        return refusal

    def tick(self, ids: BatchIds, now: float, patience_s: float) -> list[SendFrame]:
        """The golden frame to send now, if any; the window has room for it. One unanswered for `patience_s` is lost."""
        if self._probe is None and now >= self._next_at and self._route is not None and self._contract is not None:
            self._probe = Probe(*self._who, replace(self._route, window=1), self._contract)
            self._began_at = now
            self._judge(now)
        if self._probe is None:
            return []
        effects = self._probe.tick(ids, now, max(RETRY_S, patience_s))
        if self._probe.has_missed:
            self._is_proved = False
        self._judge(now)
        return list(effects)

    def _judge(self, now: float) -> None:
        verdict = self._probe.report if self._probe is not None else None
        if verdict is None:
            return
        self._probe = None
        self._failure = verdict.message
        if not verdict.passed:
            self._is_proved, self._next_at = False, now + AGAIN_S
        elif self._began_at < self._suspected_at:
            self._next_at = now
        else:
            self._is_proved, self._next_at = True, now + SILENCE_S

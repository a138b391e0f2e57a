"""What a gateway counts: a deployment's counters for the controller, and Triton's statistics of one model version.

Plain sums of what `lane` tells them, in seconds; `descriptions` writes the statistics as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from convoy_schema.messages.gateways import FeedReport, InFlight, ProbeReport
from convoy_schema.names import Generation

from convoy_controller.gateway.timing import Rate, RecentLatency
from convoy_controller.histogram import FAST_S, Histogram


class Counters:
    """One deployment's, since the gateway started."""

    def __init__(self) -> None:
        self.accepted = self.answered = self.failed = self.cancelled = self.retried = self.late = 0
        self.rows = 0
        self.refused: dict[str, int] = {}
        self.latency, self.rate = RecentLatency(), Rate()
        self.hops = RecentLatency()
        #: All of them, where `latency` has the recent ones.
        self.latencies = Histogram(FAST_S)

    def answer(self, rows: int, seconds: float) -> None:
        """A request of so many rows got its answer after so many seconds."""
        self.answered += 1
        self.rows += rows
        self.latency.add(seconds)
        self.latencies.add(seconds)

    def refuse(self, reason: str) -> None:
        """A frame was refused; '' for one that was not."""
        if reason:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def report(
        self,
        deployment: str,
        serving: Generation | None,
        in_flight: tuple[InFlight, ...],
        probes: tuple[ProbeReport, ...],
        waiting_rows: int,
    ) -> FeedReport:
        """As the controller gets them, with the state given."""
        p50, p99 = self.latency.quantiles_us()
        return FeedReport(
            deployment=deployment,
            serving=serving,
            in_flight=in_flight,
            probes=probes,
            waiting_rows=waiting_rows,
            accepted=self.accepted,
            answered=self.answered,
            failed=self.failed,
            retried_frames=self.retried,
            late_frames=self.late,
            refused=dict(self.refused),
            latency_p50_us=p50,
            latency_p99_us=p99,
            hop_us=self.hops.quantiles_us()[0],
        )


@dataclass
class Tally:
    """How often, and how many seconds together."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Take in one duration, or the sum of `count`."""
        self.count += count
        self.seconds += seconds

    def plain(self) -> dict[str, int]:
        """As Triton writes it."""
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


@dataclass
class Served:
    """One model version at a gateway: requests answered and failed, where their time went, and batches by size."""

    rows: int = 0
    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    infer: Tally = field(default_factory=Tally)
    #: Round trips of frames, by their rows.
    batches: dict[int, Tally] = field(default_factory=dict)

    def answered(self, rows: int, queued_s: float, inferred_s: float) -> None:
        """A request got its answer after waiting `queued_s` for its place and `inferred_s` for the fleet."""
        self.rows += rows
        self.success.add(queued_s + inferred_s)
        self.queue.add(queued_s)
        self.infer.add(inferred_s)

    def batch(self, rows: int, seconds: float) -> None:
        """A frame of so many rows came back."""
        self.batches.setdefault(rows, Tally()).add(seconds)

    @classmethod
    def merged(cls, parts: Sequence[Served]) -> Served:
        """The sum over several deployments."""
        total = cls()
        for part in parts:
            total.rows += part.rows
            for name in ("success", "fail", "queue", "infer"):
                getattr(total, name).add(getattr(part, name).seconds, getattr(part, name).count)
            for rows, tally in part.batches.items():
                total.batches.setdefault(rows, Tally()).add(tally.seconds, tally.count)
        return total

    def plain(self) -> dict[str, Any]:
        """The counts of Triton's statistics extension; there is no cache, and nothing is computed in the gateway."""
        nothing = {"count": 0, "ns": 0}
        return {
            "inference_count": self.rows,
            "execution_count": sum(tally.count for tally in self.batches.values()),
            "inference_stats": {
                "success": self.success.plain(),
                "fail": self.fail.plain(),
                "queue": self.queue.plain(),
                "compute_input": nothing,
                "compute_infer": self.infer.plain(),
                "compute_output": nothing,
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": nothing,
                    "compute_infer": tally.plain(),
                    "compute_output": nothing,
                }
                for rows, tally in sorted(self.batches.items())
            ],
        }

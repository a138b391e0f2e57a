"""What happened between two messages of a board or of a gateway: counters as increments, gauges as they are now.

Deterministic: messages in, rows out. A counter begins anew with the session that it belongs to, and a stage's when the
board takes it up again; then what it says is the increment. So nothing is ever negative, and nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convoy_schema.messages.boards import Published, Pulse, StagePulse
from convoy_schema.messages.gateways import FeedReport, GatewayReported
from convoy_schema.names import Generation

Columns = dict[str, Any]

_NO_STAGE = StagePulse("none", Generation(0, 0), 0, 0, 0, 0, 0, 0)
_NOTHING_SENT = Published()
_NO_FEED = FeedReport("none", None, (), ())


def grown(before: int, now: int) -> int:
    """By how much a counter grew; one that fell began anew."""
    return now - before if now >= before else now


def of_board(before: Pulse | None, now: Pulse) -> tuple[Columns, list[Columns]]:
    """Columns of `board_samples`, and of `stage_samples` for each stage; all but what says whose they are and when.

    `before` is the pulse before, of whatever session; None when there was none.
    """
    if before is not None and before.session != now.session:
        before = None
    elapsed_ms = grown(before.uptime_ms if before else 0, now.uptime_ms)
    former = {(stage.deployment, stage.generation): stage for stage in before.stages} if before else {}
    frames = rows = queued = 0
    refused = grown(_total(before.refused) if before else 0, _total(now.refused))
    stages = []
    for stage in now.stages:
        columns = _of_stage(former.get((stage.deployment, stage.generation), _NO_STAGE), stage, elapsed_ms)
        frames += columns["frames"]
        rows += columns["rows"]
        refused += columns["refused"]
        queued += columns["queued"]
        stages.append(columns)
    sent = before.published if before else _NOTHING_SENT
    board: Columns = {
        "starts": 0 if before else 1,
        "elapsed_ms": elapsed_ms,
        "frames": frames,
        "rows": rows,
        "refused": refused,
        "control_bytes": grown(sent.control, now.published.control),
        "artifact_bytes": grown(sent.artifacts, now.published.artifacts),
        "activation_bytes": grown(sent.activations, now.published.activations),
        "queued": queued,
        "rss_bytes": now.rss_bytes,
        "temperature_c": now.temperature_c,
    }
    return board, stages


def _of_stage(before: StagePulse, now: StagePulse, elapsed_ms: int) -> Columns:
    if now.rows < before.rows or now.frames < before.frames:
        before = _NO_STAGE  # taken up again: every counter began anew, also one that has passed its former value
    return {
        "deployment": now.deployment,
        "generation": str(now.generation),
        "elapsed_ms": elapsed_ms,
        "frames": grown(before.frames, now.frames),
        "rows": grown(before.rows, now.rows),
        "busy_us": grown(before.busy_us, now.busy_us),
        "refused": grown(_total(before.refused), _total(now.refused)),
        "queued": now.queued,
        "residence_us": now.residence_us,
    }


def of_gateway(before: GatewayReported | None, now: GatewayReported, since_ms: int) -> list[Columns]:
    """Columns of `feed_samples` for each deployment; `since_ms` is the time since `before`, which may be of another
    session, or None.
    """
    if before is not None and before.session != now.session:
        before = None
    former = {feed.deployment: feed for feed in before.feeds} if before else {}
    return [_of_feed(former.get(feed.deployment, _NO_FEED), feed, max(0, since_ms)) for feed in now.feeds]


def _of_feed(before: FeedReport, now: FeedReport, elapsed_ms: int) -> Columns:
    if now.accepted < before.accepted:
        before = _NO_FEED
    return {
        "deployment": now.deployment,
        "generation": "" if now.serving is None else str(now.serving),
        "elapsed_ms": elapsed_ms,
        "accepted": grown(before.accepted, now.accepted),
        "answered": grown(before.answered, now.answered),
        "failed": grown(before.failed, now.failed),
        "retried": grown(before.retried_frames, now.retried_frames),
        "late": grown(before.late_frames, now.late_frames),
        "refused": grown(_total(before.refused), _total(now.refused)),
        "in_flight": sum(each.frames for each in now.in_flight),
        "waiting": now.waiting_rows,
        "latency_p50_us": now.latency_p50_us,
        "latency_p99_us": now.latency_p99_us,
        "hop_us": now.hop_us,
    }


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())

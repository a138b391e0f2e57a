"""Bodies about what the fleet does now."""

from __future__ import annotations

from convoy_controller.api.shapes.base import Answer, Date, GenerationText


class BoardActivity(Answer):
    """A board's counters as of its latest pulse; they begin anew with each session."""

    board: str
    session: int
    at: Date
    frames: int
    rows: int
    queued: int
    refused: int
    temperature_c: float | None


class FeedActivity(Answer):
    """What a gateway does for one deployment; counters in rows since its session began."""

    gateway: str
    session: int
    at: Date
    deployment: str
    serving: GenerationText | None
    in_flight: int
    waiting_rows: int
    accepted: int
    answered: int
    failed: int
    latency_p50_us: int
    latency_p99_us: int


class Activity(Answer):
    """Every board's and every feed's latest counters; two of them make rates."""

    at: Date
    boards: tuple[BoardActivity, ...]
    feeds: tuple[FeedActivity, ...]

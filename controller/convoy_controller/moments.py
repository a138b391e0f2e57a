"""A moment as it is typed: 2026-01-31 12:00."""

from __future__ import annotations

from datetime import datetime, timezone


def moment(words: str) -> datetime | None:
    """A date as `2026-01-31 12:00`, with seconds or without, in UTC unless it says otherwise; None if it is none."""
    try:
        found = datetime.fromisoformat(words.strip().removesuffix("UTC").removesuffix("Z").strip())
    except ValueError:
        return None
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found

"""How long history is kept."""

from __future__ import annotations

from datetime import timedelta

#: How long raw samples, minutes and hours are kept, at least.
KEEP_RAW = timedelta(hours=3)
KEEP_MINUTES = timedelta(days=3)
KEEP_HOURS = timedelta(days=400)

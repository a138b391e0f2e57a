"""ETags of what owners want: the revision of an intent, so that nobody overwrites what he has not seen."""

from __future__ import annotations


def etag(revision: int) -> str:
    """The ETag of an intent revision."""
    return f'"{revision}"'

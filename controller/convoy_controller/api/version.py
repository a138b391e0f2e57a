"""Which version of Convoy this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Of the installed distribution; "unknown" where there is none."""
    try:
        return metadata.version("convoy-fleet")
    except metadata.PackageNotFoundError:
        return "unknown"

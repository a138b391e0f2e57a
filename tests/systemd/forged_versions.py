"""Versions of our own wheel with another number, and if asked with something broken in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

#: Lines put before a module's own `__future__` would not compile, so what breaks it goes to the end.
CRASHES = {
    "convoy_device/daemon.py": """

async def serve(configs, pool, on_started):  # noqa
    raise RuntimeError("this version is broken")
"""
}
DEAF = {
    "convoy_device/daemon.py": """

_link = Daemon._link


def _deaf(self, role):
    link = _link(self, role)
    link.run = asyncio.Event().wait
    return link


Daemon._link = _deaf
"""
}
WRONG = {
    "convoy_device/workbench.py": """

from convoy_device.errors import SelfTestError


def _refuse(self, effect):
    raise SelfTestError("this version computes something else")


Workbench.fabric = _refuse
"""
}
UNUSABLE = {"convoy_device/cli.py": "\nraise ImportError('this version does not even start')\n"}


def forge(wheels: Path, version: str, changes: Mapping[str, str] | None = None) -> Path:
    """A wheel beside the others in `wheels`, numbered `version`, with text added to some of its files."""
    (original,) = wheels.glob("convoy_fleet-0.1.0-*.whl")
    forged = wheels / original.name.replace("-0.1.0-", f"-{version}-")
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            content = source.read(item)
            name = item.filename.replace("convoy_fleet-0.1.0.dist-info", f"convoy_fleet-{version}.dist-info")
            if name.endswith(".dist-info/METADATA"):
                content = content.replace(b"\nVersion: 0.1.0\n", f"\nVersion: {version}\n".encode())
            if name.endswith(".dist-info/RECORD"):
                content = content.replace(b"convoy_fleet-0.1.0.dist-info", f"convoy_fleet-{version}.dist-info".encode())
                # pip wants every file listed, and does not compare what it wrote with these.
            if name in (changes or {}):
                content += (changes or {})[name].encode()
            target.writestr(name, content)
    return forged

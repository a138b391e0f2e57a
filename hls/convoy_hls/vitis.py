"""Finds Vitis HLS, and says what is missing where it is not.

Needs nothing but Python's own library: `make hls-reports` runs this file before it sets anything up.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

MISSING = """\
make hls-reports cannot run here: there is no vitis_hls on the PATH, nor under bin of XILINX_HLS.
It comes with AMD's Vitis (the free Standard edition has the xc7z020), 2022.1 to 2024.1. Then:
    source /tools/Xilinx/Vitis_HLS/2024.1/settings64.sh
    make hls-reports"""


def find(environment: Mapping[str, str]) -> Path | None:
    """The command, or None."""
    places = [environment.get("PATH", "")]
    if folder := environment.get("XILINX_HLS"):
        places.append(str(Path(folder) / "bin"))
    found = shutil.which("vitis_hls", path=os.pathsep.join(places))
    return Path(found) if found else None


if __name__ == "__main__":
    if find(os.environ) is None:
        sys.exit(MISSING)

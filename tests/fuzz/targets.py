"""All targets. Importing this module makes them; `TARGETS` holds them by name.

What they share with the other tests lies in their folders, which are put on the path here.
"""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
#: Where targets find each other, and what they share with the other tests.
FOLDERS = (_TESTS / "fuzz", _TESTS, _TESTS / "schema", _TESTS / "controller")
for _folder in FOLDERS:
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

import artifact_targets  # noqa: E402, F401 - each makes its targets
import bitstream_targets  # noqa: E402, F401
import file_targets  # noqa: E402, F401
import http_targets  # noqa: E402, F401
import message_targets  # noqa: E402, F401
import onnx_targets  # noqa: E402, F401
import packet_targets  # noqa: E402, F401
from target import TARGETS  # noqa: E402

__all__ = ["FOLDERS", "TARGETS"]

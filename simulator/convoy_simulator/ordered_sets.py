"""Sets of strings must iterate alike in every process, or a seed would not be the same run everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: The environment's variable that orders sets of strings, and what it must be.
HASH_SEED = "PYTHONHASHSEED", "0"


def begin_anew(arguments: Sequence[str]) -> None:
    """Replace this process by Python with these arguments and that order of sets."""
    name, value = HASH_SEED
    os.execve(sys.executable, [sys.executable, *arguments], {**os.environ, name: value})

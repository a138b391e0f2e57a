"""How much memory this process holds, and how it deals with what it frees."""

import contextlib
import ctypes
import gc
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
#: Bytes of freed memory that glibc keeps; parameters of mallopt(3).
_KEPT = 4 * 1024 * 1024
_TRIM_THRESHOLD = -1
_TOP_PAD = -2


def resident_bytes() -> int:
    """Resident set size in bytes, from Linux' /proc."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settle_memory() -> None:
    """For a process that is about to serve, once its modules are imported: memory shall not stop its loop.

    glibc keeps 4 MB that were freed: given back, each frame of 32 KiB costs eight page faults anew. The collector
    leaves alone what is there by now: looking through all modules again takes 25 ms and more.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_TRIM_THRESHOLD, _TOP_PAD):
            mallopt(parameter, _KEPT)

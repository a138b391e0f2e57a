"""Compiles the kernels with g++ into a shared library, once per source, and calls them through ctypes.

The library lies in a cache folder under a digest of sources, flags and compiler; several processes may ask for it at
once. Every `Library` is a copy with memories of its own, as every kernel on a board has. Not for use by two threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from convoy_schema.registers import ARGUMENTS
from numpy.typing import NDArray

from convoy_hls.errors import HlsError, KernelError

ROOT = Path(__file__).parent
SOURCES = ("kernels/*.cpp", "host/*.cpp", "include/convoy/*.hpp")

# A template's static would otherwise be one for all copies that the process loads.
_LANGUAGE = ("-std=c++14", "-fPIC", "-shared", "-fno-gnu-unique")
_STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wno-unused-label", "-Werror")
#: For the tests, which compare trips with the model; -O2 since they run millions.
COUNTING = ("-O2", "-DCONVOY_COUNT_TRIPS", *_STRICT)
#: For running networks.
PLAIN = ("-O2",)
#: For what the compiler can watch at run time; whoever loads it has to preload the sanitizer.
SANITIZING = ("-O0", "-g1", "-DCONVOY_COUNT_TRIPS", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: For the lines that were run. Counts are written into the folder of the build when the process ends.
COVERING = ("-O0", "-g", "-DCONVOY_COUNT_TRIPS", "--coverage", "-fprofile-abs-path", "-fprofile-update=atomic")

_WORD_ARRAY = ctypes.POINTER(ctypes.c_uint64)
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Outcome:
    """What one start of a kernel gave: its identity, and the words it wrote."""

    identity: int
    words: Words


@dataclass(frozen=True)
class LoopCount:
    """How often one pipelined loop of one instance was entered and went round since the last reset."""

    name: str
    instance: int
    interval: int
    depth: int
    entries: int
    trips: int

    @property
    def cycles(self) -> int:
        """Cycles by the model: `interval` a trip, `depth` an entry."""
        return self.interval * self.trips + self.depth * self.entries


def headers() -> Path | None:
    """The folder of the official `ap_*` and `hls_stream` headers: CONVOY_HLS_HEADERS, Vitis, or inside hls4ml."""
    named = os.environ.get("CONVOY_HLS_HEADERS")
    if named:
        return Path(named)
    if vitis := os.environ.get("XILINX_HLS"):
        return Path(vitis) / "include"
    found = importlib.util.find_spec("hls4ml")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "templates" / "vivado" / "ap_types"


def unavailable() -> str:
    """Why the kernels cannot be compiled here; '' when they can."""
    if shutil.which("g++") is None:
        return "g++ is not installed"
    folder = headers()
    if folder is None or not (folder / "hls_stream.h").is_file():
        return "hls_stream.h is not there: pip install --no-deps hls4ml, or set CONVOY_HLS_HEADERS to its folder"
    return ""


def build(flags: tuple[str, ...] = PLAIN, cache: Path | None = None) -> Path:
    """The shared library built with `flags`; raises `HlsError` if it cannot be."""
    reason = unavailable()
    if reason:
        raise HlsError(f"the kernels cannot be compiled: {reason}")
    folder = cache or default_cache()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / f"convoy-{_digest(flags)}.so"
    with _locked(folder / "lock"):
        if not wanted.exists():
            compile_to(wanted, flags)
    return wanted


def default_cache() -> Path:
    """Where libraries are kept: CONVOY_HLS_CACHE, or the user's cache."""
    named = os.environ.get("CONVOY_HLS_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "convoy" / "hls"


def compile_to(target: Path, flags: tuple[str, ...]) -> None:
    """Compile every source into `target`; whatever else the compiler leaves is beside it."""
    sources = [str(source) for pattern in SOURCES[:2] for source in sorted(ROOT.glob(pattern))]
    partial = target.with_suffix(f".{os.getpid()}")
    command = ["g++", *_LANGUAGE, *flags, f"-I{ROOT / 'include'}", "-isystem", str(headers()), *sources]
    done = subprocess.run(
        [*command, "-o", str(partial)], cwd=target.parent, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        partial.unlink(missing_ok=True)
        raise HlsError(f"g++ refused the kernels:\n{done.stderr[-4000:]}")
    partial.replace(target)


def _digest(flags: tuple[str, ...]) -> str:
    text = hashlib.sha256(repr((flags, _LANGUAGE, _compiler(), str(headers()))).encode())
    for pattern in SOURCES:
        for source in sorted(ROOT.glob(pattern)):
            text.update(source.name.encode() + b"\0" + source.read_bytes())
    return text.hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def _compiler() -> str:
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Library:
    """One copy of the kernels: as hardware, it keeps what was loaded into it until something else is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The loader gives one copy per file, so each gets a file of its own; it may go once it is open.
        with tempfile.TemporaryDirectory(prefix="convoy-hls-") as directory:
            own = Path(directory) / path.name
            shutil.copy(path, own)
            self._library = ctypes.CDLL(str(own))
        self._call = self._library.convoy_call
        self._call.restype = ctypes.c_int64
        self._counter = self._library.convoy_counter
        self._counter.restype = ctypes.c_char_p

    def start(self, core: str, arguments: Mapping[str, int], words: Words, parameters: Words, room: int) -> Outcome:
        """Start `core` (such as "conv2d") with its registers and streams; it is to write `room` words.

        Raises `KernelError` when it takes or writes any other number of words than it was given and should write.
        """
        registers = dict(arguments)
        registers |= {"in_words": words.size, "parameter_words": parameters.size, "out_words": room}
        values = np.array([registers.pop(name, 0) for name in ARGUMENTS], np.int32)
        if registers:
            raise KernelError(f"kernels have no registers {sorted(registers)}", kernel=core)
        taken, given = (np.ascontiguousarray(array, np.uint64) for array in (words, parameters))
        out, left = np.zeros(room, np.uint64), np.zeros(2, np.int64)
        identity = ctypes.c_uint32()
        written = self._call(
            ctypes.cast(getattr(self._library, f"convoy_{core}"), ctypes.c_void_p),
            values.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            taken.ctypes.data_as(_WORD_ARRAY),
            ctypes.c_int64(taken.size),
            given.ctypes.data_as(_WORD_ARRAY),
            ctypes.c_int64(given.size),
            out.ctypes.data_as(_WORD_ARRAY),
            ctypes.c_int64(room),
            ctypes.byref(identity),
            left.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
        )
        if written != room or left.any():
            raise KernelError(
                f"kernel {core} wrote {written} of {room} words and left {left[0]} of {taken.size} inputs and "
                f"{left[1]} of {given.size} parameters: is the layer beyond its limits?",
                kernel=core,
            )
        return Outcome(identity.value, out)

    def loops(self) -> tuple[LoopCount, ...]:
        """Every loop that was ever entered; none in a library built without counting."""
        found: list[LoopCount] = []
        fields = (ctypes.c_int64 * 5)()
        for number in range(10_000):
            name = self._counter(ctypes.c_int32(number), fields)
            if name is None:
                break
            found.append(LoopCount(name.decode(), *map(int, fields)))
        return tuple(found)

    def reset_loops(self) -> None:
        """Set every count to 0."""
        self._library.convoy_reset_counters()


def library(flags: tuple[str, ...] = PLAIN, cache: Path | None = None) -> Library:
    """A new copy of the kernels, built with `flags` if they were not before; raises `HlsError`."""
    return Library(build(flags, cache))

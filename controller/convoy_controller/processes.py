"""Child processes: started with a log each, watched, restarted if asked, and stopped so that nothing stays behind.

`convoy up` and `convoy demo` own one `Processes` each, the tests of whole systems too. A child lives in a session of
its own, so that Ctrl-C reaches the owner alone and the owner stops in order; the kernel kills it when the owner dies,
however that happens. Children of children are found by a mark in their environment, which they inherit whatever they
do to their session or their parents. Linux only. This module knows nothing of brokers, boards or MQTT.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from convoy_controller.errors import ProcessError

log = logging.getLogger(__name__)

_TETHER = Path(__file__).with_name("tether.py")
_numbers = itertools.count()

#: Lines and bytes of a log that a report quotes at most.
TAIL_LINES = 15
TAIL_BYTES = 8192
#: Seconds from SIGTERM to SIGKILL.
STOP_DEADLINE_S = 5.0
#: Seconds that the children of a dead child get to notice.
ORPHAN_GRACE_S = 0.3
#: Seconds between two looks at a child.
LOOK_S = 0.01


@dataclass(frozen=True)
class Restart:
    """Start a child again `delay_s` after an unexpected death, at most `at_most` times within `within_s` seconds."""

    delay_s: float = 1.0
    at_most: int = 5
    within_s: float = 60.0


@dataclass(frozen=True)
class Death:
    """A child that ended without being asked to."""

    name: str
    pid: int
    #: As in `subprocess`: the exit code, or minus the signal's number.
    returncode: int
    #: The last lines of its log.
    tail: str
    #: Seconds until it is started again; None if it is not.
    restart_in_s: float | None

    def __str__(self) -> str:
        text = f"{self.name} (pid {self.pid}) {how_it_ended(self.returncode)}"
        if self.restart_in_s is not None:
            text += f", starts again in {self.restart_in_s:g} s"
        return f"{text}; the end of its log:\n{self.tail}" if self.tail else f"{text}; its log is empty"


@dataclass(eq=False)
class Child:
    """One named process. Its owner is the only one to change it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str]
    cwd: Path | None
    tier: str
    restart: Restart | None
    process: subprocess.Popen[bytes]
    #: Its end is wanted, or was reported already.
    settled: bool = False
    #: When it died unexpectedly, the latest last (seconds, monotonic).
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    #: When it is to be started again (seconds, monotonic).
    due: float | None = None

    @property
    def pid(self) -> int:
        """The process id: also the command's own, since the tether becomes the command."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; then the exit code, or minus the number of the signal that ended it."""
        return self.process.poll()

    @property
    def alive(self) -> bool:
        """Whether it runs (or is merely stopped by SIGSTOP)."""
        return self.returncode is None

    def tail(self) -> str:
        """The last lines of its log; '' when there is none."""
        return tail_of(self.log)


class Processes:
    """The children of one owner. Use it as a context, or call `stop` in a `finally`."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._mark = f"CONVOY_OWNER_{os.getpid()}_{next(_numbers)}"

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Child:
        """The child of that name; raises `ProcessError` if there is none."""
        if name not in self._children:
            raise ProcessError(
                f"there is no child {name!r}, but {', '.join(self._children) or 'none at all'}", name=name
            )
        return self._children[name]

    def __contains__(self, name: object) -> bool:
        return name in self._children

    @property
    def names(self) -> tuple[str, ...]:
        """Every child, in the order they were started."""
        return tuple(self._children)

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        log_file: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        tier: str = "",
        restart: Restart | None = None,
    ) -> Child:
        """Start a child; its output is appended to `log_file`.

        `env` is added to this process's environment. Children of one `tier` are stopped together. Call it from the
        main thread: the kernel ties a child to the thread that started it, not to the process.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ProcessError(f"{name} must be started from the main thread: it would die with any other", name=name)
        if name in self._children and self._children[name].alive:
            raise ProcessError(f"a child {name!r} runs already", name=name)
        command = tuple(str(part) for part in argv)
        if shutil.which(command[0]) is None:
            raise ProcessError(f"{name}: there is no program {command[0]!r}", name=name, program=command[0])
        log_file.parent.mkdir(parents=True, exist_ok=True)
        full = {**os.environ, **(env or {}), self._mark: name}
        process = self._spawn(command, log_file, full, cwd)
        child = Child(name, command, log_file, full, cwd, tier, restart, process)
        self._children.pop(name, None)
        self._children[name] = child
        return child

    def wait_ready(self, name: str, ready: Callable[[], bool], timeout_s: float = 10.0, every_s: float = 0.02) -> None:
        """Block until `ready()`; an `OSError` it raises counts as not yet.

        Raises `ProcessError` with the end of the child's log when it dies, or when `timeout_s` have passed.
        """
        child = self[name]
        deadline = time.monotonic() + timeout_s
        while True:
            alive = child.alive
            with contextlib.suppress(OSError):
                if ready():
                    return
            if not alive:
                child.settled = True
                ended = how_it_ended(child.process.returncode)
                raise ProcessError(f"{name} {ended} before it was ready; {_quote(child)}", name=name)
            if time.monotonic() >= deadline:
                raise ProcessError(f"{name} was not ready within {timeout_s:g} s; {_quote(child)}", name=name)
            time.sleep(every_s)

    def poll(self, now: float) -> list[Death]:
        """Deaths nobody asked for, each told once; also starts again what is due at `now` (seconds, monotonic).

        Call it a few times a second. It waits a moment, at most, for the children of a dead child.
        """
        deaths = []
        for child in list(self._children.values()):
            if child.due is not None and now >= child.due:
                self._respawn(child)
            elif not child.alive and not child.settled:
                deaths.append(self._bury(child, now))
        return deaths

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a child; SIGKILL and SIGTERM make its death an expected one, which is not restarted."""
        child = self[name]
        if number in (signal.SIGKILL, signal.SIGTERM):
            child.settled, child.due = True, None
        if child.alive:
            child.process.send_signal(number)

    def restart(self, name: str) -> Child:
        """Start a child again as it was started first, ending it before if it still runs."""
        child = self[name]
        self._end([child], STOP_DEADLINE_S)
        self._respawn(child)
        return child

    def stop_one(self, name: str, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Stop one child and whatever it left; returns its exit code as `subprocess` counts it."""
        child = self[name]
        self._end([child], deadline_s)
        return int(child.process.returncode)

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> None:
        """Stop everything, the youngest first: SIGTERM, `deadline_s` for each tier, SIGKILL. Can be called again.

        An interrupt meanwhile (a second Ctrl-C) turns into SIGKILL for all that is left, and is raised afterwards.
        """
        waiting = list(reversed(self._children.values()))
        try:
            while waiting:
                tier = [
                    child for child in waiting if child is waiting[0] or (child.tier and child.tier == waiting[0].tier)
                ]
                self._end(tier, deadline_s)
                waiting = [child for child in waiting if child not in tier]
        finally:
            self._end(waiting, 0.0)
            self._sweep(None)

    def relatives(self) -> dict[int, str]:
        """Every living process below this owner, children of children too: process id -> the child it is under."""
        return _marked(self._mark)

    def _spawn(
        self, command: tuple[str, ...], log_file: Path, env: Mapping[str, str], cwd: Path | None
    ) -> subprocess.Popen[bytes]:
        tether = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())]
        with log_file.open("ab") as output:
            return subprocess.Popen(
                [*tether, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    def _respawn(self, child: Child) -> None:
        child.process = self._spawn(child.argv, child.log, child.env, child.cwd)
        child.settled, child.due = False, None

    def _bury(self, child: Child, now: float) -> Death:
        child.settled = True
        child.deaths.append(now)
        wait_s = restart_delay(child.restart, child.deaths, now)
        child.due = None if wait_s is None else now + wait_s
        self._sweep(child.name)
        return Death(child.name, child.pid, child.process.returncode, child.tail(), wait_s)

    def _end(self, children: Sequence[Child], deadline_s: float) -> None:
        """SIGTERM to all, SIGKILL to those that live `deadline_s` later, then the same for what they left."""
        deadline = time.monotonic() + deadline_s
        for child in children:
            child.settled, child.due = True, None
            if child.alive:
                child.process.terminate()
                child.process.send_signal(signal.SIGCONT)  # a stopped process would take note of SIGTERM too late
        for child in children:
            while child.alive and time.monotonic() < deadline:
                time.sleep(LOOK_S)
            if child.alive:
                if deadline_s:
                    log.warning("%s did not stop within %g s and is killed", child.name, deadline_s)
                child.process.kill()
            child.process.wait()
        for child in children:
            self._sweep(child.name)

    def _sweep(self, name: str | None) -> None:
        """Kill what dead children left running: under the child `name`, or under any."""
        began = time.monotonic()
        killed: set[int] = set()
        while left := {pid: owner for pid, owner in self.relatives().items() if name in (None, owner)}:
            waited_s = time.monotonic() - began
            if waited_s >= STOP_DEADLINE_S:  # only a process stuck in the kernel outlives SIGKILL
                log.error("cannot end %s", ", ".join(f"process {pid} of {owner}" for pid, owner in left.items()))
                return
            for pid in left.keys() - killed if waited_s >= ORPHAN_GRACE_S else ():
                log.warning("killing process %d, which %s left behind", pid, left[pid])
                killed.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(LOOK_S)


def restart_delay(restart: Restart | None, deaths: Sequence[float], now: float) -> float | None:
    """Seconds to wait before a child that died at `deaths` is started again; None when it is not to be."""
    if restart is None:
        return None
    recent = sum(1 for at in deaths if now - at < restart.within_s)
    return restart.delay_s if recent <= restart.at_most else None


def how_it_ended(returncode: int) -> str:
    """'was ended by SIGKILL' or 'ended with code 3'."""
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


def tail_of(path: Path) -> str:
    """The last lines of a text file, at most TAIL_LINES and TAIL_BYTES; '' when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])


def _quote(child: Child) -> str:
    tail = child.tail()
    return f"the end of {child.log}:\n{tail}" if tail else f"{child.log} is empty"


def _marked(mark: str) -> dict[int, str]:
    """Living processes with `mark` in the environment they were started with. A zombie has none."""
    found = {}
    needle = f"{mark}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or another user's
            continue
        for variable in variables:
            if variable.startswith(needle):
                found[int(entry.name)] = variable[len(needle) :].decode(errors="replace")
    return found

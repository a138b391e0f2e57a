"""Run as a script: tie this process to its parent, then become the command. `processes` starts every child through it.

`python tether.py PARENT COMMAND ...` asks the kernel for SIGKILL when the parent dies, checks that the parent had not
died before it could ask, and replaces itself by the command under the same process id. It is a program of its own
because code between fork and exec is not safe in a parent that has threads. It imports nothing of Convoy, so that a
child starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
#: The exit code of a shell for a command that cannot be run.
CANNOT_RUN = 127


def main(parent: int, command: list[str]) -> int:
    """Become `command`; returns an exit code only if that was not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        print(f"cannot be tied to its parent: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return CANNOT_RUN
    if os.getppid() != parent:
        print("the parent is gone already", file=sys.stderr)
        return CANNOT_RUN
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

"""What a process holds is read from the kernel, each of its lives by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from convoy_simulator.real.memory import Memory, resident_bytes

MB = 1e6


def test_a_processs_memory_is_read_life_by_life() -> None:
    memory = Memory()
    for at in range(650):
        memory.look({"here": os.getpid(), "gone": 2**22 + 1}, float(at * 2))
    slopes = memory.slopes()
    assert set(slopes) == {"here"}
    assert slopes["here"].seen_s >= 600
    assert slopes["here"].most_bytes > 10 * MB
    assert resident_bytes(2**22 + 1) is None


def test_another_process_of_the_name_is_another_life(tmp_path: Path) -> None:
    memory = Memory()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for at in range(1400):
            memory.look({"board": os.getpid() if at < 700 else other.pid}, float(at * 2))
        other.communicate(b"\n")
    slope = memory.slopes()["board"]
    assert slope.lives == 2
    memory.write(tmp_path / "memory.csv")
    lines = (tmp_path / "memory.csv").read_text().splitlines()
    assert len(lines) == 1400
    assert lines[0].startswith(f"board,{os.getpid()},0.0,")
    assert resident_bytes(other.pid) is None

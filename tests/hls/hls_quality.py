"""Runs the kernels' tests once more with fewer examples: under sanitizers, or to see which lines they reach.

`make hls-sanitize` and `make hls-coverage` call it, and a test of each in `make test`. Exit code 1 and what was found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from convoy_hls.build import COVERING, ROOT, SANITIZING, compile_to

HERE = Path(__file__).parent
#: The share of lines of the headers that tests must reach.
WANTED = 0.95


def tests() -> list[str]:
    """Every file of tests that takes the compiled kernels."""
    files = sorted(HERE.glob("test_*.py"))
    return [str(file) for file in files if "counting:" in file.read_text(encoding="utf-8")]


def run_tests(library: Path, environment: Mapping[str, str], examples: int) -> subprocess.CompletedProcess[str]:
    """The tests in a process of their own, with the kernels from `library`."""
    variables = {"CONVOY_HLS_LIBRARY": str(library), "CONVOY_HLS_EXAMPLES": str(examples), **environment}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests()]
    return subprocess.run(
        [*command, "-k", "not lenet5 and not sums_at_their_ends"],
        env={**os.environ, **variables},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def sanitize(examples: int = 100) -> str:
    """What the address and undefined-behaviour sanitizers say; '' when they say nothing."""
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "sanitizing.so"
        compile_to(library, SANITIZING)
        preload = [
            subprocess.run(
                ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        options = {
            "LD_PRELOAD": " ".join(preload),
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1",
        }
        done = run_tests(library, options, examples)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-6000:]


def coverage(examples: int = 100) -> tuple[str, dict[str, tuple[int, int]]]:
    """(what went wrong or '', lines reached and lines in all of each header)."""
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "covering.so"
        compile_to(library, COVERING)
        done = run_tests(library, {}, examples)
        if done.returncode:
            return (done.stdout + done.stderr)[-6000:], {}
        return "", _reached(Path(directory))


def _reached(directory: Path) -> dict[str, tuple[int, int]]:
    """A line of a template counts once, and is reached if any of its instances reached it."""
    lines: dict[str, dict[int, bool]] = defaultdict(dict)
    for data in sorted(directory.glob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", data.name]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
        for report in done.stdout.splitlines():
            for file in json.loads(report)["files"]:
                path = Path(file["file"])
                if ROOT / "include" in path.parents:
                    found = lines[path.name]
                    for line in file["lines"]:
                        number = line["line_number"]
                        found[number] = found.get(number, False) or line["count"] > 0
    return {name: (sum(found.values()), len(found)) for name, found in sorted(lines.items())}


def share(reached: Mapping[str, tuple[int, int]]) -> float:
    """The share of all headers' lines that were reached."""
    return sum(hit for hit, _ in reached.values()) / max(1, sum(count for _, count in reached.values()))


def main() -> int:
    """`coverage` or `sanitize`."""
    if sys.argv[1:] == ["sanitize"]:
        found = sanitize(400)
        print(found or "No sanitizer had anything to say.")
        return 1 if found else 0
    failure, reached = coverage(400)
    if failure:
        print(failure)
        return 1
    for name, (hit, count) in reached.items():
        print(f"{name:24} {hit:4} of {count:4} lines")
    print(f"{'all headers':24} {share(reached):.1%}, {WANTED:.0%} wanted")
    return 0 if share(reached) >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())

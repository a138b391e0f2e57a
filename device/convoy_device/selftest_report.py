"""What a self-test found, for people and as JSON: the file that the first owner of a board is asked to send."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata

import numpy as np

from convoy_device.fabric import Fabric
from convoy_device.selftest import Measured, Step

#: Counts up when the file's layout changes.
FORMAT = 1
UNTRIED = (
    "The driver of this fabric has been tested against the real pynq package and a register model of the chip, and had "
    "not been run on a board when it was released. Whatever this report says, please send it to the project."
)


@dataclass(frozen=True)
class Report:
    """Steps, and what they ran on. `untried` is a note, '' where the fabric has run before."""

    fabric: str
    part: str
    untried: str
    versions: Mapping[str, str]
    steps: tuple[Step, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and not everything was skipped."""
        outcomes = {step.outcome for step in self.steps}
        return "failed" not in outcomes and any(
            step.name != "quiesce" for step in self.steps if step.outcome == "passed"
        )

    def medians(self) -> dict[str, float]:
        """Median milliseconds of each phase over the steps that passed."""
        found: dict[str, list[float]] = {}
        for step in self.steps:
            for phase, spent in step.milliseconds.items():
                if step.outcome == "passed":
                    found.setdefault(phase, []).append(spent)
        return {phase: statistics.median(values) for phase, values in found.items()}

    def to_json(self) -> str:
        """One object; milliseconds are floats."""
        whole = {"format": FORMAT, "passed": self.passed, **asdict(self), "median_milliseconds": self.medians()}
        return json.dumps(whole, indent=2) + "\n"

    def to_text(self) -> str:
        """For people: what it ran on, a line a step with its phases, and the medians."""
        lines = [f"Self-test of fabric {self.fabric}, part {self.part}: {'passed' if self.passed else 'FAILED'}"]
        lines += [f"  {name:<10} {value}" for name, value in self.versions.items()]
        if self.untried:
            lines += ["", self.untried]
        lines += ["", *(line_of(step) for step in self.steps), "", "Median milliseconds a phase:"]
        lines += [f"  {phase:<15} {spent:9.3f}" for phase, spent in self.medians().items()]
        return "\n".join(lines) + "\n"


def line_of(step: Step) -> str:
    """A step in one line."""
    phases = ", ".join(f"{phase} {spent:.3f}" for phase, spent in step.milliseconds.items())
    return f"{step.outcome:<7}  {step.name}: {step.detail}" + (f"  [ms: {phases}]" if phases else "")


def report_of(fabric: Fabric, steps: Sequence[Step]) -> Report:
    """The report on `fabric`, with the versions of everything that could matter."""
    facts = fabric.facts
    more = fabric.versions if isinstance(fabric, Measured) else {}
    versions = {
        "convoy": _software(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "linux": platform.release(),
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
        **more,
    }
    return Report(facts.name, facts.part, UNTRIED if facts.name == "pynq" else "", versions, tuple(steps))


def _software() -> str:
    try:
        return metadata.version("convoy-fleet")
    except metadata.PackageNotFoundError:
        return "unknown"

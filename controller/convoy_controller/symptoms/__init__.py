"""What is wrong with boards that no single message says: found by watching the registry for a while.

A deterministic core: it reads the registry and `now` (monotonic seconds) and returns what began and what is over.
`Symptoms` holds the verdicts steady; what counts as evidence is in a module for each kind. `watch` is its shell.
"""

from convoy_controller.symptoms.course import ABSENT, UNKNOWN, Evidence, Found, Over
from convoy_controller.symptoms.symptoms import Symptoms

__all__ = ["ABSENT", "UNKNOWN", "Evidence", "Found", "Over", "Symptoms"]

"""Where MNIST's files are, for tests that want them: the folder CONVOY_DATA, or `shared` beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from convoy_controller.datasets import find_mnist


def mnist_folder() -> Path:
    """The folder with MNIST's files; skips the test where they are absent."""
    place = Path(os.environ.get("CONVOY_DATA") or Path(__file__).parents[2] / "shared")
    found = find_mnist(place)
    if found is None:
        pytest.skip(f"MNIST's files are not in {place}: set CONVOY_DATA")
    return found

"""What is raised when the time is up between two tries."""

from __future__ import annotations

import random

import pytest
from convoy.errors import ConnectionFailedError, DeadlineExceededError
from convoy.retry import Attempts


def test_the_last_failure_is_told_however_late_it_wakes():
    attempts = Attempts(1, 0, deadline=10.0, chance=random.Random(1))
    with pytest.raises(DeadlineExceededError):
        attempts.too_late()
    assert attempts.broke("Connection refused", 0.0) < 10
    with pytest.raises(ConnectionFailedError, match="Connection refused"):
        attempts.too_late()

"""Moments as they are typed."""

from __future__ import annotations

import pytest
from convoy_controller.moments import moment
from database_samples import START


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("2030-01-01 12:00", START),
        ("2030-01-01T12:00:00Z", START),
        ("2030-01-01 12:00:00 UTC", START),
        ("2030-01-01 13:00+01:00", START),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_moment_is_utc_unless_it_says_otherwise(words: str, expected: object):
    assert moment(words) == expected

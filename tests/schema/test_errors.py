"""Codes are what crosses the wire: stable, kebab-case, one for each error of the contract."""

from __future__ import annotations

import re

from convoy_schema import errors
from convoy_schema.errors import ConvoyError


def test_codes_are_unique_and_kebab_case() -> None:
    tree = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ConvoyError)]
    codes = [error.code for error in tree]
    assert len(set(codes)) == len(codes) > 8
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", code) for code in codes)
    assert [error.__name__ for error in tree if error.retryable] == ["LinkError", "TlsError"]


def test_an_error_carries_its_sentence_and_its_values() -> None:
    error = errors.TooLargeError("10 bytes, at most 5", size=10, limit=5)
    assert str(error) == error.message == "10 bytes, at most 5"
    assert error.data == {"size": 10, "limit": 5}
    assert not error.retryable

"""Which peers can be understood, and which side has to be updated when one cannot."""

from __future__ import annotations

import pytest
from convoy_schema import version
from convoy_schema.errors import DecodeError, VersionError
from hypothesis import given
from hypothesis import strategies as st


def test_this_side_understands_itself() -> None:
    assert version.OLDEST <= version.CURRENT
    version.check(version.CURRENT, version.OLDEST)


@given(st.integers(-(2**63), 2**64), st.integers(-(2**63), 2**64))
def test_a_peer_is_understood_if_and_only_if_the_ranges_meet(current: int, oldest: int) -> None:
    if current >= version.OLDEST and oldest <= version.CURRENT:
        version.check(current, oldest)
    else:
        with pytest.raises(VersionError) as caught:
            version.check(current, oldest)
        side = "update the peer" if current < version.OLDEST else "update this side"
        assert str(caught.value).endswith(side)
        assert caught.value.data == {"peer_current": current, "peer_oldest": oldest}


def test_a_wider_range_is_judged_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "CURRENT", 5)
    monkeypatch.setattr(version, "OLDEST", 3)
    for current, oldest in ((3, 1), (4, 4), (5, 5), (9, 5)):
        version.check(current, oldest)
    with pytest.raises(VersionError, match="peer speaks protocol 2, this side needs 3 or newer: update the peer"):
        version.check(2, 1)
    with pytest.raises(VersionError, match="peer needs protocol 6 or newer, this side speaks 5: update this side"):
        version.check(9, 6)


def test_a_version_error_is_a_decode_error_that_no_retry_helps() -> None:
    assert issubclass(VersionError, DecodeError)
    assert (VersionError.code, VersionError.retryable) == ("protocol-version", False)

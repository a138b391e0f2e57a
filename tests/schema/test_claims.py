"""A claim is a line that is read back as it was written, or not at all."""

from __future__ import annotations

import pytest
from convoy_schema.claims import Claim, parse_claim
from convoy_schema.errors import ClaimError
from hypothesis import given
from hypothesis import strategies as st

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
hosts = st.sampled_from(["10.0.0.1", "fleet.example", "localhost", "fe80::1", "::1"])
claims = st.builds(
    Claim, names, hosts, st.integers(1, 65535), st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)
)
CLAIM = Claim("board-1", "10.0.0.1", 8884, bytes(range(32)), bytes(16))


@given(claims)
def test_it_is_read_back_as_it_was_written(claim: Claim) -> None:
    assert parse_claim(f"  {claim}\n") == claim
    assert len(str(claim)) < 63 + 20 + 80


@given(claims, st.data())
def test_a_changed_or_lost_character_is_noticed(claim: Claim, data: st.DataObject) -> None:
    text = str(claim)
    place = data.draw(st.integers(text.index("/") + 1, len(text) - 2))
    other = data.draw(st.sampled_from("ABCDEFGHabcdefgh0123456789-_").filter(lambda one: one != text[place]))
    for damaged in (text[:place] + other + text[place + 1 :], text[:place] + text[place + 1 :], text[:place]):
        with pytest.raises(ClaimError, match=r"copied whole|character was changed"):
            parse_claim(damaged)


@given(st.text(max_size=80))
def test_what_is_no_claim_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ClaimError, match=r"is no claim|copied"):
        parse_claim(text)


@pytest.mark.parametrize(
    "text",
    [str(CLAIM).replace("board-1", "board-2"), str(CLAIM).replace(":8884", ""), str(CLAIM).replace("board-1@", "")],
)
def test_it_is_bound_to_its_name_and_whole(text: str) -> None:
    with pytest.raises(ClaimError):
        parse_claim(text)


def test_the_secret_is_in_no_error() -> None:
    text = str(CLAIM)
    with pytest.raises(ClaimError) as caught:
        parse_claim(text[:-1])
    assert text.partition("/")[2][:20] not in str(caught.value)

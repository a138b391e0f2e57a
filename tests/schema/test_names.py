"""Names, digests and generations: what they may be, and nothing else."""

from __future__ import annotations

import hashlib
import re

import pytest
from convoy_schema.errors import TopicError
from convoy_schema.names import LABEL_PATTERN, Generation, check_name, digest_of
from hypothesis import example, given
from hypothesis import strategies as st

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-"
counts = st.sampled_from([0, 1, 9, 10, 2**63 - 1]) | st.integers(0, 2**63 - 1)


@given(st.text(ALPHABET, min_size=1, max_size=63))
def test_a_name_is_given_back(text: str) -> None:
    assert check_name(text) == text


@given(st.text(max_size=70) | st.text(ALPHABET + "_/+#.\n", max_size=70))
@example("a\n")
@example("a" * 64)
@example("")
@example("é")
@example("٣")  # a digit, but not of ASCII
def test_anything_else_is_refused_with_its_role(text: str) -> None:
    if 1 <= len(text) <= 63 and set(text) <= set(ALPHABET):
        assert check_name(text) == text
        return
    with pytest.raises(TopicError, match="must be 1 to 63 of a-z, 0-9 and '-'") as caught:
        check_name(text, "board")
    assert str(caught.value).startswith("board ")
    assert caught.value.data == {"what": "board", "text": text}


def test_names_fit_one_level_of_a_topic_and_a_file_name() -> None:
    for character in "/+#$\x00. ":
        with pytest.raises(TopicError):
            check_name(f"a{character}b")


@given(st.text(max_size=210))
def test_a_label_is_any_text_without_control_characters(text: str) -> None:
    fits = 1 <= len(text) <= 200 and not any(ord(c) < 32 or ord(c) == 127 for c in text)
    assert bool(re.fullmatch(LABEL_PATTERN, text)) == fits


@given(st.binary(max_size=100))
def test_a_digest_is_sha_256_in_lower_case(content: bytes) -> None:
    assert digest_of(content) == hashlib.sha256(content).hexdigest()
    assert re.fullmatch("[0-9a-f]{64}", digest_of(content))


@given(counts, counts)
def test_a_generation_is_read_as_it_is_written(epoch: int, counter: int) -> None:
    generation = Generation(epoch, counter)
    assert Generation.parse(str(generation)) == generation


@given(st.text(max_size=45) | st.text("0123456789-", max_size=45))
@example("")
@example("-")
@example("1-")
@example("-1")
@example("1-2-3")
@example("01-1")
@example("1-01")
@example("1-+1")
@example(" 1-1")
@example("1-1\n")
@example("1_0-1")
@example("²-1")
@example("٣-1")
@example(f"{2**63}-1")
@example(f"1-{2**63}")
@example("9" * 60_000 + "-1")
def test_a_generation_has_one_form(text: str) -> None:
    try:
        generation = Generation.parse(text)
    except TopicError as error:
        shown = str(error)
        assert len(shown) < 400
        return
    assert str(generation) == text
    assert 0 <= generation.epoch < 2**63
    assert 0 <= generation.counter < 2**63


@pytest.mark.parametrize("text", ["", "-", "1-", "-1", "1-2-3", "01-1", "1-01", f"{2**63}-1", "1-1\n", "²-1", "٣-1"])
def test_what_is_no_generation_is_refused(text: str) -> None:
    with pytest.raises(TopicError, match="must be EPOCH-COUNTER, as in 1-17"):
        Generation.parse(text)


@given(counts, counts, counts, counts)
def test_a_later_epoch_wins_whatever_the_counter(epoch: int, counter: int, other_epoch: int, other: int) -> None:
    later = Generation(epoch, counter) > Generation(other_epoch, other)
    assert later == (epoch > other_epoch or (epoch == other_epoch and counter > other))

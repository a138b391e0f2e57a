"""TOML is a table, or a refusal in bounded time and memory."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from convoy_schema.errors import TomlError
from convoy_schema.toml import MAX_DEPTH, MAX_PARTS, MAX_TEXT, parse_toml
from hypothesis import given
from hypothesis import strategies as st

USUAL = """
# don't: a comment's quote opens nothing
name = "a.b.c"
path = '../a/b.c'
[a."b.c".d]
floats = [0.5, 1.25, -3e4]
long = '''
1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28.29.30.31.32.33.34.35.36.37.38.39.40'''
"""


def test_what_is_usual_is_read() -> None:
    found = parse_toml(USUAL)
    assert found["name"] == "a.b.c"
    assert found["a"]["b.c"]["d"]["floats"] == [0.5, 1.25, -3e4]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "is not TOML"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("a = 2000-99-99", "is not TOML"),
        ("a = 0x" + "f" * 17, "64 bits"),
        ("a = [{b = [0x" + "f" * 99 + "]}]", "64 bits"),
        ("a = " + "[" * 5000, "nested"),
        ("a = " + "{a = " * 3000, "nested"),
        ("a = " + "[" * MAX_DEPTH + "]" * MAX_DEPTH, "nested"),
        ("a." * MAX_PARTS + "a = 1", "parts"),
        ("[" + "a . " * MAX_PARTS + "a]", "parts"),
        ("a = {" + '"\\"".' * MAX_PARTS + "a = 1}", "parts"),
        ("b = '''it's'''\n" + '"it\'s".' * MAX_PARTS + "a = 1", "parts"),
        ("#" * (MAX_TEXT + 1), "characters"),
    ],
)
def test_what_has_no_bound_is_refused(text: str, reason: str) -> None:
    with pytest.raises(TomlError, match=reason):
        parse_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        "a." * (MAX_TEXT // 2 - 5) + "a = 1",
        "9" * MAX_TEXT,
        'a = """' + '\\"""' * (MAX_TEXT // 4 - 10),
        'a = "' + "\\" * (MAX_TEXT - 10),
        '"' * MAX_TEXT,
        "'." * (MAX_TEXT // 2),
        "a = " + "[" * (MAX_TEXT - 10),
    ],
    ids=["parts", "word", "long-string", "escapes", "quotes", "apostrophes", "arrays"],
)
def test_a_bomb_takes_little_time(text: str) -> None:
    began = time.process_time()
    with pytest.raises(TomlError):
        parse_toml(text)
    assert time.process_time() - began < 10  # by the square of its length it would take hours


def test_a_key_of_many_parts_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TomlError):
            parse_toml("a." * 5000 + "a = 1")
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


@given(st.text())
def test_any_text_is_a_table_or_refused(text: str) -> None:
    with contextlib.suppress(TomlError):
        assert isinstance(parse_toml(text), dict)

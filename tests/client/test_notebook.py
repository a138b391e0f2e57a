"""What a notebook shows: the right figures, and nothing from outside as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from convoy.client import Client
from convoy.notebook import MAX_CELL, bar, gateways_table, table
from convoy.results import SHOWN_ROWS, GatewayStatus, ModelInfo, Result
from hypothesis import given
from hypothesis import strategies as st

EVIL = "<script>alert('x')</script>\"&"
ALLOWED = {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}


class Reader(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def result(array: np.ndarray, classes: tuple[str, ...] = (), ending: str = "none") -> Result:  # type: ignore[type-arg]
    return Result(array, classes, "1-1", "digits", "1", "http://g", ending)


def test_a_result_shows_classes_and_probabilities() -> None:
    logits = np.zeros((25, 3), np.float32)
    logits[:, 1] = 20.0
    shown = result(logits, ("zero", "one", "two"))._repr_html_()
    assert shown.count("<td>one</td>") == SHOWN_ROWS
    assert "██████████ 100.0%" in shown
    assert f"the first {SHOWN_ROWS} of 25; generation 1-1, by http://g" in shown
    assert repr(result(logits)) == "<convoy.Result (25, 3) float32 of digits 1 by http://g>"


def test_a_result_of_another_kind_shows_what_it_is() -> None:
    assert "<td>two</td>" in result(np.array([[2]]), ("zero", "one", "two"), "argmax")._repr_html_()
    assert "(2, 3, 3) int64" in result(np.zeros((2, 3, 3), np.int64), (), "argmax")._repr_html_()
    assert "(1, 4, 8, 8) float32" in result(np.zeros((1, 4, 8, 8), np.float32))._repr_html_()
    assert "nan%" in result(np.full((1, 2), np.nan, np.float32))._repr_html_()


def test_a_model_and_a_client_show_themselves() -> None:
    info = ModelInfo("digits", "2", "image", "logits", (1, 28, 28), tuple(f"c{n}" for n in range(30)), "softmax")
    shown = info._repr_html_()
    for words in ("digits, version 2", "image (n, 1, 28, 28)", "probabilities", "c19 and 10 more"):
        assert words in shown
    with Client(["http://127.0.0.1:1"]) as client:
        assert "not ready" in client._repr_html_()
        assert "Connection refused" in client._repr_html_()
        assert repr(client) == "<convoy.Client of http://127.0.0.1:1>"


@pytest.mark.parametrize(
    "html",
    [
        table(EVIL, (EVIL,), [(EVIL,)], EVIL),
        gateways_table("Client", [GatewayStatus(EVIL, False, EVIL), GatewayStatus("http://g", None)]),
        ModelInfo(EVIL, EVIL, EVIL, EVIL, (1,), (EVIL,), EVIL)._repr_html_(),
        Result(np.ones((1, 1), np.float32), (EVIL,), EVIL, EVIL, EVIL, EVIL)._repr_html_(),
    ],
)
def test_nothing_from_outside_becomes_html(html: str) -> None:
    read = Reader(html)
    assert set(read.tags) <= ALLOWED
    assert any(EVIL in text for text in read.text)


@given(st.text(max_size=MAX_CELL), st.floats())
def test_any_text_stays_text(text: str, share: float) -> None:
    read = Reader(table("", (), [(text, bar(share))]))
    assert set(read.tags) <= ALLOWED
    if "\r" not in text and "\0" not in text:
        assert text in "".join(read.text)

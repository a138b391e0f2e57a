"""The demonstration's account: what was sent has one answer, equal to the reference, or is counted as what it is."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from convoy_controller.datasets import UNLABELLED
from convoy_controller.demo.ledger import Ledger
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray


def expected(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(count, 10)).astype(np.float32)


def ledger(count: int = 10) -> Ledger:
    logits = expected(count)
    return Ledger(logits.argmax(axis=1), logits)


def answer(account: Ledger, first: int, last: int, now: float = 1.0, generation: str = "1-1") -> None:
    account.answered(range(first, last), account.expected[first:last], generation, now)


def test_everything_answered_once_is_clean() -> None:
    account = ledger()
    for number in range(10):
        account.sent(range(number, number + 1), 1.0)
        answer(account, number, number + 1, now=1.0 + number / 100)
    summary = account.summary()
    assert (summary.images, summary.answered, summary.correct, summary.accuracy) == (10, 10, 10, 1.0)
    assert (summary.lost, summary.failed, summary.duplicated, summary.wrong) == (0, 0, 0, 0)
    assert summary.generations == {"1-1": 10}
    assert summary.throughput_per_s == pytest.approx(10 / 0.09)
    assert summary.latency_p50_ms == pytest.approx(45.0)


def test_what_has_neither_answer_nor_error_is_lost() -> None:
    account = ledger()
    account.sent(range(10), 0.0)
    answer(account, 0, 4)
    account.failed(range(4, 6), "the gateway is gone", 1.0)
    summary = account.summary()
    assert (summary.lost, summary.failed, summary.answered) == (4, 2, 4)
    assert summary.errors == {"the gateway is gone": 2}
    assert account.done == 6


def test_a_second_answer_is_a_duplicate_and_another_bit_is_wrong() -> None:
    account = ledger()
    account.sent(range(10), 0.0)
    answer(account, 0, 10)
    answer(account, 2, 4)
    assert account.summary().duplicated == 2
    almost = account.expected[5:6].copy()
    almost.view(np.uint32)[0, 3] ^= 1
    account.answered(range(5, 6), almost, "1-1", 1.0)
    summary = account.summary()
    assert (summary.duplicated, summary.wrong) == (3, 1)


def test_a_negative_nought_is_not_nought() -> None:
    account = Ledger(np.zeros(1, np.int64), np.zeros((1, 10), np.float32))
    account.sent(range(1), 0.0)
    account.answered(range(1), np.full((1, 10), -0.0, np.float32), "1-1", 1.0)
    assert account.summary().wrong == 1


def test_accuracy_is_of_what_has_a_label() -> None:
    account = Ledger(np.array([3, UNLABELLED, 5]), expected(3))
    account.sent(range(3), 0.0)
    answer(account, 0, 3)
    summary = account.summary()
    assert summary.labelled == 2
    nobody = Ledger(np.full(2, UNLABELLED), expected(2))
    nobody.sent(range(2), 0.0)
    assert nobody.summary().accuracy is None


def test_the_first_answer_of_a_new_generation_is_found() -> None:
    account = ledger()
    account.sent(range(10), 0.0)
    answer(account, 0, 2, now=1.0)
    before = account.generations
    assert account.first_answer_after(1.5, before) is None
    answer(account, 2, 3, now=2.0)
    assert account.first_answer_after(1.5, before) is None, "an answer of the old one is no recovery"
    answer(account, 3, 4, now=3.0, generation="1-2")
    answer(account, 4, 5, now=4.0, generation="1-3")
    assert account.first_answer_after(1.5, before) == (3.0, "1-2")
    assert account.first_answer_after(3.5, before) == (4.0, "1-3")
    assert account.class_of(3) == int(account.expected[3].argmax())
    assert account.class_of(9) is None


def test_an_empty_account_is_no_division_by_nought() -> None:
    summary = ledger(0).summary()
    assert (summary.images, summary.throughput_per_s, summary.accuracy) == (0, 0.0, None)


@given(st.lists(st.tuples(st.integers(0, 19), st.sampled_from(["answer", "fail", "nothing"])), max_size=40))
def test_every_image_is_in_one_of_the_columns(events: list[tuple[int, str]]) -> None:
    account = ledger(20)
    sent, answered, failed = set(), [], set()
    for number, what in events:
        account.sent(range(number, number + 1), 0.0)
        sent.add(number)
        if what == "answer":
            answer(account, number, number + 1)
            answered.append(number)
        elif what == "fail":
            account.failed(range(number, number + 1), "no", 1.0)
            failed.add(number)
    summary = account.summary()
    assert summary.images == len(sent)
    assert summary.answered == len(set(answered))
    assert summary.failed == len(failed)
    assert summary.duplicated == len(answered) - len(set(answered))
    assert summary.lost == len(sent - set(answered) - failed)


def test_threads_share_it() -> None:
    account = ledger(400)

    def call(first: int) -> None:
        for number in range(first, first + 100):
            account.sent(range(number, number + 1), 0.0)
            answer(account, number, number + 1)

    threads = [threading.Thread(target=call, args=(first,)) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summary = account.summary()
    assert (summary.answered, summary.lost, summary.duplicated) == (400, 0, 0)

"""The ledger's verdicts: each can be reached, and none is hidden by another."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from convoy_simulator.ledger import (
    GRACE_S,
    MOST_CODES,
    MOST_INCIDENTS,
    MOST_REQUESTS,
    OTHER_CODES,
    Account,
    Fate,
    Ledger,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

CASES = 7


def answers_of(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(CASES, 1, 10)).astype(np.float32)


SMALL, OTHER, BIG = answers_of(1), answers_of(2), answers_of(3)
REFERENCES = {"small": {"first": SMALL, "second": OTHER}, "big": {"big": BIG}}


def sent(count: int = 1, model: str = "small") -> Ledger:
    ledger = Ledger(REFERENCES)
    for number in range(count):
        ledger.sends(number, model, 10.0, 0.0)
    return ledger


def faults(ledger: Ledger) -> tuple[int, int, int, int]:
    account = ledger.account()
    assert account.sent == account.answered + account.lost + account.failed + account.excused + account.open
    return account.faults


def test_an_answer_by_the_deadline_is_all_that_is_asked_for() -> None:
    ledger = sent(20)
    for number in range(20):
        assert ledger.comes(number, SMALL[number % CASES], "1-1", 1.0 + number / 10) == "first"
    account = ledger.account()
    assert account.faults == (0, 0, 0, 0)
    assert (account.sent, account.answered, account.open, account.incidents) == (20, 20, 0, ())
    assert account.slowest_s == pytest.approx(2.9)
    assert account.generations == {("small", "1-1"): 20}


def test_what_has_no_end_by_its_deadline_is_lost_even_if_it_comes_later() -> None:
    ledger = sent(2)
    assert ledger.account(10.0 + GRACE_S).lost == 0
    assert ledger.account(10.0 + GRACE_S).open == 2
    assert ledger.account(10.1 + GRACE_S).lost == 2
    ledger.comes(0, SMALL[0], "1-1", 11.0)
    account = ledger.account()
    assert (account.answered, account.lost, account.late, account.duplicated) == (0, 2, 1, 0)
    ledger.comes(0, SMALL[0], "1-1", 12.0)
    assert faults(ledger) == (2, 0, 1, 0)


def test_the_last_account_calls_lost_what_is_still_open() -> None:
    assert sent(3).account(5.0).lost == 0
    assert sent(3).account().lost == 3
    assert sent(3).account(math.inf).lost == 3


def test_an_error_is_excused_only_where_capacity_was_missing() -> None:
    ledger = sent(3)
    ledger.fails(0, "unavailable", True, 1.0)
    ledger.fails(1, "unavailable", False, 1.0)
    ledger.comes(2, SMALL[2], "1-1", 1.0)
    account = ledger.account()
    assert (account.failed, account.excused, account.errors) == (1, 1, {"unavailable": 2})
    assert account.faults == (0, 1, 0, 0)
    assert len(account.incidents) == 1


@pytest.mark.parametrize("first", ["answer", "error"])
@pytest.mark.parametrize("second", ["answer", "error"])
def test_a_second_end_is_a_duplicate_however_late(first: str, second: str) -> None:
    ledger = sent()
    for what, now in ((first, 1.0), (second, 1e6)):
        if what == "answer":
            ledger.comes(0, SMALL[0], "1-1", now)
        else:
            ledger.fails(0, "overloaded", False, now)
    assert faults(ledger) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    "answer",
    [
        SMALL[1],
        np.nextafter(SMALL[0], np.float32(9)),
        SMALL[0].astype(np.float64),
        SMALL[0][0],
        np.concatenate([SMALL[0], SMALL[0]]),
        BIG[0],
    ],
    ids=["of another request", "one bit off", "another type", "another shape", "twice", "of another model"],
)
def test_an_answer_that_differs_is_wrong(answer: NDArray[np.generic]) -> None:
    ledger = sent()
    assert ledger.comes(0, answer, "1-1", 1.0) == ""
    assert faults(ledger) == (0, 0, 0, 1)


def test_minus_zero_is_not_zero_and_nan_is_itself() -> None:
    rows = np.array([[0.0, np.nan], [1.0, 2.0]], np.float32)
    ledger = Ledger({"m": {"n": rows}})
    ledger.sends(0, "m", 10.0, 0.0)
    ledger.sends(2, "m", 10.0, 0.0)
    assert ledger.comes(0, rows[0].copy(), "1-1", 1.0) == "n"
    assert ledger.comes(2, np.array([-0.0, np.nan], np.float32), "1-1", 1.0) == ""


def test_a_wrong_duplicate_is_both() -> None:
    ledger = sent()
    ledger.comes(0, SMALL[0], "1-1", 1.0)
    ledger.comes(0, SMALL[1], "1-1", 1.0)
    assert faults(ledger) == (0, 0, 1, 1)


def test_one_generation_answers_as_one_network() -> None:
    ledger = sent(4)
    assert ledger.comes(0, SMALL[0], "1-1", 1.0) == "first"
    assert ledger.comes(1, OTHER[1], "1-2", 1.0) == "second"
    assert faults(ledger)[3] == 0
    ledger = sent(2)
    ledger.comes(0, SMALL[0], "1-1", 1.0)
    assert ledger.comes(1, OTHER[1], "1-1", 1.0) == ""
    assert faults(ledger) == (0, 0, 0, 1)


def test_a_generation_answers_as_the_network_it_was_deployed_for() -> None:
    ledger = sent(3)
    ledger.places("small", "1-1", "second")
    assert ledger.comes(0, SMALL[0], "1-1", 1.0) == ""
    assert ledger.comes(1, OTHER[1], "1-1", 1.0) == "second"
    # Told afterwards, it is the same.
    ledger = sent(3)
    for number in range(3):
        ledger.comes(number, SMALL[number], "1-1", 1.0)
    ledger.places("small", "1-1", "first")
    assert faults(ledger) == (0, 0, 0, 0)
    ledger.places("small", "1-1", "second")
    assert faults(ledger) == (0, 0, 0, 3)


def test_generations_of_two_models_are_not_confused() -> None:
    ledger = Ledger(REFERENCES)
    ledger.sends(0, "small", 10.0, 0.0)
    ledger.sends(1, "big", 10.0, 0.0)
    assert ledger.comes(0, OTHER[0], "1-1", 1.0) == "second"
    assert ledger.comes(1, BIG[1], "1-1", 1.0) == "big"


def test_what_nobody_asked_for_is_wrong() -> None:
    ledger = sent()
    ledger.comes(5, SMALL[5], "1-1", 1.0)
    ledger.fails(9000, "unavailable", False, 1.0)
    ledger.comes(0, SMALL[0], "1-1", 1.0)
    account = ledger.account()
    assert (account.sent, account.answered, account.wrong) == (1, 1, 2)


def test_misuse_is_refused() -> None:
    ledger = sent()
    with pytest.raises(ValueError, match="left already"):
        ledger.sends(0, "small", 10.0, 0.0)
    ledger.comes(0, SMALL[0], "1-1", 1.0)
    with pytest.raises(ValueError, match="left already"):
        ledger.sends(0, "small", 10.0, 0.0)
    for number in (-1, MOST_REQUESTS):
        with pytest.raises(ValueError, match="a number from 0"):
            ledger.sends(number, "small", 10.0, 0.0)
    with pytest.raises(ValueError, match="'large' came"):
        ledger.sends(1, "large", 10.0, 0.0)


def test_networks_that_cannot_be_told_apart_are_refused() -> None:
    alike = OTHER.copy()
    alike[3] = SMALL[3]
    with pytest.raises(ValueError, match="answer case 3 alike"):
        Ledger({"small": {"first": SMALL, "second": alike}})
    with pytest.raises(ValueError, match="as many cases"):
        Ledger({"small": {"first": SMALL, "second": OTHER[:2]}})
    with pytest.raises(ValueError, match="at least one"):
        Ledger({"small": {}})


def test_a_million_requests_take_little_memory_and_a_late_duplicate_is_found() -> None:
    count = 1_000_000
    tracemalloc.start()
    ledger = Ledger({"big": {"big": BIG}})
    now = 0.0
    for number in range(0, count, 100):  # every hundredth asks; all that lies between costs its bytes too
        now = number / 300
        ledger.sends(number, "big", now + 30.0, now)
        ledger.comes(number, BIG[number % CASES], f"1-{number // 10_000}", now + 0.1)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 4 * count
    ledger.comes(0, BIG[0], "1-0", now)
    assert faults(ledger) == (0, 0, 1, 0)


def test_incidents_are_told_up_to_a_bound_and_counted_beyond() -> None:
    ledger = sent(100)
    for number in range(100):
        ledger.fails(number, "overloaded", True, 1.0)
    account = ledger.account()
    assert account.failed == 100
    assert len(account.incidents) == MOST_INCIDENTS


def test_errors_are_told_apart_up_to_a_bound_and_counted_beyond() -> None:
    ledger = sent(2 * MOST_CODES)
    for number in range(2 * MOST_CODES):
        ledger.fails(number, f"code-{number}", False, 1.0)
    errors = ledger.account().errors
    assert sum(errors.values()) == 2 * MOST_CODES
    assert errors[OTHER_CODES] == MOST_CODES


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["send", "right", "other", "wrong", "error", "excuse"]),
            st.integers(0, 5),
            st.floats(0, 4),
        ),
        max_size=60,
    )
)
def test_the_account_is_that_of_a_list_of_all_that_happened(events: list[tuple[str, int, float]]) -> None:
    """Against the plainest ledger there is: each request's whole history, judged at the end."""
    ledger = Ledger(REFERENCES)
    histories: dict[int, tuple[float, list[tuple[str, float]]]] = {}
    now, unasked = 0.0, 0
    for what, number, step in events:
        now += step
        if what == "send":
            if number in histories:
                with pytest.raises(ValueError, match="left already"):
                    ledger.sends(number, "small", now + 5.0, now)
            else:
                histories[number] = (now + 5.0 + GRACE_S, [])
                ledger.sends(number, "small", now + 5.0, now)
            continue
        if what in ("error", "excuse"):
            ledger.fails(number, "some", what == "error", now)
        else:
            # Each network has a generation of its own, so that only the bits decide.
            rows, generation = {"right": (SMALL, "1-1"), "other": (OTHER, "1-2"), "wrong": (BIG, "1-3")}[what]
            assert bool(ledger.comes(number, rows[number], generation, now)) == (
                what != "wrong" and number in histories
            )
        if number in histories:
            histories[number][1].append((what, now))
        else:
            unasked += 1
    assert judged(ledger.account()) == reckoned(histories, unasked)
    for number, (until, history) in histories.items():
        assert (ledger.fate(number) is Fate.ANSWERED) == bool(
            history and history[0][1] <= until and history[0][0] not in ("error", "excuse")
        )


def judged(account: Account) -> Counter[str]:
    names = ("sent", "answered", "lost", "late", "failed", "excused", "duplicated", "wrong", "open")
    return +Counter({name: getattr(account, name) for name in names})


def reckoned(histories: dict[int, tuple[float, list[tuple[str, float]]]], unasked: int) -> Counter[str]:
    found: Counter[str] = Counter(sent=len(histories), wrong=unasked)
    for until, history in histories.values():
        found["duplicated"] += max(0, len(history) - 1)
        found["wrong"] += sum(what == "wrong" for what, _ in history)
        if not history or history[0][1] > until:
            found["lost"] += 1
            found["late"] += bool(history)
        else:
            found[{"error": "failed", "excuse": "excused"}.get(history[0][0], "answered")] += 1
    return +found

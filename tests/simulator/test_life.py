"""A process ends where it was told to, and does nothing afterwards."""

from __future__ import annotations

import pytest
from convoy_simulator.life import EndedError, Life


def steps_until_end(life: Life, *kinds: str) -> list[str]:
    done = []
    for kind in kinds:
        try:
            life.step(kind)
        except EndedError:
            break
        done.append(kind)
    return done


def test_it_ends_before_the_step_that_was_named_and_says_so_once() -> None:
    ends: list[int] = []
    life = Life(lambda: ends.append(1))
    life.end_before(3)
    assert steps_until_end(life, "write", "write", "write", "write") == ["write", "write"]
    assert (life.is_over, ends) == (True, [1])
    with pytest.raises(EndedError):
        life.step("read")
    life.end()
    assert ends == [1]


def test_of_lasting_steps_alone_those_that_leave_nothing_do_not_count() -> None:
    life = Life(lambda: None)
    life.end_before(2, lasting=True)
    assert steps_until_end(life, "read", "publish", "write", "read", "lock", "sync") == [
        *("read", "publish", "write", "read", "lock")
    ]


def test_who_is_spared_lives() -> None:
    life = Life(lambda: None)
    life.end_before(2)
    life.step("write")
    life.spare()
    assert steps_until_end(life, *["write"] * 9) == ["write"] * 9
    assert not life.is_over


def test_nobody_who_catches_errors_catches_an_end() -> None:
    assert not issubclass(EndedError, Exception)

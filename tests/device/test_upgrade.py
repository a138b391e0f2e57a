from collections.abc import Sequence
from dataclasses import replace

from convoy_device.condition import Condition, Held
from convoy_device.upgrade import STEADY_S, Pending, Verdict

PENDING = Pending("0.1.0", "0.2.0", 60.0, ("lenet",), 1, 7)
GOOD = Condition("board-1", "0.2.0", True, True, 1, 7, (Held("lenet", "1-3", "ready"),))


def judge(
    sights: Sequence[tuple[float, str, tuple[Condition, ...]]], pending: Pending = PENDING
) -> tuple[bool | None, str]:
    """The first verdict, and what was lacking then."""
    verdict = Verdict(pending, 0.0)
    said: bool | None = None
    for now, unit, boards in sights:
        said = verdict.look(unit, boards, now)
        if said is not None:
            break
    return said, verdict.reason


def always(unit: str, *boards: Condition, until: int = 70) -> list[tuple[float, str, tuple[Condition, ...]]]:
    return [(float(now), unit, boards) for now in range(until)]


def test_a_version_that_is_healthy_without_a_break_stays() -> None:
    assert judge(always("active", GOOD, until=int(STEADY_S)))[0] is None
    assert judge(always("active", GOOD, until=int(STEADY_S) + 1)) == (True, "")


def test_a_break_begins_the_wait_anew() -> None:
    sights = [(0.0, "active", (GOOD,)), (4.0, "activating", ()), (5.0, "active", (GOOD,)), (9.0, "active", (GOOD,))]
    assert judge(sights)[0] is None
    assert judge([*sights, (10.0, "active", (GOOD,))])[0] is True


def test_what_systemd_has_given_up_goes_at_once() -> None:
    assert judge([(1.0, "failed", ())]) == (False, "systemd has given it up")


def test_what_never_gets_ready_goes_at_the_end_of_the_window() -> None:
    assert judge(always("activating", until=60))[0] is None
    assert judge(always("activating")) == (False, "it is activating, not ready")
    lost = replace(GOOD, is_connected=False)
    assert judge(always("active", lost)) == (False, "no broker, trying again; lenet 1-3 is ready")
    assert judge(always("active", replace(GOOD, stuck="the fabric"))) == (False, "stuck: the fabric")


def test_what_says_nothing_or_is_the_old_version_goes() -> None:
    assert judge(always("active")) == (False, "it says nothing about its condition")
    said = judge(always("active", replace(GOOD, version="0.1.0")))
    assert said == (False, "version 0.1.0 runs, not 0.2.0")


def test_the_last_assignment_must_be_ready_again() -> None:
    testing = replace(GOOD, held=(Held("lenet", "1-3", "failed", "self-test"),))
    assert judge(always("active", testing)) == (False, "lenet 1-3 is failed (self-test)")
    assert judge(always("active", replace(GOOD, held=()))) == (False, "lenet ran before and does not now")


def test_what_the_controller_has_taken_away_meanwhile_need_not_run() -> None:
    assert judge(always("active", replace(GOOD, revision=8, held=())))[0] is True
    moved = replace(GOOD, epoch=2, revision=1, held=(Held("other", "2-1", "ready"),))
    assert judge(always("active", moved))[0] is True


def test_a_board_that_ran_nothing_need_only_be_ready() -> None:
    assert judge(always("active", replace(GOOD, held=())), replace(PENDING, served=()))[0] is True

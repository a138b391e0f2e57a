"""Counters of boards that begin anew with generations and sessions, made into ones that only grow."""

from __future__ import annotations

from convoy_controller.registry import Registry
from convoy_controller.stage_totals import StageTotals, advanced
from convoy_schema.messages.boards import Published, Pulse, StagePulse
from convoy_schema.names import Generation
from hypothesis import given
from hypothesis import strategies as st


def stage(counter: int, frames: int, deployment: str = "digits", **refused: int) -> StagePulse:
    return StagePulse(deployment, Generation(1, counter), frames, 2 * frames, 0, 0, 10 * frames, 10, refused)


def pulse(*stages: StagePulse, session: int = 7) -> Pulse:
    return Pulse(session, 1, 1, 1000, 0, 0, stages, Published())


def test_what_was_computed_before_anybody_listened_is_not_counted() -> None:
    first = pulse(stage(1, 1_000_000, late=5))
    totals = advanced(None, None, first)
    assert totals == {"digits": StageTotals()}
    totals = advanced(totals, first, pulse(stage(1, 1_000_003, late=6)))
    assert totals == {"digits": StageTotals(3, 6, 30, {"late": 1})}


def test_a_generation_that_leaves_takes_nothing_with_it_and_counts_nothing_twice() -> None:
    before = pulse()
    totals = advanced(None, None, before)
    for now in (
        pulse(stage(1, 1000)),
        pulse(stage(1, 1010), stage(2, 5)),
        pulse(stage(2, 20)),
    ):
        totals, before = advanced(totals, before, now), now
    assert totals["digits"].frames == 1010 + 20
    assert advanced(totals, before, pulse()) == {}


def test_a_restarted_board_counts_on() -> None:
    registry = Registry()
    registry.link_up(0.0)
    registry.pulse("b", pulse(), 0.0)
    registry.pulse("b", pulse(stage(1, 100)), 1.0)
    registry.pulse("b", pulse(stage(1, 30), session=8), 2.0)
    totals = registry.board("b").totals
    assert totals is not None
    assert totals["digits"].frames == 130


@given(st.lists(st.tuples(st.sampled_from(["run", "switch", "both", "restart", "pulse"]), st.integers(0, 50))))
def test_totals_are_what_was_done_between_the_first_pulse_and_the_last(steps: list[tuple[str, int]]) -> None:
    registry = Registry()
    registry.link_up(0.0)
    live, told, session, counter = {1: 0}, {1: 0}, 1, 1
    registry.pulse("b", pulse(stage(1, 0), session=1), 0.0)
    done = 0
    for kind, frames in steps:
        if kind == "run":
            for generation in live:
                live[generation] += frames
        elif kind == "switch":  # whatever the old one did after its last pulse nobody ever hears of
            counter += 1
            live = {counter: frames}
        elif kind == "both":
            counter += 1
            live = {max(live): live[max(live)], counter: frames}
        elif kind == "restart":
            session, live, told = session + 1, dict.fromkeys(live, 0), {}
        else:
            registry.pulse("b", pulse(*(stage(g, n) for g, n in live.items()), session=session), 0.0)
            done += sum(n - told.get(g, 0) for g, n in live.items())
            told = dict(live)
            totals = registry.board("b").totals
            assert totals is not None
            assert totals["digits"].frames == done
            assert totals["digits"].rows == 2 * done

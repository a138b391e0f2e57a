"""How long the link waits before it tries again, over any history of outages."""

from __future__ import annotations

from convoy_schema.backoff import BACKOFF_FIRST_S, BACKOFF_MOST_S, STABLE_S, Backoff
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.floats(0, 100)
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(SECONDS, SHARES)
def test_a_broker_that_was_away_is_found_within_as_long_again(outage_s: float, draws: list[float]) -> None:
    backoff = Backoff(BACKOFF_MOST_S, 0.0)
    now = 0.0
    for draw in draws:  # attempts fail at once, and each is followed by the wait that chance gives
        if now >= outage_s:
            break
        now += draw * backoff.bound_s(now)
    assert now <= outage_s + max(BACKOFF_FIRST_S, min(outage_s, BACKOFF_MOST_S))


@given(SECONDS)
def test_one_that_stays_away_is_asked_ever_more_rarely_up_to_a_bound(away_s: float) -> None:
    bound = Backoff(BACKOFF_MOST_S, 5.0).bound_s(5.0 + away_s)
    assert abs(bound - min(BACKOFF_MOST_S, max(BACKOFF_FIRST_S, away_s))) < 1e-9


@given(st.integers(1, 100))
def test_connections_that_end_at_once_double_the_bound_up_to_the_longest(times: int) -> None:
    backoff = Backoff(BACKOFF_MOST_S, 0.0)
    for now in range(times):
        backoff.ended(now, now + STABLE_S / 2)
    now = times - 1 + STABLE_S / 2
    assert backoff.bound_s(now) == min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(times, 10))
    backoff.ended(now, now + 2 * STABLE_S)
    assert backoff.bound_s(now + 2 * STABLE_S) == BACKOFF_FIRST_S


def test_failed_attempts_before_an_accepted_connection_count_no_longer() -> None:
    backoff = Backoff(BACKOFF_MOST_S, 0.0)
    assert backoff.bound_s(8.0) == 8.0
    backoff.ended(8.0, 8.0 + 2 * STABLE_S)
    assert backoff.bound_s(8.0 + 2 * STABLE_S) == BACKOFF_FIRST_S

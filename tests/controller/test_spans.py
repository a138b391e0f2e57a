"""How long history is kept: by time as long as the clock can be believed, and by what there is when it cannot."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import pytest
from convoy_controller.database.spans import EVENTS, HOURS, MINUTES, PARTITIONED, RAW, Kept, Span
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2030, 1, 1, 12, 30, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
KINDS = st.sampled_from(PARTITIONED)
DATES = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.just(timezone.utc))


def filled(kept: Kept, *ago: float) -> list[Span]:
    """The spans in which something lies, in widths before now."""
    return [kept.span(NOW - each * kept.width) for each in ago]


def test_a_week_begins_on_monday():
    assert EVENTS.span(NOW) == Span(
        datetime(2029, 12, 31, tzinfo=timezone.utc), datetime(2030, 1, 7, tzinfo=timezone.utc)
    )


@given(kept=KINDS, at=DATES)
def test_every_moment_lies_in_its_span(kept: Kept, at: datetime):
    span = kept.span(at)
    assert span.begin <= at < span.end
    assert span.end - span.begin == kept.width
    assert kept.span(span.end).begin == span.end


@given(kept=KINDS, at=DATES)
def test_those_that_should_be_there_are_few_and_meet(kept: Kept, at: datetime):
    wanted = kept.wanted(at)
    assert wanted[0] == kept.span(at)
    assert len(wanted) == 1 + kept.ahead <= 3
    assert all(one.end == next_one.begin for one, next_one in itertools.pairwise(wanted))


@pytest.mark.parametrize("kept", [RAW[0], MINUTES[0], HOURS[0]])
def test_without_a_break_it_is_kept_for_as_long_as_is_said(kept: Kept):
    newest = filled(kept, *range(kept.spans))
    oldest = kept.oldest_kept(newest, NOW)
    assert oldest is not None
    assert NOW - kept.keep - kept.width < oldest <= NOW - kept.keep


def test_what_is_there_of_a_young_fleet_stays():
    assert RAW[0].oldest_kept([], NOW) is None
    assert RAW[0].oldest_kept(filled(RAW[0], 0, 1), NOW) is None


def test_after_a_long_pause_what_was_before_it_goes_by_and_by():
    raw = RAW[0]
    assert raw.oldest_kept(filled(raw, 0, 1000, 1001), NOW) == raw.span(NOW - 1001 * HOUR).begin
    assert raw.oldest_kept(filled(raw, 0, 1, 2), NOW) == NOW - raw.keep


@given(kept=KINDS, ahead=st.floats(0, 36_500))
def test_a_clock_that_is_ahead_makes_nothing_old_but_what_it_has_itself_filled(kept: Kept, ahead: float):
    """The first moments after a leap: one new span holds something, and all but one of those before must stay."""
    wrong = NOW + timedelta(days=ahead)
    before = filled(kept, *range(kept.spans))
    newest = sorted({*before, kept.span(wrong)}, key=lambda span: span.begin)[-kept.spans :]
    oldest = kept.oldest_kept(newest, wrong)
    assert oldest is None or sum(span.end > oldest for span in before) >= kept.spans - 1


@given(kept=KINDS, now=DATES)
def test_nothing_younger_than_is_kept_may_go(kept: Kept, now: datetime):
    oldest = kept.oldest_kept(filled(kept, *(number * 1.5 for number in range(kept.spans))), now)
    assert oldest is None or oldest <= now - kept.keep

"""The carousel: what is asked for goes out once, in order, at its rate."""

import itertools

from convoy_controller.distributor import (
    GATHER_S,
    MOST_PAUSE_S,
    ROUND_TRIP_S,
    Distributor,
    SendBlock,
    Sending,
    SendManifest,
)
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "a" * 64
BOARD = "board-0"


def drain(distributor: Distributor, now: float, size: int = 1000) -> list[Sending]:
    sent = list[Sending]()
    while (block := distributor.next(now)) is not None:
        distributor.charge(now, size)
        sent.append(block)
    return sent


def test_many_boards_asking_for_a_block_get_it_once() -> None:
    distributor = Distributor()
    for number in range(32):
        distributor.want(f"board-{number}", DIGEST, (0, 1, 2), 0.0)
    assert drain(distributor, GATHER_S) == [SendBlock(DIGEST, n) for n in range(3)]


def test_a_first_request_waits_for_others() -> None:
    distributor = Distributor()
    distributor.want(BOARD, DIGEST, (0,), 0.0)
    assert drain(distributor, GATHER_S / 2) == []
    assert distributor.wake_at() == GATHER_S


def test_a_block_just_sent_is_not_repeated_within_a_round_trip_but_after_it() -> None:
    distributor = Distributor()
    distributor.want(BOARD, DIGEST, (0,), 0.0)
    assert len(drain(distributor, GATHER_S)) == 1
    distributor.want(BOARD, DIGEST, (0,), 2 * GATHER_S)
    assert drain(distributor, 1.0) == []
    distributor.want(BOARD, DIGEST, (0,), 1.0 + ROUND_TRIP_S)
    assert len(drain(distributor, 2.0)) == 1


def test_the_rate_is_kept() -> None:
    distributor = Distributor(rate=10_000)
    distributor.want(BOARD, DIGEST, tuple(range(100)), 0.0)
    now, sent = 1.0, 0
    while now < 3.0:
        sent += len(drain(distributor, now))
        now += 0.01
    assert 19 <= sent <= 22  # 20 kB in two seconds, and a tenth of a second's burst


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 10)), max_size=60))
def test_no_block_goes_out_twice_within_a_round_trip(asked: list[tuple[int, float]]) -> None:
    distributor = Distributor(rate=1e9)
    last: dict[int, float] = {}
    for block, now in sorted(asked, key=lambda item: item[1]):
        distributor.want(BOARD, DIGEST, (block,), now)
        for sent in drain(distributor, now, 1):
            assert isinstance(sent, SendBlock)
            assert now - last.get(sent.block, -1.0) >= ROUND_TRIP_S
            last[sent.block] = now


def test_what_is_asked_for_waits_and_goes_out_is_counted() -> None:
    distributor = Distributor()
    distributor.want(BOARD, DIGEST, (0, 1), 0.0)
    distributor.want(BOARD, DIGEST, (1, 2), 0.0)
    assert (distributor.asked, distributor.waiting, distributor.sent) == (4, 3, 0)
    drain(distributor, 1.0)
    assert (distributor.asked, distributor.waiting, distributor.sent) == (4, 0, 3)


def test_a_manifest_that_many_boards_ask_for_is_stated_once() -> None:
    distributor = Distributor()
    for number in range(32):
        distributor.want(f"board-{number}", DIGEST, (), 0.0)
    assert drain(distributor, GATHER_S) == [SendManifest(DIGEST)]
    assert (distributor.asked, distributor.sent) == (0, 0), "those count blocks"


def sent_at(boards: int, until: float) -> list[float]:
    """When block 0 goes out while `boards` ask for it over and over, each ten times a second."""
    distributor, found = Distributor(rate=1e9), list[float]()
    for tenth in range(int(10 * until)):
        for number in range(boards):
            distributor.want(f"board-{number}", DIGEST, (0,), tenth / 10)
        for hundredth in range(10):
            now = tenth / 10 + hundredth / 100
            found += [now for _ in drain(distributor, now, 1)]
    return found


def test_a_large_fleet_that_asks_over_and_over_hears_ever_more_rarely() -> None:
    times = sent_at(1000, 40.0)
    pauses = [round(after - before, 3) for before, after in itertools.pairwise(times)]
    assert pauses == sorted(pauses)
    assert MOST_PAUSE_S <= pauses[-1] <= MOST_PAUSE_S + 2 * GATHER_S
    assert len(times) <= 10


def test_a_small_fleet_does_not_wait_longer_than_its_size_is_worth() -> None:
    times = sent_at(3, 4.0)
    assert max(after - before for before, after in itertools.pairwise(times)) < 2 * ROUND_TRIP_S


def test_what_is_asked_for_during_a_pause_goes_out_at_its_end_and_holds_up_nothing_else() -> None:
    distributor = Distributor(rate=1e9)
    for number in range(1000):
        distributor.want(f"board-{number}", DIGEST, (0,), 0.0)
    drain(distributor, 1.0)
    distributor.want(BOARD, DIGEST, (0,), 1.3)
    assert len(drain(distributor, 1.4)) == 1, "the first repeat waits for a round trip alone"
    distributor.want(BOARD, DIGEST, (0,), 1.7)
    distributor.want(BOARD, DIGEST, (1,), 1.7)
    assert drain(distributor, 1.7 + GATHER_S) == [SendBlock(DIGEST, 1)]
    assert distributor.wake_at() == 1.4 + 2 * ROUND_TRIP_S
    assert drain(distributor, 1.9) == [SendBlock(DIGEST, 0)]


def test_a_fleet_that_has_been_quiet_waits_no_more() -> None:
    distributor = Distributor(rate=1e9)
    for now in (0.0, 1.0, 2.0, 3.0):
        for number in range(1000):
            distributor.want(f"board-{number}", DIGEST, (0,), now)
        drain(distributor, now + 0.5)
    distributor.want(BOARD, DIGEST, (0,), 120.0)
    assert len(drain(distributor, 120.0 + GATHER_S)) == 1
    distributor.want(BOARD, DIGEST, (0,), 120.5)
    assert len(drain(distributor, 120.5 + GATHER_S)) == 1

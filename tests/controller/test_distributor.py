"""The carousel: what is asked for goes out once, in order, at its rate."""

from convoy_controller.distributor import GATHER_S, ROUND_TRIP_S, Distributor, SendBlock
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "a" * 64


def drain(distributor: Distributor, now: float, size: int = 1000) -> list[SendBlock]:
    sent = []
    while (block := distributor.next(now)) is not None:
        distributor.charge(now, size)
        sent.append(block)
    return sent


def test_many_boards_asking_for_a_block_get_it_once() -> None:
    distributor = Distributor()
    for _ in range(32):
        distributor.want(DIGEST, (0, 1, 2), 0.0)
    assert drain(distributor, GATHER_S) == [SendBlock(DIGEST, n) for n in range(3)]


def test_a_first_request_waits_for_others() -> None:
    distributor = Distributor()
    distributor.want(DIGEST, (0,), 0.0)
    assert drain(distributor, GATHER_S / 2) == []
    assert distributor.wake_at() == GATHER_S


def test_a_block_just_sent_is_not_repeated_within_a_round_trip_but_after_it() -> None:
    distributor = Distributor()
    distributor.want(DIGEST, (0,), 0.0)
    assert len(drain(distributor, GATHER_S)) == 1
    distributor.want(DIGEST, (0,), 2 * GATHER_S)
    assert drain(distributor, 1.0) == []
    distributor.want(DIGEST, (0,), 1.0 + ROUND_TRIP_S)
    assert len(drain(distributor, 2.0)) == 1


def test_the_rate_is_kept() -> None:
    distributor = Distributor(rate=10_000)
    distributor.want(DIGEST, tuple(range(100)), 0.0)
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
        distributor.want(DIGEST, (block,), now)
        for sent in drain(distributor, now, 1):
            assert now - last.get(sent.block, -1.0) >= ROUND_TRIP_S
            last[sent.block] = now


def test_what_is_asked_for_waits_and_goes_out_is_counted() -> None:
    distributor = Distributor()
    distributor.want(DIGEST, (0, 1), 0.0)
    distributor.want(DIGEST, (1, 2), 0.0)
    assert (distributor.asked, distributor.waiting, distributor.sent) == (4, 3, 0)
    drain(distributor, 1.0)
    assert (distributor.asked, distributor.waiting, distributor.sent) == (4, 0, 3)

"""The arithmetic and the plans of the soak of real processes, without a process: each verdict can be reached."""

from __future__ import annotations

import itertools
import math
import os
import random
from dataclasses import replace

import numpy as np
import pytest
from convoy_simulator.ledger import Account, Ledger
from convoy_simulator.real.capacity import RECOVERY_S, Capacity
from convoy_simulator.real.disturbance import CALM, CUT, MOST_WAITING, Direction, Disturbance
from convoy_simulator.real.faults import LETHAL, REST_S, SPANS_S, TOGETHER_S, Kind, Role, Strike, Victims, draw
from convoy_simulator.real.memory import Memory, resident_bytes
from convoy_simulator.real.slope import BLOCK_S, LEAST_S, WARM_UP_S, Life, Slope, fit
from convoy_simulator.real.soak import SPARED_S, Options
from convoy_simulator.real.verdict import MOST_GROWTH_BYTES_PER_H, bars
from hypothesis import given
from hypothesis import strategies as st

MB = 1e6
BOARDS, GATEWAYS = ("board-1", "board-2", "board-3"), ("gateway-1", "gateway-2")
VICTIMS = Victims(BOARDS, GATEWAYS, BOARDS[2:], BOARDS[:1])


# The slope ---------------------------------------------------------------------------------------------------------


def life(
    seconds: float, bytes_per_h: float, level: float = 50 * MB, noise: float = 0.0, seed: int = 1, begin: float = 0.0
) -> Life:
    random_ = np.random.default_rng(seed)
    at = np.arange(0.0, seconds, 2.0)
    sizes = level + bytes_per_h * at / 3600 + random_.normal(0, noise or 1e-9, len(at))
    return list(zip((begin + at).tolist(), sizes.tolist(), strict=True))


@given(
    st.floats(-50 * MB, 50 * MB),
    st.lists(st.tuples(st.floats(450, 2000), st.floats(1 * MB, 500 * MB)), min_size=1, max_size=5),
)
def test_a_straight_line_is_found_whatever_the_lives_levels(rate: float, lives: list[tuple[float, float]]) -> None:
    found = fit([life(seconds, rate, level) for seconds, level in lives])
    assert found.bytes_per_h == pytest.approx(rate, rel=1e-3, abs=100.0)
    assert found.error_bytes_per_h < 100.0 + abs(rate) * 1e-3
    assert found.lives == len(lives)


def test_a_leak_in_noise_is_found_and_none_is_not() -> None:
    leaks = fit([life(3600, 10 * MB, noise=1 * MB)])
    assert leaks.exceeds(MOST_GROWTH_BYTES_PER_H)
    assert not fit([life(3600, 0.0, noise=1 * MB)]).exceeds(MOST_GROWTH_BYTES_PER_H)
    # Three times the bound over short lives, each with a level of its own.
    short = [life(480, 3 * MOST_GROWTH_BYTES_PER_H, level * 10 * MB, noise=0.05 * MB, seed=level) for level in range(9)]
    assert fit(short).exceeds(MOST_GROWTH_BYTES_PER_H)


def test_the_error_covers_what_it_says_even_where_noise_wanders() -> None:
    """Of a hundred flat processes whose noise is correlated over minutes, few may look as if they grew."""
    misses = 0
    for seed in range(100):
        steps = np.random.default_rng(seed).normal(0, 0.05 * MB, 1800)
        wandering = np.zeros(1800)
        for at in range(1, 1800):
            wandering[at] = 0.98 * wandering[at - 1] + steps[at]
        found = fit([[(2.0 * at, 50 * MB + size) for at, size in enumerate(wandering.tolist())]])
        misses += abs(found.bytes_per_h) > found.error_bytes_per_h
    assert misses <= 15


def test_what_a_process_takes_to_warm_up_is_no_growth() -> None:
    warming = [(at, 10 * MB + min(at / WARM_UP_S, 1.0) * 40 * MB) for at in np.arange(0, 1200, 2.0).tolist()]
    assert fit([warming]).bytes_per_h == pytest.approx(0.0, abs=1.0)
    assert fit([warming]).first_bytes == 10 * MB
    assert fit([warming]).most_bytes == 50 * MB


def test_too_little_says_nothing() -> None:
    assert fit([]).error_bytes_per_h == math.inf
    assert fit([life(WARM_UP_S + 2 * BLOCK_S, 100 * MB)]).lives == 0
    short = fit([life(WARM_UP_S + LEAST_S / 2, 1000 * MB)])
    assert short.bytes_per_h == pytest.approx(1000 * MB, rel=1e-3)
    assert not short.is_sure
    assert not short.exceeds(MOST_GROWTH_BYTES_PER_H)


def test_a_processs_memory_is_read_life_by_life() -> None:
    memory = Memory()
    for at in range(500):
        memory.look({"here": os.getpid(), "gone": 2**22 + 1}, float(at * 2))
    slopes = memory.slopes()
    assert set(slopes) == {"here"}
    assert slopes["here"].seen_s >= 600
    assert slopes["here"].most_bytes > 10 * MB
    assert resident_bytes(2**22 + 1) is None


# Capacity ----------------------------------------------------------------------------------------------------------


def test_one_fault_takes_no_capacity_unless_it_is_the_brokers() -> None:
    for role, name in ((Role.BOARD, "board-1"), (Role.CONTROLLER, "controller"), (Role.GATEWAY, "gateway-1")):
        capacity = Capacity(BOARDS, GATEWAYS)
        capacity.away(role, name, 10.0)
        assert capacity.was_there(11.0, 40.0), role
    capacity = Capacity(BOARDS, GATEWAYS)
    capacity.away(Role.BROKER, "broker", 10.0)
    assert not capacity.was_there(11.0, 40.0)
    capacity.back(Role.BROKER, "broker", 20.0)
    assert capacity.was_there(11.0, 20.0 + RECOVERY_S)
    assert not capacity.was_there(11.0, 19.0 + RECOVERY_S)


@pytest.mark.parametrize(
    ("gone", "is_there"),
    [
        ([(Role.GATEWAY, "gateway-1"), (Role.GATEWAY, "gateway-2")], False),
        ([(Role.BOARD, name) for name in BOARDS], False),
        ([(Role.BOARD, name) for name in BOARDS[:2]], True),
        ([(Role.BOARD, "board-1"), (Role.CONTROLLER, "controller")], False),
        ([(Role.BOARD, "board-1"), (Role.DATABASE, "database")], False),
        ([(Role.CONTROLLER, "controller"), (Role.DATABASE, "database")], True),
        ([(Role.GATEWAY, "gateway-1"), (Role.CONTROLLER, "controller")], True),
    ],
)
def test_what_the_fleet_needs(gone: list[tuple[Role, str]], is_there: bool) -> None:
    capacity = Capacity(BOARDS, GATEWAYS)
    for role, name in gone:
        capacity.away(role, name, 10.0)
    assert capacity.was_there(10.0, 40.0) is is_there
    for role, name in gone:
        capacity.back(role, name, 40.0)
    assert capacity.was_there(10.0, 60.0)


def test_what_is_struck_twice_is_back_when_both_are_over() -> None:
    capacity = Capacity(BOARDS, GATEWAYS)
    capacity.away(Role.BROKER, "broker", 10.0)
    capacity.away(Role.BROKER, "broker", 11.0)
    capacity.back(Role.BROKER, "broker", 12.0)
    assert not capacity.was_there(10.0, 20.0)
    capacity.back(Role.BROKER, "broker", 20.0)
    assert capacity.was_there(20.0, 21.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 12)), max_size=20), st.floats(0, 100), st.floats(0.1, 60))
def test_spans_of_capacity_are_those_of_a_fine_grid(turns: list[tuple[bool, float]], since: float, span: float) -> None:
    capacity, now, missing = Capacity(BOARDS, GATEWAYS), 0.0, []
    for _, step in turns:
        capacity.away(Role.BROKER, "broker", now)
        missing.append((now, now + step))
        now += step
        capacity.back(Role.BROKER, "broker", now)
        now += step
    edges = sorted({since, since + span, *(edge for pair in missing for edge in pair if since < edge < since + span)})
    longest = 0.0
    run = 0.0
    for begin, end in itertools.pairwise(edges):
        middle = (begin + end) / 2
        run = 0.0 if any(first <= middle < last for first, last in missing) else run + end - begin
        longest = max(longest, run)
    needed = min(RECOVERY_S, span)
    if abs(longest - needed) > 1e-6:
        assert capacity.was_there(since, since + span) is (longest > needed)


# Faults ------------------------------------------------------------------------------------------------------------


def strikes(seed: int, count: int, victims: Victims = VICTIMS) -> list[Strike]:
    return list(itertools.islice(draw(seed, 20.0, victims), count))


def test_a_seed_replays() -> None:
    assert strikes(7, 100) == strikes(7, 100)
    assert strikes(7, 100) != strikes(8, 100)


@given(st.integers(0, 10_000))
def test_strikes_come_one_in_each_span_and_nobody_is_struck_while_he_is(seed: int) -> None:
    found = strikes(seed, 60)
    free_at: dict[str, float] = {}
    for strike in found:
        assert (strike.number - 0.25) * 20 <= strike.begins_s <= strike.number * 20 + TOGETHER_S
        for fault in strike.faults:
            least, most = SPANS_S[fault.kind, fault.role]
            assert least <= fault.lasts_s <= most
            assert fault.victim in VICTIMS.of(fault.kind, fault.role)
            assert fault.begins_s >= free_at.get(fault.victim, 0.0)
            free_at[fault.victim] = fault.begins_s + fault.lasts_s + REST_S
    kinds = {(fault.kind, fault.role) for strike in found for fault in strike.faults}
    assert kinds == set(SPANS_S)
    assert any(len(strike.faults) > 2 for strike in found)


def test_nobody_is_killed_after_a_time_and_all_else_goes_on() -> None:
    found = list(itertools.islice(draw(3, 20.0, VICTIMS, 2000.0), 300))
    early = {fault.kind for strike in found for fault in strike.faults if fault.begins_s < 2000.0}
    late = {fault.kind for strike in found for fault in strike.faults if fault.begins_s > 2000.0 + TOGETHER_S}
    assert early - late == set(LETHAL)
    assert found[:90] == strikes(3, 90)
    assert Options().lethal_until_s == Options().requests / Options().rate - SPARED_S > SPARED_S
    assert Options(requests=20_000).lethal_until_s == Options(rate=0.0).lethal_until_s == math.inf


def test_what_cannot_be_had_is_left_out() -> None:
    kinds = {fault.kind for strike in strikes(1, 100, Victims(BOARDS, GATEWAYS)) for fault in strike.faults}
    assert kinds == {Kind.KILL, Kind.FREEZE, Kind.REPLACE, Kind.LOCK, Kind.AWAY}


# Lines -------------------------------------------------------------------------------------------------------------


def passed(disturbance: Disturbance, count: int = 1000, every_s: float = 0.01) -> list[tuple[float, bytes]]:
    way = Direction(random.Random(5))
    way.disturbance = disturbance
    arrived: list[tuple[float, bytes]] = []
    for number in range(count):
        way.enter(number.to_bytes(100, "big"), number * every_s)
    while way.due is not None:
        now = way.due
        arrived += [(now, packet) for packet in way.arrived(now)]
    return arrived


def test_a_calm_line_passes_everything_at_once_and_in_order() -> None:
    assert passed(CALM) == [(number * 0.01, number.to_bytes(100, "big")) for number in range(1000)]


def test_a_bad_line_loses_delays_and_is_thin() -> None:
    assert passed(CUT) == []
    assert 850 < len(passed(Disturbance(loss=0.1))) < 950
    late = passed(Disturbance(delay_s=0.2, jitter_s=0.1))
    assert len(late) == 1000
    delays = [at - int.from_bytes(packet, "big") * 0.01 for at, packet in late]
    assert 0.1 <= min(delays) < max(delays) <= 0.31
    assert [packet for _, packet in late] == sorted(packet for _, packet in late)
    thin = passed(Disturbance(bytes_per_s=5000))
    assert thin[-1][0] == pytest.approx(1000 * 100 / 5000)
    assert len(passed(Disturbance(delay_s=1.0), MOST_WAITING + 7, 0.0)) == MOST_WAITING


def test_netem_is_told_the_same() -> None:
    assert " ".join(CUT.netem()) == "limit 1000 loss 100.000%"
    assert " ".join(Disturbance(0.1, 0.02, 0.05, 125e3).netem()) == (
        "limit 1000 delay 100.000ms 20.000ms loss 5.000% rate 1000000bit"
    )


# The verdict -------------------------------------------------------------------------------------------------------

FLAT = Slope(0.0, 1 * MB, LEAST_S, 1, 50 * MB, 50 * MB)


def clean(count: int = 10) -> Account:
    ledger = Ledger({"m": {"n": np.arange(20, dtype=np.float32).reshape(20, 1, 1)}})
    for number in range(count):
        ledger.sends(number, "m", 30.0, 0.0)
        ledger.comes(number, np.full((1, 1), number, np.float32), "1-1", 1.0)
    return ledger.account()


def broken(
    account: Account, requests: int = 10, whole_s: float | None = 1.0, deaths: int = 0, slope: Slope = FLAT
) -> set[str]:
    return {bar.name for bar in bars(account, requests, whole_s, deaths, {"gateway": slope}) if not bar.is_kept}


def test_each_bar_can_be_broken() -> None:
    good = clean()
    assert broken(good) == set()
    assert broken(good, requests=11) == {"requests made"}
    assert broken(good, whole_s=None) == broken(good, whole_s=61.0) == {"whole after the last fault"}
    assert broken(good, deaths=1) == {"processes that ended by themselves"}
    assert broken(replace(good, lost=1)) == {"lost"}
    assert broken(replace(good, wrong=1)) == {"wrong"}
    assert broken(replace(good, duplicated=1)) == {"duplicated"}
    assert broken(replace(good, failed=1)) == {"failed while capacity was there"}
    assert broken(replace(good, excused=1)) == set()
    grown = replace(FLAT, bytes_per_h=MOST_GROWTH_BYTES_PER_H + 2 * MB)
    assert broken(good, slope=grown) == {"growth of gateway"}
    assert broken(good, slope=replace(grown, error_bytes_per_h=3 * MB)) == set()
    assert broken(good, slope=replace(grown, seen_s=LEAST_S - 1)) == set()

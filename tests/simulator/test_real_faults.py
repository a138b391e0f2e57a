"""What strikes whom and when: a seed replays, and nobody is struck while he is."""

from __future__ import annotations

import itertools
import math

from convoy_simulator.real.faults import LETHAL, REST_S, SPANS_S, TOGETHER_S, Kind, Strike, Victims, draw
from convoy_simulator.real.soak import SPARED_S, Options
from hypothesis import given
from hypothesis import strategies as st

BOARDS, GATEWAYS = ("board-1", "board-2", "board-3"), ("gateway-1", "gateway-2")
VICTIMS = Victims(BOARDS, GATEWAYS, BOARDS[2:], BOARDS[:1])


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

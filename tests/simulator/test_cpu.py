from __future__ import annotations

import pytest
from convoy_simulator.cpu import Cpu, Process


def test_work_waits_for_a_free_core() -> None:
    cpu = Cpu(2)
    assert [cpu.take(0.0, 1.0) for _ in range(4)] == [1.0, 1.0, 2.0, 2.0]
    assert cpu.take(10.0, 1.0) == 11.0
    assert cpu.busy_s == 5.0


def test_short_work_goes_first_and_makes_the_rest_late() -> None:
    cpu = Cpu(1)
    assert cpu.take(0.0, 1.0) == 1.0
    assert cpu.interrupt(0.5, 0.1) == pytest.approx(0.6)
    assert cpu.take(0.6, 1.0) == pytest.approx(2.1)


def test_where_many_compute_whoever_wakes_up_waits_for_a_turn() -> None:
    cpu = Cpu(2, slice_s=0.003)
    assert cpu.interrupt(0.0, 0.001) == pytest.approx(0.001)
    for _ in range(20):
        cpu.take(1.0, 0.1)
    assert cpu.interrupt(1.0, 0.001) == pytest.approx(1.0 + 10 * 0.003 + 0.001)
    assert cpu.interrupt(1.55, 0.001) == pytest.approx(1.55 + 5 * 0.003 + 0.001)
    assert cpu.interrupt(9.0, 0.001) == pytest.approx(9.001)


def test_long_work_takes_turns_where_many_compute_and_holds_nobody_up() -> None:
    cpu = Cpu(2, slice_s=0.003)
    assert cpu.share(0.0, 1.0) == 1.0
    for _ in range(19):
        cpu.take(2.0, 0.1)
    assert cpu.share(2.0, 1.0) == pytest.approx(2.0 + 10.0)
    assert cpu.take(2.0, 0.1) == pytest.approx(3.0)
    alone = Cpu(1)
    assert (alone.share(0.0, 1.0), alone.take(0.0, 1.0)) == (1.0, 2.0)


def test_a_slower_processor_takes_longer() -> None:
    assert Cpu(1, 12.0).take(0.0, 0.5) == 6.0


def test_whose_own_process_computes_finds_its_caches_as_it_left_them() -> None:
    cpu = Cpu(1, slice_s=1e-9, cold_s=0.5)
    own, other = Process(cpu), Process(cpu)
    assert own.take(0.0, 10.0) == 10.0
    assert own.interrupt(1.0, 0.1) == pytest.approx(1.1)
    assert other.interrupt(2.0, 0.1) == pytest.approx(2.6)
    assert own.interrupt(20.0, 0.1) == pytest.approx(20.1), "nobody computes any more"

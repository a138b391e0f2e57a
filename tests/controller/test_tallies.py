"""What the reconciler counts, by a fleet that loses boards."""

from __future__ import annotations

from dataclasses import replace

from convoy_controller.reconciler import SETTLE_S
from convoy_controller.tallies import Cause, Tallies
from reconciled_fleet import Fleet, deployed


def causes(fleet: Fleet) -> dict[Cause, int]:
    return {cause: count for (_, cause), count in fleet.reconciler.tallies.plans.items()}


def test_a_loss_lasts_from_the_last_words_of_the_board_until_the_deployment_serves_again() -> None:
    fleet = deployed(boards=3)
    name = next(iter(fleet.reconciler.deployments))
    assert causes(fleet) == {Cause.INITIAL: 1}
    last_heard = fleet.registry.board("b").fresh_at
    fleet.now += 4.0
    fleet.kill("b")
    fleet.step()
    assert fleet.reconciler.tallies.recovering(name) == last_heard
    assert name not in fleet.reconciler.tallies.recoveries
    fleet.answer()
    fleet.settle(6)
    assert sorted(fleet.serving()) == ["a", "c"]
    recovery = fleet.reconciler.tallies.recoveries[name]
    assert recovery.count == 1
    assert 4.0 < recovery.seconds <= fleet.now - last_heard
    assert causes(fleet) == {Cause.INITIAL: 1, Cause.LOST: 1}
    assert fleet.reconciler.tallies.recovering(name) is None


def test_a_board_that_comes_back_before_it_was_missed_is_no_loss() -> None:
    fleet = deployed(boards=2)
    fleet.settle()
    assert fleet.reconciler.tallies.recoveries == {}


def test_a_board_that_comes_back_makes_a_better_plan_and_no_recovery() -> None:
    fleet = deployed(boards=3)
    fleet.kill("b")
    fleet.settle(6)
    fleet.join("b")
    fleet.settle(int(SETTLE_S / 0.05) + 20)
    assert sorted(fleet.serving()) == ["a", "b", "c"]
    assert causes(fleet) == {Cause.INITIAL: 1, Cause.LOST: 1, Cause.BETTER: 1}
    (recovery,) = fleet.reconciler.tallies.recoveries.values()
    assert recovery.count == 1


def test_what_owners_change_is_told_from_what_happens() -> None:
    fleet = deployed(boards=2)
    (record,) = fleet.reconciler.deployments.values()
    fleet.reconciler.wanted(replace(record.intent, version="2"))
    fleet.settle(8)
    assert causes(fleet) == {Cause.INITIAL: 1, Cause.CHANGED: 1}


def test_generations_given_up_are_counted() -> None:
    fleet = Fleet(probe_passes=False)
    fleet.join("a", "b")
    fleet.reconciler.wanted(next(iter(deployed().reconciler.deployments.values())).intent)
    fleet.settle(8)
    (count,) = fleet.reconciler.tallies.abandoned.values()
    assert count >= 1
    assert causes(fleet)[Cause.INITIAL] >= count


def test_a_removed_deployment_leaves_no_counters() -> None:
    tallies = Tallies()
    tallies.planned("d", Cause.BETTER)
    tallies.abandoned["d"] += 1
    tallies.lost("d", 1.0)
    tallies.whole("d", 3.0)
    tallies.lost("d", 5.0)
    tallies.removed("d")
    assert not tallies.plans
    assert not tallies.abandoned
    assert not tallies.recoveries
    assert tallies.recovering("d") is None

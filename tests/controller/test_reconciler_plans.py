"""Plans that come later than they were asked for: what the reconciler takes of them, and what it asks anew."""

from __future__ import annotations

import pytest
from convoy_controller.candidate import PlanRequest, answered
from convoy_controller.deployment import MOST_DROPPED
from convoy_controller.effects import (
    PlanWanted,
    SaveGeneration,
)
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent
from reconciled_fleet import Fleet, deployed


def asks(fleet: Fleet, *names: str) -> PlanRequest:
    """A fleet whose first deployment waits for its plan."""
    fleet.join(*names)
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY, 2))
    return next_request(fleet)


def next_request(fleet: Fleet) -> PlanRequest:
    (wanted,) = [each for each in fleet.reconciler.reconcile(fleet.now) if isinstance(each, PlanWanted)]
    return wanted.request


def placed(fleet: Fleet) -> list[str]:
    found = [each.placement for each in fleet.reconciler.reconcile(fleet.now) if isinstance(each, SaveGeneration)]
    return [board for placement in found for board in placement.boards]


def test_a_plan_is_asked_for_once_and_taken_when_it_comes() -> None:
    fleet = Fleet()
    request = asks(fleet, "a", "b")
    assert fleet.reconciler.reconcile(fleet.now) == []
    fleet.reconciler.planned(answered(request))
    assert placed(fleet) == ["a", "b"]
    fleet.reconciler.planned(answered(request))  # once more changes nothing
    assert fleet.reconciler.reconcile(fleet.now) == []


@pytest.mark.parametrize("change", ["board", "session", "intent", "another deployment"])
def test_a_plan_that_rests_on_what_was_is_dropped_and_asked_anew(change: str) -> None:
    fleet = Fleet()
    request = asks(fleet, "a", "b")
    if change == "board":
        fleet.kill("b")
    elif change == "session":
        fleet.join("b")
    elif change == "intent":
        fleet.reconciler.wanted(Intent("d", "net", "2", Method.LIBRARY, 2))
    else:
        fleet.reconciler.wanted(Intent("c", "net", "1", Method.LIBRARY, 1))
        fleet.reconciler.planned(answered(next_request(fleet)))
        assert placed(fleet) == ["a"]
    fleet.reconciler.planned(answered(request))
    anew = next_request(fleet)
    assert anew != request
    fleet.reconciler.planned(answered(anew))
    assert placed(fleet) == (["a"] if change == "board" else ["a", "b"]) or change == "another deployment"


def test_what_happens_on_other_boards_makes_no_plan_stale() -> None:
    fleet = Fleet()
    fleet.join("a", "b")
    for name, board in (("c", "a"), ("d", "b")):
        fleet.reconciler.wanted(Intent(name, "net", "1", Method.LIBRARY, 1, board_names=(board,)))
    requests = [each.request for each in fleet.reconciler.reconcile(fleet.now) if isinstance(each, PlanWanted)]
    for request, board in zip(requests, ("a", "b"), strict=True):
        fleet.reconciler.planned(answered(request))
        assert placed(fleet) == [board]


def test_a_fleet_that_never_rests_is_planned_all_the_same_unless_the_plan_itself_is_void() -> None:
    fleet = Fleet()
    request = asks(fleet, "a", "b")
    for turn in range(MOST_DROPPED - 1):
        fleet.join(f"late-{turn}")
        fleet.reconciler.planned(answered(request))
        request = next_request(fleet)
    fleet.kill("b")
    fleet.reconciler.planned(answered(request))
    request = next_request(fleet)
    fleet.join("latest")
    fleet.reconciler.planned(answered(request))
    assert placed(fleet) == ["a", "late-0"]


def test_a_removed_deployment_needs_no_plan_any_more() -> None:
    fleet = Fleet()
    request = asks(fleet, "a", "b")
    fleet.reconciler.unwanted("d")
    fleet.reconciler.planned(answered(request))
    assert placed(fleet) == []
    fleet.reconciler.planned(answered(request))
    assert fleet.reconciler.deployments == {}


def test_what_would_be_no_better_is_not_planned_again_and_again() -> None:
    fleet = deployed(boards=0)
    fleet.settle(100)
    fleet.join("more")
    asked = []
    for _ in range(200):
        fleet.now += 0.05
        for effect in fleet.reconciler.reconcile(fleet.now):
            if isinstance(effect, PlanWanted):
                asked.append(effect.request)
                fleet.reconciler.planned(answered(effect.request))
    assert len(asked) == 1

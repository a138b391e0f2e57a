"""Boards that are drained or restarted: made before break, never placed upon meanwhile, and back by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_controller.database.records import BoardWish, DeploymentState, GenerationState
from convoy_schema.messages.desired import Role
from reconciled_fleet import Fleet, deployed


def wish(fleet: Fleet, board: str, **wanted: object) -> None:
    fleet.reconciler.heed(BoardWish(board, **wanted))  # type: ignore[arg-type]


def held(fleet: Fleet, board: str) -> list[Role]:
    return [assignment.role for assignment in fleet.desired[board].assignments]


def test_a_drained_board_serves_until_its_successors_do_and_then_holds_nothing() -> None:
    fleet = deployed(boards=2)
    leaver = fleet.serving()[0]
    first = fleet.feeds["gate"].feeds[0].serving
    fleet.stuck = {name for name in ("a", "b", "c") if name not in fleet.serving()}
    wish(fleet, leaver, drained=True)
    fleet.settle(20)
    assert fleet.feeds["gate"].feeds[0].serving == first  # the successor is not ready: nothing was taken away
    assert Role.SERVING in held(fleet, leaver)
    fleet.stuck.clear()
    fleet.settle()
    assert leaver not in fleet.serving()
    assert len(fleet.serving()) == 2
    assert held(fleet, leaver) == []
    assert GenerationState.ABANDONED not in fleet.saved.values()
    assert [event.board for event in fleet.events if event.kind == "board-free"] == [leaver]


def test_nothing_is_placed_on_a_drained_board_until_it_is_undrained() -> None:
    fleet = deployed(boards=3)
    wish(fleet, "b", drained=True)
    fleet.settle()
    assert sorted(fleet.serving()) == ["a", "c"]
    fleet.settle(100)  # it would long have been taken in as one more
    assert sorted(fleet.serving()) == ["a", "c"]
    fleet.kill("c")
    fleet.settle()
    assert fleet.serving() == ["a"]
    wish(fleet, "b")
    fleet.settle(100)
    assert sorted(fleet.serving()) == ["a", "b"]


def test_the_only_board_goes_on_serving_and_the_deployment_says_why() -> None:
    fleet = deployed(names=("a",))
    wish(fleet, "a", drained=True)
    fleet.settle(60)
    assert fleet.serving() == ["a"]
    assert fleet.states[-1].state is DeploymentState.SERVING
    assert "a is drained" in fleet.states[-1].message
    fleet.join("b")
    fleet.answer()
    fleet.settle(60)
    assert fleet.serving() == ["b"]
    assert held(fleet, "a") == []


def test_a_successor_in_the_making_gives_way_when_its_board_is_drained() -> None:
    fleet = deployed(boards=1)
    fleet.stuck = {"a", "b", "c"} - set(fleet.serving())
    fleet.reconciler.wanted(replace(fleet.reconciler.deployments["d"].intent, boards=2))
    fleet.settle(5)
    newcomer = next(name for name in sorted(fleet.stuck) if fleet.desired.get(name) and held(fleet, name))
    wish(fleet, newcomer, drained=True)
    fleet.settle(5)
    assert held(fleet, newcomer) == []
    fleet.stuck.clear()
    fleet.settle(60)
    assert newcomer not in fleet.serving()
    assert len(fleet.serving()) == 2


def test_a_restart_waits_until_the_board_holds_nothing_and_ends_by_itself() -> None:
    fleet = deployed(boards=2)
    leaver = fleet.serving()[0]
    fleet.awaited = ()
    fleet.stuck = {name for name in ("a", "b", "c") if name not in fleet.serving()}
    wish(fleet, leaver, restart_token="t-1")
    fleet.settle(10)
    assert fleet.desired[leaver].restart_token == ""
    fleet.stuck.clear()
    fleet.settle()
    assert (fleet.desired[leaver].restart_token, held(fleet, leaver)) == ("t-1", [])
    fleet.settle(60)
    assert leaver not in fleet.serving()  # not back before it has restarted
    fleet.restarted[leaver] = "t-1"
    fleet.join(leaver)
    fleet.answer()
    fleet.settle(5)
    assert [event.board for event in fleet.events if event.kind == "board-restarted"] == [leaver]
    assert not fleet.reconciler._leaving.leaves(leaver)
    fleet.reconciler.wanted(replace(fleet.reconciler.deployments["d"].intent, boards=3))
    fleet.settle(60)
    assert leaver in fleet.serving()
    assert fleet.desired[leaver].restart_token == "t-1"  # said on, and obeyed once


def test_a_forced_restart_is_told_at_once() -> None:
    fleet = deployed(boards=3)
    wish(fleet, "a", restart_token="t-1", forced=True)
    fleet.step()
    assert fleet.desired["a"].restart_token == "t-1"
    assert Role.SERVING in held(fleet, "a")


def test_a_board_that_never_held_anything_is_told_too() -> None:
    fleet = Fleet()
    fleet.join("a")
    wish(fleet, "a", restart_token="t-1")
    fleet.step()
    assert fleet.desired["a"].restart_token == "t-1"
    wish(fleet, "a")
    fleet.step()
    assert fleet.desired["a"].restart_token == ""


def test_a_new_controller_goes_on_where_the_old_one_was() -> None:
    fleet = deployed(boards=2)
    leaver = fleet.serving()[0]
    wish(fleet, leaver, restart_token="t-1")
    fleet.settle(60)
    again = Fleet(registry=fleet.registry)
    again.now, again.sessions = fleet.now, fleet.sessions
    again.reconciler.restore((), (leaver,), again.now)
    wish(again, leaver, restart_token="t-1")
    again.step()
    assert again.desired[leaver].restart_token == "t-1"


@pytest.mark.parametrize("board", ["a", "b", "c"])
def test_a_forgotten_board_is_wished_nothing_of(board: str) -> None:
    fleet = deployed(boards=3)
    wish(fleet, board, drained=True)
    fleet.reconciler.forget(board)
    assert fleet.reconciler._leaving.boards() == []

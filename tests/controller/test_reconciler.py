"""Deployments from intent to serving, through every loss: the core against a fleet that is nothing but its answers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from convoy_controller import planner
from convoy_controller.database.records import DeploymentState, GenerationState
from convoy_controller.effects import (
    DeploymentChanged,
    PublishDesired,
    SaveGeneration,
)
from convoy_controller.reconciler import DRAIN_S, READY_GRACE_S, SETTLE_S, STAGING_S
from convoy_schema.bundle import Method, ShellImage
from convoy_schema.messages.desired import Intent, Role
from convoy_schema.messages.gateways import (
    InFlight,
)
from convoy_schema.names import Generation
from reconciled_fleet import Fleet, deployed, model, network, reconciled


@pytest.mark.parametrize("method", [Method.ALLOCATE, Method.LIBRARY])
def test_an_intent_ends_in_serving_over_all_boards(method: Method) -> None:
    fleet = deployed(method, 3)
    assert len(fleet.serving()) == 3
    assert fleet.states[-1].state is DeploymentState.SERVING
    slots = [assignment.slots for desired in fleet.desired.values() for assignment in desired.assignments]
    assert all(slots) if method is Method.LIBRARY else not any(slots)


def test_without_news_nothing_is_said() -> None:
    fleet = deployed()
    assert fleet.reconciler.reconcile(fleet.now) == []


def test_a_generation_is_saved_before_it_is_published() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY))
    effects = reconciled(fleet.reconciler, 0.1)
    kinds = [type(effect) for effect in effects]
    assert kinds.index(SaveGeneration) < kinds.index(PublishDesired)


def test_no_board_is_told_anything_it_was_never_part_of() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.step()
    assert fleet.desired == {}


def test_a_lost_board_is_planned_around_at_once_and_nothing_is_fed_into_the_hole() -> None:
    fleet = deployed(boards=3)
    fleet.kill("b")
    fleet.step()
    assert fleet.feeds["gate"].feeds[0].serving is None
    fleet.answer()
    fleet.settle(6)
    assert sorted(fleet.serving()) == ["a", "c"]
    assert list(fleet.saved.values()).count(GenerationState.RETIRED) == 1


def test_a_board_that_comes_back_is_taken_in_after_a_while_without_a_pause() -> None:
    fleet = deployed(boards=3)
    fleet.kill("b")
    fleet.settle()
    fleet.join("b")
    for _ in range(int(SETTLE_S / 0.05) + 20):
        fleet.step()
        assert fleet.feeds["gate"].feeds[0].serving is not None
        fleet.answer()
    assert sorted(fleet.serving()) == ["a", "b", "c"]


def test_a_board_that_restarts_is_waited_for_before_it_is_planned_around() -> None:
    fleet = deployed(boards=3)
    before = fleet.feeds["gate"].feeds[0].serving
    fleet.join("b")  # a new session, nothing reported yet
    fleet.stuck.add("b")
    fleet.settle(int(READY_GRACE_S / 0.05) - 5)
    fleet.stuck.clear()
    fleet.settle()
    assert fleet.feeds["gate"].feeds[0].serving == before


def test_the_old_generation_drains_before_its_boards_let_go() -> None:
    fleet = deployed(boards=2)
    old = fleet.feeds["gate"].feeds[0].serving
    assert old is not None
    fleet.awaited = (InFlight(old.generation, 3),)
    fleet.reconciler.wanted(Intent("d", "net", "2", Method.LIBRARY, 2))

    def roles() -> set[Role]:
        assignments = [a for desired in fleet.desired.values() for a in desired.assignments]
        return {a.role for a in assignments if a.generation == old.generation}

    fleet.settle(10)
    assert roles() == {Role.DRAINING}
    fleet.awaited = ()
    fleet.settle(5)
    assert roles() == set()


def test_a_gateway_that_never_drains_holds_boards_only_so_long() -> None:
    fleet = deployed(boards=2)
    old = fleet.feeds["gate"].feeds[0].serving
    assert old is not None
    fleet.awaited = (InFlight(old.generation, 3),)
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.ALLOCATE, 2))
    fleet.settle(20)
    assert fleet.states[-1].state is DeploymentState.PAUSED
    fleet.settle(int(DRAIN_S / 0.05) + 20)
    assert fleet.states[-1].state is DeploymentState.SERVING


def test_another_shell_pauses_and_a_failure_goes_back_to_what_served() -> None:
    fleet = deployed(boards=2, names=("a", "b"))
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.ALLOCATE, 2))
    fleet.step()
    assert fleet.feeds["gate"].feeds[0].serving is None  # traffic waits
    fleet.fails = {"a": False, "b": False}
    fleet.answer()
    fleet.settle(5)
    fleet.fails = {}
    fleet.reconciler.deployments["d"].excluded.clear()
    fleet.settle(100)
    feed = fleet.feeds["gate"].feeds[0]
    assert feed.serving is not None
    methods = {a.intent.method for desired in fleet.desired.values() for a in desired.assignments}
    assert methods == {Method.LIBRARY}


def test_a_failed_probe_gives_the_generation_up_and_the_old_one_serves_on() -> None:
    fleet = deployed(boards=2)
    before = fleet.feeds["gate"].feeds[0].serving
    fleet.probe_passes = False
    fleet.reconciler.wanted(Intent("d", "net", "2", Method.LIBRARY, 2))
    fleet.settle(20)
    assert fleet.feeds["gate"].feeds[0].serving == before
    assert GenerationState.ABANDONED in fleet.saved.values()


def test_a_board_that_fails_for_good_is_left_out_and_said_why() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c")
    fleet.fails = {"b": False}
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY))
    fleet.settle(60)
    assert "b" not in fleet.serving()


def test_the_only_board_is_tried_again_when_its_failure_may_pass_and_left_out_when_it_may_not() -> None:
    for retryable, expected in ((True, DeploymentState.SERVING), (False, DeploymentState.PENDING)):
        fleet = Fleet()
        fleet.join("a")
        fleet.fails = {"a": retryable}
        fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY))
        fleet.settle(5)
        fleet.fails = {}
        fleet.settle(60)  # three seconds
        assert fleet.states[-1].state is expected
    assert "left out for now: board a: x: why" in fleet.states[-1].message


def test_a_board_that_makes_no_progress_is_given_up_in_time() -> None:
    fleet = Fleet()
    fleet.join("a", "b")
    fleet.stuck = {"b"}
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY, 2))
    fleet.settle(int(STAGING_S / 0.05) + 60)
    assert fleet.serving() == ["a"]


def test_a_deployment_without_a_fitting_board_says_what_it_waits_for() -> None:
    fleet = Fleet()
    fleet.join("a", shells=("fixed",))
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY))
    fleet.settle(3)
    assert fleet.states[-1].state is DeploymentState.PENDING
    assert "partitions" in fleet.states[-1].message


def test_an_unknown_model_is_said_and_found_later() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.reconciler.wanted(Intent("d", "net", "9", Method.LIBRARY))
    fleet.settle(3)
    assert fleet.states[-1].state is DeploymentState.FAILED
    assert "9" in fleet.states[-1].message


def test_a_model_that_boards_would_refuse_is_not_placed_and_what_serves_stays() -> None:
    fleet = deployed()
    serving = fleet.serving()
    fleet.reconciler.model_refused("net", "2", "bundle 1 of net was revoked")
    fleet.reconciler.wanted(Intent("d", "net", "2", Method.LIBRARY))
    fleet.settle(3)
    assert fleet.states[-1].message == "bundle 1 of net was revoked"
    assert (fleet.serving(), versions(fleet)) == (serving, {"1"})
    # Signed anew, say: it is placed at once, not when the next try would have been due.
    fleet.reconciler.model_available(model("2"))
    fleet.settle()
    assert fleet.states[-1].state is DeploymentState.SERVING
    assert versions(fleet) == {"2"}


def test_what_was_revoked_while_it_served_is_said_to_have_failed() -> None:
    fleet = deployed()
    fleet.reconciler.model_refused("net", "1", "bundle 1 of net was revoked")
    fleet.fails = dict.fromkeys("abc", False)
    fleet.answer()
    fleet.settle(3)
    assert fleet.states[-1].state is DeploymentState.FAILED
    assert fleet.states[-1].message == "bundle 1 of net was revoked"
    assert fleet.feeds["gate"].feeds[0].serving is None


def versions(fleet: Fleet) -> set[str]:
    return {assignment.intent.version for told in fleet.desired.values() for assignment in told.assignments}


def test_a_board_of_a_part_without_images_is_left_out_and_said_why() -> None:
    fleet = Fleet()
    fleet.join("a")
    for part, version in (("other", "1"), ("part", "2")):
        made = model(version)
        bundle = replace(made.bundle, shells=(ShellImage("partitions", part, "0" * 64),))
        fleet.reconciler.model_available(replace(made, bundle=bundle))
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY))
    fleet.settle(3)
    assert fleet.states[-1].state is DeploymentState.PENDING
    assert "a is a part, the images of net 1 are for other: publish it again" in fleet.states[-1].message
    assert not versions(fleet)
    fleet.reconciler.wanted(Intent("d", "net", "2", Method.LIBRARY))
    fleet.settle()
    assert fleet.states[-1].state is DeploymentState.SERVING


def test_a_removed_deployment_drains_and_its_boards_are_told_so() -> None:
    fleet = deployed(boards=2)
    fleet.reconciler.unwanted("d")
    fleet.settle(10)
    assert all(desired.assignments == () for desired in fleet.desired.values())
    assert fleet.feeds["gate"].feeds == ()
    assert fleet.states[-1].state is DeploymentState.REMOVED


def test_the_windows_of_two_gateways_share_the_queue() -> None:
    fleet = Fleet(gateways=("gate", "other"))
    fleet.join("a", "b")
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY))
    fleet.answer()
    fleet.settle()
    windows = [desired.feeds[0].serving.window for desired in fleet.feeds.values() if desired.feeds[0].serving]
    assert len(windows) == 2
    assert sum(windows) <= 64


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_goes_the_fleet_settles_on_who_is_there(seed: int) -> None:
    chance = random.Random(seed)
    fleet = deployed(chance.choice([Method.ALLOCATE, Method.LIBRARY]), chance.randint(0, 4), ("a", "b", "c", "d"))
    revisions: dict[str, int] = {}
    for _ in range(60):
        name = chance.choice("abcd")
        if name in fleet.dead:
            fleet.join(name)
        elif chance.random() < 0.3:
            fleet.kill(name)
        if chance.random() < 0.1:
            fleet.reconciler.wanted(Intent("d", "net", chance.choice("12"), Method.LIBRARY, chance.randint(0, 4)))
        fleet.step(chance.uniform(0, 2))
        if chance.random() < 0.8:
            fleet.answer()
        for board, desired in fleet.desired.items():
            assert desired.revision >= revisions.get(board, 0)
            revisions[board] = desired.revision
    fleet.join(*sorted(fleet.dead))
    fleet.settle(800)
    assert fleet.states[-1].state is DeploymentState.SERVING
    assert set(fleet.serving()) <= set("abcd")
    live = {a.generation for desired in fleet.desired.values() for a in desired.assignments}
    assert len(live) == 1, "one generation and nothing of the others"


# Which boards, and how many ------------------------------------------------------------------------------------------


def asked_for(*names: str, boards: int = 0, **more: object) -> Intent:
    return Intent("d", "net", "1", Method.LIBRARY, boards or len(names), board_names=names, **more)  # type: ignore[arg-type]


def test_only_boards_that_are_named_take_part_and_one_that_is_away_is_waited_for_by_name() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c")
    fleet.reconciler.wanted(asked_for("b", "x"))
    fleet.settle()
    assert fleet.serving() == ["b"]
    assert fleet.states[-1].message.endswith("; waits for x (offline)")
    fleet.join("x")
    fleet.settle(80)
    assert sorted(fleet.serving()) == ["b", "x"]
    assert "waits" not in fleet.states[-1].message
    fleet.kill("b")
    fleet.settle()
    assert fleet.serving() == ["x"]
    assert fleet.states[-1].message.endswith("; waits for b (offline)")


def test_with_none_of_the_named_boards_nothing_serves_and_the_message_says_whom_it_waits_for() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.join("y", shells=("fixed",))
    fleet.reconciler.wanted(asked_for("x", "y"))
    fleet.settle(5)
    assert fleet.states[-1].state is DeploymentState.PENDING
    assert fleet.states[-1].message == "waits for x (offline), y (without shell partitions)"
    assert fleet.desired == {}


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2), (2, 3)])
def test_scaling_prepares_the_new_boards_before_the_old_generation_drains(before: int, after: int) -> None:
    fleet = deployed(boards=before)
    old = fleet.feeds["gate"].feeds[0].serving
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY, after))
    fleet.step()
    assert fleet.feeds["gate"].feeds[0].serving == old, "the old one is fed until the new one is tested"
    fleet.answer()
    fleet.settle()
    assert len(fleet.serving()) == after
    assert "made room" not in "".join(effect.message for effect in fleet.states)


def test_a_spare_board_takes_over_and_is_not_missed_then() -> None:
    fleet = Fleet()
    fleet.join("a", "b", "c", "d")
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY, 4, spare=1))
    fleet.settle(80)
    assert len(fleet.serving()) == 3
    lost = fleet.serving()[0]
    fleet.kill(lost)
    fleet.settle()
    assert len(fleet.serving()) == 3
    assert lost not in fleet.serving()
    fleet.join(lost)
    fleet.settle(80)
    assert len(fleet.serving()) == 3


def test_more_spares_than_boards_are_refused_with_need_and_have() -> None:
    fleet = Fleet()
    fleet.join("a", "b")
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY, spare=2))
    fleet.settle(3)
    assert fleet.states[-1].state is DeploymentState.FAILED
    assert "2 boards can take part and 2 are to stay spare" in fleet.states[-1].message


# Several deployments -------------------------------------------------------------------------------------------------


def said(fleet: Fleet, name: str) -> DeploymentChanged:
    return [effect for effect in fleet.states if effect.name == name][-1]


def test_memory_that_others_hold_is_not_free_until_they_are_gone() -> None:
    fleet = Fleet()
    need = planner.whole_bytes(network(), planner.BoardModel(1e8, 2**29, None))
    fleet.join("a", memory_bytes=need + need // 2)
    for name in ("first", "second"):
        fleet.reconciler.wanted(Intent(name, "net", "1", Method.LIBRARY))
        fleet.settle()
    assert said(fleet, "first").state is DeploymentState.SERVING
    assert said(fleet, "second").state is DeploymentState.FAILED
    message = said(fleet, "second").message
    assert f"{need} of {need + need // 2} bytes and 1 partition held for first" in message, message
    fleet.reconciler.unwanted("first")
    fleet.settle()
    assert said(fleet, "second").state is DeploymentState.SERVING, "without waiting for the next try"


@pytest.mark.parametrize(("room", "pauses"), [(2.5, False), (1.5, True)])
def test_where_memory_cannot_hold_both_generations_the_old_one_leaves_first(room: float, pauses: bool) -> None:
    fleet = Fleet()
    need = planner.whole_bytes(network(), planner.BoardModel(1e8, 2**29, None))
    fleet.join("a", memory_bytes=int(room * need))
    for version in ("1", "2"):
        fleet.reconciler.wanted(Intent("d", "net", version, Method.LIBRARY))
        fleet.settle()
    assert fleet.states[-1].state is DeploymentState.SERVING
    assert fleet.states[-1].message == "generation 1-2"
    assert (DeploymentState.PAUSED in [effect.state for effect in fleet.states]) is pauses


def test_a_generation_that_lost_a_stage_makes_room_at_once_whatever_its_gateways_still_wait_for() -> None:
    fleet = Fleet()
    need = planner.whole_bytes(network(), planner.BoardModel(1e8, 2**29, None))
    fleet.join("a", "b", memory_bytes=int(1.2 * need))
    fleet.reconciler.wanted(Intent("d", "net", "1", Method.LIBRARY, 2))
    fleet.settle()
    assert len(fleet.serving()) == 2
    fleet.awaited = (InFlight(Generation(1, 1), 3),)
    fleet.kill("b")
    fleet.settle(10)
    assert DeploymentState.PAUSED in [effect.state for effect in fleet.states]
    assert fleet.serving() == ["a"]


def test_a_board_on_another_shell_for_others_is_not_taken_and_the_message_says_for_whom() -> None:
    fleet = Fleet()
    fleet.join("a")
    fleet.reconciler.wanted(Intent("first", "net", "1", Method.LIBRARY))
    fleet.settle()
    fleet.reconciler.wanted(Intent("second", "net", "1", Method.ALLOCATE))
    fleet.settle(5)
    assert said(fleet, "second").state is DeploymentState.PENDING
    assert "board a holds shell partitions for first" in said(fleet, "second").message
    fleet.join("b")
    fleet.settle()
    assert said(fleet, "second").state is DeploymentState.SERVING
    assert {a.intent.deployment for a in fleet.desired["b"].assignments} == {"second"}

"""What a board keeps on its disk and fetches, as the agent decides it: what stays, what goes, what is asked for."""

from __future__ import annotations

from dataclasses import replace

import board_models as models
from agent_bench import (
    COPIES,
    PLAIN_DIGITS,
    PROCESSOR,
    awake,
    deployed,
    wide,
)
from convoy_device import effects, events
from convoy_device.agent import UNREFERENCED_S
from convoy_device.events import Role
from convoy_device.verification import plan_stage
from convoy_schema.artifacts import ASK_AGAIN_S, WINDOW, cut, pack
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Role as Duty
from convoy_schema.names import Generation

# What stays and what goes --------------------------------------------------------------------------------------------


def test_what_desired_drops_is_deactivated_and_its_artifacts_stay_until_room_is_needed() -> None:
    bench = deployed(awake(facts=PROCESSOR), COPIES, models.alone(COPIES))
    held = set(bench.disk.artifacts)
    bench.pending.clear()
    bench.send(events.DesiredReceived(models.desired(revision=2)))
    assert bench.live == set()
    garbage = [effect for effect in bench.pending if isinstance(effect, effects.CollectGarbage)]
    assert garbage == [effects.CollectGarbage(frozenset(), frozenset())]
    bench.settle()
    assert bench.disk.artifacts == held
    assert bench.truth().assignments == ()


def test_what_nothing_refers_to_goes_after_a_while_and_what_the_new_assignment_shares_stays() -> None:
    bench = deployed(awake(facts=PROCESSOR), PLAIN_DIGITS, models.alone(PLAIN_DIGITS))
    held = set(bench.disk.artifacts)
    half, _ = models.place(PLAIN_DIGITS, (3,), ("board-1", "board-2"), generation=Generation(1, 2))
    bench.send(events.DesiredReceived(models.desired(half, revision=2)))
    bench.serve(PLAIN_DIGITS)
    assert bench.report(half.generation).phase is Phase.READY
    needed = set(plan_stage(half, PLAIN_DIGITS.verified, PROCESSOR).needs)
    assert needed & held
    assert held - needed
    bench.tick(UNREFERENCED_S - 1.0)
    bench.settle()
    assert bench.disk.artifacts == held | needed
    bench.tick(1.0)
    bench.settle()
    assert bench.disk.artifacts == needed
    # Wanted again, the rest is fetched again.
    again = models.alone(PLAIN_DIGITS, generation=Generation(1, 3))
    bench.send(events.DesiredReceived(models.desired(again, revision=3)))
    bench.serve(PLAIN_DIGITS)
    assert bench.report(again.generation).phase is Phase.READY
    assert bench.disk.artifacts >= held


def test_until_a_new_assignment_is_confirmed_nothing_of_the_last_good_one_goes() -> None:
    bench = deployed(awake(facts=PROCESSOR), COPIES, models.alone(COPIES))
    held = set(bench.disk.artifacts)
    wrong = replace(models.alone(COPIES, generation=Generation(1, 2)), bundle="0" * 64)
    bench.send(events.DesiredReceived(models.desired(wrong, revision=2)))
    for _ in range(5):
        bench.tick(UNREFERENCED_S)
        bench.settle()
    assert bench.disk.artifacts == held
    assert bench.disk.last_good == models.desired(models.alone(COPIES))


def test_an_agent_that_was_stopped_before_it_could_clear_does_so_when_it_is_back() -> None:
    bench = deployed(awake(facts=PROCESSOR), COPIES, models.alone(COPIES))
    bench.send(events.DesiredReceived(models.desired(revision=2)))
    bench.settle()
    assert bench.disk.artifacts
    again = awake(facts=PROCESSOR, disk=bench.disk)
    again.settle()
    again.tick(UNREFERENCED_S)
    again.settle()
    assert again.disk.artifacts == set()


def test_while_a_generation_is_staged_what_it_needs_is_held_beside_what_serves_and_let_go_when_it_is_given_up() -> None:
    first, other = models.alone(COPIES), PLAIN_DIGITS
    bench = deployed(awake(facts=PROCESSOR), COPIES, first)
    bench.pending.clear()
    staged = models.alone(other, role=Duty.STAGED, generation=Generation(1, 2))
    bench.send(events.DesiredReceived(models.desired(first, staged, revision=2)))
    bench.announce(other)
    kept = [effect for effect in bench.pending if isinstance(effect, effects.CollectGarbage)]
    needs = [frozenset(model.blobs) for model in (COPIES, other)]
    assert kept[-1].artifacts <= needs[0] | needs[1]
    assert kept[-1].artifacts & needs[0]
    assert kept[-1].artifacts & needs[1]
    bench.pending.clear()
    # Given up before it was there: nobody waits for its downloads any more, whether or not this can be saved.
    bench.send(events.DesiredReceived(models.desired(first, revision=3)))
    kept = [effect for effect in bench.pending if isinstance(effect, effects.CollectGarbage)]
    assert kept[-1].artifacts <= needs[0]


def test_what_made_room_for_others_is_fetched_again_when_it_is_needed() -> None:
    assignment = models.alone(COPIES)
    bench = deployed(awake(facts=PROCESSOR), COPIES, assignment)
    bench.send(events.DesiredReceived(models.desired(revision=2)))
    bench.settle()
    lost = frozenset([min(bench.disk.artifacts)])
    bench.disk.artifacts -= lost
    bench.send(events.StoreSeen(0, lost))
    bench.send(events.DesiredReceived(models.desired(assignment, revision=3)))
    bench.announce(COPIES)
    assert bench.report().phase is Phase.FETCHING
    bench.serve(COPIES)
    bench.settle()
    assert bench.report().phase is Phase.READY


# Fetching ------------------------------------------------------------------------------------------------------------


def test_at_most_a_window_of_blocks_is_outstanding() -> None:
    model = wide()
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(model, batch_rows=1))))
    bench.announce(model)
    digests = list(model.blobs)
    outstanding: set[tuple[str, int]] = set()
    packed = {digest: pack(model.blobs[digest]) for digest in digests}
    for digest in digests:
        bench.send(events.ManifestReceived(packed[digest][0]))
    for _ in range(100):
        outstanding |= {(digest, block) for digest, blocks in bench.wants() for block in blocks}
        bench.said.clear()
        assert len(outstanding) <= WINDOW
        if not outstanding:
            break
        digest, block = min(outstanding)
        outstanding.remove((digest, block))
        bench.send(events.BlockReceived(digest, block, cut(packed[digest][1], block)))
        bench.settle()
    assert bench.report().phase is Phase.READY


def test_what_does_not_come_is_asked_for_again_and_a_damaged_block_is_counted() -> None:
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES))))
    bench.announce(COPIES)
    (digest, content), *_ = COPIES.blobs.items()
    manifest, packed = pack(content)
    assert bench.wants() == [(digest, tuple(range(WINDOW)))]  # before it is known how many there are
    bench.send(events.ManifestReceived(manifest))
    bench.send(events.BlockReceived(digest, 0, b"damaged" + packed[7:]))
    bench.send(events.BlockReceived(digest, 5, b"of no such number"))
    bench.said.clear()
    bench.tick(ASK_AGAIN_S)
    assert (digest, (0,)) in bench.wants()
    bench.tick(30)
    assert bench.pulses()[-1].refused == {"block": 2}
    bench.send(events.BlockReceived(digest, 0, packed))
    bench.settle()
    assert digest in bench.disk.artifacts


def test_a_manifest_that_is_not_retained_is_asked_for() -> None:
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES))))
    bench.announce(COPIES)
    assert all(blocks for _, blocks in bench.wants())
    bench.said.clear()
    bench.tick(0.6)
    assert {digest for digest, blocks in bench.wants() if not blocks} == set(COPIES.blobs)


def test_a_new_bulk_connection_subscribes_and_asks_anew() -> None:
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES))))
    bench.announce(COPIES)
    (digest, content), *_ = COPIES.blobs.items()
    bench.send(events.ManifestReceived(pack(content)[0]))
    before = set(bench.filters[Role.BULK])
    bench.send(events.Disconnected(Role.BULK))
    bench.filters[Role.BULK].clear()
    bench.said.clear()
    bench.tick(60)
    assert bench.wants() == []
    bench.send(events.Connected(Role.BULK))
    assert bench.filters[Role.BULK] == before
    assert (digest, (0,)) in bench.wants()

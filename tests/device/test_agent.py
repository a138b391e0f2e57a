import random
from dataclasses import replace

import board_models as models
import pytest
from agent_bench import (
    BOARD,
    COPIES,
    COPIES_ALLOCATE,
    FACTS,
    LAYERS_SHELL,
    PART,
    PLAIN_DIGITS,
    PROCESSOR,
    SESSION,
    TOPICS,
    Bench,
    Disk,
    Logic,
    awake,
    deployed,
    wide,
)
from convoy_bitstreams import catalogue
from convoy_device import effects, events
from convoy_device.errors import FabricError, SelfTestError, StoreFullError
from convoy_device.events import Role
from convoy_device.verification import plan_stage
from convoy_schema.artifacts import cut, pack
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import BoardState, Command, Order, Phase, Presence
from convoy_schema.messages.desired import Assignment, Slot
from convoy_schema.messages.desired import Role as Duty
from convoy_schema.signing import SigningKey
from convoy_schema.topology import Kind
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st


def library_images(*places: tuple[str, Kind]) -> list[str]:
    shell = catalogue().shell("partitions", PART).digest
    return [shell, *(catalogue().module("partitions", PART, *place).digest for place in places)]


# The way to ready ----------------------------------------------------------------------------------------------------


def test_an_assignment_goes_through_its_phases_to_ready() -> None:
    bench = awake()
    assignment = models.alone(COPIES_ALLOCATE)
    bench.send(events.DesiredReceived(models.desired(assignment)))
    assert bench.report().phase is Phase.FETCHING
    assert bench.report().step == "waits for the announcement of copies 1"
    assert bench.filters[Role.BULK] == {TOPICS.trust(), TOPICS.model("copies", "1")}
    bench.announce(COPIES_ALLOCATE)
    assert TOPICS.model("copies", "1") not in bench.filters[Role.BULK]
    assert TOPICS.block(LAYERS_SHELL, "+") in bench.filters[Role.BULK]
    phases = []
    packed = {digest: pack(content) for digest, content in COPIES_ALLOCATE.blobs.items()}
    for digest in bench.manifests_awaited(packed):
        manifest, content = packed[digest]
        bench.send(events.ManifestReceived(manifest))
        for block in range(manifest.blocks):
            bench.send(events.BlockReceived(digest, block, cut(content, block)))
    while bench.pending:
        phases.append(bench.report().phase)
        bench.carry_out(bench.pending.pop(0))
    assert list(dict.fromkeys(phases)) == [
        Phase.FETCHING,
        Phase.VERIFYING,
        Phase.CONFIGURING,
        Phase.LOADING,
        Phase.TESTING,
        Phase.READY,  # what is left then is saving
    ]
    assert bench.live == {assignment.key}
    assert bench.logic.shell == "layers"
    assert bench.filters[Role.BULK] == {TOPICS.trust()}
    assert bench.disk.last_good == models.desired(assignment)
    assert bench.reported() == bench.truth()
    assert bench.report().done_bytes == bench.report().total_bytes > 0


def test_a_processor_needs_no_images() -> None:
    bench = deployed(awake(facts=PROCESSOR), COPIES, models.alone(COPIES))
    assert bench.report().phase is Phase.READY
    assert bench.logic == Logic()


def test_the_epoch_and_the_revision_are_reported_as_soon_as_they_are_obeyed() -> None:
    bench = awake()
    bench.send(events.DesiredReceived(models.desired(epoch=4, revision=2)))
    assert (bench.reported().epoch, bench.reported().revision) == (4, 2)
    bench.settle()
    assert bench.disk.epoch == 4


def test_a_change_of_role_disturbs_nothing() -> None:
    staged = models.alone(COPIES, role=Duty.STAGED)
    bench = deployed(awake(facts=PROCESSOR), COPIES, staged)
    bench.pending.clear()
    found = bench.send(events.DesiredReceived(models.desired(replace(staged, role=Duty.SERVING), revision=2)))
    assert not any(isinstance(effect, (effects.Deactivate, effects.LoadLayers)) for effect in found)
    assert bench.live == {staged.key}


def test_a_changed_assignment_of_the_same_name_is_brought_up_anew() -> None:
    whole = models.alone(COPIES)
    bench = deployed(awake(facts=PROCESSOR), COPIES, whole)
    changed = replace(whole, queue_frames=3)
    found = bench.send(events.DesiredReceived(models.desired(changed, revision=2)))
    assert effects.Deactivate(whole.key) in found
    assert bench.live == set()
    bench.settle()
    assert bench.live == {whole.key}


def test_layers_loaded_for_an_assignment_that_went_away_are_let_go() -> None:
    bench = awake(facts=PROCESSOR)
    assignment = models.alone(COPIES)
    deployed_until(bench, assignment, effects.LoadLayers)
    loading = bench.pending.pop(0)
    bench.send(events.DesiredReceived(models.desired(revision=2)))
    found = bench.send(events.Done(loading))
    assert effects.Deactivate(assignment.key) in found


def deployed_until(bench: Bench, assignment: Assignment, kind: type, model: models.Model = COPIES) -> None:
    """Carry effects out until the next one is of `kind`."""
    bench.send(events.DesiredReceived(models.desired(assignment)))
    bench.announce(model)
    for digest, content in model.blobs.items():
        manifest, packed = pack(content)
        bench.send(events.ManifestReceived(manifest))
        for block in range(manifest.blocks):
            bench.send(events.BlockReceived(digest, block, cut(packed, block)))
    while not isinstance(bench.pending[0], kind):
        bench.carry_out(bench.pending.pop(0))


# What it obeys -------------------------------------------------------------------------------------------------------


def test_a_stale_desired_state_is_refused_and_said() -> None:
    bench = awake()
    bench.send(events.DesiredReceived(models.desired(epoch=2, revision=5)))
    for epoch, revision in ((2, 4), (1, 99), (0, 0)):
        bench.send(events.DesiredReceived(models.desired(models.alone(COPIES), epoch=epoch, revision=revision)))
        assert bench.reported().blocked.startswith(f"refused desired state {'' if epoch == 2 else 'of epoch '}{epoch}")
        assert bench.truth().assignments == ()
    bench.send(events.DesiredReceived(models.desired(epoch=2, revision=6)))
    assert bench.reported().blocked == ""


def test_two_controllers_of_one_epoch_are_noticed() -> None:
    bench = awake()
    bench.send(events.DesiredReceived(models.desired(revision=5)))
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES), revision=5)))
    assert "two controllers share an epoch" in bench.reported().blocked
    assert bench.truth().assignments == ()


def test_a_desired_state_that_cannot_be_read_is_said_where_its_owner_looks() -> None:
    bench = awake()
    bench.send(events.Refused("desired", "Desired.epoch is missing"))
    assert bench.reported().blocked == "the desired state could not be read: Desired.epoch is missing"
    bench.tick(31)
    assert bench.pulses()[-1].refused == {"desired": 1}


def test_an_unsigned_bundle_fails_for_good_until_a_signed_one_comes() -> None:
    forged = models.copies(images=False)
    other = models.make(forged.topology, {}, key=SigningKey(Ed25519PrivateKey.generate()), images=False)
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES))))
    bench.announce(other)
    report = bench.report()
    assert (report.phase, report.code, report.retryable) == (Phase.FAILED, "signature", False)
    bench.tick(120)
    assert bench.report().phase is Phase.FAILED
    assert bench.disk.models == {}
    bench.announce(COPIES)
    bench.serve(COPIES)
    assert bench.report().phase is Phase.READY


def test_a_bundle_other_than_the_assigned_one_is_a_mismatch_that_can_pass() -> None:
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES))))
    bench.announce(models.make(COPIES.topology, {}, images=True))
    assert bench.report().code == "bundle-mismatch"
    assert bench.report().retryable
    bench.announce(COPIES)
    bench.serve(COPIES)
    assert bench.report().phase is Phase.READY


def test_a_shell_that_does_not_fit_fails_for_good_and_says_need_and_have() -> None:
    bench = awake(facts=replace(FACTS, shells=("fixed",)))
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES_ALLOCATE))))
    bench.announce(COPIES_ALLOCATE)
    report = bench.report()
    assert (report.phase, report.code, report.retryable) == (Phase.FAILED, "shell-mismatch", False)
    assert report.message == "method allocate needs shell 'layers', this board has fixed"
    assert bench.filters[Role.BULK] == {TOPICS.trust()}
    bench.tick(300)
    assert bench.report().phase is Phase.FAILED


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_failure_that_can_pass_is_retried_with_growing_pauses() -> None:
    bench = awake()
    deployed_until(bench, models.alone(COPIES_ALLOCATE), effects.LoadShell, COPIES_ALLOCATE)
    pauses = []
    for _ in range(9):
        effect = bench.pending.pop(0)
        assert isinstance(effect, effects.LoadShell)
        bench.fail(effect, FabricError("the port is busy"))
        assert bench.report().code == "fabric"
        assert bench.report().retryable
        began = bench.now
        while not bench.pending:
            bench.tick(0.25)
        pauses.append(bench.now - began)
        assert bench.report().phase is Phase.VERIFYING
        bench.carry_out(bench.pending.pop(0))
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1
    assert 29 <= pauses[-1] <= 31
    bench.settle()
    assert bench.report().phase is Phase.READY
    assert bench.report().code == ""


def test_a_failed_self_test_is_final_and_never_serves() -> None:
    bench = awake(facts=PROCESSOR)
    assignment = models.alone(COPIES)
    deployed_until(bench, assignment, effects.SelfTest)
    bench.fail(bench.pending.pop(0), SelfTestError("one bit is wrong"))
    bench.tick(600)
    bench.settle()
    assert bench.report().code == "self-test"
    assert bench.live == set()
    assert bench.disk.last_good is None


def test_a_full_store_fails_what_it_concerns_and_passes() -> None:
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES))))
    bench.announce(COPIES)
    (digest, content), *_ = COPIES.blobs.items()
    manifest, packed = pack(content)
    bench.send(events.ManifestReceived(manifest))
    bench.send(events.BlockReceived(digest, 0, packed))
    store = next(effect for effect in bench.pending if isinstance(effect, effects.StoreBlock))
    bench.pending.remove(store)
    bench.fail(store, StoreFullError("the disk is full"))
    assert (bench.report().phase, bench.report().code) == (Phase.FAILED, "store-full")
    bench.tick(1)
    assert bench.report().phase is Phase.FETCHING
    bench.serve(COPIES)
    assert bench.report().phase is Phase.READY


def test_an_artifact_damaged_on_disk_is_fetched_again() -> None:
    bench = awake(facts=PROCESSOR)
    deployed_until(bench, models.alone(COPIES), effects.VerifyArtifacts)
    bench.disk.artifacts.clear()
    bench.settle()
    assert bench.report().code == "artifact-damaged"
    bench.tick(1)
    bench.serve(COPIES)
    assert bench.report().phase is Phase.READY


def test_last_good_assignments_that_cannot_be_saved_are_saved_later() -> None:
    bench = awake(facts=PROCESSOR)
    deployed_until(bench, models.alone(COPIES), effects.SaveLastGood)
    bench.fail(bench.pending.pop(0), StoreFullError("the disk is full"))
    bench.settle()
    assert bench.disk.last_good is None
    assert bench.report().phase is Phase.READY  # it serves all the same
    bench.tick(6)
    bench.settle()
    assert bench.disk.last_good is not None


# Shells and modules --------------------------------------------------------------------------------------------------

SLOTS = (Slot("west", Kind.CONV2D), Slot("centre", Kind.MAX_POOL), Slot("east", Kind.DENSE))
DIGITS = models.with_images(models.digits(), library_images(*((slot.partition, slot.kind) for slot in SLOTS)))


def test_modules_go_into_their_slots() -> None:
    bench = deployed(awake(), DIGITS, models.alone(DIGITS, method=Method.LIBRARY, slots=SLOTS))
    assert bench.report().phase is Phase.READY
    assert {name: report.module for name, report in bench.logic.modules.items()} == {
        "west": Kind.CONV2D,
        "centre": Kind.MAX_POOL,
        "east": Kind.DENSE,
    }


def test_a_new_generation_leaves_the_modules_of_a_live_one_alone() -> None:
    old = models.alone(DIGITS, method=Method.LIBRARY, slots=SLOTS)
    bench = deployed(awake(), DIGITS, old)
    swapped = (Slot("west", Kind.IDENTITY), Slot("centre", Kind.MAX_POOL))
    copies = models.with_images(models.copies(), library_images(("west", Kind.IDENTITY), ("centre", Kind.MAX_POOL)))
    new = models.alone(
        copies, method=Method.LIBRARY, slots=swapped, generation=models.SECOND, role=Duty.STAGED, deployment="other"
    )
    before = dict(bench.logic.modules)
    deployed(bench, copies, old, new, revision=2)
    assert bench.live == {old.key, new.key}
    assert bench.logic.modules == before  # the executor swaps at run time instead


def test_a_restart_keeps_the_modules_that_are_there() -> None:
    first = deployed(awake(), DIGITS, models.alone(DIGITS, method=Method.LIBRARY, slots=SLOTS))
    again = Bench(disk=first.disk, logic=first.logic)
    again.wake()
    kinds = []
    while again.pending:
        kinds.append(type(again.pending[0]))
        again.carry_out(again.pending.pop(0))
    assert effects.Configure not in kinds
    assert effects.LoadShell not in kinds
    assert again.live == first.live


def test_another_shell_waits_until_nobody_uses_the_loaded_one() -> None:
    old = models.alone(COPIES_ALLOCATE)
    bench = deployed(awake(), COPIES_ALLOCATE, old)
    new = models.alone(DIGITS, method=Method.LIBRARY, slots=SLOTS, generation=models.SECOND, deployment="other")
    deployed(bench, DIGITS, old, new, revision=2)
    assert bench.live == {old.key}
    assert bench.report(models.SECOND).phase is Phase.CONFIGURING
    assert bench.truth().blocked == "waits: shell 'layers' is in use by demo 1-1"
    deployed(bench, DIGITS, new, revision=3)
    assert bench.live == {new.key}
    assert bench.logic.shell == "partitions"
    assert bench.truth().blocked == ""


# Starting over -------------------------------------------------------------------------------------------------------


def test_a_restart_serves_again_without_controller_and_broker() -> None:
    assignment = models.alone(COPIES)
    first = deployed(awake(facts=PROCESSOR), COPIES, assignment, revision=7)
    again = Bench(facts=PROCESSOR, disk=first.disk)
    again.wake()
    again.settle()
    assert again.live == {assignment.key}
    again.connect()
    assert (again.reported().epoch, again.reported().revision) == (1, 7)
    again.send(events.DesiredReceived(models.desired(revision=6)))
    assert again.reported().blocked.startswith("refused")


def test_an_epoch_once_heard_is_in_force_after_a_restart() -> None:
    bench = awake()
    bench.send(events.DesiredReceived(models.desired(models.alone(COPIES), epoch=5)))
    bench.settle()
    again = awake(disk=bench.disk)
    again.send(events.DesiredReceived(models.desired(epoch=4, revision=100)))
    assert again.reported().blocked == "refused desired state of epoch 4: epoch 5 is in force"


def test_a_restart_asks_only_for_the_blocks_it_lacks() -> None:
    model = wide()
    assignment = models.alone(model, batch_rows=1)
    packed = model.packed()
    disk = Disk(
        parts={digest: (manifest, set(range(1, manifest.blocks))) for digest, (manifest, _) in packed.items()},
        models={model.announcement.digest: model.announcement},
    )
    bench = awake(facts=PROCESSOR, disk=disk)
    bench.send(events.DesiredReceived(models.desired(assignment)))
    assert sorted(bench.wants()) == sorted((digest, (0,)) for digest in packed)
    assert 0 < bench.report().done_bytes < bench.report().total_bytes


# What it says --------------------------------------------------------------------------------------------------------


def test_a_connection_restates_everything() -> None:
    bench = awake()
    leaves = [said.leaf if isinstance(said, effects.Publish) else "pulse" for said in bench.said]
    assert leaves == ["state", "capability", "reported", "pulse"]
    assert bench.states() == [BoardState(Presence.ONLINE, SESSION)]
    assert all(said.retain for said in bench.said if isinstance(said, effects.Publish))
    assert bench.filters[Role.CONTROL] == {
        *(TOPICS.board(BOARD, leaf) for leaf in ("state", "desired", "command")),
        TOPICS.frames_to(BOARD),
    }


def test_pulses_come_each_second_with_a_live_stage_and_else_rarely() -> None:
    bench = awake(facts=PROCESSOR)
    bench.said.clear()
    bench.tick(60)
    assert [pulse.interval_ms for pulse in bench.pulses()] == [30_000, 30_000]
    deployed(bench, COPIES, models.alone(COPIES))
    bench.said.clear()
    bench.tick(10)
    assert [pulse.interval_ms for pulse in bench.pulses()] == [1000] * 10


def test_a_settled_board_does_nothing_with_time_but_say_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = awake(facts=PROCESSOR)
    deployed(bench, COPIES, models.alone(COPIES))
    bench.tick(2)
    looks: list[float] = []
    truth = bench.agent.truth
    monkeypatch.setattr(bench.agent, "truth", lambda: looks.append(bench.now) or truth())
    bench.said.clear()
    bench.tick(10)
    assert len(bench.pulses()) == 10
    assert not looks
    bench.send(events.CommandReceived(Command(Order.REBIRTH, 1000)))
    looks.clear()
    bench.said.clear()
    bench.tick(2)
    leaves = [said.leaf for said in bench.said if isinstance(said, effects.Publish)]
    assert leaves == ["state", "capability", "reported"]
    assert not looks
    bench.send(events.DesiredReceived(models.desired(revision=7)))
    assert looks
    bench.settle()
    assert bench.reported().revision == 7


def test_progress_is_said_at_most_four_times_a_second_and_phases_at_once() -> None:
    model = wide()
    bench = awake(facts=PROCESSOR)
    bench.send(events.DesiredReceived(models.desired(models.alone(model, batch_rows=1))))
    bench.announce(model)
    bench.said.clear()
    for digest, content in model.blobs.items():
        manifest, packed = pack(content)
        bench.send(events.ManifestReceived(manifest))
        for block in range(manifest.blocks - 1):
            bench.send(events.BlockReceived(digest, block, cut(packed, block)))
            bench.settle()
            bench.tick(0.01)
    said = [s for s in bench.said if isinstance(s, effects.Publish) and s.leaf == "reported"]
    assert len(said) <= 2
    bench.tick(0.3)
    assert bench.reported() == bench.truth()


def test_a_rebirth_restates_within_the_time_given() -> None:
    moments = set()
    for seed in range(8):
        bench = awake(seed=seed)
        bench.tick(10)
        bench.said.clear()
        bench.send(events.CommandReceived(Command(Order.REBIRTH, 500)))
        began = bench.now
        while not bench.states():
            bench.tick(0.01)
        assert bench.now - began <= 0.52
        moments.add(round(bench.now - began, 2))
        assert [s.leaf for s in bench.said if isinstance(s, effects.Publish)] == ["state", "capability", "reported"]
        assert len(bench.pulses()) == 1
    assert len(moments) > 3


def test_the_log_is_sent_from_the_record_that_is_known() -> None:
    found = awake().send(events.CommandReceived(Command(Order.COLLECT_LOG, log_session=5, log_after=17)))
    assert effects.SendLog(5, 17) in found


def test_a_second_daemon_of_the_same_name_ends_the_first() -> None:
    bench = awake()
    foreign = BoardState(Presence.ONLINE, SESSION + 1)
    bench.tick(0.9)
    bench.send(events.StateSeen(foreign, retained=False))  # perhaps an echo of the past
    bench.tick(0.2)
    bench.send(events.StateSeen(foreign, retained=True))
    bench.send(events.StateSeen(BoardState(Presence.ONLINE, SESSION), retained=False))
    bench.send(events.StateSeen(BoardState(Presence.OFFLINE, SESSION + 1), retained=False))
    assert bench.stopped is None
    bench.send(events.StateSeen(foreign, retained=False))
    assert bench.stopped == effects.Stop(f"another daemon runs as board board-1 (session {SESSION + 1})", 3)
    assert all(state.presence is Presence.ONLINE for state in bench.states())  # the name is the other one's now
    assert bench.send(events.Tick()) == []


def test_a_death_that_is_not_ours_is_corrected() -> None:
    bench = awake()
    bench.tick(10)
    bench.said.clear()
    bench.send(events.StateSeen(BoardState(Presence.OFFLINE, 5), retained=False))
    bench.tick(1.1)
    assert bench.states() == [BoardState(Presence.ONLINE, SESSION)]


def test_the_will_of_our_own_last_connection_is_corrected() -> None:
    bench = awake()
    bench.tick(10)
    bench.said.clear()
    bench.send(events.StateSeen(BoardState(Presence.OFFLINE, SESSION), retained=False))
    bench.tick(1.1)
    assert bench.states() == [BoardState(Presence.ONLINE, SESSION)]


def test_a_clean_stop_says_goodbye() -> None:
    bench = awake()
    bench.send(events.Stopping("SIGTERM"))
    assert bench.states()[-1] == BoardState(Presence.OFFLINE, SESSION, "SIGTERM")
    assert bench.stopped == effects.Stop("SIGTERM", 0)


def test_a_report_that_was_dropped_is_said_again() -> None:
    bench = awake()
    dropped = next(s for s in bench.said if isinstance(s, effects.Publish) and s.leaf == "reported")
    bench.said.clear()
    bench.send(events.Failed(dropped, FabricError("no room")))
    bench.tick(0.3)
    assert bench.reported() == bench.truth()


# Whatever happens ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_nothing_unverified_serves_and_the_end_is_what_was_desired(seed: int) -> None:
    chance = random.Random(seed)
    model = PLAIN_DIGITS
    bench = Bench(facts=PROCESSOR, seed=seed)
    bench.wake()
    packed = {digest: pack(content) for digest, content in model.blobs.items()}
    newest = (0, 0)
    obeyed = models.desired(epoch=0, revision=0)
    variants = [
        (),
        (models.alone(model),),
        (models.alone(model, role=Duty.DRAINING), models.alone(model, generation=models.SECOND)),
        (models.place(model, (1,), (BOARD, "b"), generation=models.SECOND)[0],),
    ]
    for _ in range(150):
        bench.now += chance.choice((0.0, 0.01, 0.3, 2.0))
        choice = chance.randrange(12)
        before = len(bench.pending)
        if choice == 0:
            epoch, revision = chance.randint(0, 2), chance.randint(0, 9)
            wanted = models.desired(*chance.choice(variants), epoch=epoch, revision=revision)
            bench.send(events.DesiredReceived(wanted))
            if (epoch, revision) > newest and epoch >= newest[0]:
                newest, obeyed = (epoch, revision), wanted
        elif choice == 1:
            bench.announce(model)
        elif choice in (2, 3, 4):
            digest = chance.choice(list(packed))
            manifest, content = packed[digest]
            bench.send(events.ManifestReceived(manifest))
            bench.send(events.BlockReceived(digest, 0, chance.choice((content, content, b"damaged"))))
        elif choice == 5:
            role = chance.choice(tuple(Role))
            bench.filters[role].clear()
            bench.send(chance.choice((events.Connected, events.Disconnected))(role))
        elif choice == 6 and bench.pending:
            # One lane answers in order, so only the oldest of a kind may fail.
            bench.fail(bench.pending.pop(0), chance.choice((FabricError("x"), SelfTestError("y"), StoreFullError("z"))))
        elif choice == 7:
            bench.send(events.Tick())
        elif bench.pending:
            bench.carry_out(bench.pending.pop(0))
        assert len(bench.pending) - before <= 40
        truth = bench.truth()
        if truth.epoch or truth.revision:
            assert (truth.epoch, truth.revision) == (obeyed.epoch, obeyed.revision)
        keys = {assignment.key for assignment in obeyed.assignments}
        assert bench.live <= keys
        ready = {(r.deployment, r.generation) for r in truth.assignments if r.phase is Phase.READY}
        assert bench.live == ready
        for assignment in obeyed.assignments:
            if assignment.key in bench.live:
                assert set(plan_stage(assignment, model.verified, PROCESSOR).needs) <= bench.disk.artifacts
    # And when the world is kind again, it gets there.
    for role in Role:
        bench.filters[role].clear()
        bench.send(events.Connected(role))
    final = models.desired(models.alone(model), epoch=3, revision=1)
    bench.send(events.DesiredReceived(final))
    bench.announce(model)
    for _ in range(5):
        bench.serve(model)
        bench.tick(40)
    if bench.report().code != "self-test":
        assert bench.report().phase is Phase.READY
        assert bench.disk.last_good == final

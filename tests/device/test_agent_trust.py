"""What a board believes of keys and floors: at once, after a power loss, and whatever its controller says."""

from __future__ import annotations

from dataclasses import replace

import board_models as models
from agent_bench import COPIES, PROCESSOR, TOPICS, Bench, awake, deployed
from convoy_device import effects, events
from convoy_device.errors import StoreError
from convoy_device.events import Role
from convoy_schema.bundle import sign_again
from convoy_schema.messages.boards import Phase
from convoy_schema.signing import (
    Delegation,
    Floor,
    Purpose,
    SignedFloor,
    SigningKey,
    Statements,
    delegate,
    raw_public,
    set_floor,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def key(serial: int, *, not_after: int = 0, site: str | None = None) -> SigningKey:
    """A key of its own for each serial, delegated by the tests' root."""
    private = Ed25519PrivateKey.from_private_bytes(serial.to_bytes(32, "big"))
    delegation = Delegation(raw_public(private.public_key()), serial, (Purpose.BUNDLE,), serial, site, not_after)
    return SigningKey(private, delegate(delegation, models.KEY))


def by(made: SigningKey, model: models.Model = COPIES) -> models.Model:
    return replace(model, announcement=sign_again(model.announcement, made))


def floor(lowest: int, model: str | None = "copies", signed_at: int = 1) -> SignedFloor:
    return set_floor(Floor(model, lowest, signed_at), models.SIGNER)


def told(bench: Bench, *floors: SignedFloor, by_key: SigningKey | None = None) -> Bench:
    delegations = () if by_key is None or by_key.delegation is None else (by_key.delegation,)
    bench.send(events.TrustReceived(Statements(delegations, floors)))
    bench.settle()
    return bench


def restarted(bench: Bench) -> Bench:
    """After a power loss: the disk is all that is left."""
    return awake(facts=PROCESSOR, disk=bench.disk)


def wanted(bench: Bench, model: models.Model = COPIES, revision: int = 1) -> Bench:
    bench.send(events.DesiredReceived(models.desired(models.alone(model), revision=revision)))
    return bench


def code(bench: Bench) -> str:
    report = bench.report()
    assert (report.phase is Phase.FAILED) == bool(report.code)
    return report.code


def test_a_delegated_key_is_as_good_as_the_root() -> None:
    bench = deployed(awake(facts=PROCESSOR), by(key(1)), models.alone(COPIES))
    assert bench.report().phase is Phase.READY
    assert bench.disk.statements.delegations == (key(1).delegation,)
    assert TOPICS.trust() in bench.filters[Role.BULK]


def test_a_replaced_key_ends_nothing_that_runs_and_starts_nothing_more() -> None:
    bench = told(deployed(awake(facts=PROCESSOR), by(key(1)), models.alone(COPIES)), by_key=key(2))
    assert bench.report().phase is Phase.READY
    assert bench.live
    again = restarted(bench)
    # What the old key signed is not believed even from the board's own disk; what the new one signed is, at once.
    assert again.report().phase is Phase.FETCHING
    assert TOPICS.model("copies", "1") in again.filters[Role.BULK]
    again.announce(by(key(1)))
    assert code(again) == "delegation-superseded"
    assert "must be signed anew (`convoy key rotate`)" in again.report().message
    again.announce(by(key(2)))
    again.settle()
    assert again.report().phase is Phase.READY
    assert restarted(again).report().phase is not Phase.FAILED


def test_a_revoked_bundle_stops_at_once_and_stays_refused_after_a_power_loss() -> None:
    bench = deployed(awake(facts=PROCESSOR), by(key(1)), models.alone(COPIES))
    assert bench.live
    told(bench, floor(2))
    assert code(bench) == "below-floor"
    assert "bundle 1 of copies (version 1) was revoked: serial 2 is the lowest" in bench.report().message
    assert not bench.live
    again = restarted(bench)
    assert code(again) == "below-floor"
    again.announce(by(key(1)))
    assert code(again) == "below-floor"
    # Nor does a controller that knows nothing of the floor, or a lower one, make it good.
    told(again, floor(1), by_key=key(1))
    again.announce(by(key(1)))
    again.tick(300)
    assert code(again) == "below-floor"
    assert not again.live


def test_a_rollback_to_what_is_not_revoked_is_taken() -> None:
    older = models.make(COPIES.topology, {}, images=False, version="older", serial=3)
    newer = models.make(COPIES.topology, {}, images=False, version="newer", serial=4)
    bench = told(awake(facts=PROCESSOR), floor(3))
    deployed(bench, newer, models.alone(newer), revision=1)
    assert bench.report().phase is Phase.READY
    deployed(bench, older, models.alone(older, generation=models.SECOND), revision=2)
    assert bench.report(models.SECOND).phase is Phase.READY


def test_a_floor_for_every_model_and_one_for_another() -> None:
    assert code(deployed(told(awake(facts=PROCESSOR), floor(2, None)), COPIES, models.alone(COPIES))) == "below-floor"
    other = told(awake(facts=PROCESSOR), floor(2, "other"))
    assert deployed(other, COPIES, models.alone(COPIES)).report().phase is Phase.READY


def test_a_key_that_has_ended_is_refused_once_something_later_was_signed() -> None:
    short = key(1, not_after=50)
    bench = wanted(told(awake(facts=PROCESSOR), floor(1, "other", signed_at=51)))
    bench.announce(by(short))
    assert code(bench) == "delegation-expired"
    # The time is kept too: nobody can wind a board back by cutting its power.
    again = wanted(restarted(bench), revision=2)
    again.announce(by(short))
    assert code(again) == "delegation-expired"


def test_forged_statements_are_counted_and_change_nothing() -> None:
    bench = deployed(awake(facts=PROCESSOR), by(key(1)), models.alone(COPIES))
    saved = bench.disk.statements
    told(bench, replace(floor(2), signature=bytes(64)), replace(floor(3), content=b"junk"))
    forged = replace(key(9), delegation=replace(key(9).delegation, signature=bytes(64)))  # type: ignore[type-var]
    told(bench, by_key=forged)
    assert bench.report().phase is Phase.READY
    assert bench.disk.statements == saved
    bench.tick(31)
    assert bench.pulses()[-1].refused == {"trust": 3}


def test_a_key_for_another_site_revokes_nothing_here() -> None:
    bench = told(awake(facts=PROCESSOR), by_key=key(9, site="elsewhere"))
    assert deployed(bench, by(key(1, site="main")), models.alone(COPIES)).report().phase is Phase.READY
    bench.tick(31)
    assert bench.pulses()[-1].refused == {"trust": 1}


def test_a_floor_that_the_disk_did_not_take_is_written_again() -> None:
    bench = awake(facts=PROCESSOR)
    bench.send(events.TrustReceived(Statements((), (floor(2),))))
    (effect,) = bench.pending
    assert isinstance(effect, effects.SaveTrust)
    bench.pending.clear()
    bench.fail(effect, StoreError("the disk is full"))
    assert code(wanted(bench, COPIES)) == ""
    bench.announce(COPIES)
    assert code(bench) == "below-floor", "it holds whether or not it is kept"
    bench.tick(31)
    bench.settle()
    assert bench.disk.statements.floors == (floor(2),)

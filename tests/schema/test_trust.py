"""What a root says is believed, only ever more of it, and nobody else's word is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from convoy_schema import codec
from convoy_schema.errors import (
    ConvoyError,
    DecodeError,
    DelegationError,
    DelegationExpiredError,
    DelegationSupersededError,
    FloorError,
    SignatureError,
)
from convoy_schema.signing import (
    MOST_FLOORS,
    Delegation,
    Floor,
    Purpose,
    SignedDelegation,
    SignedFloor,
    SigningKey,
    Statements,
    delegate,
    fingerprint,
    raw_public,
    set_floor,
)
from convoy_schema.trust import Trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

ROOT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_ROOT = Ed25519PrivateKey.from_private_bytes(bytes(32))
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
FRESH = Trust(ROOT.public_key(), "site-1")
BUNDLE, FLOOR = (Purpose.BUNDLE,), (Purpose.FLOOR,)


def key(
    serial: int,
    purposes: tuple[Purpose, ...] = BUNDLE,
    *,
    signed_at: int = 100,
    site: str | None = None,
    not_after: int = 0,
    root: Ed25519PrivateKey = ROOT,
    private: Ed25519PrivateKey = PRIVATE,
) -> SigningKey:
    """A delegated key."""
    delegation = Delegation(raw_public(private.public_key()), serial, purposes, signed_at, site, not_after)
    return SigningKey(private, delegate(delegation, root))


def signed(made: SigningKey) -> SignedDelegation:
    assert made.delegation is not None
    return made.delegation


def floor(lowest: int, model: str | None = "m", by: SigningKey | None = None, signed_at: int = 100) -> SignedFloor:
    return set_floor(Floor(model, lowest, signed_at), by or SigningKey(ROOT))


def test_the_root_signs_by_itself_and_through_whoever_it_delegates() -> None:
    assert FRESH.key_of(None, Purpose.BUNDLE) is FRESH.root
    found = FRESH.key_of(key(1).delegation, Purpose.BUNDLE)
    assert fingerprint(found) == fingerprint(PRIVATE.public_key())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (key(1, root=OTHER_ROOT), "one that it did not sign came"),
        (key(1, FLOOR), "delegation 1 is for floor, a key for bundle is needed"),
        (key(1, ()), "delegation 1 is for nothing"),
        (key(1, site="elsewhere"), "is for site elsewhere, this is site site-1"),
    ],
    ids=("root", "purpose", "no purpose", "site"),
)
def test_a_delegation_that_is_not_for_this_is_refused_by_what_is_wrong(made: SigningKey, message: str) -> None:
    with pytest.raises(DelegationError, match=message) as caught:
        FRESH.key_of(made.delegation, Purpose.BUNDLE)
    assert caught.value.code == "delegation"


def test_one_changed_byte_of_a_delegation_ends_it() -> None:
    good = signed(key(1))
    for at in range(len(good.content)):
        changed = bytearray(good.content)
        changed[at] ^= 1
        with pytest.raises(DelegationError):
            FRESH.with_delegation(replace(good, content=bytes(changed)))
    assert FRESH.with_delegation(good).delegation(Purpose.BUNDLE) is not None


def test_a_newer_delegation_revokes_the_older_one_for_the_same_purpose_alone() -> None:
    old, new, for_floors = key(1, (*BUNDLE, *FLOOR)), key(2, private=OTHER_ROOT), key(3, FLOOR)
    trust = FRESH.with_delegation(signed(old)).with_delegation(signed(new))
    with pytest.raises(DelegationSupersededError, match=r"delegation 1 was replaced by delegation 2") as caught:
        trust.key_of(old.delegation, Purpose.BUNDLE)
    assert caught.value.code == "delegation-superseded"
    trust.key_of(old.delegation, Purpose.FLOOR)
    trust.key_of(new.delegation, Purpose.BUNDLE)
    later = trust.with_delegation(signed(for_floors))
    with pytest.raises(DelegationSupersededError):
        later.key_of(old.delegation, Purpose.FLOOR)
    later.key_of(new.delegation, Purpose.BUNDLE)
    # What was heard late, or again, changes nothing.
    assert later.with_delegation(signed(old)) == later


def test_of_two_delegations_with_one_serial_the_first_that_was_heard_holds() -> None:
    first, second = key(4), key(4, private=OTHER_ROOT)
    trust = FRESH.with_delegation(signed(first)).with_delegation(signed(second))
    trust.key_of(first.delegation, Purpose.BUNDLE)
    with pytest.raises(DelegationSupersededError, match="replaced by another of the same serial"):
        trust.key_of(second.delegation, Purpose.BUNDLE)


def test_a_delegation_ends_when_something_signed_later_is_seen_and_by_no_clock() -> None:
    short = key(1, not_after=200)
    trust = FRESH.with_delegation(signed(short))
    assert trust.signed_time == 100
    trust.key_of(short.delegation, Purpose.BUNDLE)
    trust = trust.with_floor(floor(1, signed_at=200))
    trust.key_of(short.delegation, Purpose.BUNDLE)  # the last second is still its own
    trust = trust.with_floor(floor(2, signed_at=201))
    with pytest.raises(DelegationExpiredError, match=r"ended at 200 .* signed at 201 was seen") as caught:
        trust.key_of(short.delegation, Purpose.BUNDLE)
    assert caught.value.code == "delegation-expired"
    assert trust.with_floor(floor(3, signed_at=5)).signed_time == 201, "the time never falls"


def test_a_delegated_key_cannot_move_the_time_beyond_its_own_end() -> None:
    """Or a stolen one could end every other."""
    bounded, endless = key(1, FLOOR, not_after=300), key(2, FLOOR)
    assert FRESH.with_floor(floor(1, by=bounded, signed_at=9999)).signed_time == 300
    assert FRESH.with_floor(floor(1, by=endless, signed_at=9999)).signed_time == 100


def test_a_floor_is_only_ever_raised() -> None:
    trust = FRESH.with_floor(floor(5)).with_floor(floor(3))
    assert (trust.lowest("m"), trust.lowest("n")) == (5, 0)
    trust = trust.with_floor(floor(7, None))
    assert (trust.lowest("m"), trust.lowest("n")) == (7, 7)
    trust = trust.with_floor(floor(9))
    assert (trust.lowest("m"), trust.lowest("n")) == (9, 7)
    trust.check_floor("m", "v", 9)
    with pytest.raises(FloorError, match=r"bundle 8 of m \(version v\) was revoked: serial 9 is the lowest") as caught:
        trust.check_floor("m", "v", 8)
    assert caught.value.code == "below-floor"


def test_of_equal_floors_that_of_the_newer_key_is_kept_and_of_the_root_before_all() -> None:
    by_old, by_new, by_root = floor(5, by=key(1, FLOOR)), floor(5, by=key(2, FLOOR)), floor(5)
    trust = FRESH.with_floor(by_old).with_floor(by_new)
    assert trust.floors["m"] == by_new
    assert trust.with_floor(by_root).with_floor(by_new).floors["m"] == by_root
    assert trust.with_floor(floor(4)).floors["m"] == by_new


def test_a_floor_by_the_wrong_key_is_refused() -> None:
    for wrong, error in (
        (SigningKey(PRIVATE), SignatureError),
        (key(1), DelegationError),
        (key(1, FLOOR, root=OTHER_ROOT), DelegationError),
        (SigningKey(OTHER_ROOT, key(1, FLOOR).delegation), SignatureError),
    ):
        with pytest.raises(error):
            FRESH.with_floor(floor(5, by=wrong))
    good = floor(5)
    for at in range(len(good.content)):
        changed = bytearray(good.content)
        changed[at] ^= 1
        with pytest.raises(ConvoyError):
            FRESH.with_floor(replace(good, content=bytes(changed)))


def test_no_statement_passes_for_one_of_another_sort() -> None:
    content = codec.pack(Floor("m", 5, 100))
    bare = SignedFloor(content, ROOT.sign(content))
    as_delegation = SignedFloor(content, delegate(Delegation(b"", 1, (), 1), ROOT).signature)
    for forged in (bare, as_delegation):
        with pytest.raises(SignatureError):
            FRESH.with_floor(forged)
    with pytest.raises((DelegationError, DecodeError)):
        FRESH.with_delegation(SignedDelegation(floor(5).content, floor(5).signature))


def test_what_is_believed_of_many_statements_is_told_apart_from_what_is_not() -> None:
    statements = Statements((signed(key(1)), signed(key(2, root=OTHER_ROOT))), (floor(5), floor(6, by=key(9))), 999)
    trust, refused = FRESH.learn(statements)
    assert trust.lowest("m") == 5
    assert [error.code for error in refused] == ["delegation", "delegation"]
    assert trust.signed_time == 100, "what a peer says of the time is not signed"


def test_what_was_kept_is_believed_again_and_no_floor_falls_with_the_key_that_set_it() -> None:
    by = key(1, FLOOR, not_after=200)
    trust = FRESH.with_floor(floor(5, by=by)).with_delegation(signed(key(2, FLOOR, signed_at=500)))
    with pytest.raises(DelegationSupersededError):
        trust.key_of(by.delegation, Purpose.FLOOR)
    kept = codec.decode(Statements, codec.encode(trust.statements))
    assert FRESH.recall(kept) == trust
    assert FRESH.recall(replace(kept, signed_time=700)).signed_time == 700
    # Somebody who hears it only now has no reason to believe the old key.
    late, refused = FRESH.learn(kept)
    assert late.lowest("m") == 0
    assert [error.code for error in refused] == ["delegation-superseded"]
    # Nor does a disk stand for a signature.
    forged = replace(kept, floors=(replace(kept.floors[0], signature=bytes(64)),))
    assert FRESH.recall(forged).lowest("m") == 0


def test_floors_are_bounded() -> None:
    trust, refused = FRESH.learn(Statements((), tuple(floor(1, f"m-{number}") for number in range(MOST_FLOORS))))
    assert not refused
    with pytest.raises(SignatureError, match="at most 256 models"):
        trust.with_floor(floor(1, "one-more"))
    assert trust.with_floor(floor(2, "m-1")).lowest("m-1") == 2
    codec.encode(trust.statements)


_SAID = (
    *(signed(key(serial, purposes, signed_at=90 + serial)) for serial in (1, 2, 3) for purposes in (BUNDLE, FLOOR)),
    *(floor(lowest, model, signed_at=100 + lowest) for lowest in (1, 2, 3) for model in ("m", "n", None)),
)


@given(st.permutations(_SAID), st.integers(0, len(_SAID)))
def test_in_whatever_order_it_is_heard_and_however_often_the_same_is_believed(
    order: list[SignedDelegation | SignedFloor], restart_at: int
) -> None:
    """With a restart from what was kept somewhere on the way."""
    trust = FRESH
    for number, said in enumerate([*order, *order[:3]]):
        if number == restart_at:
            trust = FRESH.recall(codec.decode(Statements, codec.encode(trust.statements)))
        trust = trust.with_delegation(said) if isinstance(said, SignedDelegation) else trust.with_floor(said)
    assert (trust.lowest("m"), trust.lowest("n"), trust.lowest("other")) == (3, 3, 3)
    assert {purpose: found.serial for purpose in Purpose if (found := trust.delegation(purpose))} == {
        Purpose.BUNDLE: 3,
        Purpose.FLOOR: 3,
    }
    assert 93 <= trust.signed_time <= 103

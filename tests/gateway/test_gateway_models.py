"""The models that a gateway feeds: named by its orders, signed by who may sign, not revoked."""

from __future__ import annotations

import pytest
from convoy_controller.gateway.models import ModelCache
from convoy_schema import codec
from convoy_schema.bundle import Method, ModelAnnouncement, sign_again
from convoy_schema.errors import DelegationSupersededError, FloorError, SignatureError
from convoy_schema.messages.desired import Intent
from convoy_schema.messages.gateways import Feed, GatewayDesired, ModelRef
from convoy_schema.signing import (
    Delegation,
    Floor,
    Purpose,
    SignedDelegation,
    SigningKey,
    Statements,
    delegate,
    raw_public,
    set_floor,
)
from convoy_schema.topics import ModelTopic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gateway_models import KEY, TRUSTED, digits

TOPIC = ModelTopic("digits", "1")


def key(serial: int) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(serial.to_bytes(32, "big"))
    content = Delegation(raw_public(private.public_key()), serial, (Purpose.BUNDLE,), serial)
    return SigningKey(private, delegate(content, KEY))


def delegation(serial: int) -> SignedDelegation:
    made = key(serial).delegation
    assert made is not None
    return made


def by(serial: int) -> bytes:
    return codec.encode(sign_again(digits()[0], key(serial)))


@pytest.fixture
def cache() -> ModelCache:
    made, announcement = ModelCache(TRUSTED), digits()[0]
    ref = ModelRef("digits", "1", announcement.digest)
    made.follow(GatewayDesired(1, 1, (Feed(Intent("shop", "digits", "1", Method.ALLOCATE), ref, None),)))
    return made


def test_a_model_signed_anew_is_taken_though_the_old_signature_came_first(cache: ModelCache) -> None:
    cache.learn(Statements((delegation(2),)))
    with pytest.raises(DelegationSupersededError):
        cache.hear(TOPIC, by(1))
    assert not cache.models
    assert cache.hear(TOPIC, by(2))
    assert not cache.hear(TOPIC, by(2)), "it is known"


def test_a_newer_key_takes_nothing_away_that_is_fed(cache: ModelCache) -> None:
    assert cache.hear(TOPIC, by(1))
    cache.learn(Statements((delegation(2),)))
    assert list(cache.models) == [digits()[0].digest]


def test_a_revoked_model_is_not_taken_and_a_forged_floor_revokes_nothing(cache: ModelCache) -> None:
    forged = set_floor(Floor("digits", 9, 1), SigningKey(Ed25519PrivateKey.generate()))
    with pytest.raises(SignatureError):
        cache.learn(Statements((), (forged,)))
    assert codec.decode(ModelAnnouncement, by(1)).delegation == delegation(1)
    cache.learn(Statements((), (set_floor(Floor("digits", 9, 1), SigningKey(KEY)),)))
    with pytest.raises(FloorError):
        cache.hear(TOPIC, by(1))

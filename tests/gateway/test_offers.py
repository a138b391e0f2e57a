"""Who is asked for a name: two deployments of one model at one gateway, in virtual time."""

from __future__ import annotations

import dataclasses

import pytest
from convoy_controller.errors import NotServingError
from convoy_controller.gateway.models import ModelCache
from convoy_controller.gateway.offers import Offers
from convoy_controller.gateway.session import GatewaySession, Limits
from convoy_schema import codec
from convoy_schema.bundle import verify
from convoy_schema.messages.gateways import Feed
from convoy_schema.topics import ModelTopic
from gateway_models import TRUSTED, digits
from numpy import int8, zeros
from session_bench import desired, feed, route

ANNOUNCEMENT = digits()[0]
MODEL = verify(ANNOUNCEMENT, TRUSTED)
LIMITS = Limits(rows=8)


def served(name: str, generation: int = 1) -> Feed:
    made = feed(route(generation), model=MODEL)
    return dataclasses.replace(made, intent=dataclasses.replace(made.intent, deployment=name))


def unserved(name: str) -> Feed:
    return dataclasses.replace(served(name), serving=None)


class Desk:
    """A gateway told to feed `feeds`, none of them proved yet."""

    def __init__(self, *feeds: Feed) -> None:
        self.session = GatewaySession("gateway-a", 1, LIMITS)
        models = ModelCache(TRUSTED)
        self.offers = Offers(self.session, models)
        order = self.offers.desired = desired(1, *feeds)
        models.follow(order)
        models.hear(ModelTopic("digits", "1"), codec.encode(ANNOUNCEMENT))
        self.session.reconnected(0.0)
        self.session.configure(order, models.models, 0.0)
        self._numbers = iter(range(1, 1000))

    def asked(self, name: str) -> str:
        return self.offers.resolve(name)[0].intent.deployment

    def hold(self, deployment: str, rows: int) -> None:
        self.session.submit(next(self._numbers), deployment, zeros((rows, 1, 28, 28), int8), 9.0, 0.0)


def test_a_name_is_first_of_all_that_of_a_deployment_whatever_state_another_is_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(served("busy"), served("digits", 2))
    monkeypatch.setattr(desk.session, "is_ready", lambda name: name == "busy")
    desk.hold("digits", LIMITS.rows)
    assert (desk.asked("digits"), desk.asked("busy")) == ("digits", "busy")
    with pytest.raises(NotServingError, match="digits is known, but not ready"):
        desk.offers.check_ready("digits")
    desk.offers.check_ready("busy")


def test_a_deployment_that_serves_nothing_leaves_its_model_to_another() -> None:
    assert Desk(unserved("digits"), served("other")).asked("digits") == "other"


def test_of_deployments_alike_the_one_with_the_least_to_do_is_asked() -> None:
    desk = Desk(served("left"), served("right", 2))
    taken = []
    for _ in range(LIMITS.rows):
        taken.append(desk.asked("digits"))
        desk.hold(taken[-1], 2)
    assert taken == ["left", "right"] * 4
    assert desk.session.wait_s("left") == float("inf"), "it is full"

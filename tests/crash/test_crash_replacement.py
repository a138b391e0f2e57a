"""One model takes another's place under traffic, back and forth and by other methods: no answer mixes two of them.

What was asked for is kept by the test, what came back by the ledger: for each generation all answers must be exactly
those of the network that it was asked for, and no gateway goes back to one that it has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import convoy
import numpy as np
import pytest
from convoy_controller.bench.rig import Described
from convoy_controller.database.intents import request_deployment
from convoy_schema.bundle import Method
from convoy_schema.messages.desired import Intent
from crash_harness import CrashFleet
from other_networks import dense_network, with_other_parameters
from system_fleet import SPEC, logits_of, pictures, small_network
from timeline import Answer

#: Other parameters of the same network, and another network over the same input.
NETWORKS: dict[str, Described] = {
    "small": small_network(),
    "other": with_other_parameters(small_network()),
    "dense": dense_network(),
}
#: What takes whose place: (network, method, boards).
TURNS = (
    ("other", Method.LIBRARY, 3),
    ("dense", Method.LIBRARY, 2),
    ("small", Method.LIBRARY, 3),
    ("small", Method.ALLOCATE, 3),
    ("dense", Method.ALLOCATE, 1),
    ("other", Method.LIBRARY, 2),
)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[CrashFleet]:
    with CrashFleet(tmp_path) as made:
        yield made


def put(fleet: CrashFleet, network: str, method: Method, boards: int) -> str:
    """Ask for it in the place of what there is, and wait until it serves; its generation."""
    request_deployment(fleet.database, Intent("small", network, "1", method, boards, batch=8))
    fleet.wait_serving(boards)
    return fleet.serving_generation()


def check(answers: list[Answer], asked: dict[str, str]) -> None:
    """Each generation gave what it was asked for, and each gateway went from one to the next and never back."""
    seen = {answer.generation: answer.network for answer in answers}
    assert seen == {generation: asked[generation] for generation in seen}, (seen, asked)
    mixed = [answer for answer in answers if answer.network != asked[answer.generation]]
    assert mixed == []
    order = list(asked)
    for gateway in {answer.gateway for answer in answers}:
        switched: dict[int, float] = {}
        for answer in answers:
            if answer.gateway == gateway:
                switched.setdefault(order.index(answer.generation), answer.came_at)
        for answer in answers:
            newer = [at for turn, at in switched.items() if turn > order.index(answer.generation)]
            if answer.gateway == gateway and newer:
                assert answer.sent_at < min(newer), f"{gateway} went back to {answer.generation}: {answer}"


def replace_under_traffic(fleet: CrashFleet, requests: int, rate: float, turns: int) -> None:
    """At least so many replacements, and so many requests meanwhile."""
    fleet.serve_all(Method.LIBRARY)
    for name in ("other", "dense"):
        fleet.publish(NETWORKS[name], name)
    asked = {fleet.serving_generation(): "small"}
    with fleet.callers(rate=rate, networks=NETWORKS) as flow:
        turn = 0
        while turn < turns or flow.timeline.settled < requests:
            network, method, boards = TURNS[turn % len(TURNS)]
            asked[put(fleet, network, method, boards)] = network
            flow.wait_answers(20)
            turn += 1
    account = flow.account()
    print(f"{turn} replacements: {account}")
    assert account.sent >= requests
    assert not fleet.events("abandoned")
    check(flow.timeline.answers(), asked)
    # The last switch is complete: from here on all is of what was asked for last.
    generation, network = list(asked.items())[-1]
    images = pictures(64)
    for address in fleet.local.gateways.values():
        with convoy.connect(address) as client:
            result = client.infer(images, "small")
        assert result.generation == generation
        assert np.array_equal(result.array, logits_of(NETWORKS[network], SPEC, images))


@pytest.mark.long
def test_a_model_takes_anothers_place_under_traffic(fleet: CrashFleet) -> None:
    replace_under_traffic(fleet, 200, 80.0, 4)


@pytest.mark.long
def test_five_thousand_requests_while_models_and_methods_take_each_others_place(fleet: CrashFleet) -> None:
    replace_under_traffic(fleet, 5000, 100.0, 12)

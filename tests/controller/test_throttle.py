from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from convoy_controller.enrollment.service import BURST, create_app
from convoy_controller.throttle import Throttle
from enrollment_service import Desk
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=60))
def test_nobody_gets_more_than_the_burst_and_the_rate_allow(asked: list[tuple[str, float]]) -> None:
    throttle, now = Throttle(burst=3, rate_per_s=2), 0.0
    granted: dict[str, int] = {"a": 0, "b": 0}
    for address, later in asked:
        now += later
        granted[address] += throttle.wait_s(address, now) == 0
        assert granted[address] <= 3 + 2 * now + 1e-6


@given(st.integers(1, 20), st.floats(0.1, 10))
def test_who_waits_as_long_as_is_said_is_answered(burst: int, rate: float) -> None:
    throttle = Throttle(burst, rate)
    assert all(throttle.wait_s("a", 7.0) == 0 for _ in range(burst))
    wait_s = throttle.wait_s("a", 7.0)
    assert 0 < wait_s <= 1 / rate + 1e-9
    assert throttle.wait_s("b", 7.0) == 0, "another one is not held up"
    assert throttle.wait_s("a", 7.0 + wait_s + 1e-9) == 0


def test_addresses_are_forgotten_the_oldest_first() -> None:
    throttle = Throttle(burst=1, rate_per_s=0.001, most_callers=2)
    for address in ("a", "b", "c"):
        assert throttle.wait_s(address, 0.0) == 0
    assert throttle.wait_s("b", 0.0) > 0
    assert throttle.wait_s("a", 0.0) == 0, "forgotten, and so a new one"


def test_the_service_says_when_to_come_back(tmp_path: Path) -> None:
    async def asked(desk: Desk) -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(desk.office, "THE KEY"), client=("10.0.0.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://desk") as client:
            answers = []
            # A few more than the burst are answered while these take their time.
            while len(answers) < 20 * BURST and (not answers or answers[-1].status_code == 200):
                answers.append(await client.get("/v1/ca"))
            return answers

    desk = Desk(tmp_path)
    try:
        answers = asyncio.run(asked(desk))
    finally:
        desk.close()
    assert {answer.status_code for answer in answers[: int(BURST)]} == {200}
    refused = answers[-1]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "too many requests from 10.0.0.7: again in 0." in refused.json()["error"]

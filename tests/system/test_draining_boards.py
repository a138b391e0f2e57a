"""A board is drained and restarted under traffic, over the REST API, on real processes: nothing is lost or mixed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from convoy_controller.database import board_wishes, queries
from convoy_controller.database.views import Condition
from convoy_controller.local_fleet import wait_until
from convoy_controller.processes import Restart
from convoy_schema.bundle import Method
from system_fleet import PATIENCE_S, SystemFleet

pytestmark = pytest.mark.long


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    with SystemFleet(tmp_path) as made:
        made.local._restart = Restart()  # as systemd would
        yield made


def holders(fleet: SystemFleet) -> set[str]:
    return {replica.board for stage in fleet.plan().stages for replica in stage.replicas}


def ask(address: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = Request(f"{address}/api/v1{path}", method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urlopen(request, None if body is None else json.dumps(body).encode(), timeout=PATIENCE_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except HTTPError:
            raise
        except OSError:  # not listening yet
            assert time.monotonic() < deadline
            time.sleep(0.1)


def until(fleet: SystemFleet, happened: Callable[[], bool]) -> None:
    """Until then, with whatever ends started again."""

    def looked() -> bool:
        fleet.local.processes.poll(time.monotonic())
        return happened()

    assert wait_until(looked, PATIENCE_S, 0.05), fleet.complaint()


def session_of(fleet: SystemFleet, board: str) -> int:
    return queries.board(fleet.database, board).facts.session


def test_a_board_is_drained_put_back_and_restarted_under_traffic(fleet: SystemFleet) -> None:
    fleet.start(3)
    api = fleet.local.start_api()
    fleet.wait_boards("board-1", "board-2", "board-3")
    fleet.deploy(Method.LIBRARY, 2)
    with fleet.traffic() as flow:
        flow.wait_answers(20)
        leaver = sorted(holders(fleet))[0]
        assert ask(api, "PUT", f"/boards/{leaver}/drain")["drained"]
        until(fleet, lambda: queries.why(fleet.database, leaver).actual == "drained")
        fleet.wait_serving(2)
        assert leaver not in holders(fleet)
        flow.wait_answers(20)
        assert queries.why(fleet.database, leaver).condition is Condition.DRAINED
        ask(api, "DELETE", f"/boards/{leaver}/drain")

        restarted = sorted(holders(fleet))[0]
        before = session_of(fleet, restarted)
        for _ in range(2):  # a request that was repeated is one restart
            assert ask(api, "POST", f"/boards/{restarted}/restart", {"token": "once"})["restart_token"] == "once"
        until(fleet, lambda: not board_wishes.board_wishes(fleet.database, restarted).restart_pending)
        fleet.wait_serving(2)
        flow.wait_answers(20)
        after = session_of(fleet, restarted)
        assert after != before
        assert "restarts as its owner asked" in fleet.log(restarted)
        others = [name for name in fleet.local.boards if name != restarted]
        ask(api, "PUT", f"/boards/{others[0]}/drain")  # so that it must take part again
        until(fleet, lambda: restarted in holders(fleet) and fleet.deployment().ready_boards == 2)
        flow.wait_answers(20)
    flow.check()
    assert session_of(fleet, restarted) == after
    assert fleet.log(restarted).count("restarts as its owner asked") == 1
    assert not [event for event in fleet.events("abandoned") if "drained" not in event.sentence]
    assert [event.board for event in fleet.events("board-restarted")] == [restarted]

"""What is seen by watching boards for a while: when it begins, that it holds steady, and that it goes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from convoy_controller.database.records import SymptomKind
from convoy_controller.registry import Registry
from convoy_controller.symptoms import Found, Over, Symptoms
from convoy_schema.messages.boards import (
    AssignmentReport,
    BoardState,
    Phase,
    Presence,
    Published,
    Pulse,
    Reported,
    StagePulse,
)
from convoy_schema.messages.gateways import FeedReport, GatewayReported
from convoy_schema.names import Generation
from database_samples import capability

GENERATION = Generation(1, 1)


class Watched:
    """Boards that speak, and what is told of them from second to second."""

    def __init__(self, *boards: str) -> None:
        self.registry = Registry()
        self.registry.link_up(0.0)
        self.symptoms = Symptoms(self.registry, lambda board: f"nothing is sent to {board}")
        self.now = 0.0
        self.told: list[Found | Over] = []
        self._frames: dict[str, int] = {}
        for board in boards:
            self.registry.capability(board, capability(1), False, self.now)

    def look(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.told += self.symptoms.look(self.now)

    def pulse(
        self,
        board: str,
        uplink_us: int = 0,
        queued: int = 0,
        flows: bool = True,
        refused: Mapping[str, int] | None = None,
        round_trip_us: int = 300,
    ) -> None:
        self._frames[board] = frames = self._frames.get(board, 0) + int(flows)
        stage = StagePulse("digits", GENERATION, frames, frames, queued, 64 - queued, 1, 1, dict(refused or {}))
        uptime_ms = int(self.now * 1000)
        said = Pulse(1, 1, 1, 1000, uptime_ms, 1, (stage,), Published(), {}, None, uplink_us, round_trip_us)
        self.registry.pulse(board, said, self.now)

    def gateway(self, waiting_rows: int) -> None:
        feed = FeedReport("digits", GENERATION, (), (), waiting_rows=waiting_rows)
        self.registry.gateway_reported("gateway", GatewayReported(1, 1, 1, "", (feed,), Published()), False, self.now)

    def report(self, board: str, phase: Phase, done: int = 0, session: int = 1) -> None:
        said = AssignmentReport("digits", GENERATION, phase, "", done, 100)
        self.registry.board_reported(board, Reported(session, 1, 1, "", (said,), (), 0, 0), False, self.now)

    def kinds(self, board: str) -> list[tuple[SymptomKind, bool]]:
        """(kind, whether it began) of all that was told."""
        return [(said.kind, isinstance(said, Found)) for said in self.told if said.board == board]


def test_flapping_begins_with_the_third_return_and_ends_after_five_calm_minutes() -> None:
    fleet = Watched("board-1")
    for session in (2, 3, 4):
        fleet.look(60)
        assert fleet.kinds("board-1") == []
        fleet.registry.board_state("board-1", BoardState(Presence.OFFLINE, session - 1, "gone"), False, fleet.now)
        fleet.look(10)
        fleet.registry.board_state("board-1", BoardState(Presence.ONLINE, session), False, fleet.now)
    fleet.look(250)
    (found,) = fleet.told
    assert isinstance(found, Found)
    assert found.figures == {"returns": 3, "sessions": 3}
    assert found.ago_s == pytest.approx(141), "since the first return"
    fleet.look(60)
    assert fleet.kinds("board-1") == [(SymptomKind.FLAPPING, True), (SymptomKind.FLAPPING, False)]


def test_returns_hours_apart_are_no_flapping() -> None:
    fleet = Watched("board-1")
    for session in range(2, 12):
        fleet.registry.board_state("board-1", BoardState(Presence.OFFLINE, session - 1), False, fleet.now)
        fleet.registry.board_state("board-1", BoardState(Presence.ONLINE, session), False, fleet.now)
        fleet.look(400)
    assert fleet.told == []


def test_a_connection_that_breaks_again_and_again_flaps_in_one_session() -> None:
    fleet = Watched("board-1")
    for _ in range(3):
        fleet.registry.board_state("board-1", BoardState(Presence.OFFLINE, 1), False, fleet.now)
        fleet.look()
        fleet.registry.board_state("board-1", BoardState(Presence.ONLINE, 1), False, fleet.now)
    fleet.look()
    (found,) = fleet.told
    assert isinstance(found, Found)
    assert found.figures == {"returns": 3, "sessions": 0}


def test_the_controllers_own_lost_connection_is_nobodys_return() -> None:
    fleet = Watched("board-1")
    for _ in range(5):
        fleet.registry.link_lost()
        fleet.registry.link_up(fleet.now)
        fleet.registry.capability("board-1", capability(1), False, fleet.now)
        fleet.look()
    assert fleet.told == []


def test_a_fetch_that_stands_still_is_told_after_fifteen_seconds_and_not_one_that_is_slow() -> None:
    fleet = Watched("board-1", "board-2")
    fleet.report("board-1", Phase.FETCHING, 10)
    for done in range(4):
        fleet.report("board-2", Phase.FETCHING, done)
        fleet.registry.board_state("board-1", BoardState(Presence.ONLINE, 1), False, fleet.now)
        fleet.look(10)
    (found,) = fleet.told
    assert isinstance(found, Found)
    assert (found.board, found.kind) == ("board-1", SymptomKind.STALLED)
    assert found.ago_s == pytest.approx(15)
    assert found.figures["why"] == "nothing is sent to board-1"
    fleet.report("board-1", Phase.FETCHING, 11)
    fleet.look()
    assert fleet.kinds("board-1")[-1] == (SymptomKind.STALLED, False)


def test_what_is_ready_or_gone_is_not_stuck() -> None:
    fleet = Watched("board-1", "board-2")
    fleet.report("board-1", Phase.READY)
    fleet.report("board-2", Phase.FETCHING)
    fleet.registry.board_state("board-2", BoardState(Presence.OFFLINE, 1), False, fleet.now)
    fleet.look(60)
    assert fleet.told == []


def flow(fleet: Watched, seconds: int, slow_us: int, flows: bool = True) -> None:
    for _ in range(seconds):
        fleet.pulse("board-1", slow_us, flows=flows)
        fleet.pulse("board-2")
        fleet.pulse("board-3")
        fleet.look()


def test_a_slow_link_is_one_far_slower_than_its_peers_for_seconds() -> None:
    fleet = Watched("board-1", "board-2", "board-3")
    flow(fleet, 2, 0)
    flow(fleet, 2, 200_000)
    flow(fleet, 10, 0)
    assert fleet.told == [], "two seconds are none"
    flow(fleet, 6, 200_000)
    assert fleet.kinds("board-1") == [(SymptomKind.SLOW_LINK, True)]
    found = fleet.told[0]
    assert isinstance(found, Found)
    assert found.figures == {"of": "uplink", "us": 200_000, "peers_us": 0}
    # Around the limit it neither goes nor comes back; well below it, it goes.
    for us in (15_000, 25_000, 11_000, 30_000) * 5:
        flow(fleet, 1, us)
    assert len(fleet.told) == 1
    flow(fleet, 8, 1_000)
    assert fleet.kinds("board-1") == [(SymptomKind.SLOW_LINK, True), (SymptomKind.SLOW_LINK, False)]
    assert fleet.kinds("board-2") == fleet.kinds("board-3") == []


def test_a_broker_that_is_far_for_one_board_only_makes_its_link_slow() -> None:
    fleet = Watched("board-1", "board-2", "board-3")
    for _ in range(6):
        fleet.pulse("board-1", round_trip_us=600_000)
        fleet.pulse("board-2")
        fleet.pulse("board-3", round_trip_us=40_000)
        fleet.look()
    (found,) = fleet.told
    assert isinstance(found, Found)
    assert (found.board, found.figures["of"], found.figures["us"]) == ("board-1", "round-trip", 600_000)


def test_links_that_are_equally_slow_are_not_told() -> None:
    fleet = Watched("board-1", "board-2", "board-3")
    for _ in range(20):
        for board in ("board-1", "board-2", "board-3"):
            fleet.pulse(board, 100_000)
        fleet.look()
    assert fleet.told == []


def test_without_frames_a_slow_link_stays_told_for_half_a_minute() -> None:
    fleet = Watched("board-1", "board-2", "board-3")
    flow(fleet, 6, 200_000)
    flow(fleet, 20, 0, flows=False)
    assert fleet.kinds("board-1") == [(SymptomKind.SLOW_LINK, True)]
    flow(fleet, 15, 0, flows=False)
    assert fleet.kinds("board-1")[-1] == (SymptomKind.SLOW_LINK, False)


def test_rare_frames_tell_of_a_slow_link_too() -> None:
    fleet = Watched("board-1", "board-2", "board-3")
    for _ in range(2):
        flow(fleet, 1, 200_000)
        flow(fleet, 4, 0, flows=False)
    assert fleet.kinds("board-1") == [(SymptomKind.SLOW_LINK, True)]


def press(fleet: Watched, seconds: int, waiting: int, queued: int) -> None:
    for _ in range(seconds):
        fleet.gateway(waiting)
        fleet.pulse("board-1", queued=queued)
        fleet.pulse("board-2")
        fleet.look()


def test_overload_is_what_waits_outside_while_the_slowest_boards_queue_is_full() -> None:
    fleet = Watched("board-1", "board-2")
    press(fleet, 10, waiting=0, queued=60)
    assert fleet.told == [], "a full window by itself is how it should be"
    press(fleet, 10, waiting=500, queued=3)
    assert fleet.told == [], "what waits, waits for something else"
    press(fleet, 2, waiting=500, queued=60)
    press(fleet, 4, waiting=0, queued=0)
    assert fleet.told == [], "a burst is no overload"
    press(fleet, 6, waiting=500, queued=60)
    assert fleet.kinds("board-1") == [(SymptomKind.OVERLOADED, True)]
    for _ in range(10):
        press(fleet, 1, waiting=1, queued=20)
        press(fleet, 1, waiting=0, queued=60)
    assert len(fleet.told) == 1
    press(fleet, 7, waiting=0, queued=1)
    assert fleet.kinds("board-1") == [(SymptomKind.OVERLOADED, True), (SymptomKind.OVERLOADED, False)]
    assert fleet.kinds("board-2") == []


def test_frames_refused_for_want_of_room_are_overload_too() -> None:
    fleet = Watched("board-1")
    for count in range(8):
        fleet.pulse("board-1", refused={"queue": 10 * count, "budget": 5})
        fleet.look()
    (found,) = fleet.told
    assert isinstance(found, Found)
    assert (found.kind, found.figures["refused"]) == (SymptomKind.OVERLOADED, 10)


def test_a_version_out_of_range_is_told_at_once_and_until_the_board_is_understood() -> None:
    fleet = Watched()
    fleet.registry.board_foreign("board-1", 3, 2, fleet.now)
    fleet.look()
    fleet.registry.board_foreign("board-1", 3, 2, fleet.now)
    fleet.look(100)
    (found,) = fleet.told
    assert isinstance(found, Found)
    assert found.figures == {"current": 3, "oldest": 2}
    fleet.registry.capability("board-1", capability(5), False, fleet.now)
    fleet.look()
    assert fleet.kinds("board-1") == [(SymptomKind.UNREADABLE, True), (SymptomKind.UNREADABLE, False)]


def test_what_an_earlier_controller_told_holds_for_a_minute_without_evidence() -> None:
    fleet = Watched("board-1")
    fleet.symptoms.restore("board-1", [SymptomKind.SLOW_LINK, SymptomKind.GIVEN_UP], fleet.now)
    fleet.look(50)
    assert fleet.told == []
    fleet.look(15)
    assert fleet.kinds("board-1") == [(SymptomKind.SLOW_LINK, False)]


def test_a_board_that_is_forgotten_takes_its_symptoms_along() -> None:
    fleet = Watched()
    fleet.registry.board_foreign("board-1", 3, 2, fleet.now)
    fleet.look()
    del fleet.registry.boards["board-1"]
    fleet.look(3)
    fleet.registry.board_foreign("board-1", 3, 2, fleet.now)
    fleet.look()
    assert fleet.kinds("board-1") == [(SymptomKind.UNREADABLE, True)] * 2

"""Conditions as rows: they follow what explains them, are counted, listed the worst first, and put right when wrong."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from convoy_controller.database import board_wishes, condition_counts, groups, pages, queries, removals, status
from convoy_controller.database.condition_records import settle_all
from convoy_controller.database.engine import Database
from convoy_controller.database.intents import request_deployment
from convoy_controller.database.queries import BoardFilter
from convoy_controller.database.records import BoardPresence, CountScope, DeploymentState, GenerationState, NewEvent
from convoy_controller.database.views import AT_TARGET, CONDITION_RANKS, Condition
from convoy_controller.errors import InUseError, NotFoundError
from convoy_schema.messages.boards import Phase
from convoy_schema.names import Generation
from database_samples import START, Fleet, intent, open_fleet, publish, pulse, reported
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

BOARDS = ("a", "b", "c")


@pytest.fixture
def fleet(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    made = open_fleet(tmp_path, database_url)
    publish(made.database, tmp_path)
    request_deployment(made.database, intent(model="tiny"))
    yield made
    made.database.close()


def stored(database: Database) -> dict[str, tuple[object, ...]]:
    with database.read() as db:
        rows = db.execute(text("SELECT board, condition, sentence, action, wanted, actual FROM board_conditions")).all()
    return {row[0]: tuple(row[1:]) for row in rows}


def explained(database: Database) -> dict[str, tuple[object, ...]]:
    found = {}
    for line in queries.fleet(database):
        why = queries.why(database, line.board)
        found[line.board] = (why.condition.value, why.sentence, why.action, why.wanted, why.actual)
    return found


def counted(database: Database) -> dict[tuple[str, str, str], int]:
    with database.read() as db:
        rows = db.execute(text("SELECT scope, name, condition, boards FROM condition_counts WHERE boards <> 0")).all()
    return {(row[0], row[1], row[2]): row[3] for row in rows}


# What stored conditions follow ---------------------------------------------------------------------------------------


def _come(fleet: Fleet, board: str, number: int) -> None:
    fleet.online(board, number)


def _go(fleet: Fleet, board: str, number: int) -> None:
    state = BoardPresence.OFFLINE if number % 2 else BoardPresence.UNKNOWN
    fleet.recorder.record_presence(board, state, number, "it fell silent")


def _report(fleet: Fleet, board: str, number: int) -> None:
    fleet.recorder.record_reported(
        board, reported(number, degraded=number == 2, blocked="no room" if number == 3 else "")
    )


def _tell(fleet: Fleet, board: str, number: int) -> None:
    fleet.recorder.record_desired(board, 1, number)


def _place(fleet: Fleet, board: str, number: int) -> None:
    fleet.place((board, "c"), number, list(GenerationState)[number + 1])


def _move(fleet: Fleet, board: str, number: int) -> None:
    with contextlib.suppress(NotFoundError):
        fleet.recorder.save_generation_state("digits", Generation(1, number), list(GenerationState)[number + 2])


def _first_pulse(fleet: Fleet, board: str, number: int) -> None:
    if board not in stored(fleet.database):
        fleet.recorder.record_pulse(board, pulse())


def _phase(fleet: Fleet, board: str, number: int) -> None:
    fleet.at(board, list(Phase)[number + 3], number, code="signature", message="not signed", done_bytes=number)


def _give_up(fleet: Fleet, board: str, number: int) -> None:
    fleet.recorder.record_event(NewEvent("abandoned" if number % 2 else "online", "it was left out", board=board))


def _wish(fleet: Fleet, board: str, number: int) -> None:
    wish = [board_wishes.drain_board, board_wishes.undrain_board, board_wishes.restart_board][number % 3]
    with contextlib.suppress(NotFoundError):
        wish(fleet.database, board, fleet.clock())


def _group(fleet: Fleet, board: str, number: int) -> None:
    try:
        if number == 1:
            groups.remove_group(fleet.database, "hall")
        else:
            members = (board,) if number == 2 else BOARDS
            groups.put_group(fleet.database, "hall" if number < 4 else "yard", f"site-{number % 2}", members, "", START)
    except NotFoundError:
        pass


def _forget(fleet: Fleet, board: str, number: int) -> None:
    if number == 4:
        fleet.recorder.record_presence(board, BoardPresence.OFFLINE, 1)
        with contextlib.suppress(InUseError, NotFoundError):
            removals.forget_board(fleet.database, board)


STEPS: tuple[Callable[[Fleet, str, int], None], ...] = (
    _come, _go, _first_pulse, _report, _tell, _place, _move, _phase, _give_up, _wish, _group, _forget,
)  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that has a published model, to be copied."""
    folder = tmp_path_factory.mktemp("published")
    made = open_fleet(folder)
    publish(made.database, folder)
    request_deployment(made.database, intent(model="tiny"))
    made.database.close()
    return folder


@settings(max_examples=10, phases=(Stage.explicit, Stage.generate))
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(BOARDS), st.integers(1, 4)), min_size=10, max_size=20)
)
def test_conditions_and_counts_are_those_of_what_explains_them(
    published: Path,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[Callable[[Fleet, str, int], None], str, int]],
):
    fleet = open_fleet(Path(shutil.copytree(published, tmp_path_factory.mktemp("fleet"), dirs_exist_ok=True)))
    for step, board, number in steps:
        fleet.clock.advance(1)
        step(fleet, board, number)
    assert stored(fleet.database) == explained(fleet.database)
    before = counted(fleet.database)
    with fleet.database.write() as db:
        condition_counts.recount(db)
    assert counted(fleet.database) == before
    (whole,) = status.fleet_by_state(fleet.database)
    assert whole.conditions == dict(Counter(line.condition.value for line in queries.fleet(fleet.database)))
    fleet.database.close()


def test_what_another_version_left_is_put_right(fleet: Fleet):
    for board in BOARDS:
        fleet.online(board)
    right = stored(fleet.database), counted(fleet.database)
    with fleet.database.write() as db:
        db.execute(text("UPDATE board_conditions SET condition = 'failed', rank = 4 WHERE board = 'b'"))
        db.execute(text("DELETE FROM board_conditions WHERE board = 'c'"))
        db.execute(text("UPDATE condition_counts SET boards = 17"))
    assert settle_all(fleet.database, START, batch_boards=2) == 2
    assert (stored(fleet.database), counted(fleet.database)) == right
    assert settle_all(fleet.database, START, batch_boards=3) == 0


def test_a_transaction_that_fails_changes_no_condition(fleet: Fleet):
    fleet.online("a")
    right = stored(fleet.database), counted(fleet.database)

    def cut_off() -> None:
        with fleet.recorder.transaction():
            fleet.recorder.record_presence("a", BoardPresence.OFFLINE, 1)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cut_off()
    assert (stored(fleet.database), counted(fleet.database)) == right
    fleet.recorder.record_presence("b", BoardPresence.ONLINE, 1)
    assert stored(fleet.database) == explained(fleet.database)


# What is asked -------------------------------------------------------------------------------------------------------


def test_states_of_the_fleet_of_sites_and_of_groups(fleet: Fleet):
    assert status.fleet_by_state(fleet.database)[0].boards == 0
    for board in BOARDS:
        fleet.online(board)
    groups.put_group(fleet.database, "hall", "north", ("a", "b"), "", START)
    groups.put_group(fleet.database, "yard", "north", ("b", "c"), "", START)
    fleet.recorder.record_presence("b", BoardPresence.OFFLINE, 1)
    (whole,) = status.fleet_by_state(fleet.database)
    assert (whole.boards, whole.problems, whole.conditions) == (3, 1, {"offline": 1, "unassigned": 2})
    (north,) = status.fleet_by_state(fleet.database, CountScope.SITE)
    assert (north.name, north.boards, north.conditions) == ("north", 3, {"offline": 1, "unassigned": 2})
    hall, yard = status.fleet_by_state(fleet.database, CountScope.GROUP)
    assert (hall.name, hall.conditions, yard.name) == ("hall", {"offline": 1, "unassigned": 1}, "yard")
    assert [each.name for each in status.fleet_by_state(fleet.database, CountScope.GROUP, 1, "hall")] == ["yard"]
    groups.remove_group(fleet.database, "yard")
    assert [each.boards for each in status.fleet_by_state(fleet.database, CountScope.SITE)] == [2]


def test_problems_come_the_worst_first_and_page_by_page(fleet: Fleet):
    for board in ("a", "b", "c", "d", "e", "f"):
        fleet.online(board)
    fleet.place(("a", "b"))
    fleet.at("a", Phase.READY)
    fleet.at("b", Phase.FAILED, code="signature", message="the bundle is not signed")
    fleet.recorder.record_presence("e", BoardPresence.OFFLINE, 1)
    fleet.recorder.record_presence("c", BoardPresence.OFFLINE, 1)
    board_wishes.drain_board(fleet.database, "d", START)
    groups.put_group(fleet.database, "hall", "north", ("b", "e"), "", START)
    found = status.problems(fleet.database)
    assert [each.board for each in found] == ["c", "e", "b", "d"]
    for each in found:
        why = queries.why(fleet.database, each.board)
        assert (each.condition, each.sentence, each.action, each.since) == (
            why.condition,
            why.sentence,
            why.action,
            why.since,
        )
    assert found[2].deployment == "digits"
    pages_of_one, after = [], None
    while page := status.problems(fleet.database, 1, after):
        pages_of_one += page
        after = (CONDITION_RANKS[page[-1].condition], page[-1].board)
    assert tuple(pages_of_one) == found
    assert [each.board for each in status.problems(fleet.database, condition=Condition.OFFLINE)] == ["c", "e"]
    assert [each.board for each in status.problems(fleet.database, group="hall")] == ["e", "b"]
    assert [each.board for each in status.problems(fleet.database, site="north", limit=1)] == ["e"]
    assert status.problems(fleet.database, site="south") == ()
    assert status.problems(fleet.database, condition=Condition.READY) == ()


def test_ranks_go_from_worst_to_best():
    told = [condition for condition in Condition if condition not in AT_TARGET]
    assert max(CONDITION_RANKS[each] for each in told) < min(CONDITION_RANKS[each] for each in AT_TARGET)


def test_boards_are_listed_by_what_is_asked_for(fleet: Fleet):
    for board in BOARDS:
        fleet.online(board)
    fleet.place(("a", "b"))
    board_wishes.label_board(fleet.database, "a", {"hall": "3", "rack": "1"})
    board_wishes.label_board(fleet.database, "b", {"hall": "3"})
    board_wishes.label_board(fleet.database, "a", {"hall": "4"})
    groups.put_group(fleet.database, "hall", "north", ("b", "c"), "", START)
    fleet.recorder.record_presence("c", BoardPresence.OFFLINE, 1)

    def names(wanted: BoardFilter, **how: object) -> list[str]:
        return [line.board for line in queries.fleet(fleet.database, wanted, **how)]  # type: ignore[arg-type]

    assert names(BoardFilter()) == ["a", "b", "c"]
    assert names(BoardFilter(), limit=1, after="a") == ["b"]
    assert names(BoardFilter(presence=BoardPresence.OFFLINE)) == ["c"]
    assert names(BoardFilter(condition=Condition.OFFLINE)) == ["c"]
    assert names(BoardFilter(BoardPresence.OFFLINE, Condition.PREPARING)) == []
    assert names(BoardFilter(BoardPresence.ONLINE, deployment="digits", group="hall")) == ["b"]
    assert names(BoardFilter(label=("hall", "3"))) == ["b"]
    assert names(BoardFilter(label=("rack", "1"))) == []
    assert names(BoardFilter(text="B")) == ["b"]
    assert names(BoardFilter(condition=Condition.OFFLINE, text="c")) == ["c"]
    assert names(BoardFilter(text="%")) == names(BoardFilter(text="_")) == []


def test_what_changed_since_a_moment_or_an_event(fleet: Fleet):
    for board in BOARDS:
        fleet.online(board)
    first = fleet.recorder.record_event(NewEvent("tick", "before"))
    fleet.clock.advance(60)
    fleet.recorder.record_presence("b", BoardPresence.OFFLINE, 1)
    for _ in range(3):
        fleet.recorder.record_event(NewEvent("offline", "b is offline", board="b"))
    fleet.place(("a",))
    fleet.recorder.save_deployment_state("digits", DeploymentState.SERVING)
    by_moment = status.changed_since(fleet.database, START + timedelta(seconds=30))
    by_event = status.changed_since(fleet.database, event=first)
    assert by_moment.after == by_event.after == first
    assert [each.board for each in by_moment.boards] == ["b", "a"]
    assert [(each.kind, each.events) for each in by_moment.events] == [("offline", 3)]
    assert by_event.events == by_moment.events
    assert [str(each.generation) for each in by_moment.generations] == ["1-1"]
    assert "digits" in {each.deployment for each in by_moment.deployments}
    assert (by_moment.newest, by_moment.boards_more, by_moment.events_more) == (first + 3, False, False)
    later = status.changed_since(fleet.database, START + timedelta(seconds=61))
    assert (later.boards, later.events, later.generations) == ((), (), ())
    assert status.changed_since(fleet.database, START, limit=1).boards_more
    with pytest.raises(NotFoundError, match="no event 999"):
        status.changed_since(fleet.database, event=999)
    with pytest.raises(ValueError, match="one of the two"):
        status.changed_since(fleet.database)


def test_events_around_a_moment(fleet: Fleet):
    numbers = []
    for n in range(10):
        fleet.clock.advance(10)
        numbers.append(
            fleet.recorder.record_event(NewEvent("tick", f"{n}", board=f"board-{n % 2}", deployment="digits"))
        )
    moment = START + timedelta(seconds=55)
    around = pages.events_around(fleet.database, moment, 2)
    assert [line.id for line in around] == numbers[3:7]
    assert [line.id for line in pages.events_around(fleet.database, moment, 2, board="board-0")] == numbers[2:9:2]
    assert pages.events_around(fleet.database, moment, 2, deployment="other") == ()
    assert [line.id for line in pages.events_around(fleet.database, START, 1)] == numbers[:1]
    assert [line.id for line in pages.events_around(fleet.database, START + timedelta(days=1), 1)] == numbers[-1:]

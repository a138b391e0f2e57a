"""Brings a board's log into the database when somebody asks for it: whom to ask, from which record on, until when.

`LogCollector` is a deterministic core: requests, messages and `now` (monotonic seconds) in, effects out. `LogDesk` is
the shell that the controller runs: it looks for requests in the database twice a second, sends the commands, and has
what comes recorded. A log that nobody asked for is refused, and one answer is bounded, so that no board fills anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from convoy_schema.messages.boards import Command, Order
from convoy_schema.messages.logs import BoardLog, LogRecord

from convoy_controller.database.engine import Database
from convoy_controller.database.log_records import pending_requests
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import LogOutcome, LogRequest
from convoy_controller.errors import DatabaseError

log = logging.getLogger(__name__)

#: Seconds between looks for requests.
POLL_S = 0.5
#: Seconds until a board is asked again, and until it counts as one that does not answer.
ASK_AGAIN_S = 0.7
GIVE_UP_S = 2.0
#: Messages taken for one request; what a board said beyond them comes with the next.
MOST_MESSAGES = 16


@dataclass(frozen=True)
class Ask:
    """Send the command to `board`: everything after record `after` of `session`."""

    board: str
    session: int
    after: int


@dataclass(frozen=True)
class Keep:
    """Record what came; `lost` records had gone from the board before they were asked for."""

    board: str
    session: int
    records: tuple[LogRecord, ...]
    lost: int


@dataclass(frozen=True)
class Answer:
    """Request `number` has its answer."""

    board: str
    number: int
    outcome: LogOutcome


Effect = Ask | Keep | Answer


@dataclass
class _Collection:
    """One board that is being asked."""

    number: int
    session: int
    after: int
    ask_at: float
    until: float
    messages: int = 0


class LogCollector:
    """Of one controller."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Collection] = {}

    def requested(self, requests: Iterable[LogRequest], is_online: Callable[[str], bool], now: float) -> list[Effect]:
        """Begin with requests that are not answered yet; those under way go on."""
        effects: list[Effect] = []
        for request in requests:
            if request.board in self._under_way:
                continue
            if not is_online(request.board):
                effects.append(Answer(request.board, request.number, LogOutcome.OFFLINE))
                continue
            self._under_way[request.board] = _Collection(
                request.number, request.session, request.newest, now + ASK_AGAIN_S, now + GIVE_UP_S
            )
            effects.append(Ask(request.board, request.session, request.newest))
        return effects

    def heard(self, board: str, said: BoardLog, now: float) -> list[Effect] | None:
        """Take a message; None when nobody asked for it."""
        known = self._under_way.get(board)
        if known is None:
            return None
        if said.session != known.session:
            known.session, known.after = said.session, 0
        records: list[LogRecord] = []
        newest = known.after
        for record in said.records:
            if newest < record.number <= said.newest:
                records.append(record)
                newest = record.number
        lost = max(0, records[0].number - known.after - 1) if records else 0
        known.after = newest
        known.messages += 1
        effects: list[Effect] = [Keep(board, said.session, tuple(records), lost)]
        if records and newest < said.newest and known.messages < MOST_MESSAGES:
            known.ask_at, known.until = now + ASK_AGAIN_S, now + GIVE_UP_S
            return [*effects, Ask(board, known.session, known.after)]
        del self._under_way[board]
        return [*effects, Answer(board, known.number, LogOutcome.COLLECTED)]

    def tick(self, now: float) -> list[Effect]:
        """Ask again where a message was lost, and give up on who does not answer."""
        effects: list[Effect] = []
        for board, known in list(self._under_way.items()):
            if now >= known.until:
                del self._under_way[board]
                effects.append(Answer(board, known.number, LogOutcome.SILENT))
            elif now >= known.ask_at:
                known.ask_at = now + ASK_AGAIN_S
                effects.append(Ask(board, known.session, known.after))
        return effects

    def forget(self) -> None:
        """Somebody else is in charge now, and will find the requests."""
        self._under_way.clear()


class LogDesk:
    """The shell of one controller. `run` until cancelled; `heard` with every log that comes in, in the same loop."""

    def __init__(
        self,
        database: Database,
        in_thread: Callable[..., Awaitable[Any]],
        record: Callable[[Callable[[Recorder], object]], None],
        ask: Callable[[str, Command], None],
        is_online: Callable[[str], bool],
        is_in_charge: Callable[[], bool],
    ) -> None:
        self._database = database
        self._in_thread = in_thread
        self._record = record
        self._ask = ask
        self._is_online = is_online
        self._is_in_charge = is_in_charge
        self._collector = LogCollector()

    async def run(self) -> None:
        """Look for requests and for boards that do not answer."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(POLL_S)
            if not self._is_in_charge():
                self._collector.forget()
                continue
            self._carry_out(self._collector.tick(clock()))
            try:
                pending = await self._in_thread(pending_requests, self._database)
            except DatabaseError as error:
                log.debug("requests for logs cannot be read, and are looked for again: %s", error)
                continue
            self._carry_out(self._collector.requested(pending, self._is_online, clock()))

    def heard(self, board: str, said: BoardLog) -> bool:
        """Take a board's log; False when nobody asked for it."""
        effects = self._collector.heard(board, said, asyncio.get_running_loop().time())
        if effects is None:
            return False
        self._carry_out(effects)
        return True

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Ask):
                command = Command(Order.COLLECT_LOG, log_session=effect.session, log_after=effect.after)
                self._ask(effect.board, command)
            elif isinstance(effect, Keep):
                self._record(lambda r, e=effect: r.record_log(e.board, e.session, e.records, e.lost))  # type: ignore[misc]
            else:
                self._record(lambda r, e=effect: r.answer_log_request(e.board, e.number, e.outcome))  # type: ignore[misc]

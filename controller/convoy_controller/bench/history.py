"""What telemetry costs: the processor's time to take it in, and the room that it takes when years have gone by.

*Ingest*: pulses of 10,000 boards with a stage each, one every 10 s, go through the controller's own intake, registry,
journal and recorder into a database, as many in one transaction as the journal lets wait, rolled up every minute. The
figure is this process's CPU time (PostgreSQL's own is not in it) as a share of the time that the pulses are of, which
is virtual: they come as fast as they can be taken.

*Years*: the size of the database over two virtual years. Rows of hours do not depend on how many pulses an hour had,
nor those of minutes on the pulses of a minute; so a board speaks once an hour for two years, then once a minute for
longer than minutes are kept, then every 10 s for longer than raw samples are. What is there at the end is what a board
leaves that spoke every 10 s all the time, and room grows with the number of boards. Once a virtual week PostgreSQL is
told to VACUUM, which autovacuum does each minute: here a week takes two seconds.

Both on SQLite, and on PostgreSQL where there is one. What it is about is told on stderr.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from convoy_schema import codec
from convoy_schema.messages.boards import Published, Pulse, StagePulse
from convoy_schema.names import Generation
from convoy_schema.resident import settle_memory
from convoy_schema.topics import Topics

from convoy_controller.bench.figures import Figure, Result
from convoy_controller.bench.postgresql_server import PostgresqlServer, binaries
from convoy_controller.database import upkeep
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import NewEvent, Severity
from convoy_controller.database.sizes import history_rows, size_bytes, vacuum
from convoy_controller.database.spans import KEEP_MINUTES, KEEP_RAW
from convoy_controller.intake import Intake, Listener
from convoy_controller.journal import Journal
from convoy_controller.registry import Registry

#: What must hold: the share of a core, and how much larger two years are than fifteen months.
MOST_SHARE, MOST_GROWTH = 0.25, 1.05
BEGIN = datetime(2030, 1, 7, tzinfo=timezone.utc)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
PULSE_S = 10
#: Seconds that a controller lets messages wait for one transaction.
TICK_S = 0.25


@dataclass(frozen=True)
class Load:
    """How many boards speak, how often, for how many virtual seconds, after each has spoken once."""

    boards: int = 10_000
    every_s: float = PULSE_S
    seconds: int = 180


@dataclass(frozen=True)
class Years:
    """How many boards there are, for how many days; at first each speaks every so many hours, and upkeep runs every
    so many days.
    """

    boards: int = 10
    days: int = 730
    speak_hours: int = 1
    upkeep_days: int = 1
    #: The date by which the size must have levelled off: hours are kept for 400 days and the rest of a partition's 28.
    level_days: int = 457


def run(broker: str) -> Result:
    """Both, on each database; `broker` is not used."""
    del broker
    found: list[Figure] = []
    notes: dict[str, Any] = {}
    for kind, new in _databases():
        _say(f"{kind}: the telemetry of {Load().boards:,} boards is taken in")
        taken = asyncio.run(ingest(new(), Load()))
        found.append(Figure(f"ingest of 10,000 boards, {kind}", "of a core", taken.share, MOST_SHARE, at_least=False))
        notes[f"{kind}: a message, with its part of the roll-up"] = f"{taken.message_us:.0f} us"
        _say(f"{kind}: {taken.share:.3f} of a core; now {Years().days} days go by")
        # What a power cut would take is not asked here, and the disk may be shared with anybody.
        lived = live(new(fsync="off"), Years(), _say)
        found.append(lived.figure(f"size after 2 years, {kind}"))
        notes[f"{kind}: bytes by day"] = lived.sizes
        notes[f"{kind}: rows of a board at the end"] = lived.rows
        notes[f"{kind}: room for 10,000 boards"] = f"{lived.board_bytes * 10_000 / 2**30:.0f} GiB"
    return Result("history", tuple(found), notes)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _databases() -> Iterator[tuple[str, Callable[..., str]]]:
    """Each kind, and what makes an empty one of it, in PostgreSQL with settings of the server."""
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as folder:
        numbers = iter(range(100))
        yield "SQLite", lambda **_: f"sqlite:///{Path(folder) / f'{next(numbers)}.db'}"
    programs = binaries()
    if programs is None:
        return
    servers: list[PostgresqlServer] = []

    def new(**settings: str) -> str:
        servers.append(PostgresqlServer(programs, **settings))
        return servers[-1].url

    try:
        yield "PostgreSQL", new
    finally:
        for server in servers:
            server.close()


# Ingest --------------------------------------------------------------------------------------------------------------


@dataclass
class Taken:
    """Messages taken in, and the CPU seconds of this process that it took; `spoken_s` is the time they are of."""

    messages: int
    spoken_s: float
    cpu_s: float
    sizes: dict[str, int]

    @property
    def message_us(self) -> float:
        """Microseconds of CPU a message."""
        return 1e6 * self.cpu_s / self.messages

    @property
    def share(self) -> float:
        """Of a core."""
        return self.cpu_s / self.spoken_s


class Controller:
    """The part of a controller that takes telemetry in, in virtual time."""

    def __init__(self, database: Database, thread: ThreadPoolExecutor) -> None:
        self.now = 0.0
        self.registry, self.journal, self.recorder = Registry(), Journal(), Recorder(database, self.date)
        self.topics = Topics("site")
        self.intake = Intake(self.topics, self.registry, self._listener(), lambda: self.now, self.date)
        self._thread = thread
        self._database = database
        self.registry.link_up(0.0)

    def date(self) -> datetime:
        """Of now."""
        return BEGIN + timedelta(seconds=self.now)

    async def take(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Everything that came within a tick."""
        for topic, payload in messages:
            self.intake.received(topic, payload, False)
        self.intake.note(self.registry.tick(self.now))
        await self.journal.keep(self.recorder, self.in_thread, self.now)

    def know(self, boards: Iterable[int]) -> None:
        """Have heard them once: there are rows of each, and nobody is told that it came."""
        with self.recorder.transaction():
            for board in boards:
                first = pulse(self.now, board)
                self.registry.pulse(_name(board), first, self.now)
                self.recorder.record_pulse(_name(board), first, self.date())

    async def look_after(self) -> None:
        """As housekeeping does, but for what it does every ten minutes: that is done each minute too."""
        rest = upkeep.now_and_then(self._database, self.date(), is_date_trusted=True)
        for steps in (upkeep.every_minute(self._database), rest):
            while await self.in_thread(next, steps, steps) is not steps:
                pass

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """In the database's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _listener(self) -> Listener:
        def event(kind: str, sentence: str, severity: Severity = Severity.INFO, board: str | None = None) -> None:
            told = NewEvent(kind, sentence, severity, board)
            self.journal.note(lambda r: r.record_event(told))

        def nothing(*_: object) -> None:
            """Nobody else is there."""

        return Listener(
            retained=lambda *_: False,
            accepted=nothing,
            holds=nothing,
            follows=nothing,
            announced=nothing,
            statements=nothing,
            controller=nothing,
            ask_to_restate=nothing,
            ask_again=nothing,
            log=lambda *_: False,
            record=self.journal.note,
            event=event,
            news=nothing,
        )


async def ingest(url: str, load: Load) -> Taken:
    """Take a load in, and say what it took; the first words of each board, which make its rows, do not count."""
    database = open_database(url)
    per_tick = round(load.boards * TICK_S / load.every_s)
    first = round(load.every_s / TICK_S)
    with ThreadPoolExecutor(1) as thread:
        controller = Controller(database, thread)
        await controller.look_after()
        settle_memory()  # as a controller's process does before it takes anything
        spent = messages = 0.0
        for tick in range(first + round(load.seconds / TICK_S)):
            controller.now = tick * TICK_S
            due = [(tick * per_tick + number) % load.boards for number in range(per_tick)]
            if tick < first:
                await controller.in_thread(controller.know, due)
                continue
            sent = [(controller.topics.board(_name(board), "pulse"), _said(board, controller.now)) for board in due]
            started = time.process_time()
            await controller.take(sent)
            if controller.now % 60 == 0:
                await controller.look_after()
            spent += time.process_time() - started
            messages += len(sent)
        started = time.process_time()
        controller.now += 1.0
        await controller.take(())  # what still waited for company
        await controller.look_after()
        spent += time.process_time() - started
    rows = history_rows(database)
    database.close()
    return Taken(int(messages), load.seconds, spent, rows)


def _name(board: int) -> str:
    return f"board-{board:05d}"


def _said(board: int, now: float) -> bytes:
    return codec.encode(pulse(now, board))


def pulse(now: float, board: int = 0) -> Pulse:
    """Of a board that has computed 20 frames a second since the beginning."""
    frames = int(20 * now)
    stage = StagePulse(
        "digits", Generation(1, 1), frames, 32 * frames, 1, 3, 700 * frames, 900, {"budget": frames // 99}
    )
    sent = Published(100 * frames, 0, 4000 * frames)
    uptime_ms = int(1000 * now) + board
    return Pulse(7, 1, 4, 1000 * PULSE_S, uptime_ms, 60_000_000, (stage,), sent, {"decode": 1}, 41.5 + board % 7)


# Years ---------------------------------------------------------------------------------------------------------------


@dataclass
class Lived:
    """Sizes in bytes by day, and at the end what a board has filled."""

    years: Years
    sizes: dict[int, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    board_bytes: float = 0.0

    def figure(self, name: str) -> Figure:
        """The largest since it must have levelled off, beside the one then."""
        level = self.sizes[max(day for day in self.sizes if day <= self.years.level_days)]
        later = max(size for day, size in self.sizes.items() if day > self.years.level_days)
        return Figure(
            name, "MiB", later / 2**20, MOST_GROWTH, at_least=False, peer_name="15 months", peer=level / 2**20
        )


def live(url: str, years: Years, say: Callable[[str], None] = lambda _: None) -> Lived:
    """Let so much time go by for a database; `say` is told how far it is, a line a virtual quarter."""
    database = open_database(url)
    empty = size_bytes(database)
    lived = Lived(years)
    recorder = Recorder(database)
    began = time.monotonic()
    for day in range(0, years.days, years.upkeep_days):
        until = day + years.upkeep_days
        _pass(database, recorder, years, day * DAY, years.upkeep_days * DAY, years.speak_hours * HOUR)
        _look_after(database, until * DAY)
        if day // 7 != until // 7:
            vacuum(database)
        if day // 28 != (day - years.upkeep_days) // 28:
            lived.sizes[day] = size_bytes(database)
        if day // 91 != until // 91:
            size = size_bytes(database) / 2**20
            say(f"  day {until} of {years.days}: {size:.1f} MiB, after {time.monotonic() - began:.0f} s")
    now = years.days * DAY
    for length, step, every in (
        (KEEP_MINUTES + 2 * DAY, MINUTE, 6 * HOUR),
        (2 * KEEP_RAW, PULSE_S * timedelta(seconds=1), HOUR),
    ):
        say(f"  then {length} with a pulse every {step}, after {time.monotonic() - began:.0f} s")
        until_then = now + length
        while now < until_then:
            _pass(database, recorder, years, now, every, step)
            now += every
            _look_after(database, now)
    lived.rows = {table: rows // years.boards for table, rows in history_rows(database).items()}
    lived.board_bytes = (size_bytes(database) - empty) / years.boards
    database.close()
    return lived


def _pass(
    database: Database, recorder: Recorder, years: Years, begin: timedelta, length: timedelta, step: timedelta
) -> None:
    """Each board speaks at each step."""
    with recorder.transaction():
        for number in range(length // step):
            at = begin + number * step
            for board in range(years.boards):
                recorder.record_pulse(_name(board), pulse(at.total_seconds(), board), BEGIN + at)


def _look_after(database: Database, now: timedelta) -> None:
    for _ in upkeep.every_minute(database):
        pass
    for _ in upkeep.now_and_then(database, BEGIN + now, is_date_trusted=True):
        pass

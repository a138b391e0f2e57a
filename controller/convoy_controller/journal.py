"""What waits for the database: telemetry, and decisions that nobody may hear of before they are kept.

Everything goes in one transaction, which waits a moment for company while there is only telemetry. When it fails,
telemetry and decisions are written apart, and then one by one, so that a record that cannot be written takes no other
with it. A database that is away keeps everything waiting. Called by `service` alone; it publishes nothing and decides
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from convoy_schema.errors import ConvoyError

from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import SavedGeneration
from convoy_controller.effects import Decision, DeploymentChanged, PublishDesired, Record, SaveGeneration
from convoy_controller.errors import DeposedError
from convoy_controller.histogram import FAST_S, Histogram
from convoy_controller.placement import saved

log = logging.getLogger(__name__)

#: Telemetry that may wait for the database; beyond it the newest is dropped. Decisions never are.
MAX_RECORDS = 20_000
#: Telemetry that is written in one transaction: decisions go with it, and do not wait for all that a large fleet says.
MOST_AT_ONCE = 1000
#: Decisions that tell a reader something and bind nobody: without them the fleet is as right as before.
_ONLY_TOLD = (DeploymentChanged, Record)

Writing = Callable[[Recorder], object]
#: What telemetry is about, and what is to be written of it.
Entry = tuple[object, Writing]


@dataclass
class Outcome:
    """What became of one attempt: decisions kept from the front, telemetry to be tried again, and what went wrong."""

    kept: int = 0
    again: list[Entry] = field(default_factory=list)
    #: Why the rest of the decisions waits; '' when none does.
    waits: str = ""
    #: What was given up, a sentence each.
    refused: list[str] = field(default_factory=list)
    is_deposed: bool = False


class Journal:
    """One controller's pending writes, in the order in which they happened."""

    def __init__(self) -> None:
        self._records: dict[object, Writing] = {}
        self._held: list[Decision] = []
        #: When the telemetry that waits must be written at the latest.
        self._due = math.inf
        self._trouble = ""
        #: Whether the database belongs to a newer reign: what waits here is never written.
        self.is_deposed = False
        #: Telemetry for which there was no room, and records that the database refused for good.
        self.dropped = 0
        self.refused = 0
        #: Seconds of each attempt to write, and attempts that the database did not take.
        self.writes = Histogram(FAST_S)
        self.failures = 0

    def note(self, write: Writing, due: float = 0.0, about: object = None) -> None:
        """Telemetry: kept as far as there is room, and written by `due` at the latest (seconds, as `keep` is given).

        It takes the place of what waits `about` the same and is old now: so what boards say of themselves while the
        database is slow is no more than there are boards.
        """
        if about in self._records or len(self._records) < MAX_RECORDS:
            self._records[object() if about is None else about] = write
            self._due = min(self._due, due)
        else:
            self.dropped += 1

    def decide(self, decisions: Sequence[Decision]) -> None:
        """Decisions, in the order in which they must be kept and then published."""
        self._held += decisions

    def forget(self) -> None:
        """Drop what a reign that is over had to say: decisions of which nobody may hear, and news that is old."""
        self._held, self._records, self._due, self.is_deposed = [], {}, math.inf, False

    @property
    def waiting(self) -> int:
        """Telemetry that waits to be written."""
        return len(self._records)

    @property
    def held(self) -> tuple[Decision, ...]:
        """Decisions that are not kept yet, so that nobody may hear of them."""
        return tuple(self._held)

    async def keep(
        self,
        recorder: Recorder,
        in_thread: Callable[[Callable[[], Outcome]], Awaitable[Outcome]],
        now: float,
        most: int = MOST_AT_ONCE,
    ) -> tuple[Decision, ...]:
        """Write what waits, by way of `in_thread`, which runs a blocking call; whatever the database does, it says so.

        Telemetry that is not due at `now` waits for more, and what is beyond `most` for the next time. Returns the
        decisions that are kept now, to be published in this order.
        """
        if not self._held and (not self._records or now < self._due):
            return ()
        waiting = list(self._records.items())
        records, self._records = waiting[:most], dict(waiting[most:])
        self._due = 0.0 if self._records else math.inf
        held, decisions = self._held, tuple(self._held)
        clock = asyncio.get_running_loop().time
        # As it is now: when the thread comes to it the reign may be over, and nothing of it may be written any more.
        began, reign = clock(), recorder.reign
        outcome = await in_thread(lambda: _write(recorder, reign, records, decisions))
        self.writes.add(clock() - began)
        self.failures += 1 if outcome.waits else 0
        is_forgotten = held is not self._held
        kept = dict(() if is_forgotten else outcome.again) | self._records
        self._records = dict(islice(kept.items(), MAX_RECORDS))
        self._due = min(self._due, 0.0 if outcome.again and not is_forgotten else math.inf)
        self.dropped += len(kept) - len(self._records)
        del held[: outcome.kept]
        self.is_deposed = outcome.is_deposed and not is_forgotten
        self.refused += len(outcome.refused)
        for sentence in outcome.refused:
            log.error("the database refused a record, which is lost (%d so far): %s", self.refused, sentence)
        self._complain(outcome.waits)
        return () if is_forgotten else decisions[: outcome.kept]

    def _complain(self, trouble: str) -> None:
        """Log what keeps the database from us, once for as long as it lasts; '' when nothing does."""
        if trouble and trouble != self._trouble:
            log.error("%s; decisions wait, and nothing is published before it is written", trouble)
        elif self._trouble and not trouble:
            log.warning("the database takes what is written again")
        self._trouble = trouble


def _write(recorder: Recorder, reign: int, records: Sequence[Entry], decisions: Sequence[Decision]) -> Outcome:
    """In the database's thread."""
    error = _attempt(recorder, reign, [*(write for _, write in records), *map(_writing, decisions)])
    if error is None:
        return Outcome(len(decisions))
    if _is_away(error):
        return Outcome(0, list(records), str(error), is_deposed=isinstance(error, DeposedError))
    outcome = Outcome()
    _write_telemetry(recorder, reign, records, outcome)
    if not outcome.waits:
        _write_decisions(recorder, reign, decisions, outcome)
    return outcome


def _write_telemetry(recorder: Recorder, reign: int, records: Sequence[Entry], outcome: Outcome) -> None:
    """By halves: of thousands that waited, one bad one is found in a few transactions."""
    if outcome.waits or not records:
        outcome.again += records
        return
    error = _attempt(recorder, reign, [write for _, write in records])
    if error is None:
        return
    if _is_away(error):
        outcome.waits = str(error)
        outcome.again += records
    elif len(records) == 1:
        outcome.refused.append(_sentence(error))
    else:
        middle = len(records) // 2
        _write_telemetry(recorder, reign, records[:middle], outcome)
        _write_telemetry(recorder, reign, records[middle:], outcome)


def _write_decisions(recorder: Recorder, reign: int, decisions: Sequence[Decision], outcome: Outcome) -> None:
    """Up to the first one that binds the fleet and cannot be kept."""
    if _attempt(recorder, reign, [_writing(effect) for effect in decisions]) is None:
        outcome.kept = len(decisions)
        return
    for effect in decisions:
        error = _attempt(recorder, reign, [_writing(effect)])
        if error is not None and (_is_away(error) or not isinstance(effect, _ONLY_TOLD)):
            outcome.waits = f"{type(effect).__name__} cannot be written: {_sentence(error)}"
            return
        if error is not None:
            outcome.refused.append(_sentence(error))
        outcome.kept += 1


def _attempt(recorder: Recorder, reign: int, writes: Sequence[Writing]) -> Exception | None:
    """All of them in one transaction; what went wrong, and then nothing of them is kept."""
    try:
        with recorder.transaction(reign):
            for write in writes:
                write(recorder)
    except ConvoyError as error:
        return error
    except Exception as error:  # a mistake of ours in one record must not end the controller
        log.debug("a record cannot be written", exc_info=error)
        return error
    return None


def _is_away(error: Exception) -> bool:
    return isinstance(error, ConvoyError) and error.retryable


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, ConvoyError) else f"{type(error).__name__}: {error}"


def _writing(effect: Decision) -> Writing:
    """What a decision asks of the database."""
    if isinstance(effect, SaveGeneration):
        generation = saved(effect.placement)
        return lambda r: _save_generation(r, generation)
    if isinstance(effect, DeploymentChanged):
        return lambda r: r.save_deployment_state(effect.name, effect.state, effect.message)
    if isinstance(effect, Record):
        return lambda r: r.record_event(effect.event)
    if isinstance(effect, PublishDesired):
        return lambda r: _save_desired(r, effect)
    return lambda r: r.raise_counters(revision=effect.desired.revision)


def _save_generation(recorder: Recorder, generation: SavedGeneration) -> None:
    recorder.raise_counters(generation=generation.generation.counter)
    recorder.save_generation(generation)


def _save_desired(recorder: Recorder, effect: PublishDesired) -> None:
    recorder.raise_counters(revision=effect.desired.revision)
    recorder.record_desired(effect.board, effect.desired.epoch, effect.desired.revision)

"""What callers asked and what came back, kept by them alone: no counter of the product is asked.

Requests are numbered from 0, and request n asks case n modulo the number of cases: a fixed input with a known answer.
Cases that are near each other differ, so an answer that was meant for somebody else shows. At the end each number must
have one answer, equal to the last bit to what a network gives in one process, or one explicit error by its deadline,
and an error only where capacity was missing. The ledger reads no clock and starts no thread: times are seconds on one
clock of the caller's. A number costs two bytes, beside what is open; no answer is kept.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Numbers that one ledger takes: two bytes each.
MOST_REQUESTS = 1 << 27
#: What went wrong is told in words for so many, and counted for the rest.
MOST_INCIDENTS = 40
#: Different errors that are told apart; what comes beyond is counted under one name.
MOST_CODES = 100
OTHER_CODES = "others"
#: Seconds after its deadline in which an answer or an error still counts: the way back to the caller.
GRACE_S = 0.5

#: For each name under which callers ask (a model or a deployment), the networks that may answer, by name, with their
#: answers: (cases, ...), an answer to case c being equal to row c in shape, type and bits.
References = Mapping[str, Mapping[str, NDArray[np.generic]]]


class Fate(enum.IntEnum):
    """What became of a request."""

    UNKNOWN = 0
    OPEN = 1
    ANSWERED = 2
    FAILED = 3
    EXCUSED = 4
    LOST = 5
    #: Lost, and answered or refused after that.
    LATE = 6


@dataclass(frozen=True)
class Account:
    """What became of every request: `sent` is the sum of answered, lost, failed, excused and open."""

    sent: int
    answered: int
    #: Neither answer nor error by the deadline. `late` of them got one after it.
    lost: int
    late: int
    #: Errors although capacity was there, and those where it was missing.
    failed: int
    excused: int
    #: Answers and errors to what had one already.
    duplicated: int
    #: Answers that no network gives, or another than the generation's, or that nobody had asked for.
    wrong: int
    open: int
    slowest_s: float
    #: Answers by (name asked, generation).
    generations: dict[tuple[str, str], int]
    #: Errors by code.
    errors: dict[str, int]
    #: The first things that went wrong, in words.
    incidents: tuple[str, ...]

    @property
    def faults(self) -> tuple[int, int, int, int]:
        """(lost, failed, duplicated, wrong): all must be 0."""
        return self.lost, self.failed, self.duplicated, self.wrong


@dataclass(frozen=True)
class _Open:
    """A request under way."""

    sent_at: float
    deadline: float


class Ledger:
    """One ledger over all callers of a run. Not thread-safe."""

    def __init__(self, references: References, grace_s: float = GRACE_S, room: int = 0) -> None:
        """Raises `ValueError` where an answer could not tell two networks of one name apart.

        With `room` for so many numbers it takes their memory now and not bit by bit.
        """
        for model, networks in references.items():
            _check_apart(model, networks)
        self._references = references
        self._models = tuple(references)
        self._grace_s = grace_s
        #: By number: what became of it, and which of `_models` it asked.
        self._fates, self._asked = bytearray(room), bytearray(room)
        self._open: dict[int, _Open] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._networks: dict[tuple[str, str], str] = {}
        self._generations: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._fated: Counter[Fate] = Counter()
        self._duplicated = self._wrong = 0
        self._slowest_s = 0.0
        self._incidents: list[str] = []

    def case(self, number: int, model: str) -> int:
        """Which case request `number` asks of `model`."""
        return number % len(next(iter(self._references[model].values())))

    def sends(self, number: int, model: str, deadline: float, now: float) -> None:
        """A request leaves, to be answered by `deadline`; raises `ValueError` for a number that left before."""
        if not 0 <= number < MOST_REQUESTS:
            raise ValueError(f"a number from 0 to {MOST_REQUESTS - 1} was expected, {number} came")
        if model not in self._references:
            raise ValueError(f"one of {sorted(self._models)} was expected, {model!r} came")
        self._passes(now)
        if number >= len(self._fates):
            more = bytes(max(number + 1 - len(self._fates), 4096))
            self._fates += more
            self._asked += more
        if self._fates[number] != Fate.UNKNOWN:
            raise ValueError(f"request {number} left already")
        self._fates[number], self._asked[number] = Fate.OPEN, self._models.index(model)
        self._open[number] = _Open(now, deadline)
        heapq.heappush(self._deadlines, (deadline, number))

    def comes(self, number: int, answer: NDArray[np.generic], generation: str, now: float) -> str:
        """An answer, computed under `generation`; the name of the network that gives it, or '' if it is wrong."""
        self._passes(now)
        if self.fate(number) is Fate.UNKNOWN:
            self._errs(f"{now:.3f}: an answer to request {number}, which nobody sent")
            return ""
        model = self._models[self._asked[number]]
        network = self._network_of(number, model, answer, generation, now)
        asked = self._ends(number, Fate.ANSWERED, f"an answer under {generation}", now)
        if asked is not None:
            self._slowest_s = max(self._slowest_s, now - asked.sent_at)
            self._generations[model, generation] += 1
        return network

    def fails(self, number: int, code: str, was_capacity_there: bool, now: float) -> None:
        """An explicit error instead of an answer; whether the fleet could have answered in the time it had."""
        self._passes(now)
        if self.fate(number) is Fate.UNKNOWN:
            self._errs(f"{now:.3f}: the error {code} for request {number}, which nobody sent")
        elif self._ends(number, Fate.FAILED if was_capacity_there else Fate.EXCUSED, f"the error {code}", now):
            self._errors[code if code in self._errors or len(self._errors) < MOST_CODES else OTHER_CODES] += 1
            if was_capacity_there:
                self._tell(f"{now:.3f}: request {number} failed with {code} although capacity was there")

    def places(self, model: str, generation: str, network: str) -> None:
        """Whoever deploys says which network a generation is of; else its first right answer does."""
        known = self._networks.get((model, generation), network)
        self._networks[model, generation] = network
        if known != network:
            self._wrong += self._generations[model, generation] - 1
            self._errs(f"{generation} of {model} is of {network}, and has answered as {known}")

    def fate(self, number: int) -> Fate:
        """What has become of it so far."""
        return Fate(self._fates[number]) if number < len(self._fates) else Fate.UNKNOWN

    @property
    def settled(self) -> int:
        """Requests that came to an end: answered, refused or lost."""
        return sum(self._fated.values())

    @property
    def open(self) -> int:
        """Requests under way."""
        return len(self._open)

    def account(self, now: float = math.inf) -> Account:
        """The account at `now`; with none, the last one: nothing more is awaited, and what is open is lost."""
        self._passes(now)
        fated = self._fated
        return Account(
            sent=self.settled + len(self._open),
            answered=fated[Fate.ANSWERED],
            lost=fated[Fate.LOST] + fated[Fate.LATE],
            late=fated[Fate.LATE],
            failed=fated[Fate.FAILED],
            excused=fated[Fate.EXCUSED],
            duplicated=self._duplicated,
            wrong=self._wrong,
            open=len(self._open),
            slowest_s=self._slowest_s,
            generations=dict(self._generations),
            errors=dict(self._errors),
            incidents=tuple(self._incidents),
        )

    def _passes(self, now: float) -> None:
        """What had no end by its deadline and the grace is lost."""
        while self._deadlines and self._deadlines[0][0] + self._grace_s < now:
            _, number = heapq.heappop(self._deadlines)
            asked = self._open.pop(number, None)
            if asked is not None:
                self._settle(number, Fate.LOST)
                self._tell(f"request {number}, sent at {asked.sent_at:.3f}, had no end by {asked.deadline:.3f}: lost")

    def _ends(self, number: int, fate: Fate, what: str, now: float) -> _Open | None:
        """What was asked, if this is its end; None, and counted, if nothing was or it has one already."""
        asked = self._open.pop(number, None)
        if asked is not None:
            self._settle(number, fate)
            return asked
        found = self.fate(number)
        if found is Fate.LOST:
            self._fated[Fate.LOST] -= 1
            self._settle(number, Fate.LATE)
        else:
            self._duplicated += 1
            self._tell(f"{now:.3f}: {what} for request {number}, which is {found.name.lower()} already")
        return None

    def _settle(self, number: int, fate: Fate) -> None:
        self._fates[number] = fate
        self._fated[fate] += 1

    def _network_of(self, number: int, model: str, answer: NDArray[np.generic], generation: str, now: float) -> str:
        """The network that gives this answer under this generation; '' and counted if none may."""
        expected = self._references[model]
        found = next((name for name, rows in expected.items() if _equal(rows[number % len(rows)], answer)), "")
        meant = self._networks.setdefault((model, generation), found) if found else ""
        if found and found == meant:
            return found
        said = f"that of {found}, and {generation} is of {meant}" if found else f"that of none of {sorted(expected)}"
        self._errs(f"{now:.3f}: the answer to request {number} of {model} under {generation} is {said}")
        return ""

    def _errs(self, incident: str) -> None:
        self._wrong += 1
        self._tell(incident)

    def _tell(self, incident: str) -> None:
        """For whoever reads the account; the first ones tell most."""
        if len(self._incidents) < MOST_INCIDENTS:
            self._incidents.append(incident)


def _equal(expected: NDArray[np.generic], answer: NDArray[np.generic]) -> bool:
    """To the last bit: a NaN is equal to itself, and -0.0 is not 0.0."""
    return answer.shape == expected.shape and answer.dtype == expected.dtype and answer.tobytes() == expected.tobytes()


def _check_apart(model: str, networks: Mapping[str, NDArray[np.generic]]) -> None:
    if not networks or len({len(rows) for rows in networks.values()}) != 1 or not len(next(iter(networks.values()))):
        raise ValueError(f"{model}: as many cases of every network were expected, and at least one of each")
    names = list(networks)
    for at, name in enumerate(names):
        for other in names[at + 1 :]:
            for case, (one, another) in enumerate(zip(networks[name], networks[other], strict=True)):
                if _equal(one, another):
                    raise ValueError(f"{model}: {name} and {other} answer case {case} alike; leave that case out")

"""Carries faults out: each begins, and some time later it is undone. Call it often, from the main thread.

Parts that were killed are started again as a service would; a network that takes another's place is asked for until
the tables take it, since whoever asks would ask again.
"""

from __future__ import annotations

import heapq
import itertools
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from convoy_simulator.real.capacity import Capacity
from convoy_simulator.real.disturbance import CALM
from convoy_simulator.real.faults import Fault, Kind, Strike
from convoy_simulator.real.fleet import RealFleet

#: What takes nothing away for as long as it lasts.
WEAK = (Kind.REPLACE, Kind.LINE, Kind.FULL)
#: Seconds between two attempts at what could not be done.
AGAIN_S = 1.0

#: What is done at a time, which it is told (monotonic seconds).
Act = Callable[[float], None]


class Strikes:
    """What is under way and what is due; times are monotonic seconds."""

    def __init__(self, fleet: RealFleet, capacity: Capacity, began: float) -> None:
        self._fleet = fleet
        self._capacity = capacity
        self._began = began
        self._order = itertools.count()
        self._due: list[tuple[float, int, Act]] = []

    def plan(self, strike: Strike) -> None:
        """Begin and undo each of its faults at its time."""
        for fault in strike.faults:
            self._at(self._began + fault.begins_s, partial(self._begin, fault))

    def carry_out(self, now: float) -> None:
        """What is due at `now`."""
        while self._due and self._due[0][0] <= now:
            _, _, act = heapq.heappop(self._due)
            act(now)

    @property
    def is_calm(self) -> bool:
        """Whether nothing is under way or planned."""
        return not self._due

    def _at(self, moment: float, act: Act) -> None:
        heapq.heappush(self._due, (moment, next(self._order), act))

    def _begin(self, fault: Fault, now: float) -> None:
        if not self._do(fault):
            self._at(now + AGAIN_S, partial(self._begin, fault))
            return
        is_away = fault.kind not in WEAK
        if is_away:
            self._capacity.away(fault.role, fault.victim, now)

        def end(at: float) -> None:
            self._undo(fault)
            if is_away:
                self._capacity.back(fault.role, fault.victim, at)

        self._at(now + fault.lasts_s, end)

    def _do(self, fault: Fault) -> bool:
        """Whether it could be done now."""
        fleet, victim = self._fleet, fault.victim
        if fault.kind is Kind.KILL:
            fleet.processes.kill(victim)
        elif fault.kind is Kind.FREEZE:
            fleet.processes.kill(victim, signal.SIGSTOP)
        elif fault.kind in (Kind.LINE, Kind.CUT):
            assert fault.disturbance is not None, "a line's fault says what it is"
            fleet.disturb(victim, fault.disturbance)
        elif fault.kind is Kind.REPLACE:
            return fleet.replace()
        elif fault.kind is Kind.LOCK:
            return fleet.lock_database()
        elif fault.kind is Kind.AWAY:
            fleet.take_database_away()
        elif fault.kind is Kind.FULL:
            # A full disk matters to a board that is to keep something new.
            fleet.fill_disk(victim)
            self._at(0.0, partial(self._begin, replace(fault, kind=Kind.REPLACE, lasts_s=0.0)))
        return True

    def _undo(self, fault: Fault) -> None:
        fleet, victim = self._fleet, fault.victim
        if fault.kind is Kind.KILL:
            fleet.processes.restart(victim)
        elif fault.kind is Kind.FREEZE:
            fleet.processes.kill(victim, signal.SIGCONT)
        elif fault.kind in (Kind.LINE, Kind.CUT):
            fleet.disturb(victim, CALM)
        elif fault.kind is Kind.LOCK:
            fleet.unlock_database()
        elif fault.kind is Kind.AWAY:
            fleet.bring_database_back()
        elif fault.kind is Kind.FULL:
            fleet.relieve_disk(victim)

"""Slow links: a board whose frames take far longer to leave it than those of the boards it works with.

A board says what frames wait for its way out, and what the way to the broker and back takes. What gateways measure is
the sum over all hops, which says that one of them is slow, and not which.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from convoy_schema.messages.boards import Pulse

from convoy_controller.database.records import BoardPresence
from convoy_controller.registry import BoardRecord
from convoy_controller.symptoms.course import ABSENT, UNKNOWN, Evidence, Lack

#: Times its peers' median that a slow board's figure is.
TIMES = 4
#: What frames of a slow board wait at least for their way out, in microseconds; where there is no peer to compare with,
#: more than a plan reckons with for the largest frame.
UPLINK_US, UPLINK_ALONE_US = 20_000, 50_000
#: What its round trip takes at least: acknowledgements may wait for 40 ms by themselves, and for a busy host.
ROUND_TRIP_US, ROUND_TRIP_ALONE_US = 150_000, 300_000


@dataclass(frozen=True)
class Way:
    """What the way of a board's frames to the broker takes, in microseconds, and for which deployments they go."""

    uplink_us: int
    round_trip_us: int
    deployments: frozenset[str]


class Ways:
    """What boards' pulses say of their links, from one look to the next."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, int, bool]] = {}

    def measured(self, boards: Mapping[str, BoardRecord]) -> dict[str, Way]:
        """The ways of boards whose frames flow, by name."""
        found: dict[str, Way] = {}
        before, self._counted = self._counted, {}
        for name, record in boards.items():
            pulse = record.pulse
            if record.presence is not BoardPresence.ONLINE or pulse is None or not pulse.stages:
                continue
            if self._flows(name, pulse, before.get(name)):
                names = frozenset(stage.deployment for stage in pulse.stages)
                found[name] = Way(pulse.uplink_us, pulse.round_trip_us, names)
        return found

    def _flows(self, name: str, pulse: Pulse, known: tuple[int, int, bool] | None) -> bool:
        """Whether frames left since the pulse before; without any there is nothing to judge by."""
        frames = sum(stage.frames for stage in pulse.stages)
        if known is not None and known[0] == pulse.uptime_ms:
            flows = known[2]
        else:
            flows = pulse.uplink_us > 0 or (known is not None and frames > known[1])
        self._counted[name] = pulse.uptime_ms, frames, flows
        return flows


def slow(name: str, ways: Mapping[str, Way], is_told: bool) -> Evidence | Lack:
    """Whether that board's way is far slower than its peers'; half as slow is still slow to one that was told.

    Figures: of (uplink or round-trip), us, peers_us (0: no peers).
    """
    way = ways.get(name)
    if way is None:
        return UNKNOWN
    peers = [other for peer, other in ways.items() if peer != name and other.deployments & way.deployments]
    uplinks, trips = [peer.uplink_us for peer in peers], [peer.round_trip_us for peer in peers]
    for of, us, others, least, alone in (
        ("uplink", way.uplink_us, uplinks, UPLINK_US, UPLINK_ALONE_US),
        ("round-trip", way.round_trip_us, trips, ROUND_TRIP_US, ROUND_TRIP_ALONE_US),
    ):
        usual = int(statistics.median(others)) if others else 0
        limit = max(least, TIMES * usual) if others else alone
        if us >= (limit / 2 if is_told else limit):
            return Evidence({"of": of, "us": us, "peers_us": usual})
    return ABSENT

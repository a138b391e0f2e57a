"""What a frame's way between two stages takes, by what boards say of their links: pulses in, times out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from convoy_schema.messages.boards import Pulse


def transit_us(senders: Mapping[str, Pulse] | None, receivers: Iterable[Pulse]) -> tuple[float | None, str]:
    """About how long it is from a stage to the next one, and the sender whose frames are longest on their way.

    That is what a frame waits before the sender's link, and half a round trip to the broker; then half of one, the
    median of the receivers, from there. `senders` None or no `receivers`: a gateway, whose part is taken for nothing.
    None and '' where senders are boards and none of them has said anything.
    """
    onward = [pulse.round_trip_us / 2 for pulse in receivers if pulse.round_trip_us]
    rest = median(onward) if onward else 0.0
    if senders is None:
        return rest or None, ""
    out = {
        board: pulse.uplink_us + pulse.round_trip_us / 2
        for board, pulse in senders.items()
        if pulse.uplink_us or pulse.round_trip_us
    }
    if not out:
        return None, ""
    slowest = max(out, key=lambda board: out[board])
    return out[slowest] + rest, slowest

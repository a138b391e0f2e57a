"""How much of a bounded whole one of several may take, so that none of them takes it all. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Collection


def room_for(own: int, others: Collection[int], whole: int) -> int:
    """What one who holds `own` may take yet, of `whole` for all, beside others that hold so much each.

    Half of the whole is set aside in equal parts, one for each, and nobody takes from another's; the rest is for
    whoever comes first. Who holds nothing may take all that is free: what is larger than a part must get through too.
    """
    free = whole - own - sum(others)
    if not own:
        return free
    part = whole // (2 * (1 + len(others)))
    return free - sum(max(0, part - each) for each in others)

"""The least latency: a sample's seconds through every stage and every link.

Boards of one kind are alike, so only their number matters, and it rarely does: a link costs, and a sample is in one
stage at a time. So the cheapest plan with boards without end is found first; where there are fewer than it takes, the
search is exact over multisets, or bounded by prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from convoy_controller.planning import multisets, prices
from convoy_controller.planning.found import Found
from convoy_controller.planning.instance import Instance, Wish
from convoy_controller.planning.multisets import Cut, Sweep
from convoy_controller.planning.refusal import not_found
from convoy_controller.planning.segments import Matrix, Segments
from convoy_controller.planning.throughput import first_kinds, spread


def search(instance: Instance, wish: Wish, costs: Sequence[Segments]) -> Found | None:
    """The best plan, or None when the boards cannot hold the network; raises `PlanError` where neither is known."""
    counts = [kind.count for kind in instance.kinds]
    most = wish.limit(instance)
    delays = [np.where(np.isfinite(cost.period), cost.delay, np.inf) for cost in costs]
    if multisets.affordable(counts, [1] * len(counts), len(instance.layers)):
        found = _chosen(Sweep([[delay] for delay in delays], counts, most, np.add), wish)
    else:
        found = _bounded(delays, counts, most)
    if found is None or not wish.exactly:
        return found
    replicas = [wish.sharing(count) for count in counts]
    cuts = spread(found.cuts, [cost.period for cost in costs], counts, most, replicas)
    reached = latency_of(cuts, delays) <= found.bound * (1 + 1e-9)
    is_best = reached and (not wish.replicate or sum(cut[3] for cut in cuts) == most)
    if not is_best and multisets.affordable(counts, replicas, len(instance.layers)):
        # Replicas that no stage may have more of leave boards over, and those divide the network after all.
        shared = [[delay] * share for delay, share in zip(delays, replicas, strict=True)]
        return _chosen(Sweep(shared, counts, most, np.add), replace(wish, replicate=False))
    return Found(cuts, found.bound, found.exact and reached, found.method)


def latency_of(cuts: Sequence[Cut], delays: Sequence[Matrix]) -> float:
    """Seconds through all stages."""
    return sum(float(delays[kind][first, last]) for first, last, kind, _ in cuts)


def _bounded(delays: Sequence[Matrix], counts: Sequence[int], most: int) -> Found | None:
    bound, cuts = prices.cheapest(np.stack(delays), counts, most)
    if cuts is None:
        if np.isfinite(bound):
            raise not_found(sum(counts))
        return None
    exact = latency_of(cuts, delays) <= bound * (1 + 1e-9)
    return Found(cuts, bound, exact, "exact: shortest path" if exact else "bounded: prices")


def _chosen(sweep: Sweep, wish: Wish) -> Found | None:
    totals = sweep.complete()
    if not totals:
        return None
    if wish.exactly and not wish.replicate:  # replicas may take the rest of the boards, and add no delay
        boards = max(map(sum, totals))
        totals = {used: total for used, total in totals.items() if sum(used) == boards}
    bound = min(totals.values())
    good = [used for used, total in totals.items() if total <= bound / wish.worth]
    used = min(good, key=lambda used: (sum(used), totals[used], first_kinds(used)))
    return Found(sweep.cuts(used), bound, True, "exact: dynamic programming")

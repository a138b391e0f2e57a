"""Artifacts: which blocks a board asks for, how often, what it keeps, and what it does with damaged ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from convoy_schema.artifacts import ASK_AGAIN_S, WINDOW, cut
from convoy_schema.messages.boards import Want
from convoy_schema.messages.desired import Assignment

from convoy_controller.conformance.board_bench import BoardBench
from convoy_controller.conformance.running import StuckError
from convoy_controller.conformance.trial_models import wide

#: Seconds within which a block surely counts as outstanding, and how often a second it may be asked for: half and twice
#: what the contract says, for what a busy machine delays.
OUTSTANDING_S = ASK_AGAIN_S / 2
PER_SECOND = 4
#: Seconds for which every block is held back.
HELD_S = 1.6
#: Seconds that a block sent may need: asking for it meanwhile is no fault.
UNDER_WAY_S = 0.3
#: The block that is damaged the first time.
DAMAGED = 5


class _Asks:
    """What was asked for, and what was sent, of one download."""

    def __init__(self, bench: BoardBench, since: float) -> None:
        self._bench = bench
        self._since = since

    def all(self) -> Iterator[tuple[float, str, int]]:
        """(when, digest, block), in order, of blocks that there are."""
        for heard in self._bench.heard("want", self._since):
            want = heard.message
            if isinstance(want, Want) and want.digest in self._bench.packed:
                count = self._bench.packed[want.digest][0].blocks
                yield from ((heard.at, want.digest, block) for block in want.blocks if block < count)

    def of(self, digest: str, since: float = 0.0) -> list[int]:
        """Blocks of one artifact asked for since then."""
        return [block for at, asked, block in self.all() if asked == digest and at >= since]


async def artifacts(bench: BoardBench) -> None:
    """One large artifact, held back, overheard, damaged, cut off, and in the end delivered."""
    assert bench.way is not None
    model = wide(f"{bench.name}-wide", bench.keys.signer, bench.way)
    big = next(layer.parameters for layer in model.topology.layers if layer.parameters)
    bench.deliver = lambda digest, block, content: None
    since = bench.now()
    bench.wire.longest_stall_s = 0.0
    asks = _Asks(bench, since)
    bench.announce(model, manifests=False)
    assignment = bench.assignment(model, "trial-wide")
    bench.desire(*bench.held[:1], assignment)
    if not await _manifest_asked(bench, big, since):
        for manifest, _ in model.packed().values():
            bench.say(bench.topics.manifest(manifest.digest), manifest, retain=True)
    await bench.wire.until(lambda: asks.of(big), 3.0)
    held_at = bench.now()
    await asyncio.sleep(HELD_S)
    # Had we stood still ourselves, what came one after the other would seem to have come at once.
    stalled = not asks.of(big) or bench.now() - held_at > HELD_S + 0.1 or bench.wire.longest_stall_s > 0.1
    _judge_window(bench, asks, stalled)
    _judge_repeats(bench, asks)
    await _overhear(bench, asks, big)
    await _deliver(bench, asks, big, assignment)


async def _manifest_asked(bench: BoardBench, digest: str, since: float) -> bool:
    def is_asked() -> bool:
        return any(want.digest == digest and not want.blocks for want in bench.messages("want", since))

    asked = await bench.wire.until(is_asked, 5.0)
    return bench.ledger.check("B32", asked, "a want without blocks, within 5 s", "none")


def _judge_window(bench: BoardBench, asks: _Asks, stalled: bool) -> None:
    """While nothing is sent: how many at once, and how many in all, which no delay of ours can change."""
    found = list(asks.all())
    held_s = bench.now() - found[0][0] if found else 0.0
    total, most = len(found), int(WINDOW * (held_s / ASK_AGAIN_S + 2))
    bench.ledger.check("B28", total <= most, f"at most {most} blocks asked for in {held_s:.1f} s", total)
    if not stalled:
        at_once = max(len({ask[1:] for ask in found if at - OUTSTANDING_S < ask[0] <= at}) for at, _, _ in found)
        bench.ledger.check("B28", at_once <= WINDOW, f"at most {WINDOW} blocks outstanding", at_once)


def _judge_repeats(bench: BoardBench, asks: _Asks) -> None:
    counts = Counter(ask[1:] for ask in asks.all())
    most = max(counts.values(), default=0)
    bench.ledger.check("B29", most > 1, "a block that does not come is asked for again", f"not within {HELD_S:g} s")
    allowed = int(PER_SECOND * (HELD_S + 1))
    bench.ledger.check("B29", most <= allowed, f"at most {PER_SECOND} times a second", f"{most} times in {HELD_S:g} s")


async def _overhear(bench: BoardBench, asks: _Asks, digest: str) -> None:
    manifest, content = bench.packed[digest]
    last = manifest.blocks - 1
    if last in asks.of(digest):
        return  # it asks in an order of its own: then nothing can be overheard here
    bench.send_block(digest, last, cut(content, last))
    await asyncio.sleep(UNDER_WAY_S)


async def _deliver(bench: BoardBench, asks: _Asks, big: str, assignment: Assignment) -> None:
    last = bench.packed[big][0].blocks - 1
    overheard = (big, last) in bench.sent
    damaged_at: list[float] = []
    good: dict[int, float] = {}
    is_cut = asyncio.Event()
    had: set[int] = set()
    cut_at = mended_at = float("inf")

    def deliver(digest: str, block: int, honest: bytes) -> bytes | None:
        if digest != big:
            return honest
        if block == DAMAGED and not damaged_at:
            damaged_at.append(bench.now())
            return bytes([honest[0] ^ 1]) + honest[1:]
        if bench.tap is not None and not is_cut.is_set() and len(good) >= WINDOW and block not in good:
            return None
        good.setdefault(block, bench.now())
        return honest

    bench.deliver = deliver
    if bench.tap is not None:
        await bench.wire.until(lambda: len(good) >= WINDOW and _asked_anew(asks, big, damaged_at), 5.0)
        await asyncio.sleep(2 * UNDER_WAY_S)
        had, cut_at = set(good), bench.now()
        bench.tap.cut()
        await asyncio.sleep(UNDER_WAY_S)
        mended_at = bench.now()
        bench.tap.mend()
        is_cut.set()
    ready = await bench.until_ready(assignment)
    bench.deliver = lambda digest, block, honest: honest
    bench.ledger.check("B11", ready, "ready once every block was sent", bench.story(assignment))
    if not ready:
        raise StuckError(f"it did not become ready though every block was sent: {bench.story(assignment)}")
    if bench.tap is not None:
        lost = sorted(set(asks.of(big, mended_at)) & had)
        bench.ledger.check("B33", not lost, "no block asked for that came before the cut", lost)
    # What waited while we stood still was asked for before the block came.
    again = _again(asks, big, good, cut_at) if bench.wire.longest_stall_s < UNDER_WAY_S / 2 else []
    came = _asked_anew(asks, big, damaged_at, cut_at)
    bench.ledger.check(
        "B30",
        came and not again,
        f"block {DAMAGED}, which was damaged, asked for again, and no other",
        f"also {again}" if again else f"block {DAMAGED} not asked for",
    )
    if overheard:
        wanted = last in asks.of(big)
        bench.ledger.check("B31", not wanted, f"block {last}, which came unasked, is not asked for", "it was asked for")


def _asked_anew(asks: _Asks, big: str, damaged_at: list[float], until: float = float("inf")) -> bool:
    """Whether the damaged block was asked for again, before a cut."""
    return any(
        (digest, block) == (big, DAMAGED) and damaged_at and damaged_at[0] < at < until
        for at, digest, block in asks.all()
    )


def _again(asks: _Asks, big: str, good: dict[int, float], until: float) -> list[int]:
    """Blocks that were asked for, before a cut, although they had come as they should."""
    return sorted(
        {block for at, digest, block in asks.all() if digest == big and good.get(block, at) + UNDER_WAY_S < at < until}
    )

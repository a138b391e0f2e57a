"""What the fetcher asks for when what comes is not what it should be. Whole downloads: `test_agent`, `tests/system`."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

from convoy_device.fetching import MOST_DOUBTS, Fetcher
from convoy_schema.artifacts import ASK_AGAIN_S, BLOCK_BYTES, WINDOW, Manifest, cut, pack

CONTENT = random.Random(3).randbytes(2 * BLOCK_BYTES)
MANIFEST, PACKED = pack(CONTENT)
DIGEST = MANIFEST.digest
FALSE, FALSE_PACKED = pack(random.Random(4).randbytes(2 * BLOCK_BYTES))
LIE = Manifest(DIGEST, FALSE.size, FALSE.packed_size, FALSE.hashes)


def fetching(manifest: Manifest) -> Fetcher:
    fetcher = Fetcher()
    fetcher.aim([DIGEST], 0.0)
    assert fetcher.manifest(manifest)
    return fetcher


def receive(fetcher: Fetcher, block: int, content: bytes, now: float = 0.0) -> bool:
    """As the agent does with a block; whether it was of use."""
    if fetcher.is_damaged(DIGEST, block, content):
        fetcher.doubt(DIGEST)
        return False
    return fetcher.block(DIGEST, block, content, now) is not None


def test_a_manifest_whose_blocks_never_come_right_is_asked_for_again_and_replaced() -> None:
    fetcher = fetching(LIE)
    now, manifests = 0.0, 0
    for _ in range(MOST_DOUBTS + 1):
        for digest, blocks in fetcher.asks(now):
            assert digest == DIGEST
            manifests += not blocks
            for block in blocks:
                assert not receive(fetcher, block, cut(PACKED, block))
        now += ASK_AGAIN_S
    assert manifests >= 1
    assert fetcher.manifest(MANIFEST), "what comes in answer takes the place of the false one"
    assert all(receive(fetcher, block, cut(PACKED, block)) for block in range(MANIFEST.blocks))


def test_whoever_waits_for_long_asks_ever_more_rarely_until_a_new_connection() -> None:
    fetcher = fetching(MANIFEST)
    asked = [now / 10 for now in range(320) if fetcher.asks(now / 10)]
    pauses = [round(after - before, 3) for before, after in itertools.pairwise(asked)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    for block in range(MANIFEST.blocks - 1):
        assert receive(fetcher, block, cut(PACKED, block), 40.0)
    fetcher.ask_anew(41.0)
    assert fetcher.asks(41.0)
    assert fetcher.due() == 41.0 + ASK_AGAIN_S


def test_a_board_is_as_patient_as_blocks_took() -> None:
    """A fleet whose blocks take long asks for none of them twice, once it knows."""
    manifest, packed = pack(random.Random(5).randbytes(3 * WINDOW * BLOCK_BYTES))
    fetcher = Fetcher()
    fetcher.aim([manifest.digest], 0.0)
    assert fetcher.manifest(manifest)
    asked, coming, now = Counter[int](), dict[int, float](), 0.0
    while now < 60.0:
        for _, blocks in fetcher.asks(now):
            asked.update(blocks)
            coming |= {block: now + 1.8 for block in blocks if block not in coming}
        for block in [block for block, at in coming.items() if at <= now]:
            fetcher.block(manifest.digest, block, cut(packed, block), now)
            coming[block] = math.inf
        now += 0.1
    assert sorted(asked) == list(range(manifest.blocks))
    assert {block for block, times in asked.items() if times > 1} <= set(range(WINDOW))
    assert all(times <= 3 for times in asked.values())


def test_a_block_that_was_asked_for_twice_says_nothing_about_how_long_blocks_take() -> None:
    fetcher = fetching(MANIFEST)
    fetcher.asks(0.0)
    fetcher.asks(ASK_AGAIN_S)
    assert receive(fetcher, 0, cut(PACKED, 0), 100.0)
    due = fetcher.due()
    assert due is not None
    assert due - ASK_AGAIN_S == 2 * ASK_AGAIN_S


def test_a_manifest_that_nobody_states_is_asked_for_ever_more_rarely() -> None:
    fetcher = Fetcher()
    fetcher.aim([DIGEST], 0.0)
    asked = [now / 10 for now in range(320) if any(not blocks for _, blocks in fetcher.asks(now / 10))]
    assert [round(after - before, 3) for before, after in itertools.pairwise(asked)] == [2.0, 4.0, 8.0, 8.0, 8.0]


def test_damaged_blocks_of_a_right_manifest_lose_nothing() -> None:
    fetcher = fetching(MANIFEST)
    assert receive(fetcher, 0, cut(PACKED, 0))
    for _ in range(3 * MOST_DOUBTS):
        assert not receive(fetcher, 1, cut(FALSE_PACKED, 1))
    assert (DIGEST, ()) in fetcher.asks(1.0)
    assert not fetcher.manifest(MANIFEST), "it is the one we have"
    assert receive(fetcher, 1, cut(PACKED, 1))
    assert (DIGEST, ()) not in fetcher.asks(2.0), "a good block ends the doubt"


def test_a_block_that_was_on_its_way_to_the_disk_for_a_download_that_was_dropped_is_asked_for_again() -> None:
    """Seed 84 of the fleets in virtual time: two changes of mind within the time that one write takes."""
    fetcher = fetching(MANIFEST)
    effects = [fetcher.block(DIGEST, block, cut(PACKED, block), 0.0) for block in range(MANIFEST.blocks)]
    fetcher.aim([], 0.1)
    fetcher.keep(frozenset())  # the store drops what it has of it, after it has written these blocks
    fetcher.aim([DIGEST], 0.2)
    assert fetcher.manifest(MANIFEST)
    for effect in effects:
        assert effect is not None
        fetcher.stored(effect)
    assert fetcher.finished() == []
    asked = [block for digest, blocks in fetcher.asks(0.3) if digest == DIGEST for block in blocks]
    assert sorted(asked) == list(range(MANIFEST.blocks))
    for block in asked:
        again = fetcher.block(DIGEST, block, cut(PACKED, block), 0.0)
        assert again is not None
        fetcher.stored(again)
    assert [effect.manifest for effect in fetcher.finished()] == [MANIFEST]

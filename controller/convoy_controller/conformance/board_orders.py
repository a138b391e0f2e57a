"""Orders: what a board follows, what it must not follow, and that nothing it cannot read ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
from convoy_schema import codec
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Desired
from convoy_schema.names import Generation

from convoy_controller.conformance.board_bench import BoardBench
from convoy_controller.conformance.running import StuckError
from convoy_controller.conformance.trial_models import small, wide

#: Seconds in which a board that follows an order says so.
FOLLOW_S = 1.0


async def bring_up(bench: BoardBench) -> None:
    """The first assignment."""
    assert bench.model is not None
    bench.announce(bench.model)
    assignment = bench.assignment(bench.model)
    bench.desire(assignment)
    is_ready = await bench.until_ready(assignment)
    bench.ledger.check("B11", is_ready, "ready, of the revision that is desired", bench.story(assignment))
    if not is_ready:
        raise StuckError(f"it did not bring a good assignment to ready: {bench.story(assignment)}")
    reported = bench.reported
    held = reported.held if reported is not None else ()
    bench.ledger.check("B11", held == (assignment,), "the assignment whole in `held`", held)


async def orders(bench: BoardBench) -> None:
    """Orders that change nothing, and one that must be followed though it says more than we know."""
    await _hold_again(bench)
    epoch, revision = bench.epoch, bench.revision
    empty = codec.encode
    await _ignores(bench, "B12", "an older epoch", empty(Desired(epoch - 1, revision + 10, ())))
    await _ignores(bench, "B13", "an older revision", empty(Desired(epoch, bench.revision - 1, ())))
    await _ignores(
        bench, "B14", "a second, different order of the same revision", empty(Desired(epoch, bench.revision, ()))
    )
    later = _tree(Desired(epoch, bench.revision + 1, ()))
    await _ignores(bench, "B16", "an order whose oldest version is 99", msgpack.packb({**later, "v": [99, 99]}))
    await _ignores(bench, "B17", "an empty payload", b"")
    await _unknown_fields(bench)


async def _hold_again(bench: BoardBench) -> None:
    """What serves, in a newer revision: whatever it was led to do before."""
    assert bench.model is not None
    assignment = bench.held[0] if bench.held else bench.assignment(bench.model)
    bench.desire(assignment)
    if not await bench.until_ready(assignment):
        bench.epoch += 1
        await bench.hold(bench.assignment(bench.model))


async def _ignores(bench: BoardBench, rule: str, what: str, payload: bytes) -> None:
    told = (bench.epoch, bench.revision)
    assignment = bench.held[0]
    bench.say(bench.leaf("desired"), payload)
    await asyncio.sleep(FOLLOW_S / 2)
    reported = bench.reported
    now = (reported.epoch, reported.revision) if reported is not None else None
    is_held = now == told and bench.phase(assignment) is Phase.READY
    answered = await bench.answered(bench.send(bench.frame(assignment, bench.inputs(assignment))))
    if not bench.ledger.check(
        rule,
        is_held and answered,
        f"{what} changes nothing: revision {told[0]}.{told[1]} held and served",
        f"{bench.story(assignment)}; {'answers' if answered else 'no answer to a good frame'}",
    ):
        bench.revision += 20
        await _hold_again(bench)


def _tree(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgpack.unpackb(codec.encode(message))
    return found


async def _unknown_fields(bench: BoardBench) -> None:
    bench.revision += 1
    body = _tree(Desired(bench.epoch, bench.revision, bench.held))
    more = {"from-a-later-version": [1, {"deep": b"x"}]}
    for place in (body, body["assignments"][0], body["assignments"][0]["intent"], body["assignments"][0]["generation"]):
        place.update(more)
    bench.say(bench.leaf("desired"), msgpack.packb(body), retain=True)
    follows = await bench.until_ready(*bench.held, seconds=3 * FOLLOW_S)
    bench.ledger.check("B15", follows, "an order with unknown fields is followed", bench.story(*bench.held))


# Garbage --------------------------------------------------------------------------------------------------------------


async def garbage(bench: BoardBench) -> None:
    """Bytes that are no message, on every topic that a board hears while it fetches, waits and serves."""
    await _hold_again(bench)
    assert bench.model is not None
    assert bench.way is not None
    serving = bench.held[0]
    unheard = small(f"{bench.name}-unheard", bench.keys.signer, bench.way)
    lacking = wide(f"{bench.name}-lacking", bench.keys.signer, bench.way)
    waits, lacks = bench.assignment(unheard, "trial-waits"), bench.assignment(lacking, "trial-lacks")
    bench.announce(lacking, manifests=False)
    bench.deliver = lambda digest, block, content: None
    missing = set(lacking.blobs)
    bench.packed = {digest: packed for digest, packed in bench.packed.items() if digest not in missing}
    bench.desire(serving, waits, lacks)
    await bench.wire.until(lambda: bench.messages("want"), 3.0)
    topics = [
        *(bench.leaf(leaf) for leaf in ("desired", "command", "state")),
        bench.topics.trust(),
        bench.topics.model(unheard.bundle.model, "1"),
        *(bench.topics.manifest(digest) for digest in missing),
        *(bench.topics.block(digest, 0) for digest in missing),
        bench.topics.frame(bench.gateway, bench.board, "trial", serving.generation, 0),
        bench.topics.frame(bench.gateway, bench.board, "nobody", Generation(9, 9), 7),
        f"{bench.topics.prefix}from/{bench.gateway}/to/{bench.board}/UPPER/case/x",
    ]
    for topic in topics:
        for payload in noise(bench):
            bench.say(topic, payload)
        await asyncio.sleep(0.02)
    is_alive = await bench.is_alive()
    answers = await bench.answered(bench.send(bench.frame(serving, bench.inputs(serving))))
    bench.ledger.check(
        "B18",
        is_alive and answers,
        "it restates in the same session, and serves",
        "it does not restate in its session" if not is_alive else "no answer to a good frame",
    )
    bench.deliver = lambda digest, block, content: content
    if not is_alive:
        raise StuckError("bytes that are no message ended it")


def noise(bench: BoardBench) -> list[bytes]:
    """Payloads that no channel has, one of each sort."""
    good = codec.encode(Desired(bench.epoch, bench.revision + 1, ()))
    return [
        b"\x00",
        b"\xff" * 100,
        b"no message at all",
        good[:-1],
        msgpack.packb([1, 2, 3]),
        msgpack.packb({"v": [1, 1]}),
        msgpack.packb({"v": "1", "epoch": 1}),
        msgpack.packb({"v": [1, 1], "epoch": "one", "revision": [], "assignments": 7, "order": 3, "session": "x"}),
        b"\x91" * 3000,
        b"\xdd\xff\xff\xff\xff",
        bytes(300_000),
    ]

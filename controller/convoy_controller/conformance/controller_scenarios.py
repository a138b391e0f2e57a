"""What a controller is led through: a fleet that comes, deaths true and false, garbage, lost connections, rivals."""

from __future__ import annotations

import asyncio
import itertools

import msgpack
from convoy_schema.messages.boards import BoardState, Capability, Presence, Want
from convoy_schema.messages.gateways import ControllerState

from convoy_controller.conformance.controller_bench import ControllerBench, is_online
from convoy_controller.conformance.played_board import PlayedBoard, capability_of
from convoy_controller.conformance.running import StuckError
from convoy_controller.conformance.wire import Wire

#: Seconds for a generation to come to serve; and for others to take over a stage.
SERVE_S = 30.0
TAKE_OVER_S = 10.0
#: Seconds of two blocks of a round trip, and within which what was asked for must come.
ROUND_TRIP_S = 0.2
COMES_S = 5.0
#: Seconds between two words of the one in charge, at most: twice what the contract says.
STATE_S = 2.0
#: Seconds for which its words are counted.
LISTEN_S = 5.2
CUT_S = 1.0
BACK_S = 15.0
RIVAL_S = 4.0


async def meet(bench: ControllerBench, seconds: float) -> None:
    """Until it says that it is in charge; raises `StuckError`."""
    if not await bench.wire.until(lambda: any(is_online(state) for _, state in bench.states), seconds):
        raise StuckError(f"no controller said within {seconds:g} s that it is in charge")


async def come_to_serve(bench: ControllerBench, seconds: float) -> None:
    """The fleet comes; somebody deploys; the first test of a generation fails, the next one passes."""
    for board in bench.boards.values():
        bench.come(board)
    bench.gateway.come()
    if not await bench.wire.until(lambda: bool(bench.gateway.probes), seconds):
        raise StuckError(f"within {seconds:g} s nothing was placed on {', '.join(bench.boards)} and ready to be tested")
    serves = await bench.wire.until(lambda: bench.serving is not None, SERVE_S)
    first = next(iter(bench.gateway.probes))
    follows = len(bench.gateway.probes) > 1
    if not follows:
        bench.ledger.check(
            "C17", False, f"another generation after the test of {first[1]} failed", f"none in {SERVE_S:g} s"
        )
    if not serves:
        raise StuckError(f"no generation came to be fed within {SERVE_S:g} s")
    bench.ledger.check("C17", bench.serving != first, f"{first[1]}, whose test failed, never fed", "it is fed")
    await bench.wire.until(lambda: _all_serving(bench), 3.0)


def _all_serving(bench: ControllerBench) -> bool:
    key = bench.serving
    return key is not None and all(each.role.value == "serving" for each in bench.assigned(key).values())


async def words(bench: ControllerBench) -> None:
    """What it says of itself, and what a late subscriber finds."""
    since = bench.now()
    await asyncio.sleep(LISTEN_S)
    times = [since, *(at for at, _ in bench.states if at >= since), bench.now()]
    longest = max(later - earlier for earlier, later in itertools.pairwise(times))
    bench.ledger.check("C1", longest <= STATE_S, "a state each second", f"{longest:.1f} s without")
    sessions = {(state.session, state.presence.value) for state in bench.states_since(since)}
    bench.ledger.check("C1", len(sessions) == 1, "one session, online", sessions)
    bench.ledger.check("C1", bench.epoch >= 1, "an epoch from 1 on", bench.epoch)
    wire = bench.wire
    async with Wire(wire.url, bench.topics.site, "trial-late", (f"{bench.topics.prefix}#",), wire.credentials) as late:
        await asyncio.sleep(1.0)
        retained = {each.topic for each in late.heard if each.retained and each.payload}
    key = bench.serving
    assert key is not None
    needed = [bench.topics.controller_state(), *(bench.topics.board(name, "desired") for name in bench.assigned(key))]
    needed += [bench.topics.manifest(digest) for digest in bench.library.manifests]
    missing = [topic for topic in needed if topic not in retained]
    bench.ledger.check("C3", not missing, "state, orders and manifests retained", f"not retained: {missing[:3]}")
    wrong = [topic for topic in retained if topic.endswith("/command")]
    bench.ledger.check("C3", not wrong, "no command retained", wrong)


async def artifacts(bench: ControllerBench) -> None:
    """Manifests again, and one block for two."""
    if not bench.library.manifests:
        raise StuckError("no stage that it placed needs an artifact")
    digest = next(iter(bench.library.manifests))
    first, second, *_ = bench.boards.values()
    since = bench.now()
    first.want(digest, ())
    stated = await bench.wire.until(lambda: any(at >= since and d == digest for at, d in bench.manifests), COMES_S)
    bench.ledger.check("C10", stated, f"the manifest again within {COMES_S:g} s", "nothing")
    await asyncio.sleep(1.0)
    since = bench.now()
    for board in (first, second):
        board.want(digest, (0,))

    def sent() -> list[float]:
        return [at for at, d, block in bench.blocks if at >= since and (d, block) == (digest, 0)]

    comes = await bench.wire.until(sent, COMES_S)
    bench.ledger.check("C11", comes, f"block 0 again within {COMES_S:g} s", "nothing")
    await asyncio.sleep(1.0)
    bench.ledger.check("C12", len(sent()) == 1, "block 0 once for two who asked at once", f"{len(sent())} times")


async def false_alarms(bench: ControllerBench) -> None:
    """What must change nothing: a late will, unknown fields, bytes that are no message."""
    since = bench.now()
    victim = _victim(bench)
    victim.go(victim.session - 1)
    await asyncio.sleep(2.5)
    orders = bench.orders_since(since)
    bench.ledger.check("C19", not orders, "no order after the death of another session", f"{len(orders)} orders")
    victim.restate()
    since = bench.now()
    victim.more = {"from-a-later-version": {"deep": [1, b"x"]}}
    victim.restate()
    await asyncio.sleep(5.0)
    victim.more = {}
    orders = bench.orders_since(since)
    bench.ledger.check("C24", not orders, "no order while a board says more than it knows", f"{len(orders)} orders")


async def garbage(bench: ControllerBench) -> None:
    """Bytes that are no message, on every topic that a controller hears."""
    session = bench.states[-1][1].session
    name, digest = "trial-noise", "0" * 64
    topics = [bench.topics.board(name, leaf) for leaf in ("state", "capability", "reported", "pulse", "want")]
    topics += [bench.topics.gateway(name, leaf) for leaf in ("state", "reported")]
    topics += [bench.topics.controller_state(), bench.topics.trust(), bench.topics.model("noise", "1")]
    topics += [bench.topics.manifest(digest), f"{bench.topics.prefix}boards/UPPER/state"]
    for topic in topics:
        for payload in noise():
            bench.say(topic, payload)
    bench.say(bench.topics.board(name, "want"), Want(7, digest, (0, 1)))
    since = bench.now()
    await asyncio.sleep(2.5)
    sessions = {state.session for state in bench.states_since(since) if is_online(state)}
    bench.ledger.check("C23", sessions == {session}, f"session {session} in charge as before", sessions or "silence")
    if sessions != {session}:
        raise StuckError("bytes that are no message ended it")


def noise() -> list[bytes]:
    """Payloads that no channel has."""
    return [
        b"\x00",
        b"\xff" * 100,
        msgpack.packb([1, 2, 3]),
        msgpack.packb({"v": [1, 1]}),
        msgpack.packb({"v": [99, 99], "session": 1}),
        msgpack.packb({"v": [1, 1], "session": "x", "epoch": [], "presence": 3, "digest": 4, "delegations": 5}),
        b"\x91" * 3000,
        b"\xdd\xff\xff\xff\xff",
        bytes(300_000),
    ]


def _victim(bench: ControllerBench) -> PlayedBoard:
    """A board that serves."""
    key = bench.serving
    names = list(bench.assigned(key)) if key is not None else []
    if not names:
        raise StuckError("no board serves")
    return bench.boards[names[0]]


async def deaths(bench: ControllerBench) -> None:
    """One that is told, and one that nobody tells."""
    for rule, is_told in (("C18", True), ("C20", False)):
        victim = _victim(bench)
        if is_told:
            victim.go()
        else:
            victim.is_silent = True
        taken = await bench.serves_without(victim.name, TAKE_OVER_S)
        how = "said offline" if is_told else "fell silent"
        bench.ledger.check(
            rule, taken, f"a generation without {victim.name}, which {how}, fed within {TAKE_OVER_S:g} s", bench.serving
        )
        bench.come(victim)
        await asyncio.sleep(1.0)
        await bench.wire.until(lambda: bench.serving is not None, SERVE_S)


async def cutting(bench: ControllerBench) -> None:
    """A connection that breaks, while somebody leaves retained words of a board that is not there."""
    tap = bench.tap
    assert tap is not None
    before = bench.states[-1][1]
    told = dict(bench.orders_since(0.0))
    cut_at = bench.now()
    tap.cut()
    await asyncio.sleep(CUT_S)
    wills = [state for state in bench.states_since(cut_at) if not is_online(state)]
    bench.ledger.check(
        "C4",
        any(will.session == before.session and will.epoch == 0 for will in wills),
        f"offline of session {before.session}, epoch 0, from the broker",
        [(will.session, will.epoch) for will in wills] or "nothing",
    )
    ghost = "trial-ghost"
    _haunt(bench, ghost)
    mended_at = bench.now()
    tap.mend()

    def restated() -> bool:
        return set(told) <= {name for name, _ in bench.orders_since(mended_at)}

    back = await bench.wire.until(restated, BACK_S)
    numbers = {name: (order.epoch, order.revision) for name, order in reversed(bench.orders_since(mended_at))}
    expected = {name: (order.epoch, order.revision) for name, order in told.items()}
    same = back and all(numbers[name] == number for name, number in expected.items())
    bench.ledger.check("C22", same, f"orders again as they were: {expected}", numbers or "nothing")
    asked = await bench.wire.until(lambda: any(at >= mended_at and n == ghost for at, n in bench.commands), 3.0)
    bench.ledger.check("C21", asked, f"a rebirth asked of {ghost}", "none")
    await asyncio.sleep(3.0)
    placed = [order for _, order in bench.orders_since(mended_at, ghost) if order.assignments]
    bench.ledger.check("C21", not placed, f"nothing placed on {ghost}, which only retained words know", "an assignment")
    for leaf in ("state", "capability"):
        bench.say(bench.topics.board(ghost, leaf), b"", retain=True)


def _haunt(bench: ControllerBench, name: str) -> None:
    capability: Capability = capability_of(bench.session)
    bench.say(bench.topics.board(name, "state"), BoardState(Presence.ONLINE, bench.session), retain=True)
    bench.say(bench.topics.board(name, "capability"), capability, retain=True)


async def rivals(bench: ControllerBench) -> None:
    """Another controller that speaks for some seconds, in a higher epoch, and then falls silent."""
    epoch = bench.epoch + 10
    began = bench.now()
    victim = None
    while bench.now() < began + RIVAL_S:
        bench.say(bench.topics.controller_state(), ControllerState(Presence.ONLINE, bench.session, epoch))
        if victim is None and bench.now() > began + RIVAL_S / 2:
            victim = _victim(bench)
            victim.go()
        await asyncio.sleep(0.5)
    silent_at = bench.now()
    heard = [f"state of epoch {state.epoch}" for state in bench.states_since(began + 1.5) if is_online(state)]
    heard += [f"an order for {name}" for name, _ in bench.orders_since(began + 1.5)]
    bench.ledger.check("C25", not heard, f"nothing while a controller of epoch {epoch} speaks", heard[:3])

    def above() -> bool:
        return any(is_online(state) and state.epoch > epoch for state in bench.states_since(silent_at))

    comes = await bench.wire.until(above, BACK_S)
    bench.ledger.check("C26", comes, f"in charge in an epoch above {epoch} within {BACK_S:g} s", f"epoch {bench.epoch}")
    if victim is not None:
        bench.come(victim)
    if not comes or not await bench.wire.until(lambda: _all_serving(bench), SERVE_S):
        raise StuckError("nothing serves after another controller fell silent")


async def higher_epoch(bench: ControllerBench) -> None:
    """A board that followed somebody whom this controller never heard of."""
    await asyncio.sleep(11.0)  # a controller may refuse to begin anew all the time
    board = _victim(bench)
    epoch = bench.epoch + 5
    since = bench.now()
    held = {name: each for name, each in bench.boards.items() if each.desired is not None and each.desired.assignments}
    board.claimed_epoch = epoch
    board.restate()

    def above() -> bool:
        return any(is_online(state) and state.epoch > epoch for state in bench.states_since(since))

    comes = await bench.wire.until(above, 2 * BACK_S)
    board.claimed_epoch = 0
    bench.ledger.check("C27", comes, f"an epoch above {epoch}, which a board follows", f"epoch {bench.epoch}")
    await asyncio.sleep(3.0)
    emptied = [name for name, order in bench.orders_since(since) if name in held and not order.assignments]
    bench.ledger.check("C27", not emptied, "nothing taken away from boards that serve", f"nothing left on {emptied}")

"""Presence: what a board says of itself, in which session, how it is retained, and what a lost connection brings."""

from __future__ import annotations

import asyncio
import itertools

from convoy_schema.channels import channel_of
from convoy_schema.frames import Frame
from convoy_schema.messages.boards import BoardState, Presence
from convoy_schema.topics import BoardTopic, FrameTopic

from convoy_controller.conformance.board_bench import BoardBench
from convoy_controller.conformance.running import StuckError
from convoy_controller.conformance.wire import Heard, Wire

#: Seconds beyond `within_ms` for an answer to a rebirth.
GRACE_S = 2.0
#: Seconds until everything retained has come to a new subscriber.
RETAINED_S = 1.0
#: Seconds for which a cut connection stays cut, and within which a board must be back.
CUT_S = 1.5
BACK_S = 20.0
#: Seconds that a pulse may be late.
LATE_S = 1.0
_LEAVES = ("state", "capability", "reported", "pulse")


async def meet(bench: BoardBench, seconds: float) -> None:
    """Ask the board to say everything until it does; raises `StuckError`."""
    deadline = bench.now() + seconds
    while bench.now() < deadline:
        bench.command(100)
        if await bench.wire.until(lambda: bench.messages("capability") and bench.reported is not None, 1.0):
            bench.capability = bench.messages("capability")[-1]
            reported = bench.reported
            # Two above, so that there is an older one that it never followed.
            bench.epoch = (reported.epoch if reported is not None else 0) + 2
            return
    raise StuckError(f"board {bench.board} did not answer within {seconds:g} s")


async def restating(bench: BoardBench) -> None:
    """Rebirth, and what a new subscriber gets."""
    for within_ms in (0, 500):
        since = bench.now()
        bench.command(within_ms)
        await bench.wire.until(
            lambda since=since: all(bench.messages(leaf, since) for leaf in _LEAVES),  # type: ignore[misc]
            within_ms / 1000 + GRACE_S,
        )
        missing = [leaf for leaf in _LEAVES if not bench.messages(leaf, since)]
        bench.ledger.check(
            "B7",
            not missing,
            f"state, capability, reported and pulse within {within_ms} ms and {GRACE_S:g} s",
            f"no {', '.join(missing)}",
        )
    link = bench.wire
    async with Wire(
        link.url, link.topics.site, "trial-late", (f"{bench.topics.prefix}boards/{bench.board}/+",), link.credentials
    ) as late:
        await asyncio.sleep(RETAINED_S)
        retained = {
            each.address.leaf
            for each in late.heard
            if each.retained and each.payload and isinstance(each.address, BoardTopic)
        }
    for leaf in ("state", "capability", "reported"):
        bench.ledger.check("B4", leaf in retained, f"{leaf} retained at the broker", f"retained are {sorted(retained)}")
    bench.ledger.check("B5", "pulse" not in retained, "no pulse retained", "a retained pulse")


async def pulsing(bench: BoardBench) -> None:
    """Pulses with a live stage; there must be one."""
    since = bench.now()
    await bench.wire.until(lambda: len(list(bench.heard("pulse", since))) >= 3, 3 * (1.0 + LATE_S))
    heard = [each for each in bench.heard("pulse", since) if each.message is not None]
    times = [since, *(each.at for each in heard)]
    if len(heard) < 3:
        times.append(bench.now())
    longest = max(later - earlier for earlier, later in itertools.pairwise(times))
    bench.ledger.check(
        "B6", longest <= 1.0 + LATE_S, "a pulse each second with a live stage", f"{longest:.1f} s without"
    )
    intervals = [each.message.interval_ms for each in heard]
    bench.ledger.check(
        "B6", all(each <= 1000 for each in intervals), "interval_ms of at most 1000", f"interval_ms {intervals}"
    )


async def cutting(bench: BoardBench) -> None:
    """A connection that breaks: the will, the way back, and what a board does with retained frames."""
    tap = bench.tap
    assert tap is not None
    if not bench.held:
        raise StuckError("it held nothing that could serve on")
    serving = bench.held[0]
    session = bench.board_session
    ghost = bench.send(bench.frame(serving, bench.inputs(serving)), retain=True)
    await bench.answered(ghost, seconds=0.5)
    before = len(bench.answers(ghost))
    cut_at = bench.now()
    tap.cut()
    await asyncio.sleep(CUT_S)
    wills = [each.message for each in bench.heard("state", cut_at) if isinstance(each.message, BoardState)]
    bench.ledger.check(
        "B3",
        any(will.presence is Presence.OFFLINE and will.session == session for will in wills),
        f"offline of session {session} from the broker when the connection broke",
        [f"{will.presence.value} of session {will.session}" for will in wills] or "nothing",
    )
    mended_at = bench.now()
    tap.mend()
    await bench.wire.until(lambda: _said_online(bench, mended_at), BACK_S)
    said = [f"{each.presence.value} of session {each.session}" for each in bench.messages("state", mended_at)]
    if not bench.ledger.check(
        "B1", _said_online(bench, mended_at), f"online of session {session} within {BACK_S:g} s", said or "nothing"
    ):
        return
    back = await _serves(bench)
    bench.ledger.check("B19", back, "answers as before, without being told anything", "no answer to a good frame")
    after = len(bench.answers(ghost))
    bench.ledger.check("B46", after == before, "no answer to a retained frame after it connected anew", "an answer")
    topic = bench.topics.frame(bench.gateway, bench.board, ghost.deployment, ghost.generation, ghost.stage)
    bench.wire.say(topic, b"", retain=True)


def _said_online(bench: BoardBench, since: float) -> bool:
    said: list[BoardState] = bench.messages("state", since)
    return any(each.presence is Presence.ONLINE and each.session == bench.board_session for each in said)


async def _serves(bench: BoardBench) -> bool:
    """Whether frames are answered; some may be lost while it still subscribes."""
    for _ in range(10):
        frame = bench.send(bench.frame(bench.held[0], bench.inputs(bench.held[0])))
        if await bench.answered(frame, seconds=0.5):
            return True
    return False


async def name_taken(bench: BoardBench) -> None:
    """Another session under its name: the last thing that is tried."""
    await asyncio.sleep(1.5)  # right after connecting it may take another's word for an echo
    bench.say(bench.leaf("state"), BoardState(Presence.ONLINE, bench.session))
    await asyncio.sleep(2.5)
    since = bench.now()
    bench.command(0)
    await asyncio.sleep(1.5)
    said = [each for leaf in ("capability", "reported", "pulse") for each in bench.messages(leaf, since)]
    bench.ledger.check("B10", not said, "silence once its name was taken", f"{len(said)} messages of its session")


# Everything it said ---------------------------------------------------------------------------------------------------


def judge_all(bench: BoardBench) -> None:
    """What holds of every message of the whole trial."""
    own = [each for each in bench.wire.heard if not each.retained and _is_its(bench, each)]
    for each in own:
        bench.ledger.check("B8", not each.fault, "a message that decodes", f"{each.topic}: {each.fault}")
        _judge_session(bench, each)
        _judge_quality(bench, each)
        name = _speaker(each)
        bench.ledger.check("B9", name == bench.board, f"words under the name {bench.board}", f"{each.topic}")
    for each in bench.wire.heard:
        if each.address is None:
            mine = f"/{bench.board}/" in each.topic and (each.topic, each.payload) not in bench.own
            bench.ledger.check("B8", not mine, "topics of the contract", f"{each.topic[:200]}: {each.fault}")


def _is_its(bench: BoardBench, each: Heard) -> bool:
    """Whether the board wrote it: by the topic, by its session, or since it answers a frame of ours."""
    if (each.topic, each.payload) in bench.own or not each.payload:
        return False
    if isinstance(each.address, FrameTopic):
        is_answer = isinstance(each.message, Frame) and each.message.batch[0] == bench.session
        return each.address.receiver != bench.board and (each.address.sender == bench.board or is_answer)
    if not isinstance(each.address, BoardTopic) or each.address.leaf in ("desired", "command"):
        return False
    return each.address.board == bench.board or getattr(each.message, "session", 0) == bench.board_session


def _speaker(each: Heard) -> str:
    return each.address.sender if isinstance(each.address, FrameTopic) else getattr(each.address, "board", "")


def _judge_session(bench: BoardBench, each: Heard) -> None:
    session = getattr(each.message, "session", None)
    if session is not None:
        is_one = session == bench.board_session and session != 0
        bench.ledger.check("B2", is_one, f"session {bench.board_session}, not 0", f"session {session} on {each.topic}")


def _judge_quality(bench: BoardBench, each: Heard) -> None:
    """The quality of service, which arrives as it was published: we subscribe at QoS 1."""
    assert each.address is not None
    channel = channel_of(each.address)
    rule = {"boardPulse": "B5", "frame": ""}.get(channel.name, "B4")
    if rule:
        is_so = each.qos == channel.qos
        bench.ledger.check(rule, is_so, f"QoS {channel.qos} on {each.topic}", f"QoS {each.qos}")

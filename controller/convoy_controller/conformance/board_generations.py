"""Generations: the old one serves while the new one comes, then drains, and is let go."""

from __future__ import annotations

import asyncio

import numpy as np
from convoy_schema.frames import Frame
from convoy_schema.messages.boards import Phase
from convoy_schema.messages.desired import Role

from convoy_controller.conformance.board_bench import BoardBench, as_role
from convoy_controller.conformance.trial_models import small

#: Seconds between frames into the old generation.
BEAT_S = 0.03


async def generations(bench: BoardBench) -> None:
    """Under traffic: another version is staged, takes over, and the old one goes."""
    assert bench.model is not None
    assert bench.way is not None
    old, before = bench.held[0], bench.model
    await bench.hold(old)
    model = small(f"{bench.name}-next", bench.keys.signer, bench.way)
    bench.announce(model)
    new = as_role(bench.assignment(model), Role.STAGED)
    sent: list[Frame] = []
    traffic = asyncio.create_task(_traffic(bench, sent))
    bench.desire(old, new)
    staged = await bench.until_ready(old, new)
    traffic.cancel()
    await asyncio.gather(traffic, return_exceptions=True)
    await bench.answered(*sent)
    bench.ledger.check("B11", staged, "a second generation ready beside the first", bench.story(new))
    right = _right(bench, sent)
    bench.ledger.check("B47", right == len(sent), f"{len(sent)} right answers meanwhile", f"{right}")
    new, old = as_role(new, Role.SERVING), as_role(old, Role.DRAINING)
    bench.desire(new, old)
    await bench.until_ready(new, old, seconds=5.0)
    late = [bench.send(bench.frame(old, bench.inputs(old))) for _ in range(5)]
    await bench.answered(*late, seconds=2.0)
    right = _right(bench, late)
    bench.ledger.check("B48", right == len(late), f"{len(late)} right answers while it drains", f"{right}")
    bench.desire(new)
    gone = await bench.wire.until(lambda: bench.phase(old) is None and bench.phase(new) is Phase.READY, 5.0)
    last = bench.send(bench.frame(old, bench.inputs(old)))
    bench.model = model
    await bench.sentinel(new)
    answered = bench.answers(last)
    bench.ledger.check("B49", gone, "the generation not reported any more", bench.story(old))
    bench.ledger.check("B49", not answered, "no answer to a frame of a generation that is gone", "an answer")
    if not staged:
        bench.model = before


async def _traffic(bench: BoardBench, sent: list[Frame]) -> None:
    assignment = bench.held[0]
    while True:
        sent.append(bench.send(bench.frame(assignment, bench.inputs(assignment))))
        await asyncio.sleep(BEAT_S)


def _right(bench: BoardBench, sent: list[Frame]) -> int:
    """How many have one answer, and that right."""
    assert bench.model is not None
    expected = bench.model.values[bench.model.topology.output]
    right = 0
    for frame in sent:
        answers = bench.answers(frame)
        if len(answers) == 1 and len(answers[0].message.tensors) == 1:
            data = np.frombuffer(answers[0].message.tensors[0].data, np.int8)
            right += bool(np.array_equal(data, expected.reshape(-1)))
    return right

"""Frames: what a board answers, to whom and how, and what it must never compute."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from convoy_schema.frames import Frame, TensorData, choose
from convoy_schema.messages.desired import Assignment, Hop
from convoy_schema.names import Generation
from convoy_schema.topics import FrameTopic

from convoy_controller.conformance.board_bench import (
    BATCH_ROWS,
    QUEUE_FRAMES,
    QUIET_S,
    BoardBench,
    refusals,
)
from convoy_controller.conformance.wire import Heard

#: Boards that are none, and stand before and behind the board under trial.
BEFORE = "trial-north"
BEHIND = (Hop("trial-east", 1), Hop("trial-west", 2))
#: Milliseconds by which a budget may differ from what residence took off it.
BUDGET_MS = 1.0
_FRAMES = 9


async def frames(bench: BoardBench) -> None:
    """A whole network, a first stage with two boards behind it, and a last stage with a board before it."""
    model = bench.model
    assert model is not None
    whole = bench.held[0]
    front = bench.assignment(model, "trial-front", layers=model.layers[:2], following=BEHIND)
    back = bench.assignment(model, "trial-back", layers=model.layers[2:], previous=(BEFORE,))
    await bench.hold(whole, front, back)
    for assignment, sender in ((whole, ""), (front, ""), (back, BEFORE)):
        sent = [
            bench.send(bench.frame(assignment, bench.inputs(assignment, 1 + number % BATCH_ROWS)), sender=sender)
            for number in range(_FRAMES)
        ]
        await bench.answered(*sent)
        for frame in sent:
            _judge_answer(bench, assignment, frame)
    await _again(bench, whole)
    await _bad(bench, whole, back)
    await _burst(bench, whole)


def _judge_answer(bench: BoardBench, assignment: Assignment, frame: Frame) -> None:
    answers = bench.answers(frame)
    ledger = bench.ledger
    if not ledger.check("B34", len(answers) == 1, "one answer a frame", f"{len(answers)} answers to a good frame"):
        return
    answer = answers[0].message
    expected = _expected(bench, assignment, frame)
    found = {(each.name, each.dtype, tuple(each.shape), each.data) for each in answer.tensors}
    came = [(each.name, each.dtype, each.shape) for each in answer.tensors]
    ledger.check(
        "B34", found == expected, f"{[each[:3] for each in expected]} to the last bit", f"{came}, or other bits"
    )
    _judge_address(bench, assignment, frame, answers[0])
    _judge_time(bench, frame, answer)


def _expected(bench: BoardBench, assignment: Assignment, frame: Frame) -> set[tuple[str, str, tuple[int, ...], bytes]]:
    assert bench.model is not None
    tensor = bench.model.topology.layer(assignment.layers[-1]).output
    values = bench.model.values[tensor][: frame.tensors[0].shape[0]]
    return {(tensor, "int8", tuple(values.shape), values.tobytes())}


def _judge_address(bench: BoardBench, assignment: Assignment, frame: Frame, heard: Heard) -> None:
    answer, address = heard.message, heard.address
    assert isinstance(address, FrameTopic)
    repeated = ("deployment", "generation", "gateway", "batch", "requests")
    wrong = [name for name in repeated if getattr(answer, name) != getattr(frame, name)]
    bench.ledger.check("B35", not wrong, f"{', '.join(repeated)} repeated", f"others: {', '.join(wrong)}")
    stage = assignment.stage + 1
    place = (address.deployment, address.generation, address.stage, answer.stage)
    expected = (frame.deployment, frame.generation, stage, stage)
    bench.ledger.check("B35", place == expected, f"topic and frame of stage {stage}: {expected}", place)
    receiver = choose(frame.batch, assignment.next).board if assignment.next else frame.gateway
    rule = "B36" if assignment.next else "B35"
    bench.ledger.check(rule, address.receiver == receiver, f"batch {frame.batch[1]} to {receiver}", address.receiver)


def _judge_time(bench: BoardBench, frame: Frame, answer: Frame) -> None:
    added = answer.residence_us[len(frame.residence_us) :]
    kept = answer.residence_us[: len(frame.residence_us)] == frame.residence_us
    if not bench.ledger.check(
        "B42", kept and len(added) == 1, "one more residence_us, the others kept", answer.residence_us
    ):
        return
    expected = max(0.0, frame.budget_ms - added[0] / 1000)
    bench.ledger.check(
        "B42",
        abs(answer.budget_ms - expected) <= BUDGET_MS,
        f"a budget of {expected:.1f} ms after {added[0]} us",
        f"{answer.budget_ms:.1f} ms",
    )


async def _again(bench: BoardBench, whole: Assignment) -> None:
    frame = bench.send(bench.frame(whole, bench.inputs(whole)))
    await bench.answered(frame)
    bench.send(frame)
    await bench.wire.until(lambda: len(bench.answers(frame)) >= 2, 3.0)
    answers = bench.answers(frame)
    alike = len({each.message.tensors for each in answers}) == 1
    bench.ledger.check("B43", len(answers) == 2 and alike, "two answers, alike", f"{len(answers)} answers")


# What must not be computed --------------------------------------------------------------------------------------------


async def _bad(bench: BoardBench, whole: Assignment, back: Assignment) -> None:
    before = await bench.next_pulse()
    sent = []
    for rule, what, frame, to in _bad_frames(bench, whole, back):
        bench.send(frame, to=to)
        sent.append((rule, what, frame))
    for assignment in (whole, back):
        await bench.sentinel(assignment)
    for rule, what, frame in sent:
        answers = bench.answers(frame)
        bench.ledger.check(rule, not answers, f"no answer to a frame {what}", "an answer")
    after = await bench.next_pulse()
    if before is None or after is None:
        bench.ledger.untried(["B44"], "no pulse came with a live stage")
        return
    counted = refusals(after) - refusals(before)
    refused = sum(not bench.answers(frame) for _, _, frame in sent)
    bench.ledger.check("B44", counted >= refused, f"{refused} refusals more in its pulse", f"{counted}")


def _bad_frames(
    bench: BoardBench, whole: Assignment, back: Assignment
) -> Iterator[tuple[str, str, Frame, FrameTopic | None]]:
    """(rule, what is wrong, frame, topic if not its own)."""

    def good() -> Frame:
        return bench.frame(whole, bench.inputs(whole))

    def place(frame: Frame, sender: str = "") -> FrameTopic:
        return FrameTopic(sender or bench.gateway, bench.board, frame.deployment, frame.generation, frame.stage)

    own = whole.generation
    for other in (Generation(own.epoch, own.counter + 100), Generation(own.epoch - 1, own.counter)):
        frame = good()
        yield "B37", f"of generation {other}", replace(frame, generation=other), None
        frame = good()
        yield "B37", f"of generation {other} on the topic of {own}", replace(frame, generation=other), place(frame)
        frame = good()
        yield "B37", f"on the topic of generation {other}", frame, place(replace(frame, generation=other))
    frame = good()
    yield "B37", "of another deployment on this one's topic", replace(frame, deployment="trial-back"), place(frame)
    frame = good()
    yield "B38", "of stage 1 for a board of stage 0", replace(frame, stage=1), None
    frame = good()
    yield "B38", "of stage 1 on the topic of stage 0", replace(frame, stage=1), place(frame)
    frame = good()
    yield "B38", "on the topic of stage 1", frame, place(replace(frame, stage=1))
    frame = good()
    yield "B39", "from a sender that is not its gateway", frame, place(frame, "trial-stranger")
    frame = bench.frame(back, bench.inputs(back))
    yield "B39", f"for a later stage and not from {BEFORE}", frame, place(frame)
    for budget_ms in (0.0,):
        yield "B41", "whose budget is spent", replace(good(), budget_ms=budget_ms), None
    for what, tensors in _bad_tensors(good().tensors[0]):
        yield "B40", what, replace(good(), tensors=tensors), None


def _bad_tensors(tensor: TensorData) -> Iterator[tuple[str, tuple[TensorData, ...]]]:
    rows, *shape = tensor.shape
    yield "without tensors", ()
    yield "with a tensor twice", (tensor, tensor)
    yield "with a tensor of another name", (replace(tensor, name="strange"),)
    yield "with uint8", (replace(tensor, dtype="uint8"),)
    yield "with one more dimension in place of rows", (replace(tensor, shape=(rows, *shape[:-1], shape[-1] * 2)),)
    yield "with too few bytes", (replace(tensor, data=tensor.data[:-1]),)
    yield "with too many bytes", (replace(tensor, data=tensor.data + b"\0"),)
    many = np.zeros((BATCH_ROWS + 1, *shape), np.int8)
    yield f"with more rows than {BATCH_ROWS}", (replace(tensor, shape=many.shape, data=many.tobytes()),)


async def _burst(bench: BoardBench, whole: Assignment) -> None:
    assert bench.capability is not None
    room = min(QUEUE_FRAMES, bench.capability.queue_frames)
    sent = [bench.send(bench.frame(whole, bench.inputs(whole))) for _ in range(room)]
    await bench.answered(*sent)
    await asyncio.sleep(QUIET_S)
    answered = sum(len(bench.answers(frame)) == 1 for frame in sent)
    bench.ledger.check("B45", answered == room, f"{room} answers to a burst of {room}", f"{answered}")
    credits = [
        stage.credits
        for pulse in bench.messages("pulse")
        for stage in pulse.stages
        if (stage.deployment, stage.generation) == whole.key
    ]
    bench.ledger.check("B45", max(credits, default=0) <= room, f"at most {room} credits", f"{max(credits, default=0)}")

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import board_models as models
import pytest
from convoy_device.errors import FabricError
from convoy_device.executor import INLINE_S, Executor
from convoy_device.fabric.processor import ProcessorFabric
from convoy_device.lane import Lane
from convoy_device.modules import Modules
from convoy_device.stage import Stage
from convoy_device.verification import plan_stage
from convoy_schema import codec
from convoy_schema.frames import Frame
from convoy_schema.layers import load, prepare
from convoy_schema.messages.desired import Assignment
from convoy_schema.topics import Topics
from patience import PATIENCE_S

TOPICS = Topics("main")
MODEL = models.copies(images=False)
FIRST = models.alone(MODEL)
SECOND = models.alone(MODEL, generation=models.SECOND)
VALUES = {"t-0": MODEL.values["t-0"]}


class Rig:
    """An executor over a processor, with a link that is a list."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.fabric = ProcessorFabric()
        self.sent: list[tuple[str, Frame]] = []
        self.is_connected = True
        self.lane = Lane(pool, on_idle=self._pump)
        clock = itertools.count()
        self.executor = Executor(
            "board-1",
            TOPICS,
            self.lane,
            Modules(self.fabric, lambda digest: b""),
            self._send,
            lambda: next(clock) * 1e-5,
        )

    def _pump(self) -> None:
        self.executor.pump()

    def _send(self, topic: str, payload: bytes) -> bool:
        if self.is_connected:
            self.sent.append((topic, codec.decode(Frame, payload)))
        return self.is_connected

    def stage(self, assignment: Assignment, row_s: float | None) -> Stage:
        plan = plan_stage(assignment, MODEL.verified, self.fabric.facts)
        stage = Stage(plan, [prepare(x, MODEL.topology, load(x, {})) for x in MODEL.topology.layers], "board-1", TOPICS)
        stage.row_s = row_s
        self.executor.activate(stage)
        return stage

    def take(self, assignment: Assignment, counter: int = 1) -> None:
        frame = models.frame(assignment, VALUES, counter=counter)
        topic = TOPICS.frame("gateway-1", "board-1", "demo", assignment.generation, 0)
        self.executor.take(topic, codec.encode(frame))

    async def until_sent(self, count: int) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while len(self.sent) < count:
            assert asyncio.get_running_loop().time() < deadline, f"{len(self.sent)} sent, {count} expected"
            await asyncio.sleep(0.005)


def run(scenario: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            rig = Rig(pool)
            await scenario(rig)
            await rig.lane.close()

    asyncio.run(main())


def test_a_short_stage_answers_before_take_returns() -> None:
    async def scenario(rig: Rig) -> None:
        stage = rig.stage(FIRST, row_s=1e-6)
        rig.take(FIRST)
        assert [topic for topic, _ in rig.sent] == ["convoy/1/main/from/board-1/to/gateway-1/demo/1-1/1"]
        assert stage.pulse().frames == 1

    run(scenario)


@pytest.mark.parametrize("row_s", [None, INLINE_S])
def test_a_long_stage_and_an_unknown_one_compute_in_the_lane(row_s: float | None) -> None:
    async def scenario(rig: Rig) -> None:
        rig.stage(FIRST, row_s)
        for counter in range(20):
            rig.take(FIRST, counter)
        assert rig.sent == []
        assert rig.lane.is_busy
        await rig.until_sent(20)
        assert [frame.batch[1] for _, frame in rig.sent] == list(range(20))  # in the order they came

    run(scenario)


def test_frames_wait_while_the_fabric_is_configured() -> None:
    async def scenario(rig: Rig) -> None:
        rig.stage(FIRST, row_s=1e-6)
        free = asyncio.Event()
        loop = asyncio.get_running_loop()

        def configure() -> None:
            asyncio.run_coroutine_threadsafe(free.wait(), loop).result(PATIENCE_S)

        rig.lane.submit(configure, lambda result, error: None)
        for counter in range(5):
            rig.take(FIRST, counter)
        assert rig.sent == []
        free.set()
        await rig.until_sent(5)

    run(scenario)


def test_nothing_of_a_generation_leaves_after_it_was_deactivated() -> None:
    async def scenario(rig: Rig) -> None:
        rig.stage(FIRST, row_s=None)
        rig.stage(SECOND, row_s=1e-6)
        for counter in range(3):
            rig.take(FIRST, counter)  # the first is being computed, two wait
        rig.executor.deactivate(FIRST.key)
        rig.take(FIRST, 3)
        rig.take(SECOND, 4)
        await rig.until_sent(1)
        assert [frame.generation for _, frame in rig.sent] == [models.SECOND]
        assert rig.executor.refused == {"generation": 3}
        assert [stage.key for stage in rig.executor.stages] == [SECOND.key]

    run(scenario)


def test_a_fabric_that_fails_costs_the_frame_and_is_counted() -> None:
    async def scenario(rig: Rig) -> None:
        stage = rig.stage(FIRST, row_s=1e-6)
        real = rig.fabric.run

        def broken(*arguments: object) -> object:
            raise FabricError("the DMA did not end")

        def odd(*arguments: object) -> object:
            raise ZeroDivisionError

        for failing in (broken, odd):
            rig.fabric.run = failing  # type: ignore[assignment, method-assign]
            rig.take(FIRST)
        rig.fabric.run = real  # type: ignore[method-assign]
        rig.take(FIRST, 2)
        assert stage.pulse().refused == {"fabric": 1, "compute": 1}
        assert [frame.batch[1] for _, frame in rig.sent] == [2]

    run(scenario)


def test_a_lost_link_is_counted() -> None:
    async def scenario(rig: Rig) -> None:
        stage = rig.stage(FIRST, row_s=1e-6)
        rig.is_connected = False
        rig.take(FIRST)
        assert stage.pulse().refused == {"link": 1}

    run(scenario)


def test_frames_for_nobody_are_counted_by_reason() -> None:
    async def scenario(rig: Rig) -> None:
        rig.stage(FIRST, row_s=1e-6)
        good = TOPICS.frame("gateway-1", "board-1", "demo", models.FIRST, 0)
        rig.executor.take(good.replace("demo", "other"), b"")
        rig.executor.take(good.replace("/to/board-1", "/to/board-2"), b"")
        rig.executor.take(good + "0" * 20, b"")
        rig.executor.take(good, b"\xc1")
        rig.executor.take(good, codec.encode(replace(models.frame(FIRST, VALUES), stage=1)))
        assert rig.executor.refused == {"generation": 1, "topic": 2, "frame": 1}
        assert rig.executor.stages[0].refused == {"stage": 1}

    run(scenario)

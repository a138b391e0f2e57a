import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import board_models as models
import pytest
from convoy_bitstreams import catalogue, floorplans
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_schema import codec
from convoy_schema.artifacts import BLOCK_BYTES, Manifest, pack
from convoy_schema.bundle import Method
from convoy_schema.messages.boards import BoardState, Command, Order, Phase, Presence
from convoy_schema.messages.desired import Slot
from convoy_schema.names import digest_of
from convoy_schema.topology import Kind
from fleet_bench import GATEWAY, Fleet, InLoop, Process, boards_on, config_of, fleet_on, garbage
from link_bench import until

PART = catalogue().shells[0].part
COPIES = models.copies(images=False)


def images(shell: str, *places: tuple[str, Kind]) -> list[str]:
    return [
        catalogue().shell(shell, PART).digest,
        *(catalogue().module(shell, PART, *place).digest for place in places),
    ]


def test_a_network_over_two_boards_answers_to_the_bit(broker: Any, tmp_path: Path) -> None:
    model = models.with_images(models.digits(), images("layers"))
    first, second = models.place(model, (2,), ("board-1", "board-2"))

    async def scenario() -> None:
        configs = [config_of(broker.url, tmp_path, name, "emulated") for name in ("board-1", "board-2")]
        async with fleet_on(broker.url) as fleet, boards_on(*configs) as boards:
            fleet.publish(model)
            fleet.desire({"board-1": (first,), "board-2": (second,)})
            await fleet.until_phase(Phase.READY, "board-1", "board-2")
            assert fleet.reported["board-1"].shell == "layers"
            assert fleet.capabilities["board-1"].fabric == "emulated"
            await fleet.infer(first, "board-1", model, 50)
            await fleet.until(lambda: fleet.pulses["board-2"].stages, "a pulse with a stage")
            await fleet.until(lambda: fleet.pulses["board-2"].stages[0].frames == 50, "a pulse with the frames")
            pulse = fleet.pulses["board-2"]
            assert pulse.stages[0].rows == 50 * models.GOLDEN_ROWS
            assert pulse.stages[0].credits == 64
            assert pulse.stages[0].refused == {}
            assert pulse.refused == {}
            assert pulse.interval_ms == 1000
            assert pulse.published.activations > 0
            assert pulse.published.control > 0
            assert pulse.published.artifacts > 0
            assert pulse.rss_bytes > 1_000_000
            assert [await board.stop() for board in boards] == [0, 0]
            await fleet.until(lambda: fleet.states["board-1"][-1].presence is Presence.OFFLINE, "a goodbye")
            assert fleet.states["board-1"][-1].reason == "the test is over"

    asyncio.run(scenario())


def test_modules_are_swapped_when_kinds_outnumber_partitions(broker: Any, tmp_path: Path) -> None:
    kinds = (Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE)
    model = models.with_images(
        models.digits(), images("partitions", *((place, kind) for place in ("west", "east") for kind in kinds))
    )
    slots = (Slot("west", Kind.CONV2D), Slot("east", Kind.MAX_POOL))
    assignment = models.alone(model, method=Method.LIBRARY, slots=slots)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path, fabric="emulated")):
            fleet.publish(model)
            fleet.desire({"board-1": (assignment,)})
            await fleet.until_phase(Phase.READY, "board-1")
            await fleet.infer(assignment, "board-1", model, 10)
            held = {report.partition: report.module for report in fleet.reported["board-1"].partitions}
            assert None in held.values()  # the third partition was not asked for
            assert not any(report.degraded for report in fleet.reported["board-1"].partitions)

    asyncio.run(scenario())


def test_a_process_that_swaps_modules_stays_below_100_megabytes(broker: Any, tmp_path: Path) -> None:
    kinds = (Kind.CONV2D, Kind.MAX_POOL, Kind.DENSE)
    model = models.with_images(
        models.digits(), images("partitions", *((place, kind) for place in ("west", "east") for kind in kinds))
    )
    slots = (Slot("west", Kind.CONV2D), Slot("east", Kind.MAX_POOL))
    assignment = models.alone(model, method=Method.LIBRARY, slots=slots)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet:
            process = Process(config_of(broker.url, tmp_path, fabric="emulated"), tmp_path)
            try:
                fleet.publish(model)
                fleet.desire({"board-1": (assignment,)})
                await fleet.until_phase(Phase.READY, "board-1")
                for first in range(1, 400, 40):
                    await fleet.infer(assignment, "board-1", model, 40, first=first)
                await fleet.until(
                    lambda: fleet.pulses["board-1"].stages and fleet.pulses["board-1"].stages[0].frames == 400,
                    "a pulse",
                )
                assert 10_000_000 < fleet.pulses["board-1"].rss_bytes < 100_000_000
            finally:
                assert process.terminate() == 0

    asyncio.run(scenario())


def test_a_new_generation_is_tested_beside_the_old_one(broker: Any, tmp_path: Path) -> None:
    old = models.alone(COPIES)
    new = models.alone(COPIES, generation=models.SECOND)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)):
            fleet.publish(COPIES)
            fleet.desire({"board-1": (old,)})
            await fleet.until_phase(Phase.READY, "board-1")
            fleet.desire({"board-1": (old, new)}, revision=2)
            await fleet.until_phase(Phase.READY, "board-1", generation=models.SECOND)
            await fleet.infer(old, "board-1", COPIES, 5)
            await fleet.infer(new, "board-1", COPIES, 5, first=100)
            fleet.desire({"board-1": (new,)}, revision=3)
            await fleet.until(lambda: fleet.reported["board-1"].revision == 3, "revision 3")
            fleet.feed(old, "board-1", {"t-0": COPIES.values["t-0"]}, 200)
            await fleet.infer(new, "board-1", COPIES, 5, first=300)
            assert 200 not in fleet.results
            await fleet.until(lambda: fleet.pulses["board-1"].refused.get("generation") == 1, "the refusal counted")

    asyncio.run(scenario())


def test_a_board_killed_while_fetching_goes_on_where_it_was(broker: Any, tmp_path: Path) -> None:
    model = models.copies(1, width=65536, name="wide", images=False)
    big = max(model.blobs, key=lambda digest: model.packed()[digest][0].blocks)
    blocks = model.packed()[big][0].blocks
    assert blocks >= 4
    assignment = models.alone(model, batch_rows=1)
    config = config_of(broker.url, tmp_path)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet:
            # The last block never comes in the first life.
            fleet.tamper = lambda digest, block, sent: None if (digest, block) == (big, blocks - 1) else sent
            fleet.publish(model)
            fleet.desire({"board-1": (assignment,)})
            first = Process(config, tmp_path)
            part = config.state_dir / "downloads" / f"{big}.part"
            await fleet.until(
                lambda: all((big, block) in fleet.sent_blocks for block in range(blocks - 1)) and part.exists(),
                "blocks",
            )
            await fleet.until(lambda: part.stat().st_size >= (blocks - 1) * BLOCK_BYTES, "blocks on disk")
            first.kill()
            await fleet.until(lambda: fleet.states["board-1"][-1].presence is Presence.OFFLINE, "the will")
            fleet.tamper = lambda digest, block, sent: sent
            fleet.sent_blocks.clear()
            fleet.wanted.clear()
            second = Process(config, tmp_path)
            try:
                await fleet.until_phase(Phase.READY, "board-1")
                asked = {block for _, digest, wanted in fleet.wanted for block in wanted if digest == big}
                assert asked == {blocks - 1}
                inputs = {"t-0": model.values["t-0"][:1]}
                fleet.feed(assignment, "board-1", inputs, 1)
                await fleet.until(lambda: 1 in fleet.results, "a result")
            finally:
                code = second.terminate()
            assert code == 0, second.log.read_text()

    asyncio.run(scenario())


def test_a_board_restarted_without_its_broker_serves_as_soon_as_there_is_one(
    start_broker: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assignment = models.alone(COPIES)
    broker = start_broker()

    async def scenario() -> None:
        config = config_of(broker.url, tmp_path)
        async with fleet_on(broker.url) as fleet, boards_on(config):
            fleet.publish(COPIES)
            fleet.desire({"board-1": (assignment,)}, revision=4)
            await fleet.until_phase(Phase.READY, "board-1")
            await fleet.until((config.state_dir / "last-good").exists, "the last good assignments")
        broker.stop()
        board = InLoop(config)

        def told() -> int:
            lines = [record for record in caplog.records if "no broker at" in record.getMessage()]
            return sum(line.levelname == "WARNING" for line in lines)

        try:
            await until(told)
            await asyncio.sleep(0.7)
            assert not board.task.done()
            assert 1 <= told() <= 4
            broker.start()  # an empty one: what was retained is gone, and there is no controller
            async with fleet_on(broker.url) as fleet:
                await fleet.until_phase(Phase.READY, "board-1")
                assert fleet.reported["board-1"].revision == 4
                await fleet.infer(assignment, "board-1", COPIES, 5)
        finally:
            assert await board.stop() == 0

    asyncio.run(scenario())


def test_a_broker_restart_loses_nothing_that_matters(start_broker: Any, tmp_path: Path) -> None:
    assignment = models.alone(COPIES)
    broker = start_broker()

    async def scenario() -> None:
        async with boards_on(config_of(broker.url, tmp_path)):
            async with fleet_on(broker.url) as fleet:
                fleet.publish(COPIES)
                fleet.desire({"board-1": (assignment,)})
                await fleet.until_phase(Phase.READY, "board-1")
            broker.stop()
            await asyncio.sleep(0.2)
            broker.start()
            async with fleet_on(broker.url) as fleet:
                await fleet.until_phase(Phase.READY, "board-1")
                await fleet.until(lambda: "board-1" in fleet.capabilities and fleet.states["board-1"], "restatement")
                await fleet.infer(assignment, "board-1", COPIES, 5)

    asyncio.run(scenario())


# Bad input -----------------------------------------------------------------------------------------------------------


def test_garbage_on_every_topic_costs_nothing_and_is_counted(broker: Any, tmp_path: Path) -> None:
    assignment = models.alone(COPIES)
    waiting = models.alone(models.copies(name="absent", images=False), generation=models.SECOND, deployment="other")
    other = models.copies(3, 24, name="fetched", images=False)
    fetching = models.alone(other, generation=models.SECOND, deployment="third")

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)) as boards:
            fleet.publish(COPIES)
            fleet.tamper = lambda digest, block, content: None if digest in other.blobs else content
            fleet.desire({"board-1": (assignment, waiting)})
            await fleet.until_phase(Phase.READY, "board-1")
            fleet.publish(other)
            fleet.desire({"board-1": (assignment, waiting, fetching)}, revision=2)
            digest = next(iter(other.blobs))
            await fleet.until(lambda: any(digest == wanted for _, wanted, _ in fleet.wanted), "a want")
            topics = fleet.topics
            good = topics.frame(GATEWAY, "board-1", "demo", models.FIRST, 0)
            for topic in (
                topics.board("board-1", "desired"),
                topics.board("board-1", "command"),
                topics.board("board-1", "state"),
                topics.model("absent", "1"),
                topics.manifest(digest),
                topics.block(digest, 0),
                topics.block(digest, 999_999_999),
                good,
                good.replace("demo", "unknown"),
                good.replace("/1-1/", "/9-9/"),
                good.replace("/1-1/0", "/1-x/0"),
                good[:-1] + "99999999999",
                good.replace(GATEWAY, "Gateway*1"),
                good + "/deeper",
            ):
                for payload in garbage():
                    assert fleet.link.publish(topic, payload)
                await asyncio.sleep(0.02)
                await fleet.until(lambda: not fleet.link.is_congested, "room")
            await fleet.infer(assignment, "board-1", COPIES, 20)
            count = len(garbage())
            exactly = {
                **dict.fromkeys(("command", "state", "frame"), count),
                "desired": count - 1,
                "generation": 2 * count,
            }
            # An empty payload clears what was retained.
            least = {"model": count - 1, "manifest": count - 1, "block": count, "topic": 4 * count}

            def refused(*names: str) -> dict[str, int]:
                return {name: fleet.pulses["board-1"].refused.get(name, 0) for name in names}

            def are_told() -> bool:
                found = refused(*least)
                return refused(*exactly) == exactly and all(found[name] >= count for name, count in least.items())

            # Blocks come over a connection of their own, and a pulse may have been on its way.
            await fleet.until(are_told, f"{exactly} and at least {least} in a pulse")
            assert fleet.reported["board-1"].blocked.startswith("the desired state could not be read: ")
            assert not boards[0].task.done()
            # A real one still gets through, and clears what was said.
            fleet.tamper = lambda digest, block, content: content
            fleet.desire({"board-1": (assignment, fetching)}, revision=3)
            await fleet.until_phase(Phase.READY, "board-1", generation=models.SECOND)
            await fleet.until(lambda: fleet.reported["board-1"].blocked == "", "nothing blocked")

    asyncio.run(scenario())


def test_frames_that_do_not_fit_are_counted_at_their_stage(broker: Any, tmp_path: Path) -> None:
    assignment = models.alone(COPIES)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)):
            fleet.publish(COPIES)
            fleet.desire({"board-1": (assignment,)})
            await fleet.until_phase(Phase.READY, "board-1")
            rows = COPIES.values["t-0"]
            good = models.frame(assignment, {"t-0": rows}, counter=50)
            topic = fleet.topics.frame(GATEWAY, "board-1", "demo", models.FIRST, 0)
            for frame, sent_on in (
                (models.frame(assignment, {"t-0": rows[:, :8].copy()}), topic),
                (models.frame(assignment, {"t-1": rows}), topic),
                (models.frame(assignment, {"t-0": rows}, budget_ms=0.0), topic),
                (replace(good, generation=models.SECOND), topic),
                (good, topic.replace(GATEWAY, "intruder")),
                (good, topic[:-1] + "1"),
            ):
                fleet.link.publish(sent_on, codec.encode(frame))
            await fleet.infer(assignment, "board-1", COPIES, 3)

            def counted() -> dict[str, int]:
                stages = fleet.pulses["board-1"].stages
                return stages[0].refused if stages else {}

            await fleet.until(lambda: sum(counted().values()) == 6, "refusals")
            assert counted() == {"shape": 2, "budget": 1, "generation": 1, "sender": 1, "stage": 1}

    asyncio.run(scenario())


def test_a_corrupted_block_is_asked_for_again(broker: Any, tmp_path: Path) -> None:
    assignment = models.alone(COPIES)
    seen: set[tuple[str, int]] = set()

    def corrupt_first(digest: str, block: int, content: bytes) -> bytes:
        if (digest, block) in seen:
            return content
        seen.add((digest, block))
        return content[:-1] + bytes([content[-1] ^ 1])

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)):
            fleet.tamper = corrupt_first
            fleet.publish(COPIES)
            fleet.desire({"board-1": (assignment,)})
            await fleet.until_phase(Phase.READY, "board-1")
            await fleet.until(lambda: fleet.pulses["board-1"].refused.get("block") == len(seen), "the count")
            assert fleet.report("board-1").code == ""  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_content_of_another_digest_is_named_and_tried_again(broker: Any, tmp_path: Path) -> None:
    assignment = models.alone(COPIES)
    digest = next(iter(COPIES.blobs))
    other, packed = pack(b"something else" * 10)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)):
            fleet.publish(COPIES)
            lie = Manifest(digest, other.size, other.packed_size, other.hashes)
            fleet.link.publish(fleet.topics.manifest(digest), codec.encode(lie), qos=1, retain=True)
            fleet.packed[digest] = lie, packed
            fleet.desire({"board-1": (assignment,)})
            await fleet.until_phase(Phase.FAILED, "board-1")
            report = fleet.report("board-1")
            assert report is not None
            assert (report.code, report.retryable) == ("artifact-damaged", True)
            assert digest[:12] in report.message
            fleet.publish(COPIES)
            await fleet.until_phase(Phase.READY, "board-1")

    asyncio.run(scenario())


def test_a_stage_that_computes_something_else_never_serves(broker: Any, tmp_path: Path) -> None:
    wrong = models.residual().values["t-1"].copy()
    wrong[2, 3] ^= 1
    model = models.make(
        models.residual().topology, models.residual().blobs, images=False, golden={"t-1": wrong.tobytes()}
    )
    first = models.place(model, (1,), ("board-1", "board-2"))[0]

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)):
            fleet.publish(model)
            fleet.desire({"board-1": (first,)})
            await fleet.until_phase(Phase.FAILED, "board-1")
            report = fleet.report("board-1")
            assert report is not None
            assert (report.code, report.retryable) == ("self-test", False)
            assert report.message == "tensor 't-1' differs from its golden values in 1 of 32 elements"

    asyncio.run(scenario())


def test_a_shell_that_does_not_fit_says_need_and_have(broker: Any, tmp_path: Path) -> None:
    model = models.digits()
    assignment = models.alone(model, method=Method.LIBRARY, generation=models.SECOND)
    config = config_of(broker.url, tmp_path, fabric="emulated")

    async def scenario() -> None:
        fabric = EmulatedFabric(config.state_dir / "fabric", floorplans={"layers": floorplans()["layers"]})
        serving = models.with_images(models.copies(), images("layers"))
        good = models.alone(serving)
        async with fleet_on(broker.url) as fleet, boards_on(config, fabric=fabric):
            fleet.publish(model)
            fleet.publish(serving)
            fleet.desire({"board-1": (good, assignment)})
            await fleet.until_phase(Phase.FAILED, "board-1", generation=models.SECOND)
            report = fleet.report("board-1", models.SECOND)
            assert report is not None
            assert (report.code, report.retryable) == ("shell-mismatch", False)
            assert report.message == "method library needs shell 'partitions', this board has layers"
            # It costs nothing else.
            await fleet.until_phase(Phase.READY, "board-1")
            await fleet.infer(good, "board-1", serving, 5)

    asyncio.run(scenario())


def test_an_image_that_is_no_bitstream_is_refused_by_the_fabric(broker: Any, tmp_path: Path) -> None:
    model = models.copies()
    junk = b"no bitstream" * 1000
    shells = tuple(
        replace(shell, digest=digest_of(junk)) if shell.shell == "layers" else shell for shell in model.bundle.shells
    )
    model = models.signed(replace(model.bundle, shells=shells), model.topology, {**model.blobs, digest_of(junk): junk})

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path, fabric="emulated")):
            fleet.publish(model)
            fleet.desire({"board-1": (models.alone(model),)})
            await fleet.until_phase(Phase.FAILED, "board-1")
            report = fleet.report("board-1")
            assert report is not None
            assert report.code == "image-refused"
            assert not report.retryable

    asyncio.run(scenario())


# Life and death ------------------------------------------------------------------------------------------------------


def test_two_daemons_of_one_name_end_with_one(broker: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet:
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            first = Process(config_of(broker.url, tmp_path / "a"), tmp_path / "a")
            await fleet.until(lambda: "board-1" in fleet.reported, "the first one")
            session = fleet.reported["board-1"].session
            await asyncio.sleep(1.1)
            second = Process(config_of(broker.url, tmp_path / "b"), tmp_path / "b")

            def is_said_to_be_there() -> bool:
                last = fleet.states["board-1"][-1]
                return (last.presence, last.session) == (Presence.ONLINE, fleet.reported["board-1"].session)

            try:
                assert await asyncio.to_thread(first.wait) == 3
                assert "another daemon runs as board board-1 (session " in first.log.read_text()
                await fleet.until(lambda: fleet.reported["board-1"].session != session, "the second one")
                # What is retained in the end says that the board is there.
                await fleet.until(is_said_to_be_there, "it is there")
                await asyncio.sleep(1.5)
                assert is_said_to_be_there()
            finally:
                assert second.terminate() == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(broker: Any, tmp_path: Path, number: signal.Signals) -> None:
    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet:
            process = Process(config_of(broker.url, tmp_path), tmp_path)
            await fleet.until(lambda: "board-1" in fleet.reported, "a report")
            process._process.send_signal(number)
            assert await asyncio.to_thread(process.wait) == 0
            await fleet.until(lambda: fleet.states["board-1"][-1].presence is Presence.OFFLINE, "a goodbye")
            assert fleet.states["board-1"][-1].reason == number.name

    asyncio.run(scenario())


def test_a_process_without_a_broker_waits_says_so_and_stops_when_told(tmp_path: Path) -> None:
    process = Process(config_of("mqtt://127.0.0.1:1", tmp_path), tmp_path)

    async def scenario() -> None:
        await until(lambda: "no broker at mqtt://127.0.0.1:1" in process.log.read_text())

    try:
        asyncio.run(scenario())
    finally:
        code = process.terminate()
    assert code == 0
    assert "no broker at mqtt://127.0.0.1:1" in process.log.read_text()


def test_many_boards_in_one_process(broker: Any, tmp_path: Path) -> None:
    config = config_of(broker.url, tmp_path, "board")
    names = tuple(f"board-{number}" for number in range(1, 6))
    placed = models.place(models.copies(5, images=False), (1, 2, 3, 4), names)
    model = models.copies(5, images=False)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet:
            process = Process(config, tmp_path, "--count", "5")
            try:
                fleet.publish(model)
                fleet.desire({name: (assignment,) for name, assignment in zip(names, placed, strict=True)})
                await fleet.until_phase(Phase.READY, *names)
                await fleet.infer(placed[0], names[0], model, 20)
            finally:
                assert process.terminate() == 0

    asyncio.run(scenario())


def test_a_state_directory_in_use_is_an_error(broker: Any, tmp_path: Path) -> None:
    config = config_of(broker.url, tmp_path)

    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config):
            await fleet.until(lambda: "board-1" in fleet.reported, "a report")
            second = Process(config, tmp_path)
            assert await asyncio.to_thread(second.wait) == 1
            assert "is in use by another daemon" in second.log.read_text()

    asyncio.run(scenario())


def test_a_rebirth_restates_what_a_broker_forgot(broker: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with fleet_on(broker.url) as fleet, boards_on(config_of(broker.url, tmp_path)):
            await fleet.until(lambda: "board-1" in fleet.reported, "a report")
            fleet.reported.clear()
            fleet.capabilities.clear()
            await ask_rebirth(fleet)
            await fleet.until(lambda: "board-1" in fleet.reported and "board-1" in fleet.capabilities, "a rebirth")
            # Someone clears, or spoils, what is retained about it: it puts that right.
            session = fleet.reported["board-1"].session
            lie = codec.encode(BoardState(Presence.OFFLINE, 5))
            fleet.link.publish(fleet.topics.board("board-1", "state"), lie, qos=1, retain=True)
            await fleet.until(
                lambda: fleet.states["board-1"][-1] == BoardState(Presence.ONLINE, session), "presence put right"
            )

    asyncio.run(scenario())


async def ask_rebirth(fleet: Fleet) -> None:
    payload = codec.encode(Command(Order.REBIRTH, 50))
    fleet.link.publish(fleet.topics.board("board-1", "command"), payload)

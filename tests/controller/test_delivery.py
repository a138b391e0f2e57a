"""Models, manifests and blocks over a real broker: announced once, sent when wanted, refused when nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Protocol

import pytest
from convoy_controller import distributor
from convoy_controller.database import publications
from convoy_controller.database.records import ArtifactKind, SavedModel
from convoy_controller.delivery import TOLD_SINGLY, Delivery, is_worth_saying
from convoy_schema import codec
from convoy_schema.artifacts import Manifest, unpack
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.link import Link
from convoy_schema.messages.boards import Want
from convoy_schema.topics import BlockTopic, ManifestTopic, ModelTopic, Topics
from database_samples import open_catalogue, open_fleet, publish, tiny_import
from fleet_voices import SITE, until
from patience import PATIENCE_S


class BrokerProcess(Protocol):
    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Bench:
    """A published model, its delivery, and a board's bulk connection."""

    def __init__(self, folder: Path, url: str) -> None:
        database = open_fleet(folder).database
        publish(database, folder)
        self.model: SavedModel = publications.find_model(database, "tiny", None)
        self.topics = Topics(SITE)
        self.catalogue = open_catalogue(database, folder)
        self.delivery = Delivery(url, "controller", self.topics, self.catalogue)
        self.blocks: dict[tuple[str, int], bytes] = {}
        self.manifests: dict[str, Manifest] = {}
        self.models: list[ModelAnnouncement] = []
        self.counted = 0
        self.link = Link(url, "board", on_message=self._message, on_connect=self._connected)

    def _connected(self) -> None:
        for topic in ("artifacts/+", "artifacts/+/+", "models/+/+"):
            self.link.subscribe(self.topics.prefix + topic, 1)

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        match self.topics.parse(topic):
            case BlockTopic(digest, block):
                self.counted += 1
                self.blocks[digest, block] = payload
            case ManifestTopic(digest):
                self.manifests[digest] = codec.decode(Manifest, payload)
            case ModelTopic():
                self.models.append(codec.decode(ModelAnnouncement, payload))

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncIterator[Bench]:
        tasks = [asyncio.create_task(self.delivery.run()), asyncio.create_task(self.link.run())]
        try:
            await until(lambda: self.link.connected and self.delivery.link.connected)
            await self._until_heard()
            yield self
            assert not any(task.done() for task in tasks)
        finally:
            await asyncio.gather(self.delivery.stop(), self.link.stop())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_heard(self) -> None:
        """Until the broker passes wants on: one that came before would reach nobody, and is not repeated here."""
        nothing = codec.encode(Want(1, "00" * 32, (0,)))
        self.delivery.link.publish(self.topics.board("nobody", "want"), nothing, qos=1)  # goes behind its subscription
        await until(lambda: self.delivery.refused)
        self.delivery.refused = 0

    def want(self, digest: str, *blocks: int, board: str = "a") -> None:
        self.link.publish(self.topics.board(board, "want"), codec.encode(Want(1, digest, blocks)), qos=1)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 4 * PATIENCE_S))


def test_a_model_is_announced_with_every_manifest_that_a_board_may_need(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            bench.delivery.announce(bench.model)
            expected = {manifest.digest for manifest in bench.catalogue.manifests(bench.model)}
            await until(lambda: bool(bench.models) and bench.manifests.keys() >= expected)
            assert bench.models[0].digest == bench.model.digest
            published = bench.delivery.published
            bench.delivery.announce(bench.model)
            assert bench.delivery.published == published, "once a connection"

    run(main())


def test_after_a_broker_has_forgotten_all_it_is_announced_again(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            bench.delivery.announce(bench.model)
            await until(lambda: bool(bench.models))
            bench.models.clear()
            broker.stop()
            await until(lambda: not bench.link.connected)
            broker.start()
            await until(lambda: bool(bench.models))

    run(main())


def test_a_new_reign_announces_what_the_broker_forgot_while_nobody_was_in_charge(
    tmp_path: Path, broker: BrokerProcess
) -> None:
    """Seen in a fleet in virtual time (`all` 8022): boards waited for the announcement of their model for good."""

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            bench.delivery.announce(bench.model)
            await until(lambda: bool(bench.models))
            bench.delivery.is_active = False
            broker.stop()
            await until(lambda: not bench.link.connected and not bench.delivery.link.connected)
            bench.models.clear()
            broker.start()
            await until(lambda: bench.link.connected and bench.delivery.link.connected)
            assert bench.models == []
            bench.delivery.begin_anew()
            bench.delivery.announce(bench.model)
            await until(lambda: bool(bench.models))

    run(main())


def test_wanted_blocks_come_once_however_many_boards_want_them(
    tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributor, "ROUND_TRIP_S", PATIENCE_S)  # all ask within one, however busy the machine is
    content = random.Random(5).randbytes(300_000)

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            manifest = bench.catalogue.add_artifact(content, ArtifactKind.PARAMETERS)
            assert manifest.blocks == 5
            for board in "abcdefgh":
                bench.want(manifest.digest, *range(manifest.blocks), board=board)
            await until(lambda: len(bench.blocks) == manifest.blocks)
            packed = b"".join(bench.blocks[manifest.digest, block] for block in range(manifest.blocks))
            assert unpack(manifest, packed) == content
            await asyncio.sleep(0.2)
            assert bench.counted == manifest.blocks

    run(main())


def test_a_want_without_blocks_brings_the_manifest(tmp_path: Path, broker: BrokerProcess) -> None:
    (digest,) = tiny_import().parameters

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await asyncio.sleep(0.1)
            assert not bench.manifests, "nothing was announced"
            bench.want(digest)
            await until(lambda: digest in bench.manifests)

    run(main())


def test_wants_that_cannot_be_met_are_counted_and_the_next_is_met(
    tmp_path: Path, broker: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    (digest,) = tiny_import().parameters

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            topic = bench.topics.board("a", "want")
            for payload in (b"", b"\xc1", codec.encode(Want(1, digest, (0,)))[:9]):
                bench.link.publish(topic, payload, qos=1)
            bench.want("0" * 64)
            bench.want("0" * 64, 1)
            await until(lambda: bench.delivery.refused == 5)
            bench.want(digest, 0, 99_999)
            await until(lambda: (digest, 0) in bench.blocks)
            assert bench.blocks.keys() == {(digest, 0)}
        assert "Want is not MessagePack" in caplog.text
        assert "there is no artifact 000000000000" in caplog.text
        assert "(5 refused so far)" in caplog.text

    run(main())


def test_a_block_that_is_damaged_on_disk_is_not_sent(
    tmp_path: Path, broker: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    (digest,) = tiny_import().parameters

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            file = tmp_path / "blobs" / digest[:2] / digest
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(bytes(content))
            bench.want(digest, 0)
            await until(lambda: "does not match its hash" in caplog.text)
            assert not bench.blocks

    run(main())


def test_of_a_flood_only_powers_of_two_are_told() -> None:
    told = [count for count in range(1, 5000) if is_worth_saying(count)]
    assert told[:TOLD_SINGLY] == list(range(1, TOLD_SINGLY + 1))
    assert told[TOLD_SINGLY:] == [128, 256, 512, 1024, 2048, 4096]

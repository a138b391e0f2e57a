"""The shell that clears: over a real broker, with voices for boards and a gateway, and a controller in this loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from convoy_controller import housekeeping, service
from convoy_controller.database import publications, queries, removals
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.records import DeploymentState, SavedCollection
from convoy_controller.garbage import Patience
from convoy_schema.bundle import Method
from convoy_schema.link import Link
from convoy_schema.messages.boards import Presence
from convoy_schema.messages.desired import Intent
from convoy_schema.messages.gateways import ControllerState
from database_samples import open_catalogue, publish
from fleet_voices import GATEWAY, SITE, Voices, until
from mosquitto_process import MosquittoProcess
from test_service import Bench, run


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience(settled_s=1.0, removed_s=0.2, unused_s=3600.0, gateway_asked_s=0.0)
    monkeypatch.setattr(housekeeping, "PATIENCE", patience)
    monkeypatch.setattr(housekeeping, "TICK_S", 0.05)
    monkeypatch.setattr(service, "COLLECT_S", 0.3)
    monkeypatch.setattr(service, "INTENT_POLL_S", 0.05)
    monkeypatch.setattr(service, "TICK_S", 0.05)


class Newcomer:
    """A connection that hears what is retained from now on, and what is cleared."""

    def __init__(self, url: str) -> None:
        self.there: dict[str, bytes] = {}
        self._link = Link(url, "newcomer", on_message=self._heard, on_connect=self._connected)

    def _connected(self) -> None:
        self._link.subscribe(f"convoy/1/{SITE}/#", 0)

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:
        if payload:
            self.there[topic] = payload
        else:
            self.there.pop(topic, None)

    async def __aenter__(self) -> Newcomer:
        self._task = asyncio.create_task(self._link.run())
        await until(lambda: bool(self.there))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def asked(bench: Bench, *, dry_run: bool = False, orphans: bool = False) -> SavedCollection:
    number = removals.request_collection(bench.database, dry_run=dry_run, orphans=orphans)
    await until(lambda: removals.collection(bench.database, number).done_at is not None)
    return removals.collection(bench.database, number)


def test_a_removed_model_is_withdrawn_from_the_broker_and_its_files_go(
    tmp_path: Path, broker: MosquittoProcess
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench, Newcomer(broker.url) as newcomer:
            publish(bench.database, tmp_path, version="2", seed=2)
            await bench.serve()
            topics, catalogue = bench.voices.topics, open_catalogue(bench.database, tmp_path)
            one = catalogue.manifests(publications.find_model(bench.database, "tiny", "1"))
            two = catalogue.manifests(publications.find_model(bench.database, "tiny", "2"))
            own = {manifest.digest for manifest in one} - {manifest.digest for manifest in two}
            await until(lambda: all(topics.manifest(m.digest) in newcomer.there for m in one))
            withdraw_deployment(bench.database, "shop")
            await until(lambda: queries.deployment(bench.database, "shop").state is DeploymentState.REMOVED)
            # Nobody uses it; but it is in the catalogue, and may be wanted again.
            await asyncio.sleep(1.0)
            assert topics.model("tiny", "1") in newcomer.there
            removals.remove_model(bench.database, "tiny", "1")
            await until(lambda: topics.model("tiny", "1") not in newcomer.there)
            await until(lambda: not own & set(catalogue.sizes()))
            await until(lambda: not {topics.manifest(digest) for digest in own} & set(newcomer.there))
            assert {manifest.digest for manifest in two} <= set(catalogue.sizes())
            said = "model tiny 1 was removed"
            await until(lambda: any(said in e.sentence and "topics" in e.sentence for e in bench.events("cleared")))
            # The version that stays is announced when it is wanted, with all that was cleared beside the other.
            request_deployment(bench.database, Intent("shop", "tiny", "2", Method.ALLOCATE, 1))
            await until(lambda: {topics.manifest(m.digest) for m in two} <= set(newcomer.there))
            await until(lambda: topics.model("tiny", "2") in newcomer.there)

    run(main())


def test_an_owner_who_asks_is_told_and_a_dry_run_clears_nothing(tmp_path: Path, broker: MosquittoProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench, Newcomer(broker.url) as newcomer:
            await bench.serve()
            topics, catalogue = bench.voices.topics, open_catalogue(bench.database, tmp_path)
            orphan = catalogue._blobs.put(b"a leftover of something").digest
            withdraw_deployment(bench.database, "shop")
            await until(lambda: queries.deployment(bench.database, "shop").state is DeploymentState.REMOVED)
            await until(lambda: all(told[-1].assignments == () for told in bench.voices.desired.values()))
            await until(lambda: topics.model("tiny", "1") in newcomer.there)
            dry = await asked(bench, dry_run=True)
            assert [finding["cleared"] for finding in dry.findings] == [False] * len(dry.findings)
            assert topics.model("tiny", "1") in {finding["name"] for finding in dry.findings}
            assert topics.model("tiny", "1") in newcomer.there
            done = await asked(bench)
            cleared = {finding["name"] for finding in done.findings if finding["cleared"]}
            assert topics.model("tiny", "1") in cleared
            await until(lambda: not cleared & set(newcomer.there))
            assert catalogue.manifests(publications.find_model(bench.database, "tiny", "1"))
            assert orphan in catalogue.sizes()
            orphaned = await asked(bench, orphans=True)
            assert orphan in {finding["name"] for finding in orphaned.findings if finding["cleared"]}
            assert orphan not in catalogue.sizes()
            # Wanted again, everything is announced again.
            await bench.serve()
            await until(lambda: cleared <= set(newcomer.there))

    run(main())


async def reigning(voices: Voices) -> None:
    """Another controller, in charge of a higher epoch."""
    while True:
        state = ControllerState(Presence.ONLINE, 4711, 30)
        voices.publish(voices.topics.controller_state(), state, retain=False)
        await asyncio.sleep(0.2)


def test_a_controller_that_stands_by_clears_nothing(tmp_path: Path, broker: MosquittoProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench, Newcomer(broker.url) as newcomer:
            await bench.serve()
            rival = asyncio.create_task(reigning(bench.voices))
            await until(lambda: bool(bench.events("standby")))
            number = removals.request_collection(bench.database, dry_run=False, orphans=False)
            before = set(newcomer.there)
            await asyncio.sleep(2.0)
            assert removals.collection(bench.database, number).done_at is None
            assert before <= set(newcomer.there)
            rival.cancel()
            await asyncio.gather(rival, return_exceptions=True)

    run(main())


def test_a_gateway_that_is_gone_leaves_nothing_and_is_fed_when_it_is_back(
    tmp_path: Path, broker: MosquittoProcess
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url, ("a",)).on() as bench, Newcomer(broker.url) as newcomer:
            await bench.serve(1)
            mine = {bench.voices.topics.gateway(GATEWAY, leaf) for leaf in ("desired", "reported")}
            await until(lambda: mine <= set(newcomer.there))
            bench.voices.silent.add(GATEWAY)
            await until(lambda: any(GATEWAY in e.sentence for e in bench.events("offline")))
            await asked(bench)
            await until(lambda: not mine & set(newcomer.there))
            await until(lambda: queries.gateways(bench.database) == ())
            told = len(bench.voices.fed)
            bench.voices.silent.discard(GATEWAY)
            await until(lambda: len(bench.voices.fed) > told and bench.voices.serving() == "1-1")

    run(main())

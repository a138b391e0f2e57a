"""The controller's shell over a real broker and a real database: what it hears, what it writes down, what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Protocol

import pytest
from convoy_controller import plan_desk, service
from convoy_controller.bench.networks import balanced_chain
from convoy_controller.candidate import PlanAnswer, PlanRequest, answered
from convoy_controller.database import engine, queries
from convoy_controller.database.engine import Database, open_database
from convoy_controller.database.intents import request_deployment, withdraw_deployment
from convoy_controller.database.recorder import Recorder
from convoy_controller.database.records import BoardPresence, DeploymentState
from convoy_controller.database.views import EventLine
from convoy_controller.errors import DatabaseUnreachableError, KeyFileError
from convoy_controller.home import Home
from convoy_controller.keys import signing_key
from convoy_controller.service import Controller
from convoy_schema import codec
from convoy_schema.bundle import InputSpec, Method
from convoy_schema.link import Link
from convoy_schema.messages.boards import AssignmentReport, Order, Phase, Presence, Reported
from convoy_schema.messages.desired import Cut, Intent
from convoy_schema.messages.gateways import ControllerState
from convoy_schema.names import Generation
from database_samples import open_catalogue, publish, shipped_images
from fleet_voices import SITE, Voices, until
from patience import PATIENCE_S


class BrokerProcess(Protocol):
    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "COLLECT_S", 0.3)
    monkeypatch.setattr(service, "INTENT_POLL_S", 0.05)
    monkeypatch.setattr(service, "TICK_S", 0.05)


class Bench:
    """A home with a published model, a controller in this loop, and voices for the rest."""

    def __init__(self, folder: Path, url: str, boards: tuple[str, ...] = ("a", "b"), **numbers: int) -> None:
        self.home = Home.locate(folder, f"sqlite:///{folder / 'convoy.db'}")
        self.url = url
        self.database: Database = open_database(self.home.database_url)
        if not queries.models(self.database):
            publish(self.database, folder)
        self.voices = Voices(url, boards, **numbers)
        self.controller = Controller(self.home, url, site=SITE)
        self.running: asyncio.Task[None] | None = None
        self.is_ended = False

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncIterator[Bench]:
        """Everything runs; nothing is awaited of the controller but that it does not end."""
        speaking = asyncio.create_task(self.voices.run())
        await until(lambda: self.voices.link.connected)
        self.running = asyncio.create_task(self.controller.run())
        try:
            yield self
            assert self.is_ended or not self.running.done(), self.running
        finally:
            self.controller.stop()
            await asyncio.gather(self.running, return_exceptions=True)
            await self.voices.link.stop()
            await asyncio.gather(speaking, return_exceptions=True)
            self.database.close()

    async def serve(self, boards: int = 2) -> str:
        """Deploy, and wait until the gateway is told to feed it; the generation."""
        request_deployment(self.database, Intent("shop", "tiny", "1", Method.ALLOCATE, boards))
        await until(lambda: self.voices.serving() is not None)
        return str(self.voices.serving())

    async def settle(self) -> None:
        """Until the controller has told everybody all that it has decided: for half a second nobody hears more."""
        await until(lambda: queries.deployment(self.database, "shop").state is DeploymentState.SERVING)
        told = -1
        while told != (told := sum(map(len, self.voices.desired.values())) + len(self.voices.fed)):
            await asyncio.sleep(0.5)

    def end(self) -> None:
        """Ask the controller to stop."""
        self.is_ended = True
        self.controller.stop()

    def events(self, kind: str) -> list[EventLine]:
        return [event for event in queries.events(self.database, 1000) if event.kind == kind]

    def presence(self) -> dict[str, BoardPresence]:
        return {line.board: line.presence for line in queries.fleet(self.database)}


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 4 * PATIENCE_S))


def test_an_intent_is_written_down_told_tested_and_served(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            generation = await bench.serve()
            assert generation == "1-1"
            await until(lambda: queries.deployment(bench.database, "shop").state is DeploymentState.SERVING)
            await until(lambda: bench.presence() == {"a": BoardPresence.ONLINE, "b": BoardPresence.ONLINE})
            (probed,) = {str(f.probing.generation) for told in bench.voices.fed for f in told.feeds if f.probing}
            assert probed == generation, "no generation is fed untested"
            counters = Recorder(bench.database).load_state().counters
            told = max(desired.revision for heard in bench.voices.desired.values() for desired in heard)
            assert counters.revision >= told
            withdraw_deployment(bench.database, "shop")
            await until(lambda: bench.voices.desired["a"][-1].assignments == ())
            await until(lambda: queries.deployment(bench.database, "shop").state is DeploymentState.REMOVED)
            bench.end()
            await until(lambda: bench.voices.controllers[-1].presence is Presence.OFFLINE)  # it says goodbye

    run(main())


def test_it_goes_on_where_it_stopped(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            revision = bench.voices.desired["a"][-1].revision
        async with Bench(tmp_path, broker.url, epoch=1, revision=revision).on() as again:
            await until(lambda: again.voices.serving() == "1-1")
            await until(lambda: bool(again.voices.desired["a"]) and again.voices.desired["a"][-1].revision > revision)
            assert [str(line.generation) for line in queries.generations(again.database, "shop")] == ["1-1"]
            assert again.voices.desired["a"][-1].epoch == 1
            # What is known may be old.
            asked = {("a", Order.REBIRTH), ("b", Order.REBIRTH)}
            await until(lambda: {(board, command.order) for board, command in again.voices.commands} == asked)

    run(main())


def test_without_proof_of_continuity_it_begins_an_epoch_above_all_it_hears(
    tmp_path: Path, broker: BrokerProcess
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url, epoch=7, revision=40).on() as bench:
            assert await bench.serve() == "8-1"
            await until(lambda: bench.voices.controllers[-1].epoch == 8)

    run(main())


def test_a_board_that_comes_late_with_what_nobody_wants_any_more_is_told_to_drop_it(
    tmp_path: Path, broker: BrokerProcess
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url, ("a", "b", "c"), epoch=7, revision=40).on() as bench:
            assert await bench.serve() == "8-1"
            await bench.settle()
            (late,) = (board for board, heard in bench.voices.desired.items() if not heard)
            held = AssignmentReport("shop", Generation(7, 3), Phase.READY)
            said = Reported(bench.voices.session(late), 7, 39, "layers", (held,), (), 0, 1)
            bench.voices.publish(bench.voices.topics.board(late, "reported"), said)
            await until(lambda: bool(bench.voices.desired[late]))
            (told,) = bench.voices.desired[late]
            assert (told.epoch, told.assignments) == (8, ())

    run(main())


def test_where_nobody_has_anything_it_begins_at_once_and_says_so(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url, ()).on() as bench:
            await until(lambda: bool(bench.events("in-charge")))
            (event,) = bench.events("in-charge")
            assert event.sentence.endswith("epoch 1: the database is new, and nobody speaks of anything that runs")

    run(main())


@pytest.mark.parametrize("heard", [(1, 999), (5, 1)], ids=["a newer revision", "a higher epoch"])
def test_a_voice_that_comes_late_and_knows_more_makes_it_begin_anew(
    tmp_path: Path, broker: BrokerProcess, heard: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "DOUBT_S", 1.0)

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            assert await bench.serve() == "1-1"
            bench.voices.epoch, bench.voices.revision = heard
            await until(lambda: bool(bench.events("begun-anew")))
            assert f"revision {heard[1]} of epoch {heard[0]}" in bench.events("begun-anew")[0].sentence
            await until(lambda: bench.voices.serving() == f"{heard[0] + 1}-2")
            await asyncio.sleep(1.5)
            assert len(bench.events("begun-anew")) == 1, "what was heard is known now"

    run(main())


def test_when_the_database_is_of_a_newer_reign_nothing_is_written_until_it_has_one_of_its_own(
    tmp_path: Path, broker: BrokerProcess
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            Recorder(bench.database).raise_counters(epoch=6)
            withdraw_deployment(bench.database, "shop")
            await until(lambda: bool(bench.events("begun-anew")))
            await until(lambda: queries.deployment(bench.database, "shop").state is DeploymentState.REMOVED)
            await until(lambda: bench.voices.controllers[-1].epoch == bench.voices.desired["a"][-1].epoch == 7)

    run(main())


def test_a_broker_that_has_forgotten_all_is_told_again(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            generation = bench.voices.serving()
            told = len(bench.voices.desired["a"])
            broker.stop()
            await until(lambda: not bench.voices.link.connected)
            broker.start()
            await until(lambda: len(bench.voices.desired["a"]) > told)
            assert bench.voices.serving() == generation

    run(main())


def test_what_cannot_be_read_is_counted_recorded_and_floods_nothing(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            link, topics = bench.voices.link, bench.voices.topics
            link.publish(topics.board("a", "capability"), b"\xc1", qos=1)
            link.publish(f"{topics.prefix}boards/Not_A_Name/state", b"", qos=1)
            await until(lambda: len(bench.events("refused")) == 2)
            first, second = bench.events("refused")
            assert first.sentence.startswith("convoy/1/test/boards/a/capability: Capability is not MessagePack")
            assert "Not_A_Name" in second.sentence
            for _ in range(1000):
                link.publish(topics.board("a", "reported"), b"\xc1", qos=1)
            await until(lambda: any("512 so far" in event.sentence for event in bench.events("refused")))
            assert len(bench.events("refused")) < 110
            assert bench.voices.serving() == "1-1"

    run(main())


def test_before_a_higher_epoch_it_stands_back_says_why_and_takes_over_from_silence(
    tmp_path: Path, broker: BrokerProcess
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            state = ControllerState(Presence.ONLINE, 4711, 3)
            bench.voices.publish(bench.voices.topics.controller_state(), state, retain=False)
            await until(lambda: bool(bench.events("standby")))
            assert "controller 4711 is in charge, epoch 3" in bench.events("standby")[0].sentence
            await until(lambda: any("epoch 4" in event.sentence for event in bench.events("in-charge")))

    run(main())


def test_who_stands_by_writes_nothing_of_boards_when_it_stops(tmp_path: Path, broker: BrokerProcess) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            await until(lambda: set(bench.presence().values()) == {BoardPresence.ONLINE})
            other = Controller(bench.home, broker.url, site=SITE)
            running = asyncio.create_task(other.run())
            await until(lambda: bool(bench.events("standby")))
            await asyncio.sleep(0.5)
            other.stop()
            await running
            assert set(bench.presence().values()) == {BoardPresence.ONLINE}
            assert not bench.events("unknown")

    run(main())


def test_nothing_is_told_that_is_not_written_down_and_a_locked_database_ends_nothing(
    tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.05)

    async def main() -> None:
        async with Bench(tmp_path, broker.url, ("a", "b", "c")).on() as bench:
            await bench.serve()
            await bench.settle()
            before = bench.voices.serving()
            used = [board for board in "abc" if bench.voices.desired[board]]
            other = sqlite3.connect(tmp_path / "convoy.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            told = {board: len(heard) for board, heard in bench.voices.desired.items()}
            fed = len(bench.voices.fed)
            bench.voices.die(used[0])
            await until(lambda: "decisions wait" in caplog.text)
            await asyncio.sleep(0.5)
            assert {board: len(heard) for board, heard in bench.voices.desired.items()} == told
            assert len(bench.voices.fed) == fed
            other.execute("ROLLBACK")
            other.close()
            await until(lambda: bench.voices.serving() not in (before, None))
            serving = bench.voices.serving()
            assert serving in [str(line.generation) for line in queries.generations(bench.database, "shop")]
            await until(lambda: bench.presence()[used[0]] is BoardPresence.OFFLINE)

    run(main())


def test_a_record_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            original = Recorder.record_presence

            def fails(recorder: Recorder, board: str, *arguments: Any) -> None:
                recorder.save_deployment_state("nobody-asked", DeploymentState.SERVING)
                original(recorder, board, *arguments)

            monkeypatch.setattr(Recorder, "record_presence", fails)
            bench.voices.die("a")
            await until(lambda: bench.voices.serving() == "1-2")
            await until(lambda: [e.board for e in bench.events("offline")] == ["a"])

    run(main())


def test_a_database_that_cannot_be_opened_is_said_at_once(tmp_path: Path, broker: BrokerProcess) -> None:
    home = Home.locate(tmp_path, "sqlite:////proc/nowhere/convoy.db")

    async def main() -> None:
        with pytest.raises(DatabaseUnreachableError, match="cannot be opened"):
            await Controller(home, broker.url, site=SITE).run()

    run(main())


def test_without_the_key_that_boards_trust_it_does_not_begin(tmp_path: Path, broker: BrokerProcess) -> None:
    home = Home.locate(tmp_path, f"sqlite:///{tmp_path / 'convoy.db'}")

    async def main() -> None:
        with pytest.raises(KeyFileError, match=r"trusted\.pem"):
            await Controller(home, broker.url, site=SITE).run()

    run(main())


def test_it_stops_while_there_is_no_broker(tmp_path: Path, broker: BrokerProcess) -> None:
    broker.stop()
    home = Home.locate(tmp_path, f"sqlite:///{tmp_path / 'convoy.db'}")
    publish(open_database(home.database_url), tmp_path)

    async def main() -> None:
        controller = Controller(home, broker.url, site=SITE)
        running = asyncio.create_task(controller.run())
        await asyncio.sleep(0.3)
        assert not running.done()
        controller.stop()
        await running

    run(main())


def test_its_will_and_its_state_say_who_is_in_charge(tmp_path: Path, broker: BrokerProcess) -> None:
    heard: list[tuple[ControllerState, bool]] = []

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            await bench.serve()
            late = Link(
                broker.url,
                "late",
                on_message=lambda topic, payload, kept: heard.append((codec.decode(ControllerState, payload), kept)),
                on_connect=lambda: late.subscribe(bench.voices.topics.controller_state()),
            )
            listening = asyncio.create_task(late.run())
            await until(lambda: bool(heard))
            await late.stop()
            await listening
        state, retained = heard[0]
        assert retained
        assert (state.presence, state.session, state.epoch) == (Presence.ONLINE, bench.controller.session, 1)
        assert state.rss_bytes > 0

    run(main())


def test_while_a_large_fleet_is_planned_the_controller_hears_and_speaks(
    tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan for 64 boards of six kinds takes a second of computing; the loop must have its turns meanwhile."""
    planned: list[tuple[float, str]] = []

    def timed(request: PlanRequest) -> PlanAnswer:
        began = time.monotonic()
        answer = answered(request)
        planned.append((time.monotonic() - began, threading.current_thread().name))
        return answer

    monkeypatch.setattr(plan_desk, "answered", timed)

    async def main() -> None:
        boards = tuple(f"b{number:02}" for number in range(64))
        async with Bench(tmp_path, broker.url, boards).on() as bench:
            network = balanced_chain("deep", 64, 2, 6, 3)
            images, key = shipped_images(), signing_key(bench.home.keys)
            catalogue = open_catalogue(bench.database, tmp_path)
            catalogue.publish_model(network, "deep", "1", InputSpec("t0"), (), images, key)
            await until(lambda: list(bench.presence().values()).count(BoardPresence.ONLINE) == 64)
            wanted = Intent("shop", "deep", "1", Method.ALLOCATE, cut=Cut.REPLICATED)
            request_deployment(bench.database, wanted)
            slowest = 0.0
            while not planned:
                before = time.monotonic()
                await asyncio.sleep(0.002)
                slowest = max(slowest, time.monotonic() - before)
            seconds, thread = planned[0]
            assert thread.startswith("planner")
            assert seconds > 0.1, "too quick to show anything"
            assert slowest < seconds / 2
            await until(lambda: bench.voices.serving() is not None)

    run(main())


def test_a_plan_that_breaks_fails_its_deployment_and_nothing_else(
    tmp_path: Path, broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: PlanRequest) -> PlanAnswer:
        if request.intent.deployment == "broken":
            raise ZeroDivisionError("a mistake")
        return answered(request)

    monkeypatch.setattr(plan_desk, "answered", broken)

    async def main() -> None:
        async with Bench(tmp_path, broker.url).on() as bench:
            request_deployment(bench.database, Intent("broken", "tiny", "1", Method.ALLOCATE, 1))
            await until(lambda: queries.deployment(bench.database, "broken").state is DeploymentState.FAILED)
            said = queries.deployment(bench.database, "broken").message
            assert said == "planning failed: ZeroDivisionError: a mistake"
            withdraw_deployment(bench.database, "broken")
            await until(lambda: queries.deployment(bench.database, "broken").state is DeploymentState.REMOVED)
            await bench.serve()

    run(main())

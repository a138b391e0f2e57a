"""The gateway's shell on a real broker: what it subscribes, says and restates, and that requests come back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from convoy_controller.errors import (
    DeadlineError,
    GatewayError,
    InvalidInputError,
    NameTakenError,
    NotServingError,
    UnknownModelError,
)
from convoy_controller.gateway.process import GatewayConfig, run_gateway
from convoy_controller.gateway.server import serving
from convoy_controller.gateway.service import GatewayService
from convoy_schema import codec
from convoy_schema.bundle import public_pem
from convoy_schema.errors import SignatureError
from convoy_schema.frames import Frame, TensorData
from convoy_schema.layers import dequantise, quantise
from convoy_schema.link import Link
from convoy_schema.messages.boards import Presence
from convoy_schema.messages.gateways import FeedReport, GatewayState
from convoy_schema.names import Generation
from gateway_fleet import SITE, TOPICS, Site, until
from gateway_models import KEY, TRUSTED
from mosquitto_process import MosquittoProcess
from numpy.typing import NDArray
from patience import PATIENCE_S

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 1, 28, 28)).astype(np.uint8)


def play(work: Callable[[], Awaitable[None]]) -> None:
    """Run one test's coroutine, but not for ever."""
    asyncio.run(asyncio.wait_for(work(), 4 * PATIENCE_S))


def feed_report(site: Site) -> FeedReport:
    return site.service.session.report()[0]


def test_pixels_reals_and_quantised_values_give_the_same_exact_answer(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            tensor, output = (
                site.service.models.converter(site.fleet.model).input,
                site.fleet.model.topology.tensor("logits"),
            )
            reals = PIXELS.astype(np.float32) * np.float32(1 / 255)
            quantised = quantise(reals, tensor)
            expected = site.fleet.compute(quantised)
            arrays: list[NDArray[np.generic]] = [PIXELS, reals, quantised]
            for array in arrays:
                result = await site.service.infer(array, "digits")
                np.testing.assert_array_equal(result.raw, expected)
                np.testing.assert_array_equal(result.logits, dequantise(expected, output))
                assert result.logits.dtype == np.float32
                assert (result.generation, result.deployment) == (Generation(1, 1), "shop")

    play(work)


def test_many_requests_at_once_are_batched_and_each_gets_its_own_rows(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            random = np.random.default_rng(5)
            arrays = [random.integers(0, 256, (1 + i % 3, 1, 28, 28)).astype(np.uint8) for i in range(200)]
            results = await asyncio.gather(*[site.service.infer(array) for array in arrays])
            converter = site.service.models.converter(site.fleet.model)
            for array, result in zip(arrays, results, strict=True):
                np.testing.assert_array_equal(result.raw, site.fleet.compute(converter.rows(array)))
            assert site.fleet.frames < 100
            assert feed_report(site).answered == 200

    play(work)


def test_lost_frames_are_made_good(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            for _ in range(20):
                await site.service.infer(PIXELS)  # the round trip is measured
            lost: set[tuple[int, ...]] = set()

            def lose(frame: Frame) -> bool:
                first_time = frame.requests not in lost
                lost.add(frame.requests)
                return first_time

            site.fleet.lose = lose
            results = await asyncio.gather(*[site.service.infer(PIXELS) for _ in range(20)])
            assert len(results) == 20
            assert feed_report(site).retried_frames >= 1
            assert feed_report(site).failed == 0

    play(work)


def test_a_dead_generation_is_left_for_the_new_one(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            for _ in range(5):
                await site.service.infer(PIXELS)
            site.fleet.silent.add(Generation(1, 1))
            waiting = [asyncio.ensure_future(site.service.infer(PIXELS)) for _ in range(5)]
            await until(lambda: site.service.session.pending == 5)
            await asyncio.sleep(0.2)
            site.fleet.order(site.fleet.feed(2))
            results = await asyncio.gather(*waiting)
            assert {str(result.generation) for result in results} == {"1-2"}
            await until(lambda: any(r.revision == 2 and not r.feeds[0].in_flight for r in site.fleet.reports))

    play(work)


def test_a_probe_is_reported_and_the_report_is_retained(broker: MosquittoProcess) -> None:
    async def work() -> None:
        site = Site(broker.url)
        async with site.running(serving_generation=None):
            site.fleet.order(site.fleet.feed(None, 4))
            site.fleet.announce()  # in the wrong order: the model comes after the order that names it
            await until(lambda: any(report.feeds and report.feeds[0].probes for report in site.fleet.reports))
            (probe,) = site.fleet.reports[-1].feeds[0].probes
            assert (probe.generation, probe.passed, probe.message) == (Generation(1, 4), True, "")
            report = site.fleet.reports[-1]
            assert report.session == site.service.session.session
            assert (report.epoch, report.revision) == (1, 1)
            assert report.published.activations > 8 * 784
            assert report.rss_bytes > 10_000_000

    play(work)


def test_requests_outlive_a_restart_of_the_broker(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            await site.service.infer(PIXELS)
            site.fleet.thinking_s = 0.3
            waiting = asyncio.ensure_future(site.service.infer(PIXELS))
            await until(lambda: site.service.session.pending == 1)
            broker.stop()
            await until(lambda: not site.service.is_connected)
            later = asyncio.ensure_future(site.service.infer(PIXELS))
            await asyncio.sleep(0.2)
            assert not later.done()
            broker.start()
            assert (await waiting).raw.shape == (5, 10)
            assert (await later).raw.shape == (5, 10)
            assert feed_report(site).failed == 0
            site.fleet.reports.clear()
            await until(lambda: bool(site.fleet.reports))

    play(work)


def test_a_caller_that_goes_away_is_forgotten(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            site.fleet.silent.add(Generation(1, 1))
            waiting = asyncio.ensure_future(site.service.infer(PIXELS))
            await until(lambda: site.service.session.pending == 1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert site.service.session.pending == 0

    play(work)


def test_what_cannot_be_answered_is_said_clearly(broker: MosquittoProcess) -> None:
    async def work() -> None:
        site = Site(broker.url)
        with pytest.raises(NotServingError, match="not been told"):
            await site.service.infer(PIXELS)
        async with site.running():
            with pytest.raises(UnknownModelError, match="cats is not served here; models: digits 1"):
                await site.service.infer(PIXELS, "cats")
            with pytest.raises(UnknownModelError, match="digits 2 is not served here"):
                await site.service.infer(PIXELS, "digits", "2")
            with pytest.raises(
                InvalidInputError, match=r"digits takes an array of shape \(n, 1, 28, 28\), \(5, 28, 28\)"
            ):
                await site.service.infer(PIXELS[:, 0])
            with pytest.raises(InvalidInputError, match="int64 came"):
                await site.service.infer(PIXELS.astype(np.int64))
            with pytest.raises(InvalidInputError, match="NaN"):
                await site.service.infer(np.full((1, 1, 28, 28), np.nan, np.float32))
            site.fleet.silent.add(Generation(1, 1))
            with pytest.raises(DeadlineError, match=r"no answer from shop within 0\.1 s"):
                await site.service.infer(PIXELS, timeout_s=0.1)

    play(work)


def test_garbage_on_every_topic_is_counted_and_costs_nothing(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            link, name = site.fleet.link, site.service.name
            frame = TOPICS.frame("board-a", name, "shop", Generation(1, 1), 1)
            for junk in (
                b"",
                b"\xc1",
                b"\x81\xa1v\x92\x09\x09",
                bytes(300_000),
                codec.encode(GatewayState(Presence.ONLINE, 1)),
            ):
                for topic in (frame, TOPICS.gateway(name, "desired"), TOPICS.model("digits", "1"), f"{frame}/more"):
                    link.publish(topic, junk)
                if not junk.startswith(b"\x83"):  # a well-formed state would be a second gateway
                    link.publish(TOPICS.gateway(name, "state"), junk[:100] or b"\xc1")
            for payload in (codec.encode(wrong_frame(site)),):
                link.publish(frame, payload)
            assert (await site.service.infer(PIXELS)).raw.shape == (5, 10)
            refused = site.service.refused
            assert refused["decode"] >= 10
            assert refused["topic"] >= 1
            assert site.service.session.refused["session"] == 1

    play(work)


def wrong_frame(site: Site) -> Frame:
    data = (TensorData("logits", (1, 10), bytes(10)),)
    return Frame("shop", Generation(1, 1), 1, site.service.name, (1, 1), (1,), 5.0, data)


def test_a_forged_model_is_refused_and_the_true_one_still_taken(broker: MosquittoProcess) -> None:
    async def work() -> None:
        site = Site(broker.url)
        async with site.running(serving_generation=None):
            site.fleet.order(site.fleet.feed(1))
            true = site.fleet.announcement
            forged = type(true)(true.topology, true.bundle, bytes(64), true.probe_input, true.probe_output)
            await until(lambda: site.service.offers.desired is not None)
            site.fleet.retain(TOPICS.model("digits", "1"), codec.encode(forged))
            await until(lambda: site.service.refused.get("signature") == 1)
            with pytest.raises(NotServingError, match="bundle of digits 1 has not arrived"):
                await site.service.infer(PIXELS)
            site.fleet.announce()
            await until(lambda: site.service.session.is_serving("shop"))
            await site.service.infer(PIXELS)

    play(work)


def test_state_is_retained_and_a_death_of_the_old_session_is_corrected(broker: MosquittoProcess) -> None:
    async def work() -> None:
        site = Site(broker.url)
        states: list[GatewayState] = []
        watcher = Link(
            broker.url,
            "watcher",
            on_message=lambda topic, payload, retained: states.append(codec.decode(GatewayState, payload)),
            on_connect=lambda: watcher.subscribe(TOPICS.gateway("gateway", "state"), 1),
        )
        watching = asyncio.create_task(watcher.run())
        async with site.running():
            ours = site.service.session.session
            await until(lambda: bool(states) and states[-1] == GatewayState(Presence.ONLINE, ours))
            for session in (ours, 12345):
                death = codec.encode(GatewayState(Presence.OFFLINE, session))
                site.fleet.link.publish(TOPICS.gateway("gateway", "state"), death, qos=1, retain=True)
                await until(lambda session=session: GatewayState(Presence.OFFLINE, session) in states)  # type: ignore[misc]
                await until(lambda: states[-1] == GatewayState(Presence.ONLINE, ours))
        await until(lambda: states[-1] == GatewayState(Presence.OFFLINE, ours))
        await watcher.stop()
        await watching

    play(work)


def test_of_two_gateways_with_one_name_the_older_stops_and_says_so(broker: MosquittoProcess) -> None:
    async def work() -> None:
        first, second = (GatewayService("twin", SITE, broker.url, TRUSTED, session) for session in (1, 2))
        old = asyncio.create_task(first.run())
        await until(lambda: first.is_connected)
        new = asyncio.create_task(second.run())
        with pytest.raises(NameTakenError, match="another gateway is online as 'twin'"):
            await old
        await asyncio.sleep(0.3)
        assert not new.done()
        assert second.is_connected
        new.cancel()
        await asyncio.gather(new, return_exceptions=True)

    play(work)


def test_a_stale_order_is_refused(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with Site(broker.url).running() as site:
            site.fleet.order(revision=0)
            await until(lambda: site.service.refused.get("stale") == 1)
            await site.service.infer(PIXELS)

    play(work)


def test_the_process_serves_prints_its_address_and_stops_on_sigterm(broker: MosquittoProcess, tmp_path: Path) -> None:
    key = tmp_path / "trusted.pem"
    key.write_bytes(public_pem(KEY))
    arguments = ["--broker", broker.url, "--trusted-key", str(key)]
    with subprocess.Popen(
        [sys.executable, "-m", "convoy_controller.gateway", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("gateway gateway listens on http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_no_broker_is_waited_for_and_a_bad_key_or_port_is_said(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="cannot be read"):
        run_gateway(GatewayConfig("a", SITE, "mqtt://127.0.0.1:1", tmp_path / "none.pem"))
    key = tmp_path / "trusted.pem"
    key.write_bytes(public_pem(KEY))

    async def work() -> None:
        site = Site("mqtt://127.0.0.1:1")
        async with serving(site.app, "127.0.0.1", 0) as address:
            port = int(address.rpartition(":")[2])
            with pytest.raises(GatewayError, match=f"cannot listen on 127.0.0.1:{port}"):
                async with serving(site.app, "127.0.0.1", port):
                    pass
        running = asyncio.create_task(site.service.run())
        await asyncio.sleep(0.2)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(work)

"""The V2 protocol over HTTP: the real application on a real broker, with a fleet that computes exactly."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from convoy_controller.gateway import bodies
from convoy_controller.gateway.answers import Answer
from convoy_controller.gateway.classes import as_bytes_tensor
from convoy_controller.gateway.idempotency import Answers
from convoy_controller.gateway.inference import LONG_JSON
from convoy_controller.gateway.protocol import HEADER_LENGTH
from convoy_controller.gateway.session import Limits
from convoy_schema.ending import Ending
from convoy_schema.errors import TooLargeError
from convoy_schema.fixedpoint import dequantise
from convoy_schema.names import Generation
from gateway_fleet import Site, until
from gateway_models import ARGMAX, DIGITS, SOFTMAX
from infer_requests import PIXELS, binary_request, json_request
from mosquitto_process import MosquittoProcess
from numpy.typing import NDArray
from patience import PATIENCE_S
from scraped import samples
from scraped import value as sample

INFER = "/v2/models/digits/infer"


def play(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 4 * PATIENCE_S))


@asynccontextmanager
async def gateway(
    url: str, limits: Limits | None = None, ending: Ending | None = None
) -> AsyncIterator[tuple[Site, httpx.AsyncClient]]:
    site = Site(url, limits=limits, ending=ending)
    transport = httpx.ASGITransport(app=site.app)
    async with site.running(), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield site, client


def expected(site: Site) -> NDArray[np.int8]:
    return site.fleet.compute(site.service.models.converter(site.fleet.model).rows(PIXELS))


def reals(site: Site) -> NDArray[np.float32]:
    topology = site.fleet.model.topology
    return dequantise(expected(site), topology.tensor(topology.output))


def test_metrics_lie_beside_the_protocol_and_count_every_request_once(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            for _ in range(3):
                assert (await client.post(INFER, json=json_request(PIXELS, "UINT8"))).status_code == 200
            assert (await client.post("/v2/models/nothing/infer", json={"inputs": []})).status_code == 404
            assert (await client.post(INFER, json={"inputs": "?"})).status_code == 400
            answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            found = samples(answer.content)

            def value(name: str, **labels: str) -> float | None:
                return sample(found, f"convoy_{name}", **labels)

            shop = {"deployment": "shop"}
            assert value("gateway_accepted_requests_total", **shop) == 3
            assert value("gateway_requests_total", outcome="answered", **shop) == 3
            assert value("gateway_answered_rows_total", **shop) == 3 * len(PIXELS)
            assert value("gateway_request_seconds_count", **shop) == 3
            assert value("gateway_request_seconds_sum", **shop) > 0
            assert value("gateway_request_seconds_bucket", le="+Inf", **shop) == 3
            outcomes = {"answered": 3, "unknown-model": 1, "invalid-input": 1}
            assert {key: value("gateway_http_requests_total", outcome=key) for key in outcomes} == outcomes
            assert value("gateway_in_flight_frames", **shop) == value("gateway_pending_requests") == 0
            assert value("gateway_credits", **shop) == value("gateway_window_frames", **shop) > 0
            assert value("gateway_ready") == value("gateway_deployment_ready", **shop) == 1
            assert value("broker_connected", connection="gateway") == 1
            assert value("published_bytes_total", kind="activations") == site.service.frame_bytes > 0
            about = {"model": "digits", "version": "1", "generation": "1-1"}
            assert value("gateway_feed_info", **shop, **about) == 1

    play(work)


def test_json_in_and_out(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            reply = await client.post(INFER, json=json_request(PIXELS, "UINT8", id="seven"))
            assert reply.status_code == 200
            body = reply.json()
            assert (body["id"], body["model_name"], body["model_version"]) == ("seven", "digits", "1")
            assert body["parameters"]["generation"] == "1-1"
            (output,) = body["outputs"]
            assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [3, 10])
            np.testing.assert_array_equal(np.array(output["data"], np.float32).reshape(3, 10), reals(site))
            flat = json_request(PIXELS, "UINT8")
            flat["inputs"][0]["data"] = PIXELS.ravel().tolist()
            again = await client.post("/v2/models/digits/versions/1/infer", json=flat)
            assert again.json()["outputs"] == body["outputs"]
            doubled = np.concatenate([PIXELS, PIXELS]).astype(np.float32) * np.float32(1 / 255)
            long = await client.post(INFER, json=json_request(doubled, "FP32"))
            assert len(long.request.content) > LONG_JSON  # read in a thread
            assert long.json()["outputs"][0]["data"] == output["data"] * 2

    play(work)


def test_binary_in_and_out_and_the_int8_behind_it(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            body, headers = binary_request(PIXELS, "UINT8", parameters={"binary_data_output": True})
            reply = await client.post(INFER, content=body, headers=headers)
            assert reply.status_code == 200
            assert reply.headers["content-type"] == "application/octet-stream"
            split = int(reply.headers[HEADER_LENGTH])
            (output,) = json.loads(reply.content[:split])["outputs"]
            assert output["parameters"] == {"binary_data_size": 120}
            np.testing.assert_array_equal(np.frombuffer(reply.content[split:], "<f4").reshape(3, 10), reals(site))
            both = [
                {"name": "logits", "parameters": {"datatype": "INT8", "binary_data": True}},
                {"name": "logits", "parameters": {"binary_data": False}},
            ]
            body, headers = binary_request(PIXELS, "UINT8", outputs=both)
            reply = await client.post(INFER, content=body, headers=headers)
            split = int(reply.headers[HEADER_LENGTH])
            raw = np.frombuffer(reply.content[split:], np.int8).reshape(3, 10)
            np.testing.assert_array_equal(raw, expected(site))
            data = json.loads(reply.content[:split])["outputs"][1]["data"]
            np.testing.assert_array_equal(np.array(data, np.float32).reshape(3, 10), reals(site))

    play(work)


@pytest.mark.parametrize(("ending", "datatype", "shape"), [(SOFTMAX, "FP32", [10]), (ARGMAX, "INT64", [1])])
def test_the_output_is_that_of_a_file_that_ends_in_softmax_or_argmax(
    broker: MosquittoProcess, ending: Ending, datatype: str, shape: list[int]
) -> None:
    async def work() -> None:
        async with gateway(broker.url, ending=ending) as (site, client):
            (made,) = (await client.get("/v2/models/digits")).json()["outputs"]
            assert (made["name"], made["datatype"], made["shape"]) == (ending.name, datatype, [-1, *shape])
            assert made["parameters"]["ending"] == ending.operation.value
            answer = ending.apply(reals(site))
            (output,) = (await client.post(INFER, json=json_request(PIXELS, "UINT8"))).json()["outputs"]
            assert (output["name"], output["datatype"], output["shape"]) == (ending.name, datatype, [3, *shape])
            np.testing.assert_array_equal(np.array(output["data"], answer.dtype).reshape(answer.shape), answer)
            both = [{"name": ending.name, "parameters": {"datatype": kind}} for kind in (datatype, "INT8")]
            body, headers = binary_request(PIXELS, "UINT8", outputs=both, parameters={"binary_data_output": True})
            reply = await client.post(INFER, content=body, headers=headers)
            tail = reply.content[int(reply.headers[HEADER_LENGTH]) :]
            assert tail == answer.astype(answer.dtype.newbyteorder("<")).tobytes() + expected(site).tobytes()
            other = {"FP32": "INT64", "INT64": "FP32"}[datatype]
            for wrong in ({"name": "logits"}, {"name": ending.name, "parameters": {"datatype": other}}):
                refused = await client.post(INFER, json=json_request(PIXELS, "UINT8", outputs=[wrong]))
                assert refused.status_code == 400, refused.text

    play(work)


def test_health_and_metadata(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            assert (await client.get("/v2")).json()["name"] == "convoy"
            assert "binary_tensor_data" in (await client.get("/v2")).json()["extensions"]
            for path in (
                "/v2/health/live",
                "/v2/health/ready",
                "/v2/models/digits/ready",
                "/v2/models/digits/versions/1/ready",
            ):
                assert (await client.get(path)).status_code == 200, path
            for path in ("/v2/models/digits", "/v2/models/digits/versions/1", "/v2/models/shop"):
                found = (await client.get(path)).json()
                assert (found["name"], found["versions"]) == ("digits", ["1"])
                assert found["inputs"][0]["name"] == "image"
                assert found["inputs"][0]["shape"] == [-1, 1, 28, 28]
                assert found["outputs"][0]["shape"] == [-1, 10]
                assert found["outputs"][0]["labels"] == list(DIGITS)
            listed = (await client.post("/v2/repository/index")).json()
            assert listed == [{"name": "digits", "version": "1", "state": "READY", "reason": ""}]
            assert (await client.get("/v2/models")).json() == {"models": ["digits"]}
            site.fleet.order(site.fleet.feed(None))
            await until(lambda: site.service.session.revision == 2)
            for path in ("/v2/health/ready", "/v2/models/digits/ready"):
                reply = await client.get(path)
                assert reply.status_code == 503
                assert reply.headers["retry-after"] == "1"
            assert (await client.get("/v2/health/live")).status_code == 200
            (listed,) = (await client.post("/v2/repository/index")).json()
            assert (listed["state"], listed["reason"]) == ("UNAVAILABLE", "no generation is serving")

    play(work)


def test_ready_is_said_only_while_golden_rows_are_answered(broker: MosquittoProcess) -> None:
    async def work() -> None:
        site = Site(broker.url)
        transport = httpx.ASGITransport(app=site.app)
        async with site.running(serving_generation=None), httpx.AsyncClient(transport=transport) as client:

            async def ready(words: str = "") -> int:
                answers = [await client.get(f"http://g/v2/{path}") for path in ("health/ready", "models/digits/ready")]
                for answer in answers:
                    assert answer.status_code == 200 or words in answer.json()["error"], answer.text
                return answers[0].status_code

            async def until_ready(status: int) -> None:
                while await ready() != status:
                    await asyncio.sleep(0.01)

            # Nobody answers yet: the gateway is told to serve, and takes requests, but is not ready.
            site.fleet.silent.add(Generation(1, 1))
            site.fleet.announce()
            site.fleet.order(site.fleet.feed(1))
            await until(lambda: site.service.session.is_serving("shop"))
            assert await ready("generation 1-1 has not answered its golden vector") == 503
            site.fleet.silent.clear()
            await until_ready(200)
            body, headers = binary_request(PIXELS, "UINT8")
            assert (await client.post(f"http://g{INFER}", content=body, headers=headers)).status_code == 200
            # A board is lost: the first answer that is overdue takes the evidence away, until golden rows come back.
            site.fleet.silent.add(Generation(1, 1))
            waiting = asyncio.ensure_future(client.post(f"http://g{INFER}", content=body, headers=headers))
            await until_ready(503)
            assert not waiting.done()
            site.fleet.silent.clear()
            await until_ready(200)
            assert (await waiting).status_code == 200
            # A generation that was tested before the switch is ready at once.
            site.fleet.order(site.fleet.feed(1, 2))
            await until(lambda: any(r.feeds and r.feeds[0].probes for r in site.fleet.reports))
            site.fleet.silent.add(Generation(1, 2))
            site.fleet.order(site.fleet.feed(2))
            await until(lambda: site.service.session.report()[0].serving == Generation(1, 2))
            assert await ready() == 200

    play(work)


def test_configuration_and_statistics_are_tritons(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            config = (await client.get("/v2/models/digits/config")).json()
            assert (config["name"], config["max_batch_size"]) == ("digits", 8192)
            assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [1, 28, 28]}]
            assert config["output"] == [{"name": "logits", "data_type": "TYPE_FP32", "dims": [10]}]
            batching = config["dynamic_batching"]
            assert batching["preferred_batch_size"] == [32]
            assert batching["max_queue_delay_microseconds"] == 20_000
            assert (batching["priority_levels"], batching["default_priority_level"]) == (8, 4)
            body, headers = binary_request(PIXELS, "UINT8")
            for _ in range(2):
                await client.post(INFER, content=body, headers=headers)
            site.fleet.silent.add(Generation(1, 1))
            body, headers = binary_request(PIXELS, "UINT8", parameters={"timeout_ms": 30})
            assert (await client.post(INFER, content=body, headers=headers)).status_code == 504
            for path in ("/v2/models/digits/stats", "/v2/models/digits/versions/1/stats", "/v2/models/stats"):
                (entry,) = (await client.get(path)).json()["model_stats"]
                assert (entry["name"], entry["version"]) == ("digits", "1")
                assert (entry["inference_count"], entry["execution_count"]) == (6, 2)
                assert abs(entry["last_inference"] / 1000 - time.time()) < 60
                stats = entry["inference_stats"]
                assert (stats["success"]["count"], stats["fail"]["count"]) == (2, 1)
                assert stats["success"]["ns"] == pytest.approx(
                    stats["queue"]["ns"] + stats["compute_infer"]["ns"], abs=2
                )
                (batch,) = entry["batch_stats"]
                assert (batch["batch_size"], batch["compute_infer"]["count"]) == (3, 2)
            assert (await client.get("/v2/models/cats/stats")).status_code == 404

    play(work)


def test_reals_of_every_width_are_taken(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            halves = (PIXELS / 255).astype(np.float16)
            numbers = site.service.models.converter(site.fleet.model).rows(halves.astype(np.float32))
            output = site.fleet.model.topology.tensor("logits")
            answer = dequantise(site.fleet.compute(numbers), output)
            for array, datatype in ((halves, "FP16"), (halves.astype(np.float64), "FP64")):
                body, headers = binary_request(array, datatype)
                for sent in ({"content": body, "headers": headers}, {"json": json_request(array, datatype)}):
                    reply = await client.post(INFER, **sent)  # type: ignore[arg-type]
                    assert reply.status_code == 200, reply.text
                    (made,) = reply.json()["outputs"]
                    np.testing.assert_array_equal(np.array(made["data"], np.float32).reshape(3, 10), answer)
            beyond = np.full((1, 1, 28, 28), 1e300)
            assert (await client.post(INFER, json=json_request(beyond, "FP64"))).status_code == 200
            assert (await client.post(INFER, json=json_request(beyond, "FP32"))).status_code == 200

    play(work)


def test_classes_are_given_by_value_number_and_name(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            wanted = [
                {"name": "logits", "parameters": {"classification": 3, "binary_data": False}},
                {"name": "logits", "parameters": {"classification": 99, "binary_data": True}},
            ]
            body, headers = binary_request(PIXELS, "UINT8", outputs=wanted)
            reply = await client.post(INFER, content=body, headers=headers)
            split = int(reply.headers[HEADER_LENGTH])
            three, everything = json.loads(reply.content[:split])["outputs"]
            assert (three["datatype"], three["shape"]) == ("BYTES", [3, 3])
            assert everything["shape"] == [3, 10]
            logits = reals(site)
            order = np.argsort(-logits, axis=1, kind="stable")
            texts = [[f"{logits[n, i]:f}:{i}:digit {i}" for i in row] for n, row in enumerate(order)]
            assert three["data"] == [text for row in texts for text in row[:3]]
            assert everything["parameters"]["binary_data_size"] == len(reply.content) - split
            assert as_bytes_tensor(text for row in texts for text in row) == reply.content[split:]

    play(work)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw"])
def test_packed_bodies_are_taken_and_given(broker: MosquittoProcess, coding: str) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (_, client):
            many = np.concatenate([PIXELS] * 20)
            plain, headers = binary_request(many, "UINT8", parameters={"binary_data_output": True})
            expected = await client.post(INFER, content=plain, headers={**headers, "accept-encoding": "identity"})
            assert "content-encoding" not in expected.headers
            body = {"gzip": gzip.compress, "deflate": zlib.compress, "raw": raw_deflate}[coding](plain)
            name = "deflate" if coding == "raw" else coding
            headers |= {"content-encoding": name, "accept-encoding": name}
            reply = await client.post(INFER, content=body, headers=headers)
            assert reply.status_code == 200, reply.text
            assert reply.headers["content-encoding"] == name
            assert reply.content == expected.content  # httpx unpacks
            assert int(reply.headers["content-length"]) < len(reply.content)
            for wrong, status in ((body[:-3], 400), (body + b"x", 400), (plain, 400)):
                answer = await client.post(INFER, content=wrong, headers=headers)
                assert answer.status_code == status, answer.text
            headers["content-encoding"] = "br"
            assert "gzip or deflate, 'br' came" in (await client.post(INFER, content=body, headers=headers)).text

    play(work)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def test_errors_have_the_status_a_client_can_act_on(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url, Limits(rows=4)) as (site, client):

            async def status(path: str, **request: Any) -> tuple[int, str]:
                reply = await client.post(path, **request)
                assert reply.headers["content-type"] == "application/json"
                return reply.status_code, reply.json()["error"]

            good = json_request(PIXELS, "UINT8")
            assert await status("/v2/models/cats/infer", json=good) == (
                404,
                "cats is not served here; models: digits 1",
            )
            assert (await status("/v2/models/digits/versions/9/infer", json=good))[0] == 404
            code, words = await status(INFER, json=json_request(PIXELS[:, 0], "UINT8"))
            assert code == 400
            assert "(n, 1, 28, 28), (3, 28, 28) came" in words
            assert (await status(INFER, content=b"{"))[0] == 400
            assert (await status(INFER, content=b"{}", headers={HEADER_LENGTH: "9"}))[0] == 400
            assert (await status("/v2/nothing"))[0] == 404
            wrong_method = await client.get(INFER)
            assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "POST")
            assert "takes POST" in wrong_method.json()["error"]
            huge = np.zeros((5, 1, 28, 28), np.uint8)
            assert (await status(INFER, json=json_request(huge, "UINT8")))[0] == 400  # more rows than are ever accepted
            site.fleet.silent.add(Generation(1, 1))
            body, headers = binary_request(PIXELS, "UINT8", parameters={"timeout_ms": 3000})
            waiting = asyncio.ensure_future(client.post(INFER, content=body, headers=headers))
            await until(lambda: site.service.session.pending == 1)
            overload = await client.post(INFER, content=body, headers=headers)
            assert overload.status_code == 429
            assert int(overload.headers["retry-after"]) >= 1
            assert int(overload.headers["retry-after-ms"]) >= 1
            late = await waiting
            assert late.status_code == 504
            assert "within 3 s" in late.json()["error"]

    play(work)


def test_a_gateway_that_knows_nothing_yet_says_come_back() -> None:
    async def work() -> None:
        site = Site("mqtt://127.0.0.1:1")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=site.app), base_url="http://gateway") as client:
            for path in ("/v2/health/ready", "/v2/models/digits", "/v2/models/digits/ready"):
                assert (await client.get(path)).status_code == 503, path
            reply = await client.post(INFER, json=json_request(PIXELS, "UINT8"))
            assert reply.status_code == 503
            assert reply.headers["retry-after"] == "1"

    play(work)


def test_bodies_are_bounded_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY", 100)
    monkeypatch.setattr(bodies, "MAX_BODIES", 150)

    async def work() -> None:
        site = Site("mqtt://127.0.0.1:1")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=site.app), base_url="http://gateway") as client:
            assert (await client.post(INFER, content=bytes(101))).status_code == 413

            async def endless() -> AsyncIterator[bytes]:
                while True:
                    yield bytes(60)

            assert (await client.post(INFER, content=endless())).status_code == 413  # nobody announced its length
            gate = asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                yield bytes(90)
                await gate.wait()

            waiting = asyncio.ensure_future(client.post(INFER, content=slow()))
            await asyncio.sleep(0.05)
            assert (await client.post(INFER, content=bytes(90))).status_code == 429
            gate.set()
            assert (await waiting).status_code == 503
            assert (await client.post(INFER, content=bytes(90))).status_code == 503  # its room was given back
            bomb = {"content": gzip.compress(bytes(101)), "headers": {"content-encoding": "gzip"}}
            assert (await client.post(INFER, **bomb)).status_code == 413  # type: ignore[arg-type]

    play(work)


def test_bodies_of_one_deployment_leave_room_for_those_of_another(
    broker: MosquittoProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, headers = binary_request(PIXELS, "UINT8")
    monkeypatch.setattr(bodies, "MAX_BODIES", 4 * len(body))

    async def work() -> None:
        async with gateway(broker.url) as (site, client):

            async def status(name: str) -> int:
                reply = await client.post(f"/v2/models/{name}/infer", content=body, headers=headers)
                return reply.status_code

            site.fleet.order(site.fleet.feed(1), site.fleet.feed(2, deployment="busy"))
            await until(lambda: all(map(site.service.session.is_ready, ("shop", "busy"))))
            site.fleet.silent.add(Generation(1, 2))
            held = [asyncio.ensure_future(status("busy")) for _ in range(3)]
            await until(lambda: site.service.session.pending == 3)
            assert (await status("busy"), await status("shop"), await status("cats")) == (429, 200, 404)
            site.fleet.silent.clear()
            assert await asyncio.gather(*held) == [200, 200, 200]
            assert await status("busy") == 200

    play(work)


def test_a_repeated_key_gets_the_same_answer_and_joins_what_is_in_flight(broker: MosquittoProcess) -> None:
    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            site.fleet.thinking_s = 0.1
            computed: set[tuple[int, ...]] = set()  # by the requests of a frame, which a slow answer repeats
            site.fleet.lose = lambda frame: bool(computed.add(frame.requests))
            body, headers = binary_request(PIXELS, "UINT8")
            key = {"Idempotency-Key": "k1"}
            replies = await asyncio.gather(
                *[client.post(INFER, content=body, headers={**headers, **key}) for _ in range(5)]
            )
            replies.append(await client.post(INFER, content=body, headers={**headers, **key}))
            assert {reply.content for reply in replies} == {replies[0].content}
            assert replies[0].status_code == 200
            assert len(computed) == 1
            await client.post(INFER, content=body, headers={**headers, "Idempotency-Key": "k2"})
            assert len(computed) == 2
            other = await client.post(INFER, json=json_request(PIXELS, "UINT8"), headers=key)
            assert other.status_code == 400
            assert "was used for another request" in other.json()["error"]
            less_time = binary_request(PIXELS, "UINT8", parameters={"timeout_ms": 4321})
            for again in (binary_request(PIXELS, "UINT8", parameters={"timeout_ms": 9876}), less_time):
                same = await client.post(INFER, content=again[0], headers={**again[1], "Idempotency-Key": "k4"})
                assert same.status_code == 200, "a repetition has less time left, and is the same request"
            assert len(computed) == 3
            site.fleet.silent.add(Generation(1, 1))
            body, headers = binary_request(PIXELS, "UINT8", parameters={"timeout": 50_000})
            key = {"Idempotency-Key": "k3"}
            assert (await client.post(INFER, content=body, headers={**headers, **key})).status_code == 504
            site.fleet.silent.clear()
            retried = binary_request(PIXELS, "UINT8", parameters={"timeout_ms": 30_000})
            reply = await client.post(INFER, content=retried[0], headers={**retried[1], **key})
            assert reply.status_code == 200  # an error is not an answer: the key is free again

    play(work)


def test_kept_answers_are_bounded_in_number_bytes_and_time() -> None:
    async def work() -> None:
        now = 0.0
        answers: Answers[Answer] = Answers(entries=3, size=10_000, seconds=10.0)
        made: list[str] = []

        async def ask(key: str, size: int = 10) -> Answer:
            async def work() -> Answer:
                made.append(key)
                return Answer(200, bytes(size))

            return await answers.once(key, b"same", lambda: now, work)

        for key in "abcd":
            await ask(key)
        assert len(answers) == 3
        await ask("d")
        assert made == list("abcd")
        await ask("a")
        assert made == list("abcda")
        await ask("e", 9_500)
        assert len(answers) == 1
        now = 11.0
        await ask("e", 9_500)
        assert made == list("abcdaee")

    play(work)


@pytest.mark.parametrize(
    ("fault", "code"), [(KeyError("a fault"), "internal"), (TooLargeError("a fault"), "too-large")]
)
def test_a_fault_of_its_own_is_said_so_and_its_traceback_logged(
    fault: Exception,
    code: str,
    broker: MosquittoProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise fault

    async def work() -> None:
        async with gateway(broker.url) as (site, client):
            monkeypatch.setattr(site.service.session, "submit", fail)
            reply = await client.post(INFER, json=json_request(PIXELS, "UINT8"))
            assert (reply.status_code, reply.json()["code"]) == (500, code)
            assert site.service.outcomes == {code: 1}
            monkeypatch.undo()
            assert (await client.post(INFER, json=json_request(PIXELS, "UINT8"))).status_code == 200

    play(work)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    written = logging.Formatter().format(record)
    assert "Traceback" in written
    assert "raise fault" in written

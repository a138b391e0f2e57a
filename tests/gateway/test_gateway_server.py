"""The gateway's HTTP server itself: kept connections, and what becomes of requests when it stops."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from convoy_controller.gateway import server
from convoy_schema.names import Generation
from gateway_fleet import Site, until
from infer_requests import PIXELS, binary_request
from mosquitto_process import MosquittoProcess
from patience import PATIENCE_S

INFER = "/v2/models/digits/infer"


def test_a_real_server_answers_over_kept_connections(broker: MosquittoProcess) -> None:
    async def work() -> None:
        site = Site(broker.url)
        async with site.running(port=0), httpx.AsyncClient(base_url=site.address) as client:
            for _ in range(3):
                body, headers = binary_request(PIXELS, "UINT8")
                reply = await client.post(INFER, content=body, headers=headers)
                assert reply.status_code == 200
            await until(lambda: any(report.address == site.address for report in site.fleet.reports))
            times = []
            for _ in range(40):
                started = time.perf_counter()
                await client.get("/v2")
                times.append(time.perf_counter() - started)
            assert (
                min(times) < 0.035
            )  # with Nagle's algorithm at the server each takes 0.04 s, however idle the machine

    asyncio.run(asyncio.wait_for(work(), 4 * PATIENCE_S))


def test_a_gateway_that_stops_sends_what_it_still_holds_elsewhere(
    broker: MosquittoProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE_S", 0.2)

    async def work() -> None:
        site = Site(broker.url)
        async with httpx.AsyncClient() as client:
            async with site.running(port=0):
                site.fleet.silent.add(Generation(1, 1))
                content, headers = binary_request(PIXELS, "UINT8")
                asks = [{"content": content, "headers": {**headers, **key}} for key in ({}, {"idempotency-key": "a"})]
                waiting = [asyncio.ensure_future(client.post(f"{site.address}{INFER}", **ask)) for ask in asks]
                await until(lambda: site.service.session.pending == len(asks))
            for reply in await asyncio.gather(*waiting):
                assert reply.status_code == 503, reply.text
                assert reply.json()["code"] == "not-serving"
                assert int(reply.headers["retry-after-ms"]) >= 1
        assert site.service.outcomes == {"not-serving": 2}

    asyncio.run(asyncio.wait_for(work(), 4 * PATIENCE_S))

"""The controller's listener: who may read it, and what it says of the controller itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from convoy_controller.blobs import BlobStore
from convoy_controller.catalogue import Catalogue
from convoy_controller.database import certificate_records, tokens
from convoy_controller.database.certificate_records import NewCertificate
from convoy_controller.database.records import TokenRole, utc_now
from convoy_controller.delivery import Delivery
from convoy_controller.errors import DatabaseBusyError, ExposedError
from convoy_controller.intake import Intake
from convoy_controller.journal import Journal
from convoy_controller.listening import Listening
from convoy_controller.metrics import server
from convoy_controller.metrics.controlling import Watched
from convoy_controller.reconciler import Reconciler
from convoy_schema.link import Link
from convoy_schema.topics import Topics
from database_samples import Fleet as Rows
from database_samples import open_fleet
from own_ports import own_port
from patience import PATIENCE_S
from reconciled_fleet import deployed
from scraped import samples, value

NOWHERE = "mqtt://127.0.0.1:1"


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return open_fleet(tmp_path)


def watched(rows: Rows, folder: Path, reign: Callable[[], Reconciler | None]) -> Watched:
    topics, registry = Topics("test"), deployed(boards=2).registry
    return Watched(
        site="test",
        registry=registry,
        journal=Journal(),
        intake=Intake(topics, registry, None, lambda: 0.0),  # type: ignore[arg-type]  # it hears nothing here
        delivery=Delivery(NOWHERE, "controller", topics, Catalogue(rows.database, BlobStore(folder / "blobs"))),
        control=Link(NOWHERE, "controller:control", on_message=lambda topic, payload, retained: None),
        symptoms=set(),
        database=rows.database,
        reign=reign,
        is_in_charge=lambda: reign() is not None,
        published_bytes=lambda: 42,
    )


def played(
    of: Watched,
    work: Callable[[httpx.AsyncClient], object],
    headers: dict[str, str] | None = None,
    certificate: Path | None = None,
) -> None:
    async def run() -> None:
        where = Listening(port=own_port(), certificate=certificate)
        serving = asyncio.create_task(server.serve(of, where))
        address = f"{'http' if certificate is None else 'https'}://127.0.0.1:{where.port}"
        trusted = certificate is None or ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(base_url=address, headers=headers, verify=trusted) as client:
            for _ in range(500):
                try:
                    await client.get("/")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
            try:
                await work(client)  # type: ignore[misc]
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def test_a_controller_tells_of_itself_and_of_the_fleet(rows: Rows, tmp_path: Path) -> None:
    now = utc_now()
    certificate_records.add_service_certificate(
        rows.database, NewCertificate("a1", "gateway", now + timedelta(days=3), "PEM"), now
    )
    newest = now + timedelta(days=30)
    certificate_records.add_service_certificate(rows.database, NewCertificate("a2", "gateway", newest, "PEM"), now)
    fleet = deployed(boards=2)

    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert answer.headers["content-encoding"] == "gzip"
        found = samples(answer.content)
        assert value(found, "convoy_controller_in_charge") == 1
        assert value(found, "convoy_controller_epoch") == 1
        assert value(found, "convoy_broker_connected", connection="control") == 0
        assert value(found, "convoy_published_bytes_total", kind="control") == 42
        assert value(found, "convoy_database_waiting_records") == 0
        assert value(found, "convoy_distributor_waiting_blocks") == 0
        assert value(found, "convoy_deployment_serving", deployment="d") == 1
        ends = value(found, "convoy_certificate_not_after_timestamp_seconds", holder="gateway")
        assert ends == pytest.approx(newest.timestamp(), abs=1)
        plain = await client.get("/metrics", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert value(samples(plain.content), "process_start_time_seconds") is not None
        assert (await client.post("/metrics")).status_code == 405
        assert (await client.get("/")).status_code == 404

    played(watched(rows, tmp_path, lambda: fleet.reconciler), work)


def test_a_certificate_makes_it_https(rows: Rows, tmp_path: Path) -> None:
    make = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", tmp_path / "key", "-out", tmp_path / "pem"], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "pem").read_bytes() + (tmp_path / "key").read_bytes())

    async def work(client: httpx.AsyncClient) -> None:
        found = samples((await client.get("/metrics")).content)
        assert value(found, "convoy_controller_in_charge") == 0
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{client.base_url.port}/metrics")

    played(watched(rows, tmp_path, lambda: None), work, certificate=both)


def test_who_stands_by_exports_itself_alone(rows: Rows, tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient) -> None:
        found = samples((await client.get("/metrics")).content)
        assert value(found, "convoy_controller_in_charge") == 0
        assert value(found, "convoy_broker_connected", connection="control") == 0
        assert not [key for key in found if key[0].startswith(("convoy_board", "convoy_deployment", "convoy_stage"))]

    played(watched(rows, tmp_path, lambda: None), work)


def test_once_there_is_a_token_nobody_reads_without_one(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: httpx.AsyncClient) -> None:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/metrics", headers={"host": "evil.example"})).status_code == 403
        made = tokens.create_token(rows.database, "prometheus", TokenRole.VIEWER, utc_now(), None)
        refused = await client.get("/metrics")
        assert refused.status_code == 401
        assert "convoy token create" in refused.text
        assert refused.headers["www-authenticate"].startswith("Bearer")
        known = {"authorization": f"Bearer {made.token}"}
        assert (await client.get("/metrics", headers=known)).status_code == 200

        def busy(*_: object) -> None:
            raise DatabaseBusyError("locked")

        with monkeypatch.context() as away:
            away.setattr(tokens, "bearer", busy)
            # Its metrics are wanted most while the database is away: who was let in last is let in again.
            assert (await client.get("/metrics", headers=known)).status_code == 200
            assert (await client.get("/metrics", headers={"authorization": "Bearer x"})).status_code == 503
        tokens.revoke_token(rows.database, "prometheus", utc_now())
        assert (await client.get("/metrics", headers=known)).status_code == 401

    played(watched(rows, tmp_path, lambda: None), work)


def test_an_address_that_is_taken_is_tried_again(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "AGAIN_S", 0.05)

    async def run() -> None:
        where = Listening(port=own_port())
        with socket.create_server(("127.0.0.1", where.port)):
            serving = asyncio.create_task(server.serve(watched(rows, tmp_path, lambda: None), where))
            while "tried again" not in caplog.text:
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    assert (await client.get(f"http://127.0.0.1:{where.port}/metrics")).status_code == 200
                    break
                await asyncio.sleep(0.01)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def test_nothing_listens_where_others_reach_it_without_a_token(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(ExposedError, match="convoy token create"):
        asyncio.run(server.serve(watched(rows, tmp_path, lambda: None), Listening("0.0.0.0", own_port())))

"""Metrics of real processes: what the alert rules and the Grafana board ask for is there, and tells what happened."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from convoy_controller.local_fleet import wait_until
from convoy_controller.metrics.alerts import alerts, board_queries, names_in, recorded
from convoy_controller.metrics.families import FAMILIES
from convoy_schema.bundle import Method
from prometheus_tools import promtool
from scraped import Samples, samples, value
from system_fleet import PATIENCE_S, Intruder, SystemFleet

LOST = "board-2"
#: What this fleet has none of, and which test shows it.
ELSEWHERE = {
    "convoy_certificate_not_after_timestamp_seconds",  # no TLS: test_encrypted_fleet
    "convoy_board_temperature_celsius",  # no chip: test_metrics_fleet
}
#: What there is only once it happened, or while it does.
SPARSE = {
    "convoy_stage_refused_frames_total",
    "convoy_gateway_refused_frames_total",
    "convoy_board_uplink_wait_seconds",
    "convoy_board_symptom",
    "convoy_board_left_out",
}


class Scraped:
    """The pages of a fleet that lost a board, and met garbage."""

    def __init__(self, fleet: SystemFleet) -> None:
        self.fleet = fleet
        self.controller, self.gateway = page(fleet.local.metrics), page(f"{fleet.address}/metrics")
        self.fleets: Samples = samples(self.controller)
        self.gateways: Samples = samples(self.gateway)


def page(address: str) -> bytes:
    with urlopen(address, timeout=PATIENCE_S) as answer:
        content: bytes = answer.read()
        return content


def rows_of(found: Samples) -> list[float]:
    """What each board says that it computed."""
    return [number for key, number in found.items() if key[0] == "convoy_stage_rows_total"] or [0]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with SystemFleet(tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.start(3, metrics_port=0)
        fleet.deploy(Method.ALLOCATE, 3)
        fleet.still_serves()
        with Intruder(fleet.local.url) as intruder:
            generation = fleet.serving_generation()
            for topic in ("boards/board-1/pulse", "boards/board-1/want", "gateways/gateway/desired"):
                intruder.publish(f"convoy/1/local/{topic}", b"garbage")
            for receiver in ("board-1", "gateway"):
                intruder.publish(f"convoy/1/local/from/board-3/to/{receiver}/small/{generation}/0", b"garbage")
        fleet.local.processes.kill(LOST)
        fleet.wait_serving(2)
        fleet.still_serves()

        def told() -> bool:
            """Pulses come once a second."""
            found = samples(page(fleet.local.metrics))
            recoveries = value(found, "convoy_deployment_recovery_seconds_count", deployment="small")
            sent = value(found, "convoy_board_published_bytes_total", board="board-1", kind="activations")
            return recoveries == 1 and max(rows_of(found)) >= 40 and bool(sent)

        assert wait_until(told, PATIENCE_S, 0.2)
        yield Scraped(fleet)


def test_every_metric_that_rules_and_board_ask_for_is_exported(scraped: Scraped) -> None:
    seen = {name for found in (scraped.fleets, scraped.gateways) for key in found for name in names_in(key[0])}
    asked = {name for query in (*board_queries(), *recorded().values()) for name in names_in(query)}
    asked |= {name for alert in alerts() for name in names_in(alert.expr)}
    assert asked - seen <= ELSEWHERE | SPARSE
    assert {family.name for family in FAMILIES} - seen <= ELSEWHERE | SPARSE


def test_promtool_finds_no_fault_with_the_pages(scraped: Scraped) -> None:
    for text in (scraped.controller, scraped.gateway):
        promtool("check", "metrics", given=text)


def test_a_loss_shows_in_who_is_there_what_was_planned_and_how_long_it_took(scraped: Scraped) -> None:
    found = scraped.fleets
    assert value(found, "convoy_board_online", board=LOST) == 0
    assert value(found, "convoy_board_losses_total", board=LOST) == 1
    assert value(found, "convoy_board_online", board="board-1") == 1
    assert value(found, "convoy_board_at_target", board="board-1") == 1
    assert value(found, "convoy_deployment_serving", deployment="small") == 1
    assert value(found, "convoy_deployment_generations_total", deployment="small", cause="lost") == 1
    seconds = value(found, "convoy_deployment_recovery_seconds_sum", deployment="small")
    assert seconds is not None
    assert 0 < seconds < 3 * PATIENCE_S
    assert value(found, "convoy_controller_in_charge") == 1
    assert value(found, "convoy_broker_connected", connection="control") == 1
    assert value(found, "convoy_gateway_online", gateway="gateway") == 1


def test_rows_are_counted_alike_by_gateway_and_boards(scraped: Scraped) -> None:
    answered = value(scraped.gateways, "convoy_gateway_answered_rows_total", deployment="small")
    assert answered == 80
    # Of the boards that are left: the last forty at least, and golden rows and what was sent again on top.
    assert 40 <= max(rows_of(scraped.fleets)) <= 80 + 40
    latency = value(scraped.gateways, "convoy_gateway_request_seconds_count", deployment="small")
    assert latency == value(scraped.gateways, "convoy_gateway_requests_total", deployment="small", outcome="answered")


def test_what_was_refused_is_counted_by_who_refused_it(scraped: Scraped) -> None:
    assert value(scraped.fleets, "convoy_controller_refused_messages_total", reason="decode") == 1
    assert value(scraped.fleets, "convoy_distributor_refused_wants_total") == 1
    assert value(scraped.gateways, "convoy_gateway_refused_messages_total", reason="decode") >= 1  # type: ignore[operator]
    assert [key for key in scraped.fleets if key[0] == "convoy_board_refused_messages_total"]


def test_bytes_are_counted_by_kind(scraped: Scraped) -> None:
    assert value(scraped.fleets, "convoy_published_bytes_total", kind="control") > 0  # type: ignore[operator]
    assert value(scraped.fleets, "convoy_published_bytes_total", kind="artifacts") > 0  # type: ignore[operator]
    assert value(scraped.gateways, "convoy_published_bytes_total", kind="activations") > 0  # type: ignore[operator]
    assert value(scraped.fleets, "convoy_board_published_bytes_total", board="board-1", kind="activations") > 0  # type: ignore[operator]

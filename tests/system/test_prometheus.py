"""A real Prometheus over a real fleet: it takes every page, evaluates every rule, and tells that a board was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from convoy_controller.local_fleet import wait_until
from convoy_controller.metrics.alerts import alerts, board_queries, recorded, rules_text
from convoy_schema.bundle import Method
from own_ports import own_port
from patience import PATIENCE_S
from prometheus_tools import filled, tool
from system_fleet import SystemFleet

LOST = "board-3"
#: Seconds until an alert that waits for a minute must fire.
FIRES_S = 60 + 2 * PATIENCE_S


class Prometheus:
    """The server over a fleet's pages, scraping and evaluating each second."""

    def __init__(self, fleet: SystemFleet, folder: Path) -> None:
        folder.mkdir()
        self.address = f"http://127.0.0.1:{own_port()}"
        (folder / "rules.yml").write_text(rules_text())
        targets = {
            "convoy-controller": fleet.local.metrics.removesuffix("/metrics"),
            "convoy-gateway": fleet.address,
        }
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address.removeprefix("http://")]}]}
                for job, address in targets.items()
            ],
            "rule_files": ["rules.yml"],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            tool("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.address.removeprefix('http://')}",
        ]
        log = fleet.directory / "logs" / "prometheus.log"
        fleet.local.processes.start("prometheus", command, log)

    def get(self, path: str, **parameters: str) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        with urlopen(f"{self.address}/api/v1/{path}{query}", timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())["data"]

    def is_there(self) -> bool:
        try:
            return self.get("targets") is not None
        except OSError:
            return False

    def value(self, query: str) -> float | None:
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[tuple[str, str]]:
        """(alert, board or deployment) of everything that fires."""
        found = [alert for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"]
        return {
            (each["labels"]["alertname"], each["labels"].get("board") or each["labels"].get("deployment", ""))
            for each in found
        }


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SystemFleet]:
    tool("prometheus")
    with SystemFleet(tmp_path / "fleet") as running:
        running.start(3, metrics_port=0)
        running.deploy(Method.ALLOCATE, 3)
        yield running


@pytest.mark.long
def test_prometheus_tells_that_a_board_was_killed_and_that_it_is_back(fleet: SystemFleet, tmp_path: Path) -> None:
    prometheus = Prometheus(fleet, tmp_path / "prometheus")
    assert wait_until(prometheus.is_there, PATIENCE_S, 0.1)

    def all_up() -> bool:
        targets = prometheus.get("targets")["activeTargets"]
        assert not [each["lastError"] for each in targets if each["health"] == "down"]
        return len(targets) == 2 and all(each["health"] == "up" for each in targets)

    assert wait_until(all_up, PATIENCE_S, 0.2)
    with fleet.traffic(2) as flow:
        flow.wait_answers(200)

        def evaluated() -> bool:
            rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
            assert len(rules) == len(alerts()) + len(recorded())
            assert not [rule for rule in rules if rule["health"] == "err"]
            return all(rule["health"] == "ok" for rule in rules)

        assert wait_until(evaluated, PATIENCE_S, 0.2)
        assert wait_until(lambda: (prometheus.value("sum(convoy:deployment_rows:rate1m)") or 0) > 0, PATIENCE_S, 0.5)
        shown = 0
        queries = [filled(query) for query in board_queries() if not query.startswith("label_values")]
        for query in queries:
            shown += bool(prometheus.get("query", query=query)["result"])  # an error would have been raised
        assert shown > 0.6 * len(queries)
        assert prometheus.firing() == set()
        assert prometheus.value("convoy:fleet_at_target:ratio") == 1

        fleet.local.processes.kill(LOST)
        fleet.wait_serving(2)
        flow.wait_answers(200)
        assert wait_until(lambda: ("ConvoyBoardOffline", LOST) in prometheus.firing(), FIRES_S, 0.5)
        assert prometheus.firing() == {("ConvoyBoardOffline", LOST)}
        assert prometheus.value('sum(convoy_deployment_recovery_seconds_count{deployment="small"})') == 1
        recovered = prometheus.value('sum(convoy_deployment_recovery_seconds_sum{deployment="small"})')
        assert recovered is not None
        assert 0 < recovered < FIRES_S
        assert prometheus.value('sum(increase(convoy_deployment_generations_total{cause="lost"}[5m]))') > 0  # type: ignore[operator]
        flow.check()
    fleet.local.start_board(LOST)
    assert wait_until(lambda: not prometheus.firing(), 2 * PATIENCE_S, 0.5), prometheus.firing()

"""`convoy metrics`: what Prometheus and Grafana take, as files."""

from __future__ import annotations

import json

import yaml
from convoy_controller.cli import app
from convoy_controller.metrics.alerts import alerts, board_queries, names_in, recorded, recorded_in
from convoy_controller.metrics.families import FAMILIES
from typer.testing import CliRunner

RUNNER = CliRunner()


def test_the_rules_are_printed_as_they_are_and_lead_where_they_should() -> None:
    printed = RUNNER.invoke(app, ["metrics", "rules", "--runbooks", "https://fleet.example/metrics"])
    assert printed.exit_code == 0
    rules = [rule for group in yaml.safe_load(printed.stdout)["groups"] for rule in group["rules"]]
    assert sum("alert" in rule for rule in rules) == len(alerts())
    links = [rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule]
    assert all(link.startswith("https://fleet.example/metrics#convoy") for link in links)
    plain = json.loads(RUNNER.invoke(app, ["metrics", "rules", "--json"]).stdout)
    assert {alert["name"] for alert in plain} == {alert.name for alert in alerts()}


def test_every_metric_is_listed() -> None:
    listed = json.loads(RUNNER.invoke(app, ["metrics", "list", "--json"]).stdout)
    assert [line["name"] for line in listed] == [family.name for family in FAMILIES]
    assert RUNNER.invoke(app, ["metrics", "list"]).exit_code == 0


def test_the_board_asks_for_what_is_exported_and_shows_most_of_it() -> None:
    board = json.loads(RUNNER.invoke(app, ["metrics", "grafana"]).stdout)
    assert board["uid"] == "convoy-fleet"
    assert not {panel["id"] for panel in board["panels"] if panel.get("id")} - set(range(1, 1000))
    exported = {family.name for family in FAMILIES}
    shown: set[str] = set()
    for query in board_queries():
        assert names_in(query) <= exported, query
        assert recorded_in(query) <= set(recorded()), query
        shown |= names_in(query)
    assert len(shown) > 0.5 * len(exported)
    graphs = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    assert len(graphs) >= 25
    assert all(panel["title"] and panel["targets"] for panel in graphs)


def test_the_board_of_history_is_printed_as_it_is() -> None:
    board = json.loads(RUNNER.invoke(app, ["metrics", "grafana", "--history"]).stdout)
    assert board["uid"] == "convoy-history"
    assert {panel["type"] for panel in board["panels"]} == {"stat", "bargauge", "table", "timeseries", "row"}
    assert all(panel["title"] and panel["targets"] for panel in board["panels"] if panel["type"] != "row")

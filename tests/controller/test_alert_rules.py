"""The alert rules, by Prometheus' own promtool: each fires on the series that it is for, and on no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from convoy_controller.metrics.alerts import alerts, board_queries, names_in, recorded, recorded_in, rules_text
from convoy_controller.metrics.families import FAMILIES
from prometheus_tools import filled, promtool

#: A fleet that is well, for two hours at a sample a minute.
WELL = {
    "convoy_controller_in_charge": "1x120",
    "convoy_boards_at_target": "10x120",
    "convoy_boards_with_target": "10x120",
    'convoy_board_online{board="b"}': "1x120",
    'convoy_board_losses_total{board="b"}': "2x120",
    'convoy_board_at_target{board="b"}': "1x120",
    'convoy_board_assignments{board="b",phase="ready"}': "1x120",
    'convoy_board_blocked{board="b"}': "0x120",
    'convoy_board_degraded_partitions{board="b"}': "0x120",
    'convoy_board_store_bytes{board="b"}': "50x120",
    'convoy_board_store_quota_bytes{board="b"}': "100x120",
    'convoy_board_temperature_celsius{board="b"}': "55x120",
    'convoy_stage_frames_total{board="b",deployment="d"}': "0+1000x120",
    'convoy_stage_refused_frames_total{board="b",deployment="d",reason="late"}': "0+10x120",
    'convoy_deployment_serving{deployment="d"}': "1x120",
    'convoy_deployment_state{deployment="d",state="removing"}': "0x120",
    'convoy_deployment_recovering_seconds{deployment="d"}': "0x120",
    'convoy_deployment_generations_total{deployment="d",cause="lost"}': "3x120",
    'convoy_deployment_abandoned_generations_total{deployment="d"}': "3x120",
    'convoy_gateway_online{gateway="g"}': "1x120",
    'convoy_gateway_requests_total{deployment="d",outcome="answered"}': "0+1000x120",
    'convoy_gateway_requests_total{deployment="d",outcome="failed"}': "0+1x120",
    'convoy_gateway_http_requests_total{outcome="overload",instance="i"}': "9x120",
    'convoy_gateway_retried_frames_total{deployment="d"}': "0+10x120",
    'convoy_broker_connected{connection="control",instance="i"}': "1x120",
    'convoy_broker_dropped_messages_total{connection="control",instance="i"}': "0+1x120",
    'convoy_controller_refused_messages_total{reason="decode"}': "100x120",
    "convoy_database_write_failures_total": "7x120",
    "convoy_database_waiting_decisions": "0x120",
    "convoy_database_dropped_records_total": "7x120",
    "convoy_database_refused_records_total": "7x120",
    'convoy_certificate_not_after_timestamp_seconds{holder="b"}': "1814400x120",
}


class Case(NamedTuple):
    """What is wrong, from minute 20 of the hour on, and the labels under which it is told. '' takes a series away."""

    alert: str
    wrong: dict[str, str]
    labels: dict[str, str]


def later(before: str, after: str) -> str:
    return f"{before}x19 {after}x100"


def symptom(alert: str, name: str) -> Case:
    series = f'convoy_board_symptom{{board="b",symptom="{name}"}}'
    return Case(alert, {series: later("_", "1")}, {"board": "b", "symptom": name})


BOARD, DEPLOYMENT = {"board": "b"}, {"deployment": "d"}
CASES = (
    Case("ConvoyNoController", {"convoy_controller_in_charge": later("1", "0")}, {}),
    Case("ConvoyNoController", {"convoy_controller_in_charge": ""}, {}),
    Case("ConvoyFleetNotAtTarget", {"convoy_boards_at_target": later("10", "8")}, {}),
    Case("ConvoyBoardOffline", {'convoy_board_online{board="b"}': later("1", "0")}, BOARD),
    symptom("ConvoyBoardFlapping", "flapping"),
    symptom("ConvoyBoardUnreadable", "unreadable"),
    symptom("ConvoyBoardStuck", "stalled"),
    symptom("ConvoyBoardSlowLink", "slow-link"),
    symptom("ConvoyBoardOverloaded", "overloaded"),
    Case("ConvoyBoardNotAtTarget", {'convoy_board_at_target{board="b"}': later("1", "0")}, BOARD),
    Case(
        "ConvoyBoardFailed",
        {'convoy_board_left_out{board="b",deployment="d"}': "_x50 1x3 _x60"},
        {**BOARD, **DEPLOYMENT},
    ),
    Case("ConvoyBoardBlocked", {'convoy_board_blocked{board="b"}': later("0", "1")}, BOARD),
    Case("ConvoyPartitionDegraded", {'convoy_board_degraded_partitions{board="b"}': later("0", "1")}, BOARD),
    Case("ConvoyStoreFull", {'convoy_board_store_bytes{board="b"}': later("50", "99")}, BOARD),
    Case("ConvoyBoardHot", {'convoy_board_temperature_celsius{board="b"}': later("55", "90")}, BOARD),
    Case(
        "ConvoyFramesRefused",
        {'convoy_stage_refused_frames_total{board="b",deployment="d",reason="late"}': "0+100x120"},
        DEPLOYMENT,
    ),
    Case("ConvoyDeploymentNotServing", {'convoy_deployment_serving{deployment="d"}': later("1", "0")}, DEPLOYMENT),
    Case("ConvoyRecoverySlow", {'convoy_deployment_recovering_seconds{deployment="d"}': "0x19 0+60x100"}, DEPLOYMENT),
    Case(
        "ConvoyReplansOften",
        {'convoy_deployment_generations_total{deployment="d",cause="lost"}': "3x30 3+1x90"},
        DEPLOYMENT,
    ),
    Case(
        "ConvoyGenerationsGivenUp",
        {'convoy_deployment_abandoned_generations_total{deployment="d"}': "3x40 3+1x80"},
        DEPLOYMENT,
    ),
    Case("ConvoyGatewayOffline", {'convoy_gateway_online{gateway="g"}': later("1", "0")}, {"gateway": "g"}),
    Case(
        "ConvoyRequestsFail",
        {'convoy_gateway_requests_total{deployment="d",outcome="failed"}': "0+20x120"},
        DEPLOYMENT,
    ),
    Case(
        "ConvoyGatewayOverloaded",
        {'convoy_gateway_http_requests_total{outcome="overload",instance="i"}': "0+60x120"},
        {"instance": "i"},
    ),
    Case("ConvoyFramesSentAgain", {'convoy_gateway_retried_frames_total{deployment="d"}': "0+100x120"}, DEPLOYMENT),
    Case(
        "ConvoyBrokerLost",
        {'convoy_broker_connected{connection="control",instance="i"}': later("1", "0")},
        {"connection": "control", "instance": "i"},
    ),
    Case(
        "ConvoyMessagesDropped",
        {'convoy_broker_dropped_messages_total{connection="control",instance="i"}': "0+600x120"},
        {"connection": "control", "instance": "i"},
    ),
    Case(
        "ConvoyMessagesRefused",
        {'convoy_controller_refused_messages_total{reason="decode"}': "100x50 100+1x70"},
        {"reason": "decode"},
    ),
    Case("ConvoyDatabaseFails", {"convoy_database_write_failures_total": "7x50 7+1x70"}, {}),
    Case("ConvoyDatabaseFails", {"convoy_database_waiting_decisions": later("0", "3")}, {}),
    Case("ConvoyHistoryLost", {"convoy_database_dropped_records_total": "7x55 8x65"}, {}),
    Case("ConvoyHistoryLost", {"convoy_database_refused_records_total": "7x55 8x65"}, {}),
    Case(
        "ConvoyCertificateEnds",
        {'convoy_certificate_not_after_timestamp_seconds{holder="b"}': "86400x120"},
        {"holder": "b"},
    ),
)
#: Minutes at which is looked: an hour of certificates that end is over, and what came late has not passed.
LOOK = {"ConvoyCertificateEnds": 90}


def series(wrong: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in {**WELL, **wrong}.items() if values]


def run(folder: Path, tests: list[dict[str, Any]]) -> None:
    (folder / "rules.yml").write_text(rules_text())
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", folder / "tests.yml")


def firing(expected: list[dict[str, str]], at: int, alert: str = ".*") -> dict[str, Any]:
    samples = [{"labels": _labels(labels), "value": 1} for labels in expected]
    return {
        "expr": f'ALERTS{{alertstate="firing",alertname=~"{alert}"}}',
        "eval_time": f"{at}m",
        "exp_samples": samples,
    }


def _labels(labels: dict[str, str]) -> str:
    return "ALERTS{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def test_the_rules_are_well_formed(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rules_text())
    assert f"{len(alerts()) + len(recorded())} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


def test_a_fleet_that_is_well_raises_no_alert(tmp_path: Path) -> None:
    looks = [firing([], at) for at in (10, 60, 110)]
    run(tmp_path, [{"interval": "1m", "input_series": series({}), "promql_expr_test": looks}])


def test_each_alert_fires_on_what_it_is_for(tmp_path: Path) -> None:
    severities = {alert.name: alert.severity for alert in alerts()}
    assert {case.alert for case in CASES} == set(severities), "every alert has a case"
    tests = []
    for case in CASES:
        labels = {"alertname": case.alert, "alertstate": "firing", "severity": severities[case.alert], **case.labels}
        looks = [firing([labels], LOOK.get(case.alert, 59), case.alert)]
        tests.append({"interval": "1m", "input_series": series(case.wrong), "promql_expr_test": looks})
    run(tmp_path, tests)


def test_a_board_that_is_away_is_told_once_and_in_words(tmp_path: Path) -> None:
    (offline,) = (alert for alert in alerts() if alert.name == "ConvoyBoardOffline")
    away = {'convoy_board_online{board="b"}': later("1", "0"), 'convoy_board_at_target{board="b"}': later("1", "0")}
    expected = {
        "exp_labels": {"severity": "warning", "board": "b"},
        "exp_annotations": {
            "summary": "b is offline.",
            "description": "b has been offline for more than a minute: it fell silent, its connection ended, or it "
            "said goodbye. What it served was planned anew over the boards that are left, if they suffice.",
            "action": offline.action,
            "runbook_url": "docs/metrics.md#convoyboardoffline",
        },
    }
    run(
        tmp_path,
        [
            {
                "interval": "1m",
                "input_series": series(away),
                "promql_expr_test": [firing([], 20)],  # not yet
                "alert_rule_test": [
                    {"eval_time": "30m", "alertname": "ConvoyBoardOffline", "exp_alerts": [expected]},
                    {"eval_time": "30m", "alertname": "ConvoyBoardNotAtTarget", "exp_alerts": []},
                ],
            }
        ],
    )


def test_the_board_asks_in_prometheus_language(tmp_path: Path) -> None:
    queries = [query for query in board_queries() if not query.startswith("label_values")]
    rules = [{"record": f"board:query_{number}", "expr": filled(query)} for number, query in enumerate(queries)]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", tmp_path / "board.yml")


def test_what_the_rules_ask_for_is_exported() -> None:
    exported = {family.name for family in FAMILIES}
    for query in (*(alert.expr for alert in alerts()), *recorded().values()):
        assert names_in(query) <= exported, query
        assert names_in(query) or recorded_in(query)
        assert recorded_in(query) <= set(recorded()), query


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_says_what_is_wrong_what_to_do_and_where_to_read_on(alert: Any) -> None:
    assert re.fullmatch(r"Convoy([A-Z][a-z]+)+", alert.name)
    assert alert.severity in ("warning", "critical")
    for sentence in (alert.summary, alert.description, alert.action):
        assert sentence.endswith(".")
    assert alert.runbook == f"docs/metrics.md#{alert.name.lower()}"
    assert f"\n### {alert.name}\n" in (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_runbook_links_lead_where_the_documents_are_served() -> None:
    text = rules_text("https://fleet.example/metrics/")
    assert text.count("runbook_url: https://fleet.example/metrics/#convoy") == len(alerts())
    assert "docs/metrics.md#" not in text

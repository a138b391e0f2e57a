"""The Grafana board that ships with Convoy: `python .ci/grafana_board.py` writes it, `--check` compares.

Grafana's own SDK (grafana-foundation-sdk, generated from Grafana's schema) builds it, so that its form is Grafana's.
The tests ask a running fleet for every metric that its queries name. `make check` runs the comparison.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

DOCUMENT = Path(__file__).resolve().parent.parent / "controller" / "convoy_controller" / "metrics" / "grafana.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
D, B = 'deployment=~"$deployment"', 'board=~"$board"'


class Shown(NamedTuple):
    """One panel: its queries as (expression, legend), and limits beyond which it turns yellow and red."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    about: str
    limits: tuple[float, float] | None = None


NUMBERS = (
    Shown("Boards online", "short", [('sum(convoy_boards{presence="online"})', "")], "Boards that are there."),
    Shown(
        "Boards away",
        "short",
        [('sum(convoy_boards{presence!="online"})', "")],
        "Offline, or not known to be there. `convoy why BOARD` says why.",
        (1, 5),
    ),
    Shown(
        "Away from their target",
        "short",
        [("sum(convoy_boards_with_target) - sum(convoy_boards_at_target)", "")],
        "Boards that do not hold, ready, what they are told.",
        (1, 5),
    ),
    Shown("Deployments not serving", "short", [("sum(convoy_deployment_serving == bool 0)", "")], "", (1, 1)),
    Shown("Rows answered", "reqps", [("sum(rate(convoy_gateway_answered_rows_total[1m]))", "")], "Images a second."),
    Shown("Epoch in charge", "none", [("max(convoy_controller_epoch)", "")], "It grows with each takeover."),
)

ROWS: dict[str, tuple[Shown, ...]] = {
    "Requests": (
        Shown(
            "Rows answered",
            "rowsps",
            [
                (
                    f"sum by (deployment) (rate(convoy_gateway_answered_rows_total{{{D}}}[$__rate_interval]))",
                    "{{deployment}}",
                ),
                (
                    f"1 / (max by (deployment) (convoy_deployment_planned_period_seconds{{{D}}}) > 0)",
                    "{{deployment}}: plan's bound",
                ),
            ],
            "Images a second, beside what the plan says is the most that its boards can do.",
        ),
        Shown(
            "Latency",
            "s",
            [
                (
                    f"histogram_quantile({q}, sum by (deployment, le) "
                    f"(rate(convoy_gateway_request_seconds_bucket{{{D}}}[$__rate_interval])))",
                    f"{{{{deployment}}}} p{q * 100:g}",
                )
                for q in (0.5, 0.99)
            ],
            "From accepting a request to its answer.",
        ),
        Shown(
            "Requests by outcome",
            "reqps",
            [("sum by (outcome) (rate(convoy_gateway_http_requests_total[$__rate_interval]))", "{{outcome}}")],
            "`overload` was turned away with 429; `deadline` had no answer in time.",
        ),
        Shown(
            "In flight and waiting",
            "short",
            [
                (f"sum by (deployment) (convoy_gateway_in_flight_frames{{{D}}})", "{{deployment}}: frames in flight"),
                (f"sum by (deployment) (convoy_gateway_window_frames{{{D}}})", "{{deployment}}: window"),
                (f"sum by (deployment) (convoy_gateway_waiting_rows{{{D}}})", "{{deployment}}: rows waiting"),
                ("sum(convoy_gateway_pending_requests)", "requests pending"),
            ],
            "Frames in flight never exceed the window; rows wait for a place in it.",
        ),
        Shown(
            "Frames sent again, late or refused",
            "cps",
            [
                (
                    f"sum by (deployment) (rate(convoy_gateway_retried_frames_total{{{D}}}[$__rate_interval]))",
                    "{{deployment}}: again",
                ),
                (
                    f"sum by (deployment) (rate(convoy_gateway_late_frames_total{{{D}}}[$__rate_interval]))",
                    "{{deployment}}: late",
                ),
                (
                    f"sum by (deployment, reason) (rate(convoy_gateway_refused_frames_total{{{D}}}[$__rate_interval]))",
                    "{{deployment}}: {{reason}}",
                ),
            ],
            "A few after a re-plan are normal; a steady rate is a slow or lossy line.",
        ),
        Shown(
            "Between two holders",
            "s",
            [(f"max by (deployment) (convoy_gateway_hop_seconds{{{D}}})", "{{deployment}}")],
            "Median time of a frame on its way between two stages, or a stage and the gateway.",
        ),
    ),
    "Placement": (
        Shown(
            "Generations made, by cause",
            "short",
            [(f"sum by (cause) (increase(convoy_deployment_generations_total{{{D}}}[$__rate_interval]))", "{{cause}}")],
            "`lost` and `better` are re-plans because boards went and came.",
        ),
        Shown(
            "Recovery",
            "s",
            [
                (
                    f"histogram_quantile(0.9, sum by (deployment, le) "
                    f"(increase(convoy_deployment_recovery_seconds_bucket{{{D}}}[1h])))",
                    "{{deployment}} p90 of the last hour",
                ),
                (f"max by (deployment) (convoy_deployment_recovering_seconds{{{D}}})", "{{deployment}} under way"),
            ],
            "From the last words of a lost board until the deployment serves, whole, again.",
        ),
        Shown(
            "Assignments by phase",
            "short",
            [(f"sum by (phase) (convoy_deployment_assignments{{{D}}}) > 0", "{{phase}}")],
            "How far boards are with what they are told.",
        ),
        Shown(
            "Given up, and no plan",
            "short",
            [
                (
                    "sum by (deployment) "
                    f"(increase(convoy_deployment_abandoned_generations_total{{{D}}}[$__rate_interval]))",
                    "{{deployment}}: given up",
                ),
                (
                    f"sum by (deployment) (increase(convoy_deployment_plan_failures_total{{{D}}}[$__rate_interval]))",
                    "{{deployment}}: no plan",
                ),
            ],
            "`convoy events` has each with its reason.",
        ),
    ),
    "Stages": (
        Shown(
            "Busy",
            "percentunit",
            [
                (
                    f"topk(20, rate(convoy_stage_busy_seconds_total{{{B},{D}}}[$__rate_interval]))",
                    "{{board}} {{deployment}}",
                )
            ],
            "The share of time that a board computes: the one nearest 100 % is the bottleneck.",
        ),
        Shown(
            "Time on the board",
            "s",
            [(f"topk(20, convoy_stage_residence_seconds{{{B},{D}}})", "{{board}} {{deployment}}")],
            "Median of a frame, its time in the queue included.",
        ),
        Shown(
            "Frames",
            "cps",
            [(f"topk(20, rate(convoy_stage_frames_total{{{B},{D}}}[$__rate_interval]))", "{{board}} {{deployment}}")],
            "Frames computed a second.",
        ),
        Shown(
            "Queued",
            "short",
            [(f"topk(20, convoy_stage_queued_frames{{{B},{D}}})", "{{board}} {{deployment}}")],
            "Frames that wait on a board.",
        ),
        Shown(
            "Frames refused",
            "cps",
            [
                (
                    "sum by (deployment, reason) "
                    f"(rate(convoy_stage_refused_frames_total{{{B},{D}}}[$__rate_interval]))",
                    "{{deployment}}: {{reason}}",
                )
            ],
            "By boards, by reason.",
        ),
        Shown(
            "Frames dropped by boards' lines",
            "cps",
            [(f"topk(20, rate(convoy_board_dropped_frames_total{{{B}}}[$__rate_interval]))", "{{board}}")],
            "A line that does not take what its board sends.",
        ),
    ),
    "Boards": (
        Shown(
            "Lines of boards",
            "s",
            [
                (f"topk(10, convoy_board_uplink_wait_seconds{{{B}}})", "{{board}}: wait for the way out"),
                (f"topk(10, convoy_board_broker_round_trip_seconds{{{B}}})", "{{board}}: round trip to the broker"),
            ],
            "A slow line shows here first.",
        ),
        Shown("Presence", "short", [("sum by (presence) (convoy_boards)", "{{presence}}")], ""),
        Shown(
            "Lost",
            "short",
            [(f"topk(20, increase(convoy_board_losses_total{{{B}}}[1h]) > 0)", "{{board}}")],
            "Times within the hour: more than a few is a board that flaps.",
        ),
        Shown(
            "Temperature",
            "celsius",
            [(f"topk(20, convoy_board_temperature_celsius{{{B}}})", "{{board}}")],
            "Of the chip, where it has a sensor.",
            (75, 85),
        ),
        Shown(
            "Store",
            "percentunit",
            [(f"topk(20, convoy_board_store_bytes{{{B}}} / (convoy_board_store_quota_bytes{{{B}}} > 0))", "{{board}}")],
            "How full the stores of artifacts are.",
            (0.8, 0.95),
        ),
        Shown(
            "Bytes published by boards",
            "Bps",
            [(f"sum by (kind) (rate(convoy_board_published_bytes_total{{{B}}}[$__rate_interval]))", "{{kind}}")],
            "Payload by kind.",
        ),
        Shown(
            "Found by watching, and left out",
            "short",
            [
                (f"sum by (symptom) (convoy_board_symptom{{{B}}})", "{{symptom}}"),
                (f"sum by (deployment) (convoy_board_left_out{{{B},{D}}})", "left out of {{deployment}}"),
            ],
            "Boards that flap, are stuck, have a slow link, are overloaded, or failed. `convoy why BOARD` says more.",
        ),
        Shown(
            "Blocked or degraded",
            "short",
            [
                (f"sum(convoy_board_blocked{{{B}}})", "blocked"),
                (f"sum(convoy_board_degraded_partitions{{{B}}})", "degraded partitions"),
                (f'sum(convoy_board_assignments{{{B},phase="failed"}}) or vector(0)', "failed assignments"),
            ],
            "",
        ),
    ),
    "Controller and gateways": (
        Shown(
            "Bytes published",
            "Bps",
            [
                (
                    "sum by (instance, kind) (rate(convoy_published_bytes_total[$__rate_interval]))",
                    "{{instance}} {{kind}}",
                )
            ],
            "Payload of the controller and the gateways by kind.",
        ),
        Shown(
            "Broker",
            "short",
            [
                ("convoy_broker_connected", "{{instance}} {{connection}} connected"),
                ("convoy_broker_unsent_messages", "{{instance}} {{connection}} unsent"),
                (
                    "rate(convoy_broker_dropped_messages_total[$__rate_interval])",
                    "{{instance}} {{connection}} dropped a second",
                ),
                (
                    "increase(convoy_broker_connection_attempts_total[$__rate_interval])",
                    "{{instance}} {{connection}} attempts",
                ),
            ],
            "As each process sees it.",
        ),
        Shown(
            "Database writes",
            "s",
            [
                (
                    f"histogram_quantile({q}, "
                    "sum by (le) (rate(convoy_database_write_seconds_bucket[$__rate_interval])))",
                    f"p{q * 100:g}",
                )
                for q in (0.5, 0.99)
            ],
            "From handing a transaction over until it is committed.",
        ),
        Shown(
            "Database queue and failures",
            "short",
            [
                ("sum(convoy_database_waiting_records)", "records waiting"),
                ("sum(convoy_database_waiting_decisions)", "decisions waiting"),
                ("sum(increase(convoy_database_write_failures_total[$__rate_interval]))", "failures"),
                ("sum(increase(convoy_database_dropped_records_total[$__rate_interval]))", "dropped"),
            ],
            "Nothing is published before it is written.",
        ),
        Shown(
            "Artifacts",
            "short",
            [
                ("sum(rate(convoy_distributor_blocks_sent_total[$__rate_interval]))", "blocks sent a second"),
                ("sum(rate(convoy_distributor_blocks_wanted_total[$__rate_interval]))", "blocks wanted a second"),
                ("sum(convoy_distributor_waiting_blocks)", "blocks waiting"),
            ],
            "Each block is sent once to all who want it.",
        ),
        Shown(
            "Messages refused",
            "cps",
            [("sum by (reason) (rate(convoy_controller_refused_messages_total[$__rate_interval]))", "{{reason}}")],
            "By the controller.",
        ),
        Shown(
            "Days until certificates end",
            "d",
            [("bottomk(10, convoy_certificate_not_after_timestamp_seconds - time()) / 86400", "{{holder}}")],
            "The ten that end first.",
        ),
        Shown(
            "Memory and CPU",
            "short",
            [
                ("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}} cores"),
                ("process_resident_memory_bytes / 1e9", "{{instance}} GB"),
            ],
            "Of the processes that are scraped.",
        ),
    ),
}


def board() -> Any:
    """The whole board, as the SDK's model."""
    made = (
        dashboard.Dashboard("Convoy: the fleet")
        .uid("convoy-fleet")
        .description(
            "Boards, deployments, gateways and the controller. Made by .ci/grafana_board.py; alert rules beside it."
        )
        .tags(["convoy"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, metric in (("deployment", "convoy_deployment_serving"), ("board", "convoy_board_losses_total")):
        made = made.with_variable(
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .datasource(SOURCE)
            .query(f"label_values({metric}, {name})")
            .refresh(2)  # when the time range changes
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    for shown in NUMBERS:
        made = made.with_panel(_finished(number().span(4), shown))
    for title, panels in ROWS.items():
        made = made.with_row(dashboard.Row(title))
        for shown in panels:
            made = made.with_panel(_graph(shown))
    return made.build()


def number() -> Any:
    """A panel that shows one number."""
    newest = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().graph_mode(BigValueGraphMode.NONE).reduce_options(newest).height(4)


def graph() -> Any:
    """A panel that shows something over time."""
    return (
        timeseries.Panel()
        .height(8)
        .span(12)
        .min(0)
        .line_width(1)
        .fill_opacity(5)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )


def _graph(shown: Shown) -> Any:
    panel = graph()
    if shown.limits is not None:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    return _finished(panel, shown)


def _finished(panel: Any, shown: Shown) -> Any:
    panel = panel.title(shown.title).description(shown.about).unit(shown.unit).datasource(SOURCE)
    if shown.limits is not None:
        steps = [Threshold(None, "green"), Threshold(shown.limits[0], "yellow"), Threshold(shown.limits[1], "red")]
        panel = panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    elif isinstance(panel, stat.Panel):
        panel = panel.color_mode(BigValueColorMode.NONE)
    for letter, (expression, legend) in zip("ABCDEFGH"[: len(shown.queries)], shown.queries, strict=True):
        panel = panel.with_target(
            prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter).datasource(SOURCE)
        )
    return panel


def keep(made: Any, document: Path) -> None:
    """Write a board as Grafana imports it, or with --check say whether it is up to date."""
    text = JSONEncoder(sort_keys=True, indent=1).encode(made) + "\n"
    found = document.read_text(encoding="utf-8") if document.is_file() else ""
    if "--check" not in sys.argv:
        document.write_text(text, encoding="utf-8")
    elif found != text:
        sys.exit(f"Grafana board: {document.name} is not what the code says: make reference")
    print(f"Grafana board {document.name}: what the code says.")


if __name__ == "__main__":
    keep(board(), DOCUMENT)

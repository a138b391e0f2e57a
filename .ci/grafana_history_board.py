"""The Grafana board over the SQL views: `python .ci/grafana_history_board.py` writes it, `--check` compares.

Made as the other one is (`grafana_board`), by Grafana's own SDK, which has a model of every panel and none of an SQL
query: that is written here. The tests run every query on a PostgreSQL, as a user who may read the views and nothing
else. `make check` runs the comparison.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from grafana_board import graph, keep, number
from grafana_foundation_sdk.builders import bargauge, common, dashboard, table
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models.dashboard import DataSourceRef

DOCUMENT = Path(__file__).resolve().parent.parent / "controller" / "convoy_controller" / "metrics" / "history.json"
SOURCE = DataSourceRef(type_val="grafana-postgresql-datasource", uid="${datasource}")
#: The times that are shown, and the deployments that are chosen.
TIME, CHOSEN = "$__timeFilter(at)", "deployment IN (${deployment:sqlstring})"


class Query(variants.Dataquery):
    """What Grafana's PostgreSQL data source is asked; `table`, or `time_series` with `time` as its first column."""

    def __init__(self, sql: str, shape: str) -> None:
        self.sql, self.shape = sql, shape

    def build(self) -> Query:
        """Of nothing further."""
        return self

    def to_json(self) -> dict[str, object]:
        """As its query editor saves it."""
        return {
            "refId": "A",
            "datasource": SOURCE,
            "editorMode": "code",
            "format": self.shape,
            "rawQuery": True,
            "rawSql": self.sql,
        }


class Shown(NamedTuple):
    """One panel: what it asks, and what it is about."""

    title: str
    unit: str
    sql: str
    about: str


def _deployment(columns: str, span: str = "minutes") -> str:
    return (
        f"SELECT at AS time, deployment AS metric, {columns} FROM convoy_deployment_{span}"
        f" WHERE {TIME} AND {CHOSEN} ORDER BY at"
    )


def _stage(column: str) -> str:
    named = "deployment || ' ' || generation || ' stage ' || COALESCE(CAST(stage AS text), '?')"
    return (
        f"SELECT at AS time, {named} AS metric, {column} FROM convoy_stage_minutes"
        f" WHERE {TIME} AND {CHOSEN} ORDER BY at"
    )


NUMBERS = (
    Shown(
        "Boards",
        "short",
        "SELECT sum(boards) AS boards FROM convoy_fleet_states WHERE scope = 'fleet'",
        "All that are known.",
    ),
    Shown("Not as they should be", "short", "SELECT count(*) AS boards FROM convoy_problems", "See the list below."),
    Shown(
        "Boards online",
        "percentunit",
        f"SELECT sum(online) / NULLIF(sum(online + offline), 0) AS share FROM convoy_fleet_hours WHERE {TIME}",
        "The share of the time shown, over all boards; what nobody could know counts for neither.",
    ),
    Shown(
        "Requests answered",
        "short",
        f"SELECT sum(answered_per_s) * 3600 AS requests FROM convoy_deployment_hours WHERE {TIME} AND {CHOSEN}",
        "In the time shown.",
    ),
)

BARS = (
    Shown(
        "Boards by condition",
        "short",
        "SELECT condition, boards FROM convoy_fleet_states WHERE scope = 'fleet' ORDER BY boards DESC",
        "docs/conditions.md says what each one means.",
    ),
    Shown(
        "Model versions on the boards",
        "short",
        "SELECT model || ' ' || version || ' ' || phase AS what, sum(boards) AS boards FROM convoy_model_spread"
        " GROUP BY 1 ORDER BY boards DESC LIMIT 30",
        "How far each is, in generations that have not ended.",
    ),
)

GRAPHS: dict[str, tuple[Shown, ...]] = {
    "Deployments, by the minute (three days are kept)": (
        Shown("Requests answered", "reqps", _deployment("answered_per_s"), "Of those that were accepted."),
        Shown("Latency", "µs", _deployment("latency_p50_us AS p50, latency_p99_us AS p99"), "At the gateways."),
        Shown(
            "Failed and refused requests, frames sent again or late",
            "short",
            _deployment("failed, refused, retried, late"),
            "In each minute.",
        ),
        Shown("Between two holders", "µs", _deployment("hop_us"), "What a frame spends between two stages."),
        Shown("Busy", "percentunit", _stage("busy"), "The stage nearest 100 % is the bottleneck."),
        Shown("Time on the board", "µs", _stage("residence_us"), "Mean over frames, with the time in the queue."),
    ),
    "Months (hours are kept for 400 days)": (
        Shown(
            "Boards there",
            "short",
            f"SELECT at AS time, online, offline, unknown FROM convoy_fleet_hours WHERE {TIME} ORDER BY at",
            "On average over each hour.",
        ),
        Shown("Requests answered", "reqps", _deployment("answered_per_s", "hours"), "By the hour."),
        Shown("Latency", "µs", _deployment("latency_p50_us AS p50, latency_p99_us AS p99", "hours"), "By the hour."),
        Shown(
            "Events",
            "short",
            "SELECT date_trunc('hour', at) AS time, severity AS metric, count(*) AS events FROM convoy_events"
            f" WHERE {TIME} GROUP BY 1, 2 ORDER BY 1",
            "In each hour.",
        ),
    ),
}

TABLES = (
    Shown(
        "Boards that are not what they should be",
        "",
        "SELECT board, condition, sentence, action, deployment, since FROM convoy_problems"
        " ORDER BY rank, board LIMIT 100",
        "The worst first, with why and what to do.",
    ),
    Shown(
        "Boards that were away the longest",
        "",
        "SELECT board, count(*) AS times, sum(extract(epoch FROM LEAST(COALESCE(ended_at, now()),"
        " CAST($__timeTo() AS timestamptz)) - GREATEST(began_at, CAST($__timeFrom() AS timestamptz)))) / 3600 AS hours,"
        " max(reason) AS reason FROM convoy_absences WHERE is_certain AND began_at <= $__timeTo()"
        " AND (ended_at IS NULL OR ended_at >= $__timeFrom()) GROUP BY board ORDER BY hours DESC LIMIT 50",
        "In the time shown, those with which the controller had lost the broker apart.",
    ),
    Shown(
        "Model versions",
        "",
        "SELECT model, version, phase, boards, away, done_bytes, total_bytes FROM convoy_model_spread"
        " ORDER BY model, version, phase LIMIT 200",
        "`away` of the boards are not there: theirs is what they said last.",
    ),
    Shown(
        "Events",
        "",
        "SELECT at, severity, kind, board, deployment, sentence FROM convoy_events"
        f" WHERE {TIME} ORDER BY at DESC LIMIT 500",
        "The newest of the time shown.",
    ),
)


def board() -> Any:
    """The whole board, as the SDK's model."""
    deployments = f"SELECT DISTINCT deployment FROM convoy_deployment_hours WHERE {TIME} ORDER BY 1"
    made = (
        dashboard.Dashboard("Convoy: history")
        .uid("convoy-history")
        .description(
            "What the database knows, by its SQL views (docs/queries.md). Made by .ci/grafana_history_board.py."
        )
        .tags(["convoy"])
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("PostgreSQL").type(SOURCE.type_val))
        .with_variable(
            dashboard.QueryVariable("deployment")
            .label("Deployment")
            .datasource(SOURCE)
            .query(deployments)
            .refresh(2)  # when the time range changes
            .multi(True)
            .include_all(True)
        )
    )
    for shown in NUMBERS:
        made = made.with_panel(_finished(number().span(6), shown, "table"))
    for shown in BARS:
        values = common.ReduceDataOptions().values(True).calcs(["lastNotNull"])
        made = made.with_panel(_finished(bargauge.Panel().reduce_options(values).height(8).span(12), shown, "table"))
    made = made.with_panel(_finished(table.Panel().height(8).span(24), TABLES[0], "table"))
    for title, panels in GRAPHS.items():
        made = made.with_row(dashboard.Row(title))
        for shown in panels:
            made = made.with_panel(_finished(graph(), shown, "time_series"))
    made = made.with_row(dashboard.Row("Lists"))
    for shown in TABLES[1:]:
        made = made.with_panel(_finished(table.Panel().height(9).span(24), shown, "table"))
    return made.build()


def _finished(panel: Any, shown: Shown, shape: str) -> Any:
    panel = panel.title(shown.title).description(shown.about).datasource(SOURCE).with_target(Query(shown.sql, shape))
    return panel.unit(shown.unit) if shown.unit else panel


if __name__ == "__main__":
    keep(board(), DOCUMENT)

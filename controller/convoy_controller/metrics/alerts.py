"""The alert rules as they are shipped, and what each of them says; Prometheus evaluates them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: Where the rules' runbook links lead, unless another place is given.
RUNBOOKS = "docs/metrics.md"
_FOLDER = Path(__file__).parent
_NAME = re.compile(r"\bconvoy_[a-z0-9_]+\b")
_RECORDED = re.compile(r"\bconvoy:[a-z0-9_:]+\b")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True)
class Alert:
    """One alert: `expr` must hold for `wait` (Prometheus' notation; '' for at once)."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str
    action: str
    runbook: str


def rules_text(runbooks: str = RUNBOOKS) -> str:
    """The rules as a file for Prometheus, with runbook links that lead to `runbooks`."""
    text = (_FOLDER / "rules.yml").read_text(encoding="utf-8")
    return text.replace(f"runbook_url: {RUNBOOKS}#", f"runbook_url: {runbooks}#")


def board_text() -> str:
    """The Grafana board over these metrics, JSON as Grafana imports it."""
    return (_FOLDER / "grafana.json").read_text(encoding="utf-8")


def history_board_text() -> str:
    """The one over the SQL views of the database."""
    return (_FOLDER / "history.json").read_text(encoding="utf-8")


def alerts() -> tuple[Alert, ...]:
    """Every alert, in the order of the file."""
    return tuple(_alert(rule) for rule in _rules() if "alert" in rule)


def recorded() -> dict[str, str]:
    """Recording rules: expression by name."""
    return {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}


def board_queries() -> tuple[str, ...]:
    """Every query of the Grafana board, and those of its variables."""
    board = json.loads(board_text())
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return (*panels, *(v["query"] for v in board["templating"]["list"] if v["type"] == "query"))


def names_in(query: str) -> set[str]:
    """Our families that a query names, histograms without the suffixes of their samples; recorded ones apart."""
    from convoy_controller.metrics.families import FAMILIES

    known = {family.name for family in FAMILIES}
    found = _NAME.findall(re.sub(r'"[^"]*"', '""', query))
    return {name if name in known else _SUFFIX.sub("", name) for name in found}


def recorded_in(query: str) -> set[str]:
    """Recorded series that a query names."""
    return set(_RECORDED.findall(query))


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(rules_text())["groups"] for rule in group["rules"]]


def _alert(rule: dict[str, Any]) -> Alert:
    said = rule["annotations"]
    return Alert(
        rule["alert"],
        rule["expr"].strip(),
        rule.get("for", ""),
        rule["labels"]["severity"],
        said["summary"],
        said["description"],
        said["action"],
        said["runbook_url"],
    )

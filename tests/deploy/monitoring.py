"""The alert rules and the dashboard under deploy/, as data."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.deploy.checkers import FOLDER, ROOT, read_yaml


class Alert(NamedTuple):
    """An alert rule as it is written."""

    name: str
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]


def rules_text() -> str:
    """The text of rules.yml."""
    return (FOLDER / "rules.yml").read_text()


def alerts() -> list[Alert]:
    """All alerts in the order of the file."""
    return [Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"]) for rule in _rules(_document())]


def all_with_expression(expression: str) -> str:
    """A rules file in which each alert has this expression and no `for`. JSON is YAML."""
    document = _document()
    for rule in _rules(document):
        rule["expr"] = expression
        rule.pop("for", None)
    return json.dumps(document)


def _document() -> dict[str, Any]:
    return read_yaml("deploy/prometheus/rules.yml")


def _rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]


FILE = ROOT / "deploy" / "grafana" / "leaderboard-consumer.json"


class Query(NamedTuple):
    """The query of a panel; `expression` still has the dashboard's variables."""

    panel: str
    expression: str


def dashboard() -> dict[str, Any]:
    """The dashboard's document."""
    document: dict[str, Any] = json.loads(FILE.read_text())
    return document


def panels() -> list[dict[str, Any]]:
    """All panels, rows too, from top to bottom."""
    return list(dashboard()["panels"])


def queries() -> Iterator[Query]:
    """The queries of all panels in order."""
    for panel in panels():
        for target in panel.get("targets", []):
            yield Query(panel["title"], target["expr"])


def variables() -> dict[str, dict[str, Any]]:
    """The dashboard's variables by name."""
    return {variable["name"]: variable for variable in dashboard()["templating"]["list"]}


def filled(expression: str, values: Mapping[str, str]) -> str:
    """The expression with its variables replaced, longest names first."""
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    return expression

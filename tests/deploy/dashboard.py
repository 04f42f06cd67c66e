"""The dashboard: its panels, and their queries as Grafana would send them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.deploy.promtool import ROOT

FILE = ROOT / "deploy" / "grafana" / "leaderboard-consumer.json"


class Query(NamedTuple):
    """What a panel asks; `expression` still has the dashboard's variables."""

    panel: str
    expression: str


def dashboard() -> dict[str, Any]:
    """The file's document."""
    document: dict[str, Any] = json.loads(FILE.read_text())
    return document


def panels() -> list[dict[str, Any]]:
    """All of them, rows too, from top to bottom."""
    return list(dashboard()["panels"])


def queries() -> Iterator[Query]:
    """Those of all panels, in their order."""
    for panel in panels():
        for target in panel.get("targets", []):
            yield Query(panel["title"], target["expr"])


def variables() -> dict[str, dict[str, Any]]:
    """By name."""
    return {variable["name"]: variable for variable in dashboard()["templating"]["list"]}


def filled(expression: str, values: Mapping[str, str]) -> str:
    """The expression with its variables replaced, longest names first."""
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    return expression

"""The alerts of rules.yml."""

import json
from typing import Any, NamedTuple

from tests.deploy.promtool import FOLDER
from tests.deploy.yaml import read_yaml


class Alert(NamedTuple):
    """A rule as it is written."""

    name: str
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]


def rules_text() -> str:
    """rules.yml as it is."""
    return (FOLDER / "rules.yml").read_text()


def alerts() -> list[Alert]:
    """In the order of the file."""
    return [Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"]) for rule in _rules(_document())]


def all_saying(expression: str) -> str:
    """A rules file in which each alert, at once, says this instead. JSON is YAML."""
    document = _document()
    for rule in _rules(document):
        rule["expr"] = expression
        rule.pop("for", None)
    return json.dumps(document)


def _document() -> dict[str, Any]:
    return read_yaml("deploy/prometheus/rules.yml")


def _rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]

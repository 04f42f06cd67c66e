"""The alerts of rules.yml as text: promtool says whether it is valid, so that its own layout can be relied on."""

import re
from collections.abc import Callable
from typing import NamedTuple

from tests.deploy.promtool import FOLDER

_EXPRESSION = re.compile(r"(?<=\n        expr: )(.*?)(?=\n        (?:for|labels):)", re.DOTALL)


class Alert(NamedTuple):
    """`expression` in one line; `keys` are those of its labels and annotations."""

    name: str
    expression: str
    keys: frozenset[str]
    severity: str
    runbook_url: str


def rules_text() -> str:
    """rules.yml as it is."""
    return (FOLDER / "rules.yml").read_text()


def alerts() -> list[Alert]:
    """In the order of the file."""
    return [_alert(text) for text in rules_text().split("\n      - alert: ")[1:]]


def _alert(text: str) -> Alert:
    expression = _EXPRESSION.search(text)
    assert expression is not None
    return Alert(
        text.partition("\n")[0],
        " ".join(expression[1].removeprefix(">-").split()),
        frozenset(re.findall(r"^          (\w+):", text, re.MULTILINE)),
        _value(text, "severity"),
        _value(text, "runbook_url"),
    )


def _value(text: str, key: str) -> str:
    found = re.search(rf"^          {key}: (.+)$", text, re.MULTILINE)
    return found[1] if found else ""


def with_expressions(change: Callable[[str], str]) -> str:
    """The rules with each expression changed."""
    return _EXPRESSION.sub(lambda match: change(match[1]), rules_text())

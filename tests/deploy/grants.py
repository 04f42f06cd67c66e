"""The policies under deploy/iam, as what they allow: an action on a resource, perhaps only within a transaction."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.needs import Need

FOLDER = Path(__file__).parents[2] / "deploy" / "iam"
_PLACEHOLDER = re.compile(r"\$\{([\w:]+)\}")
_KEY = ("ForAnyValue:StringEquals", "dynamodb:EnclosingOperation")


class Grant(NamedTuple):
    """One action on one resource. `within`: only as part of this transaction; None: always."""

    action: str
    resource: str
    within: str | None
    sid: str

    def covers(self, need: Need) -> bool:
        """Whether it allows that."""
        return (
            self.action == need.action
            and fnmatchcase(need.resource, self.resource)
            and self.within in (None, need.within)
        )

    def is_used_by(self, need: Need) -> bool:
        """Whether the need is why it is there: one for calls of their own is too wide for parts of transactions."""
        return self.covers(need) and self.within == need.within

    def __str__(self) -> str:
        inside = f" within {self.within}" if self.within else ""
        return f"{self.action} on {self.resource}{inside} ({self.sid})"


def statements(name: str) -> list[dict[str, Any]]:
    """Those of a policy file, as they are written."""
    policy = json.loads((FOLDER / name).read_text())
    assert policy.keys() == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def grants_of(statements: Iterable[Mapping[str, Any]], values: Mapping[str, str]) -> list[Grant]:
    """What statements allow once their placeholders have values. AssertionError for what is not understood here."""
    found: list[Grant] = []
    for statement in statements:
        assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
        assert statement["Effect"] == "Allow"
        for resource in statement["Resource"]:
            filled = _PLACEHOLDER.sub(lambda match: values[match[1]], resource)
            found += [
                Grant(action, filled, within, statement["Sid"])
                for action in statement["Action"]
                for within in _within(statement.get("Condition"))
            ]
    return found


def _within(condition: Mapping[str, Any] | None) -> list[str | None]:
    if condition is None:
        return [None]
    operator, key = _KEY
    assert condition.keys() == {operator}, condition
    assert condition[operator].keys() == {key}, condition
    return list(condition[operator][key])


def denied(grants: Collection[Grant], needs: Iterable[Need]) -> list[str]:
    """What is needed and not allowed."""
    return sorted(str(need) for need in needs if not any(grant.covers(need) for grant in grants))


def idle(grants: Iterable[Grant], needs: Collection[Need]) -> list[str]:
    """What is allowed and was not needed."""
    return sorted(str(grant) for grant in grants if not any(grant.is_used_by(need) for need in needs))

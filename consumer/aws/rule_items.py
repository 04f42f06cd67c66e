"""Rules and windows in items of the lease table, and back. The encodings are a contract."""

from collections.abc import Mapping
from typing import Any, Final

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.records import Corrections, Rules
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import KeptSince, Kind, WindowKind

RULES_NAME: Final = {"#rules": "rules"}
"""`rules` is a reserved word of DynamoDB's expressions."""


def _number(value: float) -> dict[str, str]:
    return {"N": f"{value:.15g}"}


def rules_list(accepted: AcceptedRules) -> dict[str, Any]:
    """The accepted rules as the attribute `rules` of the source row."""
    return {"L": [rules_value(rules) for rules in accepted.entries]}


def rules_value(rules: Rules) -> dict[str, Any]:
    """One of them."""
    return {
        "M": {
            "playerAttribute": {"S": rules.player_attribute},
            "scoreAttribute": {"S": rules.score_attribute},
            "timestampAttribute": {"S": rules.timestamp_attribute},
            "timestampFormat": {"S": rules.timestamp_format.value},
            "maxFutureSeconds": _number(rules.max_future_seconds),
            "windows": {"M": {kind.value: _number(kept) for kind, kept in rules.windows}},
            "timeZone": {"S": rules.time_zone},
            # Absent, as an older version wrote it: else a list of that version would never be the list as it was read.
            **({} if rules.corrections is Corrections.IGNORE else {"corrections": {"S": rules.corrections.value}}),
        }
    }


def accepted_rules(item: Mapping[str, Any]) -> AcceptedRules:
    """The accepted rules from the source row; none in one that an older version wrote."""
    return AcceptedRules(tuple(_rules_of(value["M"]) for value in item.get("rules", {}).get("L", ())))


def _rules_of(fields: Mapping[str, Any]) -> Rules:
    kept = {WindowKind(kind): int(value["N"]) for kind, value in fields["windows"]["M"].items()}
    return Rules(
        player_attribute=fields["playerAttribute"]["S"],
        score_attribute=fields["scoreAttribute"]["S"],
        timestamp_attribute=fields["timestampAttribute"]["S"],
        timestamp_format=TimestampFormat(fields["timestampFormat"]["S"]),
        max_future_seconds=float(fields["maxFutureSeconds"]["N"]),
        windows=tuple((kind, kept[kind]) for kind in WindowKind if kind in kept),
        time_zone=fields["timeZone"]["S"],
        corrections=Corrections(fields.get("corrections", {"S": Corrections.IGNORE})["S"]),
    )


def windows_value(windows: KeptSince) -> dict[str, Any]:
    """The windows of a shard's row as its attribute `windows`."""
    return {
        "M": {
            kind.value: {
                "M": {"kept": _number(each.kept), **({} if each.since is None else {"since": _number(each.since)})}
            }
            for kind, each in windows.items()
        }
    }


def windows_of(item: Mapping[str, Any]) -> KeptSince:
    """The windows of a shard from its row."""
    values = item.get("windows", {}).get("M", {})
    return {
        kind: Kind(int(values[kind]["M"]["kept"]["N"]), _since(values[kind]["M"]))
        for kind in WindowKind
        if kind in values
    }


def _since(value: Mapping[str, Any]) -> float | None:
    return float(value["since"]["N"]) if "since" in value else None

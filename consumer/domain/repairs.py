"""Repairs: what a person sets in a record's image before it is decoded again. The record itself stays as it came."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from consumer.domain.errors import UsageFault
from consumer.domain.records import Entry, Poison, Rules, decode

TAGS: Final = {"player": "S", "score": "N", "timestamp": "S"}
"""The fields that can be set, and the type of each in DynamoDB JSON."""
_SOUND: Final = {"player": "somebody", "score": "0", "timestamp": "2026-01-31"}


def parse_repairs(texts: Iterable[str]) -> dict[str, str]:
    """Field and value of each `field=value`. Raises UsageFault, with every fault, for what could never be right."""
    repairs: dict[str, str] = {}
    faults = []
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals or field not in TAGS:
            faults.append(f"--set {text}: it must be player=..., score=... or timestamp=...")
        elif field in repairs:
            faults.append(f"--set {text}: {field} is set twice")
        else:
            repairs[field] = value
            if (fault := _fault({**_SOUND, field: value})) is not None:
                faults.append(f"--set {text}: {fault}")
    if faults:
        raise UsageFault("\n".join(faults))
    return repairs


def repaired(wire: Mapping[str, Any], repairs: Mapping[str, str], rules: Rules) -> Mapping[str, Any]:
    """A copy of the record with these fields set; the record itself when it has no image to set them in."""
    image = wire["dynamodb"].get("NewImage")
    if not isinstance(image, Mapping):
        return wire
    names = _names(rules)
    news = {names[field]: {TAGS[field]: value} for field, value in repairs.items()}
    return {**wire, "dynamodb": {**wire["dynamodb"], "NewImage": {**image, **news}}}


def decode_again(
    wire: Mapping[str, Any], repairs: Mapping[str, str], rules: Rules, *, only_wrong: bool
) -> tuple[Entry, dict[str, str]]:
    """What a quarantined record means by the rules of now, and which repairs that took. It has no floor.

    `only_wrong`: a field is set only when it is what makes the record poison, so that of many records with one repair
    none loses a value that was right.
    """
    used = {} if only_wrong else dict(repairs)
    while True:
        entry = decode(repaired(wire, used, rules), rules, None)
        field = entry.reason.partition("_")[0] if isinstance(entry, Poison) else ""
        if field not in repairs or field in used:
            return entry, used
        used[field] = repairs[field]


def _names(rules: Rules) -> dict[str, str]:
    return {"player": rules.player_attribute, "score": rules.score_attribute, "timestamp": rules.timestamp_attribute}


def _fault(values: Mapping[str, str]) -> str | None:
    """Why a value is wrong whatever the record is; how late a game may be depends on its record."""
    rules = Rules("player", "score", "timestamp")
    blank = {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "1", "NewImage": {}}}
    entry = decode(repaired(blank, values, rules), rules, None)
    return entry.detail if isinstance(entry, Poison) else None

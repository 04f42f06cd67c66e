"""Audit rows: one an act, written in the act's own transaction, all in one partition: they list without a scan."""

import hashlib
from collections.abc import Iterator
from threading import Event
from typing import Any, Final

from consumer.aws.items import Item, iso, text
from consumer.aws.pages import partition
from consumer.aws.transaction import Action
from consumer.domain.audit import Trace

AUDIT: Final = "#audit"
_FIXED: Final = ("shardId", "sequenceNumber", "who", "at", "act", "target")


def audit_put(quarantine: str, trace: Trace) -> Action:
    """The row of an act; the same act repeated is the same row."""
    return {"Put": {"TableName": quarantine, "Item": audit_item(trace)}}


def audit_item(trace: Trace) -> dict[str, Any]:
    """An act as an item; its key sorts by time."""
    told = f"{trace.who}|{trace.act}|{trace.target}|{sorted(trace.detail.items())}"
    digest = hashlib.blake2b(told.encode(), digest_size=6).hexdigest()
    fixed = {"who": trace.who, "at": iso(trace.at), "act": trace.act, "target": trace.target}
    return {
        "shardId": {"S": AUDIT},
        "sequenceNumber": {"S": f"{iso(trace.at)}#{digest}"},
        **{name: {"S": value} for name, value in (fixed | dict(trace.detail)).items()},
    }


class DynamoAudit:
    """The audit trail, read for a person; calls that must be tried again wait on `stop`."""

    def __init__(self, client: Any, quarantine: str, stop: Event) -> None:
        self._client = client
        self._quarantine = quarantine
        self._stop = stop

    def rows(self, *, newest_first: bool = True) -> Iterator[dict[str, str]]:
        """All acts: `at`, `who`, `act`, `target` and the act's own details, as text. Raises Trouble."""
        return map(_row, partition(self._client, self._stop, self._quarantine, AUDIT, newest_first=newest_first))


def _row(item: Item) -> dict[str, str]:
    first = {name: text(item, name) or "" for name in _FIXED[2:]}
    rest = {name: text(item, name) or "" for name in sorted(item) if name not in _FIXED}
    return first | rest

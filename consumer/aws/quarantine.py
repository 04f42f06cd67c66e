"""The quarantine as operators read and resolve it: entries without their records, a whole record, redrive, discard."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from threading import Event
from typing import Any, Final

from consumer.aws.board import NO_DATE, add_delta, is_later
from consumer.aws.items import EXPIRY, PENDING_KEY, Action, Item, iso, number, quarantine_key, text
from consumer.aws.operator_writes import put_audit_entry
from consumer.aws.tables import read_items
from consumer.aws.transact import Cancelled, transact
from consumer.aws.wire import call_with_retries
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import TableNames, is_sequence_number
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    EntryState,
    OperatorAction,
    QuarantineEntry,
    Resolution,
)
from consumer.domain.records import unpack
from consumer.domain.replies import Done, Refused

_COLUMNS: Final = (
    "shardId, sequenceNumber, reason, detail, #state, playerId, parts, quarantinedAt, createdAt, streamArn, "
    "appliedAt, appliedBy, repairs, discardedAt, discardedBy, discardReason"
)
DAY_SECONDS: Final = 86_400
STILL_PENDING: Final = "#state = :pending"
"""Makes it exact: of two operators, two attempts, or a crash and its repetition, one is counted."""


class DynamoQuarantine:
    """The Quarantine port over a boto3 client. Only reads are retried; they wait on `stop`.

    A record that is settled expires after `retention_days`; None: never.
    """

    def __init__(self, client: Any, tables: TableNames, stop: Event, retention_days: int | None = None) -> None:
        self._client = client
        self._tables = tables
        self._stop = stop
        self._retention_days = retention_days

    def entries(self, shard_id: str | None = None) -> Iterator[QuarantineEntry]:
        """One partition, or a scan; see operator_ports.Quarantine. Other rows have keys that are no sequence number."""
        request: dict[str, Any] = {
            "TableName": self._tables.quarantine,
            "ProjectionExpression": _COLUMNS,
            "ExpressionAttributeNames": {"#state": "state"},
        }
        read = self._client.scan
        if shard_id is not None:
            read = self._client.query
            request["KeyConditionExpression"] = "shardId = :shard"
            request["ExpressionAttributeValues"] = {":shard": {"S": shard_id}}
        for row in read_items(read, self._stop, **request):
            if is_sequence_number(row["sequenceNumber"]["S"]) and not row["shardId"]["S"].startswith("#"):
                yield _entry(row)

    def entry(self, shard_id: str, sequence_number: str) -> QuarantineEntry | None:
        """One consistent read; see operator_ports.Quarantine."""
        row = self._get(quarantine_key(shard_id, sequence_number))
        return _entry(row) if row else None

    def record(self, entry: QuarantineEntry) -> dict[str, Any]:
        """All parts; see operator_ports.Quarantine. OSError, too, when a part is damaged."""
        return unpack(self._part(entry, position) for position in range(1, entry.parts + 1))

    def apply(self, application: Application) -> Done | AlreadyResolved | Refused:
        """The entry's new state, the player's delta and the audit entry; see operator_ports.Quarantine."""
        action, player, delta = application.action, application.player, application.delta
        attributes: dict[str, Any] = {}
        if application.repairs:
            attributes["repairs"] = {"M": {field: {"S": value} for field, value in sorted(application.repairs.items())}}
        add = add_delta(self._tables.leaderboard, player, delta, dated=application.dated)
        reply = self._resolve(action, EntryState.APPLIED, attributes, add)
        if not isinstance(reply, Cancelled):
            return reply
        if 1 not in reply.failed:
            return Refused(invalid=reply.invalid, suspects=frozenset([player]))
        stored = text(reply.failed[1] or {}, "lastPlayedDate")
        if stored is not None and is_later(stored, delta.date):
            return Refused({player: stored})
        return Refused(invalid=NO_DATE, suspects=frozenset([player]))

    def discard(self, action: OperatorAction, why: str) -> Done | AlreadyResolved:
        """The entry's new state and the audit entry; see operator_ports.Quarantine."""
        reply = self._resolve(action, EntryState.DISCARDED, {"discardReason": {"S": why}})
        if isinstance(reply, Cancelled):
            raise CallFailed(FailureKind.REJECTED, reply.invalid or "the quarantine table refuses the row")
        return reply

    def _resolve(
        self, action: OperatorAction, state: EntryState, attributes: dict[str, Any], *more: Action
    ) -> Done | AlreadyResolved | Cancelled:
        """Writes the entry's new state, `more` and the audit entry, if the record is pending. All its rows expire."""
        entry, quarantine = action.entry, self._tables.quarantine
        parts = []
        if self._retention_days is not None:
            expires = self._expiry(action.audit_entry.at)
            attributes = {**attributes, EXPIRY: expires}
            parts = self._expire_parts(entry, expires)
        actions = [
            self._set_state(action, state, attributes),
            *more,
            put_audit_entry(quarantine, action.audit_entry),
            *parts,
        ]
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Done()
        if 0 in cancelled.failed:
            row = cancelled.failed[0]
            if row and text(row, "act") == action.token:
                return Done()  # this very action, whose reply was lost
            return AlreadyResolved(_entry(row) if row else None)
        if not cancelled.failed:
            cancelled.raise_conflict()
        return cancelled

    def update_old_rows(self) -> int:
        """Gives rows what the version that wrote them did not know, and returns how many it updated.

        It reads the whole table. Nothing is audited: no state changes.
        """
        lacking = f"attribute_exists({PENDING_KEY})"
        if self._retention_days is not None:
            lacking += f" OR attribute_not_exists({EXPIRY})"
        rows = read_items(
            self._client.scan,
            self._stop,
            TableName=self._tables.quarantine,
            ProjectionExpression=f"{_COLUMNS}, {PENDING_KEY}, {EXPIRY}",
            FilterExpression="attribute_exists(#state) AND ("
            f"(#state = :pending AND attribute_not_exists({PENDING_KEY})) OR (#state <> :pending AND ({lacking})))",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":pending": {"S": EntryState.PENDING.value}},
        )
        return sum(call_with_retries(partial(self._update_old_row, row), self._stop) for row in rows)

    def _update_old_row(self, row: Item) -> bool:
        """Whether it was updated: not when an operator has settled it meanwhile."""
        entry = _entry(row)
        head: dict[str, Any] = {
            "TableName": self._tables.quarantine,
            "Key": quarantine_key(entry.shard_id, entry.sequence_number),
            "ConditionExpression": "#state = :state",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":state": {"S": entry.state}},
        }
        parts = []
        if entry.state == EntryState.PENDING:
            head["UpdateExpression"] = f"SET {PENDING_KEY} = :shard"
            head["ExpressionAttributeValues"][":shard"] = {"S": entry.shard_id}
        else:
            head["UpdateExpression"] = f"REMOVE {PENDING_KEY}"
            if EXPIRY not in row and self._retention_days is not None and entry.resolution is not None:
                expires = self._expiry(datetime.fromisoformat(entry.resolution.at).timestamp())
                head["UpdateExpression"] += f" SET {EXPIRY} = :at"
                head["ExpressionAttributeValues"][":at"] = expires
                parts = self._expire_parts(entry, expires)
            elif PENDING_KEY not in row:
                return False  # of a newer version
        cancelled = transact(self._client, [{"Update": head}, *parts])
        if cancelled is not None:
            cancelled.require_failed_condition()
        return cancelled is None

    def _expiry(self, settled_at: float) -> dict[str, str]:
        assert self._retention_days is not None
        return number(int(settled_at) + self._retention_days * DAY_SECONDS)

    def _expire_parts(self, entry: QuarantineEntry, expires: dict[str, str]) -> list[Action]:
        """Each costs two units per KB of it: nothing else makes head and parts expire together."""
        return [
            {
                "Update": {
                    "TableName": self._tables.quarantine,
                    "Key": quarantine_key(entry.shard_id, f"{entry.sequence_number}#{position}"),
                    "UpdateExpression": f"SET {EXPIRY} = :at",
                    "ExpressionAttributeValues": {":at": expires},
                }
            }
            for position in range(1, entry.parts + 1)
        ]

    def _get(self, key: dict[str, Any]) -> Item | None:
        def get() -> Item | None:
            reply = self._client.get_item(TableName=self._tables.quarantine, Key=key, ConsistentRead=True)
            item: Item | None = reply.get("Item")
            return item

        return call_with_retries(get, self._stop)

    def _part(self, entry: QuarantineEntry, position: int) -> bytes:
        row = self._get(quarantine_key(entry.shard_id, f"{entry.sequence_number}#{position}")) or {}
        part: bytes | None = row.get("record", {}).get("B")
        if part is None:
            raise ValueError(f"part {position} of record {entry.sequence_number} is missing")
        return part

    def _set_state(self, action: OperatorAction, state: EntryState, attributes: dict[str, Any]) -> Action:
        """Sets the state, how it came about and `attributes`; reason, detail and parts stay as they were.

        The row leaves the index of pending records.
        """
        entry, audit_entry = action.entry, action.audit_entry
        attributes = {
            "state": {"S": state.value},
            f"{state}At": {"S": iso(audit_entry.at)},
            f"{state}By": {"S": audit_entry.who},
            "act": {"S": action.token},
            **attributes,
        }
        return {
            "Update": {
                "TableName": self._tables.quarantine,
                "Key": quarantine_key(entry.shard_id, entry.sequence_number),
                "UpdateExpression": "SET "
                + ", ".join(f"#{name} = :{name}" for name in attributes)
                + f" REMOVE {PENDING_KEY}",
                "ConditionExpression": STILL_PENDING,
                "ExpressionAttributeNames": {f"#{name}": name for name in attributes},
                "ExpressionAttributeValues": {
                    ":pending": {"S": EntryState.PENDING.value},
                    **{f":{name}": value for name, value in attributes.items()},
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }


def _entry(row: Item) -> QuarantineEntry:
    created = text(row, "createdAt", "N")
    return QuarantineEntry(
        shard_id=row["shardId"]["S"],
        sequence_number=row["sequenceNumber"]["S"],
        reason=text(row, "reason") or "",
        state=text(row, "state") or "",
        player=text(row, "playerId"),
        parts=int(text(row, "parts", "N") or 0),
        detail=text(row, "detail") or "",
        quarantined_at=text(row, "quarantinedAt") or "",
        created=float(created) if created is not None else None,
        stream_arn=text(row, "streamArn") or "",
        resolution=_resolution(row),
    )


def _resolution(row: Item) -> Resolution | None:
    match text(row, "state"):
        case EntryState.APPLIED:
            repairs = row.get("repairs", {}).get("M", {})
            values = {field: text(repairs, field) or "" for field in sorted(repairs)}
            return Resolution(text(row, "appliedBy") or "", text(row, "appliedAt") or "", values)
        case EntryState.DISCARDED:
            by, at = text(row, "discardedBy") or "", text(row, "discardedAt") or ""
            return Resolution(by, at, why=text(row, "discardReason"))
    return None

"""The quarantine as operators read and resolve it: entries without their records, a whole record, redrive, discard."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from threading import Event
from typing import Any, Final, TypeVar

from consumer.aws.board import add_delta, refused_deltas
from consumer.aws.corrections import (
    DAY_SECONDS,
    ITEM_KEY,
    KEPT,
    as_found,
    change_index_row,
    expire_part,
    index_key,
    item_text,
    kept_of,
    part_keys,
)
from consumer.aws.items import EXPIRY, PENDING_KEY, Action, Item, iso, number, quarantine_key, text
from consumer.aws.operator_writes import put_audit_entry
from consumer.aws.tables import read_items
from consumer.aws.transact import Cancelled, transact
from consumer.aws.wire import body_of_reply, call_with_retries, decode_json
from consumer.domain.corrections import ItemWrite, RecordKey
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta, add_to
from consumer.domain.leases import TableNames, is_sequence_number
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    EntryState,
    OperatorAction,
    QuarantineEntry,
    Resolution,
    Unsettled,
)
from consumer.domain.records import unpack
from consumer.domain.replies import Done, Refused

_COLUMNS: Final = (
    "shardId, sequenceNumber, reason, detail, #state, playerId, parts, quarantinedAt, createdAt, streamArn, "
    "appliedAt, appliedBy, repairs, discardedAt, discardedBy, discardReason, supersededAt, act, "
    f"{ITEM_KEY}, {KEPT}, {EXPIRY}"
)
STILL_PENDING: Final = "#state = :pending"
"""Makes it exact: of two operators, two attempts, or a crash and its repetition, one is counted."""
STILL_DISCARDED: Final = "#state = :discarded AND act = :seen"
"""The discard that was read, and no later one: a restore that comes late undoes nothing else."""
MOST_READ: Final = 100
"""Keys per BatchGetItem. Source: API reference, "BatchGetItem"."""
T = TypeVar("T")


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

    def record(self, entry: QuarantineEntry) -> Mapping[str, Any]:
        """One whole record in wire form. Raises ValueError when a part of it is missing or damaged."""
        (found,) = self.records([entry])
        if isinstance(found, ValueError):
            raise found
        return found

    def records(self, entries: Sequence[QuarantineEntry]) -> list[Mapping[str, Any] | ValueError]:
        """Their parts, many per call; see operator_ports.Quarantine."""
        wanted = [(entry.shard_id, part) for entry in entries for part in _part_numbers(entry)]
        parts: dict[tuple[str, str], bytes] = {}
        for some in _chunks(wanted, MOST_READ):
            parts |= self._parts(some)
        return [_unpacked(entry, parts) for entry in entries]

    def apply(self, applications: Sequence[Application]) -> Done | Unsettled | Refused:
        """The entries' new states, the players' deltas and the audit entries; see operator_ports.Quarantine."""
        deltas: dict[str, Delta] = {}
        undated: set[str] = set()
        for application in applications:
            undated |= application.undated
            for player, delta in application.deltas.items():
                add_to(deltas, player, delta)
        adds = [
            add_delta(self._tables.leaderboard, player, delta, dated=bool(delta.date) and player not in undated)
            for player, delta in deltas.items()
        ]
        heads = [
            self._settle(application.action, EntryState.APPLIED, _repaired(application)) for application in applications
        ]
        actions = [application.action for application in applications]
        reply = self._resolve(actions, heads, adds)
        if not isinstance(reply, Cancelled):
            return reply
        # Refused deltas are the actions behind heads and index rows; refused_deltas takes them from 1 on.
        shift = len(heads) + sum(action.item is not None for action in actions) - 1
        board = Cancelled(
            {at - shift: item for at, item in reply.failed.items()},
            reply.conflict,
            reply.invalid,
            frozenset(at - shift for at in reply.invalid_at),
        )
        refused = refused_deltas(board, list(deltas), deltas)
        if refused.later or refused.suspects or len(deltas) > 1:
            return refused
        return replace(refused, suspects=frozenset(deltas))

    def discard(self, actions: Sequence[OperatorAction], why: str) -> Done | Unsettled:
        """The entries' new states and the audit entries; see operator_ports.Quarantine."""
        heads = [self._settle(action, EntryState.DISCARDED, {"discardReason": {"S": why}}) for action in actions]
        reply = self._resolve(actions, heads)
        if isinstance(reply, Cancelled):
            raise CallFailed(FailureKind.REJECTED, reply.invalid or "the quarantine table refuses the row")
        return reply

    def restore(self, actions: Sequence[OperatorAction]) -> Done | Unsettled | Refused:
        """The entries' new states and the audit entries; see operator_ports.Quarantine."""
        quarantine = self._tables.quarantine
        parts = [_keep_part(quarantine, key) for action in actions if action.entry.expires for key in _parts_of(action)]
        reply = self._resolve(actions, [_restore(quarantine, action) for action in actions], parts)
        if isinstance(reply, Cancelled):
            return Refused(invalid=reply.invalid or "a part of its record has expired")
        return reply

    def _settle(self, action: OperatorAction, state: EntryState, attributes: dict[str, Any]) -> Action:
        if self._retention_days is not None and not (state is EntryState.DISCARDED and _counts_on(action.entry)):
            attributes = {**attributes, EXPIRY: self._expiry(action.audit_entry.at)}
        return _set_state(self._tables.quarantine, action, state, attributes)

    def _resolve(
        self, actions: Sequence[OperatorAction], heads: list[Action], more: Sequence[Action] = ()
    ) -> Done | Unsettled | Cancelled:
        """Writes the entries' `heads`, `more`, index rows and the audit entries, if each entry is as its head demands,
        and the index row of its item as it was found.

        The parts of a record that is settled expire with its head.
        """
        items = {at: action.item for at, action in enumerate(actions) if action.item is not None}
        rows = [_index_row(self._tables.quarantine, item) for item in items.values()]
        audits = [put_audit_entry(self._tables.quarantine, action.audit_entry) for action in actions]
        parts = [
            expire_part(self._tables.quarantine, key, head["Update"]["ExpressionAttributeValues"][f":{EXPIRY}"])
            for action, head in zip(actions, heads, strict=True)
            if f":{EXPIRY}" in head["Update"]["ExpressionAttributeValues"]
            for key in _parts_of(action)
        ]
        cancelled = transact(self._client, [*heads, *rows, *more, *audits, *parts])
        if cancelled is None:
            return Done()
        moved = (at for place, at in enumerate(items, len(heads)) if place in cancelled.failed)
        replies: dict[int, Done | AlreadyResolved] = {at: AlreadyResolved(actions[at].entry) for at in moved}
        replies |= {at: _reply_of(row, actions[at]) for at, row in cancelled.failed.items() if at < len(heads)}
        if len(replies) == len(heads) and all(isinstance(reply, Done) for reply in replies.values()):
            return Done()  # these very actions, whose reply was lost
        if replies:
            return Unsettled(replies)
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
            ProjectionExpression=f"{_COLUMNS}, {PENDING_KEY}",
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
            stays = self._retention_days is None or (entry.state == EntryState.DISCARDED and _counts_on(entry))
            if EXPIRY not in row and not stays and entry.resolution is not None:
                expires = self._expiry(datetime.fromisoformat(entry.resolution.at).timestamp())
                head["UpdateExpression"] += f" SET {EXPIRY} = :at"
                head["ExpressionAttributeValues"][":at"] = expires
                parts = [expire_part(self._tables.quarantine, key, expires) for key in _part_keys(entry)]
            elif PENDING_KEY not in row:
                return False  # of a newer version
        cancelled = transact(self._client, [{"Update": head}, *parts])
        if cancelled is not None:
            cancelled.require_failed_condition()
        return cancelled is None

    def _expiry(self, settled_at: float) -> dict[str, str]:
        assert self._retention_days is not None
        return number(int(settled_at) + self._retention_days * DAY_SECONDS)

    def _get(self, key: dict[str, Any]) -> Item | None:
        def get() -> Item | None:
            reply = self._client.get_item(TableName=self._tables.quarantine, Key=key, ConsistentRead=True)
            item: Item | None = reply.get("Item")
            return item

        return call_with_retries(get, self._stop)

    def _parts(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """These part rows, by key; missing ones are left out. A reply has 16 MB at most: the rest is read after it."""
        found: dict[tuple[str, str], bytes] = {}
        left: list[dict[str, Any]] = [quarantine_key(*key) for key in keys]

        def read() -> list[dict[str, Any]]:
            wanted = {"Keys": left, "ConsistentRead": True}
            reply = decode_json(
                body_of_reply(self._client.batch_get_item(RequestItems={self._tables.quarantine: wanted}))
            )
            for row in reply["Responses"].get(self._tables.quarantine, ()):
                part = row.get("record", {}).get("B")
                if isinstance(part, str):
                    found[row["shardId"]["S"], row["sequenceNumber"]["S"]] = b64decode(part)
            unread: list[dict[str, Any]] = (
                reply.get("UnprocessedKeys", {}).get(self._tables.quarantine, {}).get("Keys", [])
            )
            if len(unread) == len(left):
                raise CallFailed(FailureKind.THROTTLED, "BatchGetItem: no row was read")
            return unread

        while left:
            left = call_with_retries(read, self._stop)
        return found


def _counts_on(entry: QuarantineEntry) -> bool:
    """Whether the entry alone says why a game counts whose item is gone: then it does not expire."""
    return entry.kept is not None and entry.kept.counted is not None


def _reply_of(row: Item | None, action: OperatorAction) -> Done | AlreadyResolved:
    """Why the entry is not as this action demands: an attempt of its own, whose reply was lost, or another's."""
    if row and text(row, "act") == action.token:
        return Done()
    return AlreadyResolved(_entry(row) if row else None)


def _repaired(application: Application) -> dict[str, Any]:
    if not application.repairs:
        return {}
    return {"repairs": {"M": {field: {"S": value} for field, value in sorted(application.repairs.items())}}}


def _index_row(quarantine: str, item: ItemWrite) -> Action:
    """What becomes of an item's index row, if it is as it was found."""
    found = item.found.row if item.found is not None else None
    if item.left == found:
        return {"ConditionCheck": {"TableName": quarantine, "Key": index_key(item.item), **as_found(found)}}
    return change_index_row(quarantine, item.item, found, item.left)


def _part_numbers(entry: QuarantineEntry) -> list[str]:
    return [f"{entry.sequence_number}#{position}" for position in range(1, entry.parts + 1)]


def _part_keys(entry: QuarantineEntry) -> list[dict[str, Any]]:
    return list(part_keys(RecordKey(entry.shard_id, entry.sequence_number), entry.parts))


def _parts_of(action: OperatorAction) -> list[dict[str, Any]]:
    return _part_keys(action.entry)


def _unpacked(entry: QuarantineEntry, parts: Mapping[tuple[str, str], bytes]) -> dict[str, Any] | ValueError:
    try:
        return unpack(parts[entry.shard_id, part] for part in _part_numbers(entry))
    except KeyError as missing:
        number, _, position = missing.args[0][1].partition("#")
        return ValueError(f"part {position} of record {number} is missing")
    except ValueError as damaged:
        return damaged


def _keep_part(quarantine: str, key: dict[str, Any]) -> Action:
    return {
        "Update": {
            "TableName": quarantine,
            "Key": key,
            "UpdateExpression": f"REMOVE {EXPIRY}",
            "ConditionExpression": "attribute_exists(#record)",
            "ExpressionAttributeNames": {"#record": "record"},
        }
    }


def _set_state(quarantine: str, action: OperatorAction, state: EntryState, attributes: Mapping[str, Any]) -> Action:
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
            "TableName": quarantine,
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


def _restore(quarantine: str, action: OperatorAction) -> Action:
    """Makes the row what it was before the discard, but for the token, and puts it back into the index."""
    entry = action.entry
    return {
        "Update": {
            "TableName": quarantine,
            "Key": quarantine_key(entry.shard_id, entry.sequence_number),
            "UpdateExpression": f"SET #state = :pending, act = :act, {PENDING_KEY} = :shard "
            f"REMOVE discardedAt, discardedBy, discardReason, {EXPIRY}",
            "ConditionExpression": STILL_DISCARDED,
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":pending": {"S": EntryState.PENDING.value},
                ":discarded": {"S": EntryState.DISCARDED.value},
                ":seen": {"S": entry.token or ""},
                ":act": {"S": action.token},
                ":shard": {"S": entry.shard_id},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[at : at + most] for at in range(0, len(items), most))


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
        token=text(row, "act"),
        expires=EXPIRY in row or KEPT in row,  # where the head keeps what is counted, the parts alone may expire
        item=item_text(row[ITEM_KEY]) if ITEM_KEY in row else None,
        kept=kept_of(row, RecordKey(row["shardId"]["S"], row["sequenceNumber"]["S"])),
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
        case EntryState.SUPERSEDED:
            return Resolution("", text(row, "supersededAt") or "")
    return None

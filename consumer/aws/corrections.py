"""Index rows of corrected items, and what stays counted of them, as items of the quarantine table, and back.

What index rows are for stands in domain/corrections.py. The encodings are a contract.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from consumer.aws.board import exact
from consumer.aws.items import EXPIRY, PENDING_KEY, Action, Item, iso, number, quarantine_key, seconds, text
from consumer.aws.wire import body_of_reply, decode_json, translated
from consumer.domain.corrections import FoundItem, IndexRow, ItemWrite, KeptImage, RecordKey
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.quarantine import EntryState
from consumer.domain.records import Image

INDEX: Final = "#item#"
"""Begins the partition of an index row. No shard id begins with `#`."""
INDEX_SORT: Final = "item"
ITEM_KEY: Final = "itemKey"
KEPT: Final = "kept"
DAY_SECONDS: Final = 86_400


def index_key(item: str) -> dict[str, Any]:
    """The key of an item's index row: a digest, because the item's key may be too long for one."""
    return quarantine_key(f"{INDEX}{hashlib.sha256(item.encode()).hexdigest()}", INDEX_SORT)


def index_item(row: IndexRow) -> dict[str, Any]:
    """An index row as an item."""
    item = {**index_key(row.item), ITEM_KEY: item_key_value(row.item)}
    if row.record is not None:
        item["recordShardId"] = {"S": row.record.shard_id}
        item["recordSequenceNumber"] = {"S": row.record.sequence_number}
    if row.counted is not None:
        item["counted"] = image_value(row.counted)
    return item


def index_row(item: Item) -> IndexRow:
    """An index row from its item, as a client or a reply's JSON has it."""
    record = None
    if "recordShardId" in item:
        record = RecordKey(item["recordShardId"]["S"], item["recordSequenceNumber"]["S"])
    return IndexRow(item_text(item[ITEM_KEY]), record, image_of(item["counted"]) if "counted" in item else None)


def item_key_value(item: str) -> dict[str, Any]:
    """The key of an item, as a map of its attributes. Binary ones are bytes here, and base64 in the text."""
    return {"M": {name: _binary(value) for name, value in json.loads(item).items()}}


def item_text(value: Mapping[str, Any]) -> str:
    """The key of an item from that map, as records.item_of writes it."""
    return json.dumps(value["M"], sort_keys=True, separators=(",", ":"), default=_base64)


def _binary(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"B": b64decode(value["B"])} if "B" in value else value


def _base64(value: Any) -> str:
    return b64encode(bytes(value)).decode()


def image_value(image: Image | None) -> dict[str, Any]:
    """A game as a map; an empty one for none."""
    if image is None:
        return {"M": {}}
    day, at = image.played
    fields = {"playerId": {"S": image.player}, "score": exact(image.score), "date": {"S": day}}
    return {"M": fields if at is None else {**fields, "playedAt": seconds(at)}}


def image_of(value: Mapping[str, Any]) -> Image | None:
    """A game from its map; None: the map is empty."""
    fields = value["M"]
    if not fields:
        return None
    at = text(fields, "playedAt", "N")
    played = fields["date"]["S"], None if at is None else float(at)
    return Image(fields["playerId"]["S"], Decimal(fields["score"]["N"]), played)


def kept_of(head: Item, record: RecordKey) -> KeptImage | None:
    """What a head row says of a life of its item that is over; None: it is not."""
    return KeptImage(record, image_of(head[KEPT])) if KEPT in head else None


def as_found(row: IndexRow | None) -> dict[str, Any]:
    """The condition that an item's index row is as it was read (None: there is none), as an action takes it."""
    if row is None:
        return {"ConditionExpression": "attribute_not_exists(shardId)"}
    if row.record is None:
        return {"ConditionExpression": "attribute_exists(shardId) AND attribute_not_exists(recordShardId)"}
    return {
        "ConditionExpression": "recordShardId = :recordShard AND recordSequenceNumber = :recordNumber",
        "ExpressionAttributeValues": {
            ":recordShard": {"S": row.record.shard_id},
            ":recordNumber": {"S": row.record.sequence_number},
        },
    }


def change_index_row(
    quarantine: str, item: str, found: IndexRow | None, left: IndexRow | None, *, inserted: bool = False
) -> Action:
    """Puts an item's index row, or deletes the one that was found, if it is as it was found.

    `inserted`: whatever is there.
    """
    condition = {} if inserted else as_found(found)
    if left is not None:
        return {"Put": {"TableName": quarantine, "Item": index_item(left), **condition}}
    return {"Delete": {"TableName": quarantine, "Key": index_key(item), **condition}}


def changed_head(write: ItemWrite, own: Collection[RecordKey] = ()) -> RecordKey | None:
    """The record whose head row changes with an index row: superseded, or keeping what is counted. None: there is none.

    `own`: records that the unit itself quarantines. One that is read again does not supersede itself.
    """
    head = write.found.head if write.found is not None else None
    keeps = write.kept is not None and write.kept.record == head
    return head if (write.supersedes or keeps) and head not in own else None


def item_actions(
    quarantine: str, write: ItemWrite, at: float, retention_days: int | None, own: Collection[RecordKey] = ()
) -> list[Action]:
    """What a unit does to an item's index row, and to the head row and the parts of the record that it belonged to.

    `at`: when the unit was cut (unix seconds). A superseded record expires so many days later; None: never. `own`: as
    for `changed_head`.
    """
    found, head, actions = write.found, changed_head(write, own), list[Action]()
    if found is not None or write.left is not None:
        row = found and found.row
        actions.append(change_index_row(quarantine, write.item, row, write.left, inserted=write.inserted))
    if found is None or head is None:
        return actions
    sets: dict[str, Any] = {}
    if write.kept is not None and write.kept.record == head:
        sets[KEPT] = image_value(write.kept.counted)
    expires = None if retention_days is None else number(int(at) + retention_days * DAY_SECONDS)
    if write.supersedes:
        sets |= {"state": {"S": EntryState.SUPERSEDED.value}, "supersededAt": {"S": iso(at)}}
        sets |= {} if expires is None else {EXPIRY: expires}
    actions.append(_update_head(quarantine, head, found.state, sets))
    if write.supersedes and expires is not None:
        actions += [expire_part(quarantine, key, expires) for key in part_keys(head, found.parts)]
    return actions


def _update_head(quarantine: str, head: RecordKey, state: str | None, sets: Mapping[str, Any]) -> Action:
    """Sets attributes of a head row that has this state. One with another state leaves the index of pending records.

    One that keeps what is counted does not expire: it alone says why.
    """
    leaves = PENDING_KEY if "state" in sets else EXPIRY if sets[KEPT]["M"] else None
    removed = f" REMOVE {leaves}" if leaves is not None else ""
    return {
        "Update": {
            "TableName": quarantine,
            "Key": quarantine_key(*head),
            "UpdateExpression": f"SET {', '.join(f'#{name} = :{name}' for name in sets)}{removed}",
            "ConditionExpression": "#state = :found",
            "ExpressionAttributeNames": {"#state": "state", **{f"#{name}": name for name in sets}},
            "ExpressionAttributeValues": {
                ":found": {"S": state},
                **{f":{name}": value for name, value in sets.items()},
            },
        }
    }


def part_keys(record: RecordKey, parts: int) -> Iterator[dict[str, Any]]:
    """The keys of the part rows of a quarantined record."""
    return (quarantine_key(record.shard_id, f"{record.sequence_number}#{at}") for at in range(1, parts + 1))


def expire_part(quarantine: str, key: dict[str, Any], expires: dict[str, str]) -> Action:
    """It costs two units per KB of the part: nothing else makes head and parts expire together."""
    return {
        "Update": {
            "TableName": quarantine,
            "Key": key,
            "UpdateExpression": f"SET {EXPIRY} = :at",
            "ExpressionAttributeValues": {":at": expires},
        }
    }


def read_items(client: Any, quarantine: str, items: Sequence[str]) -> dict[str, FoundItem | None]:
    """The index rows of these items (at most 100), and then the head rows of their records, both consistently.

    Items of which it did not read all of that this time are missing. Raises CallFailed when it read none.
    """
    with translated():
        wanted = {_key_of(index_key(item)): item for item in items}
        stored, unread = _read(client, quarantine, [index_key(item) for item in items])
        rows: dict[str, IndexRow | None] = {}
        for key, item in wanted.items():
            if key not in unread:
                rows[item] = _checked(item, index_row(stored[key])) if key in stored else None
        records = {row.record for row in rows.values() if row is not None and row.record is not None}
        heads: dict[tuple[str, str], Item] = {}
        if records:
            heads, unread = _read(client, quarantine, [quarantine_key(*record) for record in sorted(records)])
    found: dict[str, FoundItem | None] = {}
    for item, row in rows.items():
        if row is None or row.record is None:
            found[item] = row and FoundItem(row)
        elif row.record not in unread:
            head = heads.get(row.record, {})
            found[item] = FoundItem(row, text(head, "state"), int(text(head, "parts", "N") or 0))
    if items and not found:
        raise CallFailed(FailureKind.THROTTLED, "BatchGetItem: no row was read")
    return found


def _read(
    client: Any, table: str, keys: list[dict[str, Any]]
) -> tuple[dict[tuple[str, str], Item], set[tuple[str, str]]]:
    """The rows that are there, by key, and the keys that were not read this time."""
    wanted = {"Keys": keys, "ConsistentRead": True}
    reply = decode_json(body_of_reply(client.batch_get_item(RequestItems={table: wanted})))
    left = reply.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ())
    rows = {_key_of(row): row for row in reply["Responses"].get(table, ())}
    return rows, {_key_of(key) for key in left} - rows.keys()


def _key_of(item: Item) -> tuple[str, str]:
    return item["shardId"]["S"], item["sequenceNumber"]["S"]


def _checked(item: str, row: IndexRow) -> IndexRow:
    """The row, if it is of this very item. Raises CallFailed: no record is to blame for a damaged row."""
    if _comparable(row.item) != _comparable(item):
        raise CallFailed(FailureKind.REJECTED, f"the index row of item {item} has the key {row.item}")
    return row._replace(item=item)


def _comparable(item: str) -> object:
    """A number can be written in several ways."""
    return {name: Decimal(value["N"]) if "N" in value else value for name, value in sorted(json.loads(item).items())}

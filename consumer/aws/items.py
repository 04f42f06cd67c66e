"""Rows of the lease and quarantine tables as DynamoDB items, and back. The encodings are a contract."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from consumer.domain.breaker import Circuit
from consumer.domain.leases import Birth, Lease, LeaseRow, Members, Pin, Shard, Vouch, label_of

Item = Mapping[str, Any]

MEMBERS_KEY: Final = "members"
SHARD_PREFIX: Final = "shard#"
STREAM_PREFIX: Final = "stream#"
WORKER_PREFIX: Final = "worker#"
BIRTH: Final = "#birth"
GAP: Final = "#gap"


def shard_key(shard: Shard) -> str:
    """`leaseKey` of a shard's row: shard ids are unique only within a stream."""
    return f"{SHARD_PREFIX}{label_of(shard.stream_arn)}#{shard.shard_id}"


def stream_key(stream_arn: str) -> str:
    """`leaseKey` of a stream's pin."""
    return f"{STREAM_PREFIX}{label_of(stream_arn)}"


def lease_key(key: str) -> dict[str, Any]:
    """The key of a row of the lease table."""
    return {"leaseKey": {"S": key}}


def number(value: int) -> dict[str, str]:
    """A whole number; DynamoDB writes numbers as text."""
    return {"N": str(value)}


def seconds(value: float) -> dict[str, str]:
    """Seconds, to the millisecond."""
    return {"N": f"{value:.3f}".rstrip("0").rstrip(".")}


def iso(unix: float) -> str:
    """A moment, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lease_item(row: LeaseRow) -> dict[str, Any]:
    """A shard's row."""
    item: dict[str, Any] = {
        **lease_key(shard_key(row.shard)),
        "streamArn": {"S": row.shard.stream_arn},
        "shardId": {"S": row.shard.shard_id},
        "leaseEpoch": number(row.epoch),
        "checkpoint": {"S": row.checkpoint},
    }
    if row.owner is not None:
        item["leaseOwner"] = {"S": row.owner}
    if row.parent is not None:
        item["parentShardId"] = {"S": row.parent}
    if row.circuit.resumes:
        item["resumes"] = number(row.circuit.resumes)
    if row.children:
        item["childShardIds"] = strings(row.children)
    if row.created is not None:
        item["checkpointCreatedAt"] = seconds(row.created)
    if row.unlisted_since is not None:
        item["unlistedSince"] = seconds(row.unlisted_since)
    return item


def lease_row(item: Item) -> LeaseRow:
    """A shard's row from its item."""
    created = text(item, "checkpointCreatedAt", "N")
    unlisted_since = text(item, "unlistedSince", "N")
    halted_at = text(item, "haltedAt", "N")
    circuit = Circuit(
        recent=int(text(item, "recentPoison") or "0", 16),
        halted_at=float(halted_at) if halted_at is not None else None,
        free_to=text(item, "freeTo"),
        resumes=int(text(item, "resumes", "N") or "0"),
    )
    return LeaseRow(
        shard=Shard(item["streamArn"]["S"], item["shardId"]["S"]),
        owner=text(item, "leaseOwner"),
        epoch=int(item["leaseEpoch"]["N"]),
        checkpoint=item["checkpoint"]["S"],
        parent=text(item, "parentShardId"),
        children=tuple(child["S"] for child in item.get("childShardIds", {}).get("L", ())),
        created=float(created) if created is not None else None,
        unlisted_since=float(unlisted_since) if unlisted_since is not None else None,
        circuit=circuit,
    )


def pin_item(pin: Pin) -> dict[str, Any]:
    """A stream's pin."""
    item: dict[str, Any] = {
        **lease_key(stream_key(pin.stream_arn)),
        "streamArn": {"S": pin.stream_arn},
        "rootShardIds": strings(pin.roots),
        "pinComplete": {"BOOL": pin.complete},
    }
    if pin.floor is not None:
        item["floor"] = seconds(pin.floor)
    return item


def pin_row(item: Item) -> Pin:
    """A stream's pin from its item."""
    floor, pinned_at = text(item, "floor", "N"), text(item, "pinnedAt", "N")
    return Pin(
        stream_arn=item["streamArn"]["S"],
        floor=float(floor) if floor is not None else None,
        roots=tuple(root["S"] for root in item["rootShardIds"]["L"]),
        complete=bool(item["pinComplete"]["BOOL"]),
        pinned_at=float(pinned_at) if pinned_at is not None else None,
    )


def birth_key(stream_arn: str) -> dict[str, Any]:
    """The key of a stream's birth row in the quarantine table."""
    return {"shardId": {"S": BIRTH}, "sequenceNumber": {"S": label_of(stream_arn)}}


def birth_item(birth: Birth) -> dict[str, Any]:
    """A stream's birth row."""
    return {
        **birth_key(birth.stream_arn),
        "streamArn": {"S": birth.stream_arn},
        "leaseTable": {"S": birth.lease_table},
        "leaderboardTable": {"S": birth.leaderboard_table},
    }


def birth_row(item: Item) -> Birth:
    """A stream's birth row from its item."""
    return Birth(item["streamArn"]["S"], item["leaseTable"]["S"], item["leaderboardTable"]["S"])


def gap_key(shard: Shard, checkpoint: str) -> dict[str, Any]:
    """The key of a gap row: one a shard and checkpoint, however often it is found."""
    return {"shardId": {"S": GAP}, "sequenceNumber": {"S": f"{shard}/{checkpoint}"}}


def vouch_value(vouch: Vouch) -> dict[str, Any]:
    """A beat, as a worker's attribute of the `members` item."""
    return {
        "M": {
            "beat": number(vouch.beat),
            "shards": number(vouch.shards),
            "behind": number(vouch.behind),
            "lagSeconds": seconds(vouch.lag_seconds),
            "asOf": seconds(vouch.as_of),
        }
    }


def vouch_of(value: Item) -> Vouch:
    """A beat from its attribute. Workers of older versions did not tell how many shards are behind."""
    told = value["M"]
    return Vouch(
        beat=int(told["beat"]["N"]),
        shards=int(told["shards"]["N"]),
        behind=int(text(told, "behind", "N") or 0),
        lag_seconds=float(told["lagSeconds"]["N"]),
        as_of=float(told["asOf"]["N"]),
    )


def members_of(item: Item) -> Members:
    """The `members` item."""
    workers = {
        name.removeprefix(WORKER_PREFIX): vouch_of(value)
        for name, value in item.items()
        if name.startswith(WORKER_PREFIX)
    }
    return Members(int(text(item, "changes", "N") or 0), workers)


def fence_values(lease: Lease) -> dict[str, Any]:
    """What FENCE compares with."""
    return {":me": {"S": lease.owner}, ":epoch": number(lease.epoch)}


FENCE: Final = "leaseOwner = :me AND leaseEpoch = :epoch"
"""Keeps a zombie out: only the holder of this very epoch passes."""
NEW_ROW: Final = "attribute_not_exists(leaseKey)"
"""Of the lease table: the row is not there yet."""


def pin_check(table: str, stream_arn: str, *, pinned: bool) -> dict[str, Any]:
    """The part of a transaction that demands the stream's pin in the lease table, or that there is none."""
    return {
        "ConditionCheck": {
            "TableName": table,
            "Key": lease_key(stream_key(stream_arn)),
            "ConditionExpression": "attribute_exists(leaseKey)" if pinned else NEW_ROW,
        }
    }


def strings(values: tuple[str, ...]) -> dict[str, Any]:
    """A list of strings."""
    return {"L": [{"S": value} for value in values]}


def is_date(stored: str) -> bool:
    """Whether a stored `lastPlayedDate` is a day that a calendar has, written YYYY-MM-DD."""
    try:
        return date.fromisoformat(stored).isoformat() == stored
    except ValueError:
        return False


def text(item: Item, name: str, tag: str = "S") -> str | None:
    """The attribute's value under its type tag, None when it has none."""
    value = item.get(name, {}).get(tag)
    return value if isinstance(value, str) else None

"""The real adapters on an engine as a subject, with tables of its own."""

import base64
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from consumer.aws.clients import Clients
from consumer.aws.commits import DynamoCommits
from consumer.aws.corrections import index_item, index_row, item_text, kept_of
from consumer.aws.items import shard_key
from consumer.aws.leases import DynamoLeases, DynamoMembership
from consumer.aws.operator_writes import DynamoCircuits
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.scans import DynamoScans
from consumer.aws.streams import DynamoStreams, RateLimiter
from consumer.aws.tables import (
    LEADERBOARD_KEYS,
    LEASE_KEYS,
    QUARANTINE_KEYS,
    DynamoPending,
    DynamoTableReader,
    DynamoTables,
)
from consumer.domain.audit import AuditEntry
from consumer.domain.corrections import IndexRow, RecordKey
from consumer.domain.leases import Shard, StreamStart, TableNames, is_sequence_number
from consumer.domain.marks import Mark
from consumer.domain.records import unpack
from consumer.domain.windows import window_of
from tests.contract.subject import Quarantined, Score, Subject, Value

Item = Mapping[str, Any]

AT_ONCE = RateLimiter(1e9)
"""Waits never: no engine limits DescribeStream."""

_BATCH = 25  # items that a BatchWriteItem takes


class DynamoSubject(Subject):
    """`clients` are shared by the tests, tables are not. `scanning` is a client for scans alone."""

    def __init__(self, name: str, clients: Clients, scanning: Any) -> None:
        self.name = name
        self.clients, self.scanning = clients, scanning
        prefix = f"contract.{secrets.token_hex(4)}"
        self.names = TableNames(f"{prefix}-leases", f"{prefix}-leaderboard", f"{prefix}-quarantine")
        self.source = f"{prefix}-source"
        self.tables = DynamoTables(clients.dynamodb, clients.streams, threading.Event())
        for table, keys in zip(self.names, (LEASE_KEYS, LEADERBOARD_KEYS, QUARANTINE_KEYS), strict=True):
            self.tables.ensure(table, keys)
        self.streams = DynamoStreams(clients.streams, clients.dynamodb, self.source, rate_limiter=AT_ONCE)
        self.ledgers = DynamoLeases(clients.dynamodb, self.names)
        self.membership = DynamoMembership(clients.dynamodb, self.names)
        self.commits = DynamoCommits(clients.dynamodb, self.names)
        self.pending_records = DynamoPending(clients.dynamodb, self.names)
        self.quarantine = self.quarantine_port(None)
        self.circuits = DynamoCircuits(clients.dynamodb, self.names)
        self.scans = DynamoScans(scanning, self.names, self.source)

    def commits_port(self, retention_days: int | None) -> DynamoCommits:
        """The commits, whose superseded records expire after so many days."""
        return DynamoCommits(self.clients.dynamodb, self.names, retention_days)

    def quarantine_port(self, retention_days: int | None) -> DynamoQuarantine:
        """The quarantine, whose settled records expire after so many days."""
        return DynamoQuarantine(self.clients.dynamodb, self.names, threading.Event(), retention_days)

    @contextmanager
    def calls(self) -> Iterator[list[str]]:
        """The names of the calls that were answered."""
        made: list[str] = []

        def note(model: Any, **_: object) -> None:
            made.append(model.name)

        bus = self.clients.dynamodb.meta.events
        bus.register("after-call.dynamodb", note)
        try:
            yield made
        finally:
            bus.unregister("after-call.dynamodb", note)

    def items(self, table: str) -> list[Item]:
        """All items of a table, in wire form."""
        pages = self.clients.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def board(self) -> dict[str, Score]:
        return {
            item["playerId"]["S"]: Score(
                _value(item, "gamesPlayed"), _value(item, "totalScore"), _value(item, "lastPlayedDate")
            )
            for item in self.items(self.names.leaderboard)
        }

    def marks(self) -> dict[str, Mark | None]:
        return {
            item["playerId"]["S"]: Mark(
                item["appliedShard"]["S"], item["appliedTo"]["S"], float(item["appliedAt"]["N"])
            )
            if "appliedShard" in item
            else None
            for item in self.items(self.names.leaderboard)
        }

    def windows(self, player: str) -> dict[str, tuple[Value, Value]]:
        (item,) = (each for each in self.items(self.names.leaderboard) if each["playerId"]["S"] == player)
        names = sorted({window for name in item if (window := window_of(name)) is not None})
        return {name: (_value(item, f"{name}_games"), _value(item, f"{name}_score")) for name in names}

    def put_windows(self, player: str, windows: Mapping[str, tuple[int, Decimal]]) -> None:
        for window, sums in windows.items():
            self.spoil(player, f"{window}_games", Decimal(sums[0]))
            self.spoil(player, f"{window}_score", sums[1])

    def put_player(self, player: str, score: Score, mark: Mark | None = None) -> None:
        item = {
            "playerId": {"S": player},
            "gamesPlayed": {"N": str(score.games)},
            "totalScore": {"N": str(score.total)},
        }
        if score.date is not None:
            item["lastPlayedDate"] = {"S": str(score.date)}
        if mark is not None:
            item |= {"appliedShard": {"S": mark.shard}, "appliedTo": {"S": mark.to}}
            item["appliedAt"] = {"N": str(mark.created)}
        self.clients.dynamodb.put_item(TableName=self.names.leaderboard, Item=item)

    def delete_player(self, player: str) -> None:
        self._delete(self.names.leaderboard, playerId=player)

    def quarantine_rows(self) -> dict[tuple[str, str], Quarantined]:
        rows = {(item["shardId"]["S"], item["sequenceNumber"]["S"]): item for item in self.items(self.names.quarantine)}
        found = {}
        for (shard_id, number), item in rows.items():
            if is_sequence_number(number):
                parts = int(item["parts"]["N"])
                wire = unpack(rows[shard_id, f"{number}#{part}"]["record"]["B"] for part in range(1, parts + 1))
                at = datetime.fromisoformat(item["quarantinedAt"]["S"]).timestamp()
                player = item.get("playerId", {}).get("S")
                state, reason, detail = (item[name]["S"] for name in ("state", "reason", "detail"))
                key = item_text(item["itemKey"]) if "itemKey" in item else None
                kept = kept_of(item, RecordKey(shard_id, number))
                found[shard_id, number] = Quarantined(state, reason, detail, player, at, parts, wire, key, kept)
        return found

    def index_rows(self) -> dict[str, IndexRow]:
        items = (item for item in self.items(self.names.quarantine) if item["shardId"]["S"].startswith("#item#"))
        return {row.item: row for row in map(index_row, items)}

    def put_index_row(self, row: IndexRow) -> None:
        self.clients.dynamodb.put_item(TableName=self.names.quarantine, Item=index_item(row))

    def delete_head(self, shard_id: str, sequence_number: str) -> None:
        self._delete(self.names.quarantine, shardId=shard_id, sequenceNumber=sequence_number)

    def gaps(self) -> dict[tuple[Shard, str], str | None]:
        return {
            (Shard(item["streamArn"]["S"], item["shard"]["S"]), item["from"]["S"]): item.get("to", {}).get("S")
            for item in self.items(self.names.quarantine)
            if item["shardId"]["S"] == "#gap" and "shard" in item
        }

    def stream_gaps(self) -> dict[tuple[str, str], float]:
        return {
            (item["streamArn"]["S"], item["from"]["S"]): datetime.fromisoformat(item["foundAt"]["S"]).timestamp()
            for item in self.items(self.names.quarantine)
            if item["shardId"]["S"] == "#gap" and "shard" not in item
        }

    def audit(self) -> list[AuditEntry]:
        rows = DynamoTableReader(self.clients.dynamodb, self.names, threading.Event()).audit_rows(newest_first=False)
        return [
            AuditEntry(
                row.pop("who"),
                datetime.fromisoformat(row.pop("at")).timestamp(),
                row.pop("act"),
                row.pop("target"),
                row,
            )
            for row in rows
        ]

    def everything(self) -> object:
        return {table: sorted(map(repr, self.items(table))) for table in self.names}

    def delete_row(self, shard: Shard) -> None:
        self._delete(self.names.leases, leaseKey=shard_key(shard))

    def delete_stream_start(self, stream_arn: str) -> None:
        self._delete(self.names.leases, leaseKey=f"stream#{stream_arn.rpartition('/')[2]}")

    def put_old_stream_start(self, start: StreamStart) -> None:
        item = {
            "leaseKey": {"S": f"stream#{start.stream_arn.rpartition('/')[2]}"},
            "streamArn": {"S": start.stream_arn},
            "rootShardIds": {"L": [{"S": root} for root in start.roots]},
            "pinComplete": {"BOOL": start.complete},
            "pinnedAt": {"N": str(start.started_at)},
        }
        if start.start_time is not None:
            item["floor"] = {"N": str(start.start_time)}
        self.clients.dynamodb.put_item(TableName=self.names.leases, Item=item)

    def put_old_heartbeat(self, owner: str, number: int) -> None:
        report = {"beat": number, "shards": 0, "behind": 0, "lagSeconds": 0, "asOf": 0, "unknown": 0}
        self.clients.dynamodb.update_item(
            TableName=self.names.leases,
            Key={"leaseKey": {"S": "members"}},
            UpdateExpression="SET #worker = :report",
            ExpressionAttributeNames={"#worker": f"worker#{owner}"},
            ExpressionAttributeValues={":report": {"M": {name: {"N": str(value)} for name, value in report.items()}}},
        )

    def delete_binding(self, stream_arn: str) -> None:
        self._delete(self.names.quarantine, shardId="#birth", sequenceNumber=stream_arn.rpartition("/")[2])

    def delete_gap(self, shard: Shard, checkpoint: str) -> None:
        self._delete(self.names.quarantine, shardId="#gap", sequenceNumber=f"{shard}/{checkpoint}")

    def spoil(self, player: str, attribute: str, value: Decimal | str) -> None:
        self._set(self.names.leaderboard, {"playerId": {"S": player}}, attribute, value)

    def delete_attribute(self, player: str, attribute: str) -> None:
        self.clients.dynamodb.update_item(
            TableName=self.names.leaderboard, Key={"playerId": {"S": player}}, UpdateExpression=f"REMOVE {attribute}"
        )

    def mark(self, shard_id: str, sequence_number: str, state: str) -> None:
        key = {"shardId": {"S": shard_id}, "sequenceNumber": {"S": sequence_number}}
        self._set(self.names.quarantine, key, "state", state)

    def make_source(self, keys: Sequence[str] = ("gameId",), view: str = "NEW_IMAGE") -> Shard:
        roles = zip(keys, ("HASH", "RANGE"), strict=False)
        reply = self.clients.dynamodb.create_table(
            TableName=self.source,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in roles],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        return self._first_shard(reply)

    def write(self, items: Sequence[Item]) -> None:
        for at in range(0, len(items), _BATCH):
            batch = [{"PutRequest": {"Item": _for_boto3(item)}} for item in items[at : at + _BATCH]]
            reply = self.clients.dynamodb.batch_write_item(RequestItems={self.source: batch})
            assert not reply["UnprocessedItems"]

    def overwrite(self, item: Item) -> None:
        self.clients.dynamodb.put_item(TableName=self.source, Item=_for_boto3(item))

    def remove(self, game_id: str) -> None:
        self.clients.dynamodb.delete_item(TableName=self.source, Key={"gameId": {"S": game_id}})

    def switch_off(self) -> None:
        self.clients.dynamodb.update_table(TableName=self.source, StreamSpecification={"StreamEnabled": False})

    def switch_on(self, view: str = "NEW_IMAGE") -> Shard:
        specification = {"StreamEnabled": True, "StreamViewType": view}
        return self._first_shard(
            self.clients.dynamodb.update_table(TableName=self.source, StreamSpecification=specification)
        )

    def _first_shard(self, reply: Item) -> Shard:
        arn = reply["TableDescription"]["LatestStreamArn"]
        (shard,) = self.clients.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        return Shard(arn, shard["ShardId"])

    def _delete(self, table: str, **key: str) -> None:
        found = self.clients.dynamodb.delete_item(
            TableName=table, Key={name: {"S": value} for name, value in key.items()}, ReturnValues="ALL_OLD"
        )
        assert "Attributes" in found, f"{key} is not there"

    def _set(self, table: str, key: dict[str, Any], attribute: str, value: Decimal | str) -> None:
        self.clients.dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET #attribute = :value",
            ExpressionAttributeNames={"#attribute": attribute},
            ExpressionAttributeValues={":value": {"S": value} if isinstance(value, str) else {"N": str(value)}},
        )


def _value(item: Item, name: str) -> Value:
    if name not in item:
        return None
    ((tag, text),) = item[name].items()
    assert tag in ("S", "N"), tag
    return Decimal(text) if tag == "N" else str(text)


def _for_boto3(value: Any, tag: str = "") -> Any:
    """boto3 takes binary as bytes; on the wire it is text."""
    if isinstance(value, Mapping):
        return {name: _for_boto3(inner, name if len(value) == 1 else "") for name, inner in value.items()}
    if isinstance(value, list):
        return [_for_boto3(inner, "B" if tag == "BS" else "") for inner in value]
    return base64.b64decode(value) if tag == "B" else value

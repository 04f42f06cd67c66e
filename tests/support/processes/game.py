"""A game: its source table on an engine, what was played, and the three tables that a worker writes."""

import random
import secrets
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple, Self

from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS, DynamoTables
from consumer.domain.records import unpack
from tests.support.engines import TableEngine
from tests.support.processes.expected import Expected, Row, differences, read_board
from tests.support.processes.proxy import Proxy
from tests.support.processes.waiting import until
from tests.support.processes.worker_process import WorkerProcess

Item = dict[str, Any]

_BATCH = 25  # items a BatchWriteItem takes
FIRST_GAME = datetime(2026, 1, 1, tzinfo=UTC)


class Played(NamedTuple):
    """A record of the stream: its sequence number, creation (unix seconds) and new image, if any."""

    sequence_number: str
    created: float
    image: Item | None


class Game:
    """Use it in a `with`: then its workers, and the connections, are gone after the test."""

    def __init__(self, engine: TableEngine, seed: int = 0, *, made: bool = True, keyed: bool = True) -> None:
        """`made`: with the three tables that `consumer init` makes. `keyed`: by player, else by match."""
        name = f"game-{secrets.token_hex(4)}"
        self.engine = engine
        self.expected = Expected()
        self.poison: list[Item] = []
        self.tables = {table: f"{name}-{table}" for table in ("source", "leaderboard", "lease", "quarantine")}
        self._random = random.Random(seed)
        self._made = made
        self._keys = {"playerId": "HASH", "timestamp": "RANGE"} if keyed else {"matchId": "HASH"}
        self._made_games = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.client, self.streams = self.engine.client("dynamodb"), self.engine.client("dynamodbstreams")
        self._stack.callback(self.client.close)
        self._stack.callback(self.streams.close)
        self.client.create_table(
            TableName=self.tables["source"],
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": role} for name, role in self._keys.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in self._keys],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        if self._made:
            self.make_tables()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def make_tables(self) -> None:
        """Makes the three tables of `consumer init`, under their current names."""
        tables = DynamoTables(self.client, self.streams, threading.Event())
        for name, keys in (("leaderboard", LEADERBOARD_KEYS), ("lease", LEASE_KEYS), ("quarantine", QUARANTINE_KEYS)):
            tables.ensure(self.tables[name], keys)

    def environment(self, proxy: Proxy | None = None, **settings: str) -> dict[str, str]:
        """The environment of a worker of this game. `settings` are CONSUMER_ variables, without the prefix."""
        chosen = {f"{table}_table": name for table, name in self.tables.items()}
        chosen |= {"worker_id": "w1", "http_port": "0", "log_level": "DEBUG", "log_format": "json", **settings}
        ours = {f"CONSUMER_{name.upper()}": value for name, value in chosen.items()}
        return self.engine.environment() | (proxy.variables() if proxy else {}) | ours

    def worker(
        self, proxy: Proxy | None = None, *, entry: tuple[str, ...] = ("-m", "consumer"), **settings: str
    ) -> WorkerProcess:
        """Starts one; it is killed after the test at the latest."""
        return self._stack.enter_context(WorkerProcess(self.environment(proxy, **settings), entry))

    # --- playing ---

    def play(self, records: int, players: int, poison: float = 0.0) -> None:
        """Games of random players with random scores and dates; the share `poison` of them can never count."""
        batch: list[Item] = []
        for _ in range(records):
            item = self.make(f"player-{self._random.randrange(players):05}")
            if self._random.random() < poison:
                self.poison.append(self._spoil(item))
            else:
                self.expected.count(item)
            batch.append(item)
        self.put(batch)

    def make(self, player: str, score: str | None = None, timestamp: str | None = None) -> Item:
        """A game's item that is like no other; not written yet."""
        self._made_games += 1
        seed = self._random
        zone = timezone(timedelta(hours=seed.randint(-12, 14))) if seed.random() < 0.3 else UTC
        time = FIRST_GAME + timedelta(seconds=seed.randrange(30 * 86_400), microseconds=self._made_games)
        some = Decimal(seed.randint(-(10**6), 10**12)).scaleb(-seed.randint(0, 4))
        match = {} if "matchId" not in self._keys else {"matchId": {"S": f"match-{self._made_games:08}"}}
        return {
            **match,
            "playerId": {"S": player},
            "timestamp": {"S": timestamp or time.astimezone(zone).isoformat(timespec="microseconds")},
            "score": {"N": score or f"{some.normalize():f}"},  # as the engine writes it
        }

    def _spoil(self, item: Item) -> Item:
        """Makes it poison, in one of four ways; it stays like no other."""
        match self._random.randrange(4):
            case 0:
                del item["score"]
            case 1:
                item["score"] = {"S": "many"}
            case 2:
                item["timestamp"] = {"S": "2026-02-30T" + item["timestamp"]["S"][11:]}
                item["why"] = {"S": f"no such day ({self._made_games})"}
            case _:
                item["timestamp"] = {"S": f"yesterday, {self._made_games}"}
        return item

    def put(self, items: Iterable[Item]) -> None:
        """Writes items with BatchWriteItem, in order."""
        source, waiting = self.tables["source"], list(items)
        while waiting:
            now, waiting = waiting[:_BATCH], waiting[_BATCH:]
            puts = [{"PutRequest": {"Item": item}} for item in now]
            unprocessed = self.client.batch_write_item(RequestItems={source: puts})["UnprocessedItems"]
            waiting = [request["PutRequest"]["Item"] for request in unprocessed.get(source, [])] + waiting

    def count(self, *items: Item) -> None:
        """Writes games and adds them to the expected board."""
        self.put(items)
        for item in items:
            self.expected.count(item)

    # --- reading ---

    @property
    def stream_arn(self) -> str:
        """The source table's newest stream."""
        return str(self.client.describe_table(TableName=self.tables["source"])["Table"]["LatestStreamArn"])

    def played(self) -> list[Played]:
        """The whole stream, read without the product."""
        arn = self.stream_arn
        shards = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        assert len(shards) == 1, "neither engine splits a shard"
        iterator = self.streams.get_shard_iterator(
            StreamArn=arn, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[Played] = []
        while True:
            page = self.streams.get_records(ShardIterator=iterator, Limit=1000)
            changes = [record["dynamodb"] for record in page["Records"]]
            found += [
                Played(
                    change["SequenceNumber"], change["ApproximateCreationDateTime"].timestamp(), change.get("NewImage")
                )
                for change in changes
            ]
            if not changes:
                return found
            iterator = page["NextShardIterator"]

    def rows(self, table: str) -> list[Item]:
        """All items of one of the four tables."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.tables[table], ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def lease(self) -> Item | None:
        """The shard's row."""
        found = [row for row in self.rows("lease") if row["leaseKey"]["S"].startswith("shard#")]
        assert len(found) <= 1
        return found[0] if found else None

    def checkpoint(self) -> str | None:
        """The shard's checkpoint, None without a row."""
        lease = self.lease()
        return lease["checkpoint"]["S"] if lease else None

    def wait_until_consumed(self, seconds: float = 60.0) -> None:
        """Until the checkpoint is the last record that the stream has now."""
        last = self.played()[-1].sequence_number
        until(lambda: self.checkpoint() == last, f"checkpoint {last}, it is {self.checkpoint()}", seconds)

    def board(self) -> dict[str, Row]:
        """The leaderboard as it is stored."""
        return read_board(self.client, self.tables["leaderboard"])

    def assert_exact(self, right: Mapping[str, Row] | None = None) -> None:
        """The board is as expected to the digit; the quarantine holds every poison record whole, and no other."""
        wrong = differences(self.board(), self.expected.rows if right is None else right)
        assert not wrong, f"{len(wrong)} rows are wrong, such as {wrong[:5]}"
        quarantined = {_key(record["dynamodb"]["NewImage"]): record for record in self.quarantined_by_shard().values()}
        poison = {_key(item): item for item in self.poison}
        assert quarantined.keys() == poison.keys()
        for key, record in quarantined.items():
            assert record["dynamodb"]["NewImage"] == poison[key], key

    def quarantined(self) -> dict[str, dict[str, Any]]:
        """The wire records in quarantine by sequence number, where there is one shard."""
        found = self.quarantined_by_shard()
        assert len({shard for shard, _ in found}) <= 1, "a number is a shard's own"
        return {number: record for (_, number), record in found.items()}

    def quarantined_by_shard(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The wire records in quarantine, from their parts, by shard and sequence number."""
        found = [row for row in self.rows("quarantine") if row["shardId"]["S"][0] != "#"]
        rows = {(row["shardId"]["S"], row["sequenceNumber"]["S"]): row for row in found}
        entries = [place for place in rows if "#" not in place[1]]
        records: dict[tuple[str, str], dict[str, Any]] = {}
        for shard, number in entries:
            count = int(rows[shard, number]["parts"]["N"])
            parts = [rows.pop((shard, f"{number}#{part}")) for part in range(1, count + 1)]
            records[shard, number] = unpack(part["record"]["B"] for part in parts)
        assert rows.keys() == set(entries), "a part without a head row"
        return records


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["playerId"]["S"], item["timestamp"]["S"]

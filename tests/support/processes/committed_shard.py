"""Shards committed as a worker does, without a worker: for tests of what operators do with them afterwards."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from consumer.aws.commits import DynamoCommits
from consumer.aws.items import binding_item, lease_item, stream_start_item
from consumer.aws.quarantine import DynamoQuarantine
from consumer.aws.streams import DynamoStreams
from consumer.aws.tables import LEADERBOARD_KEYS, DynamoTables
from consumer.domain.audit import AuditEntry
from consumer.domain.cut import cut
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON, Lease, LeaseRow, Shard, StreamStart, TableBinding, TableNames
from consumer.domain.quarantine import OperatorAction, QuarantineEntry
from consumer.domain.records import Entry, Rules, decode
from consumer.domain.replies import Committed, Done, Refused
from consumer.operations.quarantine import Applied, QuarantineService, Repair
from tests.support import builders
from tests.support.builders import CREATED, plain_rows
from tests.support.commands import finish
from tests.support.engines import TableEngine
from tests.support.processes.expected import Expected
from tests.support.processes.game import Game, Item

OWNER = "no-worker/0"


class CommittedShard:
    """The game's first shard, its records in wire form, and its row in the lease table."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.wires: list[Mapping[str, Any]] = []
        arn = game.client.describe_table(TableName=game.tables["source"])["Table"]["LatestStreamArn"]
        first = game.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
        self.shard = Shard(arn, first["ShardId"])
        self._streams = DynamoStreams(game.engine.client("dynamodbstreams"))
        self._lease = Lease(self.shard, OWNER, 7)
        self._checkpoint = TRIM_HORIZON
        stream_start, row = (
            StreamStart(arn, None, (self.shard.shard_id,), complete=True),
            LeaseRow(self.shard, OWNER, 7, TRIM_HORIZON),
        )
        for item in (stream_start_item(stream_start), lease_item(row)):
            game.client.put_item(TableName=game.tables["lease"], Item=item)
        bind(game, arn)

    @property
    def numbers(self) -> list[str]:
        """The records' sequence numbers, in order."""
        return [wire["dynamodb"]["SequenceNumber"] for wire in self.wires]

    def commit(self) -> list[str]:
        """Commits all that was written since; the sequence numbers of that."""
        commits = self._commits()
        known = len(self.wires)
        iterator: str | None = self._streams.open(self.shard, self._checkpoint)
        while iterator is not None:
            page = self._streams.read(iterator, 1000)
            iterator = page.next_iterator
            if not page.records:
                break
            self.wires += page.records
        waiting: list[Entry] = [decode(wire, Rules(), None) for wire in self.wires[known:]]
        while waiting:
            unit = cut(waiting, self._checkpoint, Limits(actions=90), 0.0)
            reply = commits.commit(self._lease, unit, plain_rows(unit), fills_gap=False)
            if isinstance(reply, Refused) and reply.later:
                reply = commits.commit(self._lease, unit, plain_rows(unit, reply.later), fills_gap=False)
            assert reply == Committed()
            del waiting[: unit.records]
            self._checkpoint = unit.last
        return self.numbers[known:]

    def write(self, *items: Item) -> list[str]:
        """Writes these and commits them; their sequence numbers."""
        self.game.put(items)
        return self.commit()

    def expected(self) -> Expected:
        """The board of all records, when none is poison."""
        expected = Expected()
        for wire in self.wires:
            expected.count(wire["dynamodb"]["NewImage"])
        return expected

    def finish(self) -> None:
        """Ends the shard: all of it is committed."""
        assert self._commits().end(self._lease, self._checkpoint, (), ()) == Committed()

    def redrive(self, number: str, **values: str) -> None:
        """Counts a quarantined record, with these fields set."""
        service = QuarantineService(
            self._quarantine(), self._commits(), lambda: (), lambda: "me", lambda: CREATED, lambda: number
        )
        repair = Repair(values, only_wrong=False)
        assert isinstance(finish(service.redrive(self._entry(number), repair)), Applied)

    def discard(self, number: str) -> None:
        """Discards a quarantined record."""
        entry = self._entry(number)
        assert (
            self._quarantine().discard(
                [OperatorAction(entry, number, AuditEntry("me", CREATED, "discard", str(entry)))], "no"
            )
            == Done()
        )

    def make_board(self, name: str) -> None:
        """Another, empty leaderboard table."""
        DynamoTables(self.game.client, self.game.streams, threading.Event()).ensure(name, LEADERBOARD_KEYS)

    def reset(self) -> None:
        """Empties the leaderboard."""
        for row in self.game.rows("leaderboard"):
            self.game.client.delete_item(TableName=self.game.tables["leaderboard"], Key={"playerId": row["playerId"]})

    def _commits(self) -> DynamoCommits:
        return DynamoCommits(self.game.client, self._table_names())

    def _quarantine(self) -> DynamoQuarantine:
        return DynamoQuarantine(self.game.client, self._table_names(), threading.Event())

    def _table_names(self) -> TableNames:
        tables = self.game.tables
        return TableNames(tables["lease"], tables["leaderboard"], tables["quarantine"])

    def _entry(self, number: str) -> QuarantineEntry:
        entry = self._quarantine().entry(self.shard.shard_id, number)
        assert entry is not None
        return entry


@contextmanager
def committed_shard(engine: TableEngine, seed: int = 0) -> Iterator[CommittedShard]:
    """A game with its tables, and nothing played yet."""
    with Game(engine, seed) as game:
        yield CommittedShard(game)


def bind(game: Game, stream_arn: str) -> None:
    """Writes the stream's table binding, as a worker's first start does."""
    binding = TableBinding(stream_arn, game.tables["lease"], game.tables["leaderboard"])
    game.client.put_item(TableName=game.tables["quarantine"], Item=binding_item(binding))


def commit_wires(
    game: Game, wires: Iterable[Mapping[str, Any]], shard: Shard | None = None, *, bound: bool = True
) -> None:
    """Commits these records for a shard that has no row yet: poison among them is in quarantine then.

    `bound`: the stream has its table binding, though the lease table has no row of the stream.
    """
    lease = Lease(shard or builders.shard(), OWNER, 7)
    names = (game.tables["lease"], game.tables["leaderboard"], game.tables["quarantine"])
    row = LeaseRow(lease.shard, lease.owner, lease.epoch, TRIM_HORIZON)
    game.client.put_item(TableName=names[0], Item=lease_item(row))
    if bound:
        bind(game, lease.shard.stream_arn)
    commits = DynamoCommits(game.client, TableNames(*names))
    waiting = [decode(wire, Rules(), None) for wire in wires]
    checkpoint = TRIM_HORIZON
    while waiting:
        unit = cut(waiting, checkpoint, Limits(actions=40), builders.CREATED)
        assert commits.commit(lease, unit, plain_rows(unit), fills_gap=False) == Committed()
        del waiting[: unit.records]
        checkpoint = unit.last

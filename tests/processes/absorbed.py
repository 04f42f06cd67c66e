"""A game that a worker has consumed, without one: for tests of what people do with its shards afterwards."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from consumer.aws.commit import DynamoCommits
from consumer.aws.items import lease_item, pin_item
from consumer.aws.redrive import DynamoRedrives
from consumer.aws.stream import DynamoStreams
from consumer.aws.tables import LEADERBOARD_KEYS, DynamoTables
from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Limits, cut
from consumer.domain.leases import Lease, LeaseRow, Pin, Shard
from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Act, Head
from consumer.domain.records import Entry, Rules, decode
from consumer.operations.acts import drive, perform
from consumer.operations.redrive import Applied, Redrive, Repair
from tests.builders import CREATED
from tests.engines import TableEngine
from tests.processes.game import Game, Item
from tests.processes.tally import Tally

OWNER = "nobody/0"


class Absorbed:
    """The game's first shard, its records in wire form, and its ledger, which is as far as `absorb` was told."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.wires: list[Mapping[str, Any]] = []
        arn = game.client.describe_table(TableName=game.tables["source"])["Table"]["LatestStreamArn"]
        first = game.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
        self.shard = Shard(arn, first["ShardId"])
        self._streams = DynamoStreams(game.engine.client("dynamodbstreams"))
        self._lease = Lease(self.shard, OWNER, 7)
        self._checkpoint = TRIM_HORIZON
        pin, row = Pin(arn, None, (self.shard.shard_id,), complete=True), LeaseRow(self.shard, OWNER, 7, TRIM_HORIZON)
        for item in (pin_item(pin), lease_item(row)):
            game.client.put_item(TableName=game.tables["lease"], Item=item)

    @property
    def numbers(self) -> list[str]:
        """Of the records, in order."""
        return [wire["dynamodb"]["SequenceNumber"] for wire in self.wires]

    def absorb(self) -> list[str]:
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
            reply = commits.commit(self._lease, unit, frozenset(), fills_gap=False)
            if isinstance(reply, Refused) and reply.later:
                reply = commits.commit(self._lease, unit, frozenset(reply.later), fills_gap=False)
            assert reply == Committed()
            del waiting[: unit.records]
            self._checkpoint = unit.last
        return self.numbers[known:]

    def write(self, *items: Item) -> list[str]:
        """Writes these and commits them; their sequence numbers."""
        self.game.put(items)
        return self.absorb()

    def tally(self) -> Tally:
        """What all records count for, when none is poison."""
        tally = Tally()
        for wire in self.wires:
            tally.count(wire["dynamodb"]["NewImage"])
        return tally

    def finish(self) -> None:
        """The shard has ended, and all of it is committed."""
        assert self._commits().end(self._lease, self._checkpoint, (), ()) == Committed()

    def redrive(self, number: str, **values: str) -> None:
        """Counts a quarantined record, with these fields set."""
        quarantine, commits = self._ward(), self._commits()
        machine = Redrive(self._head(number), Repair(values, only_wrong=False), Rules(), "me", CREATED, number)
        drive(machine, lambda call: perform(call, quarantine, commits))
        assert isinstance(machine.result, Applied)

    def discard(self, number: str) -> None:
        """Puts a quarantined record away."""
        head = self._head(number)
        assert self._ward().discard(Act(head, number, Trace("me", CREATED, "discard", str(head))), "no") == Done()

    def make_board(self, name: str) -> None:
        """Another, empty leaderboard table."""
        DynamoTables(self.game.client, self.game.streams, threading.Event()).ensure(name, LEADERBOARD_KEYS)

    def reset(self) -> None:
        """Empties the leaderboard."""
        for row in self.game.rows("leaderboard"):
            self.game.client.delete_item(TableName=self.game.tables["leaderboard"], Key={"playerId": row["playerId"]})

    def _commits(self) -> DynamoCommits:
        tables = self.game.tables
        return DynamoCommits(self.game.client, tables["lease"], tables["leaderboard"], tables["quarantine"])

    def _ward(self) -> DynamoRedrives:
        return DynamoRedrives(
            self.game.client, self.game.tables["leaderboard"], self.game.tables["quarantine"], threading.Event()
        )

    def _head(self, number: str) -> Head:
        head = self._ward().head(self.shard.shard_id, number)
        assert head is not None
        return head


@contextmanager
def absorbed(engine: TableEngine, seed: int = 0) -> Iterator[Absorbed]:
    """A game with its tables, and nothing played yet."""
    with Game(engine, seed) as game:
        yield Absorbed(game)

"""A subject of the contract suite: the ports, and methods that read the tables behind them or change rows directly."""

import abc
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from consumer.domain.audit import AuditEntry
from consumer.domain.breaker import Breaker
from consumer.domain.corrections import IndexRow, KeptImage
from consumer.domain.cut import cut
from consumer.domain.fold import IN_TRANSACTION, Limits, Unit
from consumer.domain.leases import TRIM_HORIZON, LeaseRow, Shard, StreamStart, TableNames
from consumer.domain.marks import Mark, RowWrite
from consumer.domain.operator_ports import Circuits, Quarantine, Scans
from consumer.domain.ports import Commits, Ledgers, Membership, PendingRecords, Streams
from consumer.domain.records import Entry
from consumer.domain.replies import Done, RowReply
from tests.contract.differences import Difference
from tests.support.builders import ARN, CREATED

Value = Decimal | str | None
"""A stored attribute: a number, a string, or not there."""


class Score(NamedTuple):
    """A player's row as it is stored, whatever the types."""

    games: Value
    total: Value
    date: Value


class Quarantined(NamedTuple):
    """A quarantined record: its head row, and the record from its parts. `item` and `kept`: see domain.corrections."""

    state: str
    reason: str
    detail: str
    player: str | None
    at: float
    parts: int
    record: Mapping[str, Any]
    item: str | None = None
    kept: KeptImage | None = None


class Subject(abc.ABC):
    """The ports under test. `names`: the lease, the leaderboard and the quarantine table."""

    name: str
    names: TableNames
    streams: Streams
    ledgers: Ledgers
    membership: Membership
    commits: Commits
    pending_records: PendingRecords
    quarantine: Quarantine
    circuits: Circuits
    scans: Scans

    def has(self, difference: Difference) -> bool:
        """Whether this subject has this known difference from AWS."""
        return self.name in difference.subjects

    @abc.abstractmethod
    def board(self) -> dict[str, Score]:
        """The leaderboard by player."""

    @abc.abstractmethod
    def marks(self) -> dict[str, Mark | None]:
        """The mark of each row of the leaderboard by player."""

    @abc.abstractmethod
    def windows(self, player: str) -> dict[str, tuple[Value, Value]]:
        """Games and score of each window of a player's row."""

    @abc.abstractmethod
    def put_windows(self, player: str, windows: Mapping[str, tuple[int, Decimal]]) -> None:
        """Sets games and score of windows of a player's row."""

    @abc.abstractmethod
    def put_player(self, player: str, score: Score, mark: Mark | None = None) -> None:
        """Puts a player's row, as another worker or an operator left it."""

    @abc.abstractmethod
    def delete_player(self, player: str) -> None:
        """Deletes a player's row."""

    @abc.abstractmethod
    def quarantine_rows(self) -> dict[tuple[str, str], Quarantined]:
        """Quarantined records by shard id and sequence number."""

    @abc.abstractmethod
    def index_rows(self) -> dict[str, IndexRow]:
        """The index rows by item."""

    @abc.abstractmethod
    def put_index_row(self, row: IndexRow) -> None:
        """Puts an index row, as another worker or an operator left it."""

    @abc.abstractmethod
    def delete_head(self, shard_id: str, sequence_number: str) -> None:
        """Deletes a head row, as when it expires."""

    @abc.abstractmethod
    def gaps(self) -> dict[tuple[Shard, str], str | None]:
        """Where gaps end, if that is known, by shard and checkpoint."""

    @abc.abstractmethod
    def stream_gaps(self) -> dict[tuple[str, str], float]:
        """When gaps between streams were found, by the newer stream's ARN and the older one's label."""

    @abc.abstractmethod
    def audit(self) -> list[AuditEntry]:
        """What operators did, oldest first."""

    @abc.abstractmethod
    def everything(self) -> object:
        """All that the tables hold. The value is only good for comparisons."""

    @abc.abstractmethod
    def delete_row(self, shard: Shard) -> None:
        """Deletes a shard's row."""

    @abc.abstractmethod
    def delete_stream_start(self, stream_arn: str) -> None:
        """Deletes a stream's row."""

    @abc.abstractmethod
    def put_old_stream_start(self, start: StreamStart) -> None:
        """Puts a stream's row exactly as version 0.1 wrote it."""

    @abc.abstractmethod
    def put_old_heartbeat(self, owner: str, number: int) -> None:
        """Puts a heartbeat of a worker of version 0.1 into `members`."""

    @abc.abstractmethod
    def delete_binding(self, stream_arn: str) -> None:
        """Deletes a stream's table binding."""

    @abc.abstractmethod
    def delete_gap(self, shard: Shard, checkpoint: str) -> None:
        """Deletes a gap row."""

    @abc.abstractmethod
    def spoil(self, player: str, attribute: str, value: Decimal | str) -> None:
        """Sets one attribute of a player's row, whatever type it should have."""

    @abc.abstractmethod
    def delete_attribute(self, player: str, attribute: str) -> None:
        """Deletes one attribute of a player's row."""

    @abc.abstractmethod
    def mark(self, shard_id: str, sequence_number: str, state: str) -> None:
        """Sets the state of a quarantined record."""

    @abc.abstractmethod
    def make_source(self, keys: Sequence[str] = ("gameId",)) -> Shard:
        """A source table with a partition key, perhaps a sort key, and a stream; the stream's only shard."""

    @abc.abstractmethod
    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Puts new items (in wire form) into the source, in order."""

    @abc.abstractmethod
    def overwrite(self, item: Mapping[str, Any]) -> None:
        """Puts an item in place of one with its key."""

    @abc.abstractmethod
    def remove(self, game_id: str) -> None:
        """Deletes an item from the source."""

    @abc.abstractmethod
    def switch_off(self) -> None:
        """Switches the stream off."""

    @abc.abstractmethod
    def switch_on(self) -> Shard:
        """Switches a stream on again, a new one; its only shard."""

    def row(self, shard: Shard) -> LeaseRow | None:
        """A shard's row, if it has one."""
        return next((row for row in self.ledgers.load().rows if row.shard == shard), None)

    def write_row(self, write: RowWrite) -> RowReply:
        """The reply to a single write, which is a call of its own."""
        (reply,) = self.commits.write_rows([write])
        return reply

    def create_root_rows(self, *rows: LeaseRow) -> None:
        """Starts the stream if it has not started, and puts these rows."""
        if not self.ledgers.load().stream_starts:
            assert self.ledgers.record_stream_start(StreamStart(ARN, None, (), complete=False), None, CREATED) == Done()
        assert self.ledgers.create_root_rows(ARN, rows) == Done()


def marked_unit(*entries: Entry, previous: str = TRIM_HORIZON) -> Unit:
    """One unit of all these entries, where rows have marks and none of the entries is dealt with."""
    made = cut(entries, previous, Limits(breaker=Breaker(first=100)), CREATED + 60, place_of=lambda *_: IN_TRANSACTION)
    assert made.records == len(entries)
    return made


def unit(*entries: Entry, previous: str = TRIM_HORIZON) -> Unit:
    """One unit of all these entries."""
    made = cut(entries, previous, Limits(breaker=Breaker(first=100)), CREATED + 60)
    assert made.records == len(entries)
    return made

"""Drives a shard whose rows have marks: the board in memory answers, or the test does."""

from collections.abc import Mapping

from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.records import Entry, Rules
from consumer.domain.replies import Committed, Done, RowReply
from consumer.domain.windows import Calendar
from consumer.worker import events
from consumer.worker.calls import Ports, Reply, execute
from consumer.worker.known_rows import NO_CALENDAR
from consumer.worker.shard_calls import MoveCheckpoint, Open, Read, ReadRows, ShardCall, WriteRows
from consumer.worker.tuning import Tuning
from tests.support.builders import ARN, CREATED, ME, page, row, sequence_number, shard
from tests.support.drivers import ShardDriver
from tests.support.fakes import FakeStreams, FakeTables

HERE = str(shard())
"""The shard, as marks name it."""
ONE_BY_ONE = Tuning(wall_offset_seconds=CREATED, writes_per_call=1)
"""Each write is a call of its own, so that a test says in which order they are answered."""


def mark(position: int = 0, shard_name: str = HERE) -> Mark:
    """The mark of the record at this position."""
    return Mark(shard_name, sequence_number(position), CREATED + position)


def marked(position: int = 0, shard_name: str = HERE, date: str | None = None) -> StoredRow:
    """A row with that mark."""
    return StoredRow(mark=mark(position, shard_name), date=date)


class MarkedShard(ShardDriver):
    """A keyed shard with its first records read. `tables` answers where the test does not."""

    def __init__(
        self,
        *entries: Entry,
        tuning: Tuning | None = None,
        tables: FakeTables | None = None,
        keyed: bool = True,
        calendar: Calendar = NO_CALENDAR,
    ) -> None:
        super().__init__(row(owner=ME), tuning or ONE_BY_ONE, keyed=keyed, calendar=calendar)
        self.tables = tables or FakeTables()
        self.tables.rows[shard()] = self.row
        self.streams = FakeStreams(lambda: CREATED, ARN)
        self.streams.add_shard("shard-0")
        self.ports = Ports(self.streams, self.tables, self.tables, self.tables, Rules())
        self.answer(Open, "first")
        self.answer(Read, page(*entries, then="second"))

    def knows(self, rows: Mapping[str, StoredRow]) -> "MarkedShard":
        """These rows are read."""
        while reads := self.reads():
            for call in reads:
                self.reply(call, {player: rows.get(player, ABSENT) for player in call.players})
        return self

    def reads(self) -> list[ReadRows]:
        """The reads of rows in flight."""
        return [call for call in self.start_due() if isinstance(call, ReadRows)]

    def write_calls(self) -> list[WriteRows]:
        """The calls in flight that write rows."""
        return [call for call in self.start_due() if isinstance(call, WriteRows)]

    def writes(self) -> dict[str, RowWrite]:
        """The single writes in flight, by player: one each."""
        found = [write for call in self.write_calls() for write in call.writes]
        by_player = {write.player: write for write in found}
        assert len(by_player) == len(found), "two writes of one player are in flight"
        return by_player

    def routes(self) -> dict[str, Route]:
        """How the rows in flight are written."""
        return {player: write.route for player, write in self.writes().items()}

    def reply_rows(self, **replies: RowReply) -> list[events.Event]:
        """The call that writes the rows of these players is answered; others in it are written."""
        (call,) = [call for call in self.write_calls() if replies.keys() & {write.player for write in call.writes}]
        assert replies.keys() <= {write.player for write in call.writes}
        return self.reply(call, [replies.get(write.player, Done()) for write in call.writes])

    def reply(self, call: ShardCall, reply: Reply | None = None) -> list[events.Event]:
        """A reply arrives; None: the board's own."""
        self.in_flight = [each for each in self.in_flight if each is not call]
        return self.deliver(call, execute(call, self.ports) if reply is None else reply)

    def write_all(self) -> None:
        """Every single write takes effect, also those that wait for others."""
        while calls := self.write_calls():
            for call in calls:
                self.reply(call, [Done() for _ in call.writes])

    def save(self) -> MoveCheckpoint:
        """The checkpoint moves alone, over all that has ended."""
        self.now += self.tuning.checkpoint_interval_seconds
        moved = self.call(MoveCheckpoint)
        self.deliver(moved, Committed())
        return moved

    def serve(self) -> None:
        """Everything but reads of the stream is answered by the tables, until nothing is due."""
        for _ in range(1000):
            served = [call for call in self.start_due() if not isinstance(call, Read)]
            if not served:
                return
            for call in served:
                self.reply(call)
        raise AssertionError("it makes calls without a pause")

"""Single writes of rows with marks, for the tests of them."""

from decimal import Decimal

from consumer.domain.fold import Delta
from consumer.domain.marks import Mark, Route, RowWrite
from tests.contract.subject import Score, Subject
from tests.support.builders import CREATED, sequence_number, shard

HERE = str(shard(0))
DATE = "2026-01-31"
DELTA = Delta(2, Decimal("370.5"), DATE)
STORED = Score(Decimal(1), Decimal(10), "2026-01-30")


def mark(position: int, shard_name: str = HERE) -> Mark:
    """The mark of the shard's record at this position."""
    return Mark(shard_name, sequence_number(position), CREATED + position)


def insert(player: str = "foo", delta: Delta = DELTA, to: int = 9) -> RowWrite:
    """A write that makes a row."""
    return RowWrite(player, delta, Route.INSERT, None, mark(to))


def follow(player: str = "foo", delta: Delta = DELTA, found: Mark | None = None, *, dated: bool = True) -> RowWrite:
    """A write that follows on the mark at record 5."""
    return RowWrite(player, delta, Route.FOLLOW, found or mark(5), mark(9), dated=dated)


def every_fate(subject: Subject) -> list[RowWrite]:
    """Makes rows; one write to each, of every fate that there is."""
    for player in ("there", "follows", "undated", "no text date", "total is text"):
        subject.put_player(player, STORED, mark(5))
    subject.put_player("moved", STORED, mark(6))
    subject.put_player("no date", STORED._replace(date=None), mark(5))
    subject.put_player("later date", STORED._replace(date="2026-02-01"), mark(5))
    subject.put_player("no mark", STORED)
    subject.spoil("no text date", "lastPlayedDate", "someday")
    subject.spoil("total is text", "totalScore", "many")
    players = ("follows", "moved", "no date", "later date", "no mark", "no text date", "total is text", "gone")
    return [insert("made"), insert("there"), follow("undated", dated=False), *map(follow, players)]

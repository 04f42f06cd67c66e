"""Rules of marks that hardly any seed needs, each in the one order of events that does: two workers over one board."""

from collections.abc import Collection
from contextlib import nullcontext
from decimal import Decimal

import pytest

from consumer.domain.leases import Shard
from consumer.domain.marks import Lineage, Mark, StoredRow
from consumer.domain.records import Game, Rules
from consumer.worker.calls import Ports, execute
from consumer.worker.shard_calls import LookUpShard, Open, Read
from tests.simulation import mark_switches
from tests.simulation.switches import switched_off
from tests.support.builders import ARN, CREATED, ME, game, page, row, sequence_number, shard
from tests.support.drivers import ShardDriver
from tests.support.fakes import FakeStreams, FakeTables
from tests.support.fakes.tables import Score

FIRST, SECOND = shard(1), shard(2)
"""Two shards that both have games of the player foo."""


def mark(of: Shard, to: int) -> Mark:
    return Mark(str(of), sequence_number(to), CREATED + to)


def board(found: Mark, off: Collection[str] = ()) -> FakeTables:
    """A board with one game of foo, and the rows of both shards."""
    tables = FakeTables(off=off)
    tables.board["foo"] = Score(1, Decimal(1), "2026-01-01", mark=found)
    tables.rows |= {each: row(number, owner=ME, epoch=8) for number, each in ((1, FIRST), (2, SECOND))}
    return tables


def worker(of: Shard, lineage: Lineage, *, zombie: bool = False) -> ShardDriver:
    """A worker that owns the shard; a zombie: it owned it before."""
    number = int(of.shard_id[-1])
    driver = ShardDriver(row(number, owner=ME, epoch=7 if zombie else 8), keyed=True)
    driver.known.lineage = lineage
    return driver


NOTHING = Lineage()


def commits(
    driver: ShardDriver, tables: FakeTables, entry: Game, stale: StoredRow | None = None, found: Lineage = NOTHING
) -> None:
    """Reads the game, and writes what is due until nothing is.

    `stale`: what its read of rows shows; `found`: what a look-up shows.
    """
    ports = Ports(FakeStreams(lambda: CREATED, ARN), tables, tables, tables, Rules())
    tables.stale_row = lambda _: stale
    driver.answer(Open, "first")
    driver.answer(Read, page(entry))
    for _ in range(6):
        for call in [call for call in driver.start_due() if not isinstance(call, Read)]:
            driver.in_flight.remove(call)
            driver.deliver(call, found if isinstance(call, LookUpShard) else execute(call, ports))
    tables.stale_row = lambda _: None


BOTH_LIVE = Lineage(parents={str(FIRST): None, str(SECOND): None})
FIRST_FINISHED = BOTH_LIVE._replace(finished=frozenset([str(FIRST)]))


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_a_zombie_takes_no_mark_over(rule: bool) -> None:
    """It knows of the other shard's end, and the new owner does not: that one leaves the mark alone."""
    tables = board(mark(FIRST, 5))
    with nullcontext() if rule else switched_off([mark_switches.take_over_in_transaction]):
        commits(worker(SECOND, BOTH_LIVE), tables, game(10))
        commits(worker(SECOND, FIRST_FINISHED, zombie=True), tables, game(10))
    assert (tables.board["foo"].games == 2) is rule


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_a_game_is_shared_only_beside_the_mark_that_was_found(rule: bool) -> None:
    """The owner before has taken the mark over, and was ahead of the checkpoint; the new one's views are old."""
    tables = board(mark(SECOND, 10), off=() if rule else ("shared_shard",))
    commits(worker(SECOND, BOTH_LIVE), tables, game(10), stale=StoredRow(mark=mark(FIRST, 5), date="2026-01-01"))
    assert (tables.board["foo"].games == 1) is rule


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_an_unknown_shard_is_looked_up_before_its_mark_is_replaced(rule: bool) -> None:
    """The other shard lives: what it is ahead of its checkpoint stands in its mark alone."""
    tables = board(mark(FIRST, 7))
    only_second = Lineage(parents={str(SECOND): None})
    with nullcontext() if rule else switched_off([mark_switches.unknown_mark_halts]):
        commits(worker(SECOND, only_second), tables, game(10), found=BOTH_LIVE)
        commits(worker(FIRST, BOTH_LIVE), tables, game(7))
    assert (tables.board["foo"].games == 2) is rule

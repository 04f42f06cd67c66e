"""A shard whose corrections count: when index rows are asked for, and what follows from what is found."""

from decimal import Decimal
from typing import Final

from consumer.domain.corrections import FoundItem, IndexRow, RecordKey
from consumer.domain.fold import Delta
from consumer.domain.marks import Mark, Route, StoredRow
from consumer.domain.replies import Committed, Done, Refused, RowRefused
from consumer.worker.shard_calls import Commit, Examine, Read, ReadItems, ReadRows, WriteRows
from consumer.worker.tuning import Tuning
from tests.support.builders import (
    CREATED,
    ITEM,
    NEW,
    OLD,
    correction,
    game,
    image,
    lease,
    page,
    poison,
    sequence_number,
)
from tests.support.drivers import ShardDriver, opened_shard

SHARD: Final = str(lease().shard)
FOUND, MOVED = Mark(SHARD, "1", CREATED), Mark(SHARD, "2", CREATED)
INDEXED: Final = FoundItem(IndexRow(ITEM, RecordKey("shard-0", "2"), OLD), "pending", 1)


def keyed(*entries: object) -> ShardDriver:
    """A keyed shard with these records, whose row is known."""
    driver = opened_shard(Tuning(wall_offset_seconds=CREATED), keyed=True, corrects=True)
    driver.answer(Read, page(*entries))  # type: ignore[arg-type]
    driver.answer(ReadRows, {"foo": StoredRow(mark=FOUND)})
    return driver


def test_index_rows_are_asked_for_when_the_mark_is_known() -> None:
    driver = opened_shard(keyed=True, corrects=True)
    driver.answer(Read, page(correction(1)))
    assert not driver.has_call(ReadItems)
    driver.answer(ReadRows, {"foo": StoredRow(mark=FOUND)})
    assert driver.call(ReadItems).items == (ITEM,)


def test_games_alone_ask_for_none() -> None:
    driver = keyed(game(1))
    assert driver.has_call(WriteRows)
    assert not driver.has_call(ReadItems)


def test_a_correction_without_an_index_row_is_a_single_write() -> None:
    driver = keyed(correction(1))
    driver.answer(ReadItems, {ITEM: None})
    (write,) = driver.call(WriteRows).writes
    assert (write.route, write.delta) == (Route.FOLLOW, Delta(0, Decimal(-90), "2026-01-31"))


def test_one_with_an_index_row_is_in_the_transaction() -> None:
    driver = keyed(correction(1))
    driver.answer(ReadItems, {ITEM: INDEXED})
    commit = driver.call(Commit)
    assert [write.route for write in commit.rows] == [Route.MARKED]
    assert [write.found for write in commit.unit.items] == [INDEXED]


def test_index_rows_are_asked_for_again_under_another_mark() -> None:
    """The worker that moved the mark may have changed the index row in the same transaction."""
    driver = keyed(correction(5))
    driver.answer(ReadItems, {ITEM: None})
    driver.answer(WriteRows, [RowRefused(StoredRow(mark=MOVED))])
    driver.answer(ReadItems, {ITEM: INDEXED})
    assert driver.call(Commit).unit.items


def test_a_mark_that_moves_while_index_rows_are_asked_for_makes_the_reply_old() -> None:
    driver = keyed(correction(5))
    call = driver.call(ReadItems)
    driver.known.learn({"foo": StoredRow(mark=MOVED)})
    driver.deliver(call, {ITEM: None})
    assert driver.call(ReadItems) == call, "it is read again"


def test_what_was_found_is_forgotten_when_an_index_row_refuses_the_transaction() -> None:
    """An operator has re-driven the record meanwhile."""
    driver = keyed(correction(1))
    driver.answer(ReadItems, {ITEM: INDEXED})
    driver.answer(Commit, Refused(items=True))
    redriven = FoundItem(IndexRow(ITEM, None, NEW))
    driver.answer(ReadItems, {ITEM: redriven})
    assert [write.found for write in driver.call(Commit).unit.items] == [redriven]


def test_index_rows_that_were_not_read_are_asked_for_alone() -> None:
    driver = keyed(correction(1), correction(2, item="another"))
    driver.answer(ReadItems, {ITEM: None})
    assert driver.call(ReadItems).items == ("another",)


def test_what_was_found_holds_for_one_unit() -> None:
    """Its own records may have changed the index row."""
    driver = keyed(correction(1))
    driver.answer(ReadItems, {ITEM: None})
    driver.answer(WriteRows, [Done()])
    driver.answer(Read, page(correction(2, NEW, NEW)))
    assert driver.call(ReadItems).items == (ITEM,)


def test_a_correction_that_is_refused_alone_is_examined_and_takes_its_item_along() -> None:
    driver = opened_shard(corrects=True)
    driver.answer(Read, page(correction(1)))
    driver.answer(ReadItems, {ITEM: None})
    driver.answer(Commit, Refused(invalid="no"))
    examine, found = driver.call(Examine), poison(1)
    assert examine.game == correction(1)
    driver.deliver(examine, found)
    assert driver.call(Commit).unit.poison == (found,)


def test_a_player_whom_only_an_index_row_names_is_found_by_halves() -> None:
    """The mended item counts as a game of a player whom the correction does not name, and whose row takes no update."""
    driver = opened_shard(corrects=True)
    counted = FoundItem(IndexRow(ITEM, RecordKey("shard-0", "2"), image("bar")), "pending", 1)
    driver.answer(Read, page(game(1, "baz"), correction(2, NEW, None), game(3, "baz")))
    driver.answer(ReadItems, {ITEM: counted})
    refused, sizes = Refused(invalid="no", suspects=frozenset({"bar"})), []
    while not driver.has_call(Examine):
        if driver.has_call(ReadItems):
            driver.answer(ReadItems, {ITEM: counted})
        commit = driver.call(Commit)
        sizes.append(commit.unit.records)
        driver.deliver(commit, refused if "bar" in commit.players else Committed())
        assert len(sizes) < 10
    assert sizes == [3, 3, 1, 2, 1]
    assert driver.call(Examine).game == correction(2, NEW, None)


def test_in_a_source_that_is_not_keyed_index_rows_are_read_before_the_transaction() -> None:
    driver = opened_shard(corrects=True)
    driver.answer(Read, page(game(1), correction(2)))
    driver.answer(ReadItems, {ITEM: None})
    commit = driver.call(Commit)
    assert commit.unit.last == sequence_number(2)
    driver.deliver(commit, Committed())


def test_a_unit_that_waited_for_locks_never_shrinks() -> None:
    """Its locks would stay: the old image of a correction may name a player whose row it does not change."""
    driver = opened_shard(corrects=True)
    driver.answer(Read, page(game(1), correction(2, old=image("bar"))))
    driver.answer(ReadItems, {ITEM: INDEXED})
    commit = driver.call(Commit)
    assert (commit.unit.records, commit.players) == (2, ("foo",))
    driver.answer(Read, page(game(3, "baz")))
    assert driver.machine.grow(commit, {"bar"}, driver.now).unit == commit.unit

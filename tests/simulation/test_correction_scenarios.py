"""Rules of corrections that hardly any seed needs, each in an order of events that does: a zombie and the owner."""

from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.corrections import IndexRow, RecordKey, corrected
from consumer.domain.marks import Mark
from consumer.domain.records import Correction, Entry, ItemRecord, Reason, decode, item_of
from consumer.domain.records import poison as poison_of
from consumer.operations.quarantine import NO_REPAIR, QuarantineService
from consumer.operations.steps import OperatorCall
from consumer.worker.calls import Ports, execute
from consumer.worker.shard_calls import Open, Read, WriteRows
from tests.simulation import correction_guards
from tests.simulation.correcting import RULES
from tests.simulation.switches import switched_off
from tests.support.builders import ARN, CREATED, ME, image, page, poison, row, sequence_number, shard, wire
from tests.support.drivers import ShardDriver
from tests.support.fakes import FakeQuarantine, FakeStreams, FakeTables
from tests.support.fakes.tables import Quarantined, Score

SHARD = shard(1)


def board(total: int, mark_at: int) -> FakeTables:
    """The item counts one game of foo with this total, which its records up to that number have made."""
    tables = FakeTables()
    mark = Mark(str(SHARD), sequence_number(mark_at), CREATED + mark_at)
    tables.board["foo"] = Score(1, image(score=total).score, "2026-01-31", mark=mark)
    tables.board["bar"] = Score(1, image().score, "2026-01-31")
    tables.rows[SHARD] = row(1, owner=ME, epoch=8)
    return tables


def worker(tables: FakeTables, *entries: Entry, zombie: bool = False) -> ShardDriver:
    """A worker that has read these records, and owns the shard; a zombie: it owned it before."""
    start = replace(tables.rows[SHARD], epoch=7) if zombie else tables.rows[SHARD]
    driver = ShardDriver(start, keyed=True, corrects=True)
    driver.answer(Open, "first")
    driver.answer(Read, page(*entries))
    return driver


def commits(driver: ShardDriver, tables: FakeTables, *, before_writes: bool = False) -> None:
    """Makes what calls are due until none is; `before_writes`: until single writes are due."""
    ports = Ports(FakeStreams(lambda: CREATED, ARN), tables, tables, tables, RULES)
    for _ in range(12):
        driver.wait(2)
        for call in [call for call in driver.start_due() if not isinstance(call, Read)]:
            if before_writes and isinstance(call, WriteRows):
                return
            driver.in_flight.remove(call)
            driver.deliver(call, execute(call, ports))


def edit(number: int, new: int, old: int | None) -> Correction:
    """The record that changes the item's score. `old` None: the old image is no game."""
    images = {"NewImage": _image(new), "OldImage": _image(old)}
    record = wire(number, event="MODIFY")
    change = {**record["dynamodb"], **images, "Keys": {"playerId": {"S": "foo"}}}
    entry = decode({**record, "dynamodb": change}, RULES, None)
    assert isinstance(entry, Correction)
    return entry


def _image(score: int | None) -> dict[str, dict[str, str]]:
    points = {"S": "many"} if score is None else {"N": str(score)}
    return {"playerId": {"S": "foo"}, "timestamp": {"S": "2026-01-31"}, "score": points}


def is_right(tables: FakeTables) -> bool:
    """Whether the board says what the item says: one game, and its last score."""
    score = tables.board["foo"]
    return (score.games, score.total) == (1, Decimal(10))


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_what_a_zombie_found_does_not_hold_under_another_mark(rule: bool) -> None:
    """The row has refused the first record of the owner, which left an index row, and the zombie looked before that."""
    tables = board(100, mark_at=1)
    with nullcontext() if rule else switched_off([correction_guards.found_under_the_mark]):
        zombie = worker(tables, edit(2, 150, 100), edit(3, 10, 150), zombie=True)
        commits(zombie, tables, before_writes=True)
        tables.board["foo"].wrong["totalScore"] = "unknown"
        commits(worker(tables, edit(2, 150, 100)), tables)
        tables.board["foo"].wrong.clear()
        assert tables.index_rows, "the item is broken"
        commits(zombie, tables)
        commits(worker(tables, edit(3, 10, 150)), tables)
    assert is_right(tables) is rule


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_the_fence_decides_where_an_old_image_cannot_be_read(rule: bool) -> None:
    """The owner's rules decode more: it has counted the image that is no game for the zombie, which has met the mark
    in another shard with games of the player.
    """
    tables = board(150, mark_at=2)
    with nullcontext() if rule else switched_off([correction_guards.unreadable_in_the_transaction]):
        bad = poison(2)._replace(about=ItemRecord(edit(2, 150, 100).item, edit(2, 150, 100).old))
        zombie = worker(tables, bad, edit(3, 10, None), zombie=True)
        zombie.known.learn({"foo": tables.stored_row("foo")})
        commits(zombie, tables)
        commits(worker(tables, edit(3, 10, 150)), tables)
    assert is_right(tables) is rule


@pytest.mark.parametrize("rule", [True, False], ids=["with", "without"])
def test_a_redrive_of_a_life_that_has_ended_leaves_no_index_row(rule: bool) -> None:
    """The item has expired while the command was on its way: its next life begins with nothing."""
    tables = FakeTables(off=() if rule else ("apply_item",))
    quarantine = FakeQuarantine(tables)
    record = wire(1)
    record["dynamodb"]["Keys"] = {"gameId": {"S": "g1"}}
    broken = poison_of(record, Reason.TOTAL_TYPE, "the stored totalScore is no number", RULES)
    key, item = RecordKey("shard-0", broken.sequence_number), item_of(record["dynamodb"]["Keys"])
    tables.quarantine[key] = Quarantined(broken, "pending", CREATED, ARN)
    tables.index_rows[item] = IndexRow(item, key, None)
    (entry,) = quarantine.entries()
    service = QuarantineService(quarantine, tables, tuple, str, lambda: CREATED, str, RULES)
    command = service.redrive(entry, NO_REPAIR)
    step = next(command)
    while step.call is not OperatorCall.APPLY:
        step = command.send(step.effect())
    found = tables.find_item(item)
    assert found is not None
    tables.change_item(corrected(item, found, expired=True))
    step.effect()
    assert (item not in tables.index_rows) is rule

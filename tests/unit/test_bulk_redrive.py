"""Many records in few transactions: each once, whatever fails; one that is refused keeps no other from counting."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import partial
from typing import TypeVar

import pytest

from consumer.domain.cut import cut
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import MAX_ACTIONS, Limits
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.quarantine import QuarantineEntry, QuarantineFilter
from consumer.domain.records import Entry, Rules, decode
from consumer.domain.replies import Committed
from consumer.operations.quarantine import (
    Applied,
    ChangedConcurrently,
    Discarded,
    QuarantineService,
    Repair,
    Restored,
    StillPoison,
)
from consumer.operations.settling import lanes
from consumer.operations.steps import Command, OperatorCall, Step
from tests.support.builders import CREATED, ME, lease, plain_rows, row, wire
from tests.support.commands import finish, make, make_twice
from tests.support.fakes import FakeQuarantine, FakeTables
from tests.support.fakes.tables import Score

T = TypeVar("T")
CONVERT = Repair({}, only_wrong=True, converts=frozenset({"score"}))
RECORDS = 300


class Bulk:
    """Records with scores as strings, of some players, and the service of one command."""

    def __init__(self, players: int, records: int = RECORDS, *off: str) -> None:
        self.tables = FakeTables(off=off)
        self.tables.rows[lease().shard] = row(owner=ME)
        self.quarantine = FakeQuarantine(self.tables)
        wires = [wire(n, player=f"p{n % players}", score={"S": f"{n}.5"}) for n in range(1, records + 1)]
        waiting: list[Entry] = [decode(each, Rules(), None) for each in wires]
        checkpoint = TRIM_HORIZON
        while waiting:
            unit = cut(waiting, checkpoint, Limits(), CREATED)
            assert self.tables.commit(lease(), unit, plain_rows(unit), fills_gap=False) == Committed()
            del waiting[: unit.records]
            checkpoint = unit.last
        self.meant = {
            player: (count, sum(Decimal(f"{n}.5") for n in range(1, records + 1) if f"p{n % players}" == player))
            for player, count in Counter(f"p{n % players}" for n in range(1, records + 1)).items()
        }

    def service(self, who: str = "me") -> QuarantineService:
        tokens = (f"{who}-{number}" for number in range(10**6))
        return QuarantineService(
            self.quarantine, self.tables, tuple, lambda: who, lambda: CREATED, partial(next, tokens), board="board"
        )

    def entries(self) -> list[QuarantineEntry]:
        return finish(self.service().select(QuarantineFilter(), lambda items, _: items))

    @property
    def board(self) -> dict[str, tuple[int, Decimal]]:
        return {player: (score.games, score.total) for player, score in self.tables.board.items()}

    def redrive(self, make: Callable[[Step], object] = make, who: str = "me") -> Counter[type]:
        entries = self.entries()
        return Counter(type(each) for each in self.service(who).redrive_all(entries, CONVERT, Shuffled(make)))


class Shuffled:
    """Runs commands one after the other, in another order than they come."""

    def __init__(self, make: Callable[[Step], object]) -> None:
        self._make = make

    def __call__(self, commands: Iterable[Command[T]]) -> Iterator[T]:
        """See settling.Together."""
        shuffled = list(commands)
        random.Random(7).shuffle(shuffled)
        return (finish(command, self._make) for command in shuffled)


@pytest.mark.parametrize("players", [1, 7, 90, RECORDS])
def test_each_record_gets_its_own_value_in_few_transactions(players: int) -> None:
    bulk = Bulk(players)
    sizes: list[int] = []

    def watch(step: Step) -> object:
        if step.call is OperatorCall.APPLY:
            assert isinstance(step.effect, partial)
            (writes,) = step.effect.args
            sizes.append(2 * len(writes) + len(set().union(*(write.players for write in writes))))
        return step.effect()

    assert bulk.redrive(watch) == {Applied: RECORDS}
    assert bulk.board == bulk.meant
    assert max(sizes) <= MAX_ACTIONS
    assert len(sizes) <= RECORDS // 20
    assert len(bulk.quarantine.audit) == RECORDS, "one audit entry per record"
    details = [entry.detail for entry in bulk.quarantine.audit]
    assert len({detail["command"] for detail in details}) == 1
    assert {detail["leaderboardTable"] for detail in details} == {"board"}
    assert all(detail["repairs"].startswith("score=") for detail in details)


def test_no_player_is_in_two_transactions_at_once() -> None:
    records = [(player, number) for number in range(40) for player in ("a", "b", "c")]
    found = lanes(records, lambda each: [each[0]], lambda _: 2)
    assert sorted(each for lane in found for each in lane) == sorted(records)
    homes = [{player for player, _ in lane} for lane in found]
    assert sum(map(len, homes)) == len(set[str]().union(*homes))


def test_lost_replies_and_a_second_operator_count_nothing_twice() -> None:
    bulk = Bulk(7)
    assert bulk.redrive(make_twice) == {Applied: RECORDS}
    assert bulk.board == bulk.meant

    bulk = Bulk(7)

    def overtaken(step: Step) -> object:
        """Another operator counts half of a batch while it is in flight; then the reply is lost besides."""
        if step.call is OperatorCall.APPLY and isinstance(step.effect, partial):
            writes = step.effect.args[0]
            service = bulk.service("you")
            for write in writes[::2]:
                finish(service.redrive(write.entry, CONVERT))
        return make_twice(step)

    result = bulk.redrive(overtaken)
    assert result[Applied] + result[ChangedConcurrently] == RECORDS
    assert result[ChangedConcurrently] >= RECORDS // 2
    assert bulk.board == bulk.meant


def test_without_the_guard_of_the_pending_state_it_would_count_twice() -> None:
    bulk = Bulk(7, RECORDS, "apply_pending")
    bulk.redrive(make_twice)
    assert bulk.board != bulk.meant


def test_a_row_that_is_refused_keeps_only_its_own_records() -> None:
    bulk = Bulk(7)
    bulk.tables.board["p3"] = Score(0, Decimal(0), "2026-01-31", {"totalScore": "many"})
    bulk.tables.board["p4"] = Score(0, Decimal(0), "2026-12-31")
    result = bulk.redrive()
    stay = bulk.meant["p3"][0]
    assert result == {Applied: RECORDS - stay, StillPoison: stay}
    assert {entry.player for entry in bulk.entries()} == {"p3"}
    assert {player: counts for player, counts in bulk.board.items() if player != "p3"} == {
        player: counts for player, counts in bulk.meant.items() if player != "p3"
    }
    assert bulk.tables.board["p4"].date == "2026-12-31", "a later date stays"


def test_conflicts_make_batches_smaller_and_all_count() -> None:
    bulk = Bulk(90)
    seen = random.Random(3)

    def conflicting(step: Step) -> object:
        if step.call is OperatorCall.APPLY and isinstance(step.effect, partial):
            writes = step.effect.args[0]
            if len(writes) > 1 and seen.random() < 0.5:
                assert FailureKind.CONFLICT in step.answers
                raise CallFailed(FailureKind.CONFLICT, "a worker holds a row")
            assert len(writes) > 1 or not step.answers, "alone it is retried for a while"
        return step.effect()

    assert bulk.redrive(conflicting) == {Applied: RECORDS}
    assert bulk.board == bulk.meant


def test_any_other_failure_ends_it() -> None:
    def denied(step: Step) -> object:
        if step.call is OperatorCall.APPLY:
            raise CallFailed(FailureKind.DENIED, "no")
        return step.effect()

    with pytest.raises(CallFailed):
        Bulk(7).redrive(denied)


def test_discards_and_restores() -> None:
    bulk = Bulk(7)
    service, entries = bulk.service(), bulk.entries()
    assert Counter(map(type, service.discard_all(entries, "why", Shuffled(make_twice)))) == {Discarded: RECORDS}
    assert bulk.entries() == []
    discarded = list(bulk.quarantine.entries())
    assert Counter(map(type, service.restore_all(discarded, Shuffled(make_twice)))) == {Restored: RECORDS}
    assert len(bulk.entries()) == RECORDS
    late = Counter(map(type, service.restore_all(discarded, Shuffled(make))))
    assert late == {ChangedConcurrently: RECORDS}
    assert bulk.redrive() == {Applied: RECORDS}
    assert bulk.board == bulk.meant

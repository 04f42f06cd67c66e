"""The circuit breaker: when it trips, what it lets through before that, and how a person closes it again."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import CLOSED, Breaker, Circuit
from consumer.domain.leaderboard import Limits, cut
from consumer.domain.outcomes import Committed, Done, Lost
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.records import Entry
from consumer.worker import events
from consumer.worker.calls import Commit, Halt, Open, Read, Release
from consumer.worker.state import State
from consumer.worker.tuning import Tuning
from tests.builders import CREATED, ME, game, games, ignored, page, poison, row, sequence_number
from tests.talks import Talk, kinds

SMALL = Breaker(poison=3, window=5)


def spoiled(first: int, last: int) -> list[Entry]:
    return [poison(seq) for seq in range(first, last + 1)]


def committed(entries: list[Entry], circuit: Circuit = CLOSED, breaker: Breaker = SMALL) -> tuple[int, Circuit]:
    """How many records go through until the breaker trips, unit by unit, and the circuit then."""
    done, left = 0, list(entries)
    while left and not breaker.stops(left[0], circuit):
        unit = cut(left, TRIM_HORIZON, Limits(records=2, breaker=breaker), 0.0, circuit)
        done, circuit, left = done + unit.records, unit.circuit, left[unit.records :]
    return done, circuit


@pytest.mark.parametrize(
    ("entries", "through"),
    [
        (spoiled(1, 3), 2),
        (spoiled(1, 2), 2),
        ([*games(1, 100), *spoiled(101, 110)], 102),
        ([poison(1), *games(2, 3), poison(4), game(5), poison(6)], 6),
        ([poison(1), game(2), poison(3), game(4), poison(5)], 4),
        ([poison(1), ignored(2), ignored(3), ignored(4), ignored(5), poison(6), poison(7)], 6),
        ([poison(seq) if seq % 2 else game(seq) for seq in range(1, 50)], 4),
        ([poison(seq) if seq % 3 == 0 else game(seq) for seq in range(1, 50)], 49),
    ],
)
def test_it_trips_when_so_many_of_the_last_records_are_poison_and_never_before(
    entries: list[Entry], through: int
) -> None:
    assert committed(entries)[0] == through


def test_the_defaults_are_a_hundred_of_two_hundred() -> None:
    assert committed(spoiled(1, 150), breaker=Breaker())[0] == 99
    assert committed([*spoiled(1, 99), *games(100, 200), *spoiled(201, 298)], breaker=Breaker())[0] == 298


def test_what_a_person_lets_through_does_not_count_and_then_it_is_armed_again() -> None:
    done, circuit = committed(spoiled(1, 20), Circuit(free_to=sequence_number(10), resumes=1))
    assert done == 12
    assert circuit.free_to is None


def holding(*entries: Entry, circuit: Circuit = CLOSED) -> Talk:
    talk = Talk(replace(row(owner=ME), circuit=circuit), Tuning(wall_offset_seconds=CREATED, breaker=SMALL))
    talk.answer(Open, "first")
    talk.answer(Read, page(*entries))
    return talk


def flooded() -> Talk:
    """A talk whose shard has just halted behind record 3."""
    talk = holding(game(1), *spoiled(2, 9))
    commit = talk.call(Commit)
    assert commit.unit.last == sequence_number(3)
    talk.tell(commit, Committed())
    halt = talk.call(Halt)
    assert halt == Halt(talk.lease, sequence_number(3), 0, talk.now + CREATED)
    told = talk.tell(halt, Done())
    assert told == [events.ShardHalted(talk.lease.shard, sequence_number(3), row_missing=False)]
    return talk


def test_a_flood_halts_the_shard_before_it_is_quarantined() -> None:
    talk = flooded()
    assert talk.machine.state is State.HALTED
    talk.under_way.clear()
    assert talk.wait(1000).look() == []
    lag = talk.machine.lag_seconds(CREATED + 5000.0)
    assert lag == CREATED + 5000.0 - poison(4).created, "headroom is measured on"


def test_a_halt_whose_answer_is_open_is_written_again() -> None:
    talk = holding(*spoiled(1, 9))
    talk.answer(Commit, Committed())
    halt = talk.call(Halt)
    talk.tell(halt, Lost(replace(row(owner=ME, checkpoint=sequence_number(2)), circuit=Circuit(resumes=1))))
    assert talk.machine.circuit.resumes == 1, "a person was faster"
    assert talk.machine.state is State.RUNNING


@pytest.mark.parametrize("free_to", [None, sequence_number(9)])
def test_a_person_closes_the_circuit(free_to: str | None) -> None:
    talk = flooded()
    circuit = Circuit(free_to=free_to, resumes=1)
    talk.machine.resume(replace(row(owner=ME, checkpoint=sequence_number(3)), circuit=circuit))
    commit = talk.call(Commit)
    assert commit.unit.previous == sequence_number(3), "what was read is still there"
    assert commit.unit.last == sequence_number(5 if free_to is None else 9)
    talk.tell(commit, Committed())
    assert talk.machine.circuit.free_to is None
    assert talk.asks(Halt) is (free_to is None)


def test_a_shard_that_was_halted_before_starts_halted_and_is_handed_over_like_any_other() -> None:
    talk = Talk(replace(row(owner=ME, created=CREATED), circuit=Circuit(recent=0b111, halted_at=CREATED)))
    assert talk.machine.state is State.HALTED
    assert talk.look() == []
    talk.machine.drain()
    assert kinds(talk.look()) == ["Release"]
    assert talk.answer(Release, Done()) == [events.LeaseReleased(talk.lease)]


def test_a_halt_that_is_written_while_the_shard_is_given_back_does_not_hold_it_up() -> None:
    talk = holding(*spoiled(1, 9))
    talk.answer(Commit, Committed())
    halt = talk.call(Halt)
    talk.machine.drain()
    talk.tell(halt, Done())
    assert talk.asks(Release)


def test_the_late_answer_of_a_halt_does_not_stop_what_a_person_has_resumed_since() -> None:
    """Nobody would: the circuit is closed in the row, and this worker knows so already."""
    talk = holding(*spoiled(1, 9))
    talk.answer(Commit, Committed())
    halt = talk.call(Halt)
    talk.machine.resume(replace(row(owner=ME, checkpoint=sequence_number(2)), circuit=Circuit(resumes=1)))
    assert talk.tell(halt, Done()) == []
    assert talk.machine.state is State.RUNNING
    assert talk.answer(Commit, Committed()) != []

"""The circuit breaker: when it trips, what passes before that, and how an operator closes the circuit."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import CLOSED, Breaker, Circuit, Symptom
from consumer.domain.cut import cut
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.records import Entry, Poison, Reason
from consumer.domain.replies import Committed, Done, Lost
from consumer.worker import events
from consumer.worker.shard import ShardState
from consumer.worker.shard_calls import Commit, Halt, Open, Read, Release
from consumer.worker.status import halted_shards
from consumer.worker.tuning import Tuning
from tests.support.builders import CREATED, HAD_GAME, ME, game, games, ignored, page, poison, row, sequence_number
from tests.support.drivers import ShardDriver, kinds

SMALL = Breaker(poison=3, window=5)


def poisons(first: int, last: int) -> list[Entry]:
    return [poison(seq) for seq in range(first, last + 1)]


def committed(entries: list[Entry], circuit: Circuit = CLOSED, breaker: Breaker = SMALL) -> tuple[int, Circuit]:
    """How many records are committed, unit by unit, until the breaker trips, and the circuit then."""
    done, left = 0, list(entries)
    while left and not (isinstance(left[0], Poison) and breaker.stops(left[0], circuit)):
        unit = cut(left, TRIM_HORIZON, Limits(records=2, breaker=breaker), 0.0, circuit)
        done, circuit, left = done + unit.records, unit.circuit, left[unit.records :]
    return done, circuit


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (poisons(1, 3), 2),
        (poisons(1, 2), 2),
        ([*games(1, 100), *poisons(101, 110)], 102),
        ([poison(1), *games(2, 3), poison(4), game(5), poison(6)], 6),
        ([poison(1), game(2), poison(3), game(4), poison(5)], 4),
        ([poison(1), ignored(2), ignored(3), ignored(4), ignored(5), poison(6), poison(7)], 6),
        ([poison(seq) if seq % 2 else game(seq) for seq in range(1, 50)], 4),
        ([poison(seq) if seq % 3 == 0 else game(seq) for seq in range(1, 50)], 49),
    ],
)
def test_it_trips_when_enough_of_the_last_records_are_poison(entries: list[Entry], expected: int) -> None:
    assert committed(entries)[0] == expected


def test_the_defaults_are_a_hundred_of_two_hundred() -> None:
    assert committed(poisons(1, 150), HAD_GAME, breaker=Breaker())[0] == 99
    assert committed([*poisons(1, 99), *games(100, 200), *poisons(201, 298)], HAD_GAME, breaker=Breaker())[0] == 298


@pytest.mark.parametrize(
    ("entries", "circuit", "expected"),
    [
        (poisons(1, 40), CLOSED, 19),
        ([ignored(1), *poisons(2, 40)], CLOSED, 20),
        (poisons(1, 150), HAD_GAME, 99),
        ([game(1), *poisons(2, 150)], CLOSED, 100),
        ([*poisons(1, 19), game(20), *poisons(21, 150)], CLOSED, 100),
        (poisons(1, 40), Circuit(free_to=sequence_number(15)), 34),
    ],
)
def test_twenty_are_enough_in_a_lineage_that_never_had_a_good_record(
    entries: list[Entry], circuit: Circuit, expected: int
) -> None:
    """A new installation with a wrong attribute name: 40 of 40 records are poison."""
    done, circuit = committed(entries, circuit, Breaker())
    assert done == expected
    assert circuit.had_game is (expected > 40)


def test_a_lineage_has_had_a_game_from_its_first_one_on() -> None:
    assert not cut([poison(1)], TRIM_HORIZON, Limits(), 0.0).circuit.had_game
    first = cut([poison(1), game(2), poison(3)], TRIM_HORIZON, Limits(), 0.0)
    assert first.circuit.had_game
    assert cut([poison(4)], first.last, Limits(), 0.0, first.circuit).circuit.had_game


def test_a_halt_keeps_the_commonest_reason_and_an_example() -> None:
    driver = ShardDriver(row(owner=ME), Tuning(wall_offset_seconds=CREATED, breaker=Breaker(poison=5, window=9)))
    often, seldom = Reason.SCORE_MISSING, Reason.SCORE_TYPE
    records = [
        poison(seq, reason=reason) for seq, reason in enumerate((seldom, often, seldom, often, often, seldom), 1)
    ]
    driver.answer(Open, "first")
    driver.answer(Read, page(*records))
    driver.answer(Commit, Committed())
    halt = driver.call(Halt)
    assert halt.symptom == Symptom(often, "score is wrong", sequence_number(2))
    (halted,) = driver.deliver(halt, Done())
    assert isinstance(halted, events.ShardHalted)
    assert halted.circuit is not None
    assert halted.circuit.cause == (
        "it has had no good record yet, and too much poison, most often score_missing: score is wrong "
        f"(record {sequence_number(2)})"
    )
    (sentence,) = halted_shards({driver.lease.shard: driver.machine}, ())
    assert sentence.startswith(f"shard {driver.lease.shard} is halted: {halted.circuit.cause}; fix the producer or")
    assert sentence.endswith(f"next: `consumer resume {driver.lease.shard}`")


def test_a_worker_that_took_over_gives_the_next_record_as_the_example() -> None:
    driver = holding(poison(9), circuit=Circuit(recent=0b11, had_game=True))
    assert driver.call(Halt).symptom == Symptom(Reason.SCORE_TYPE, "score is wrong", sequence_number(9))


def test_what_an_operator_lets_pass_does_not_count_and_then_the_breaker_works_again() -> None:
    done, circuit = committed(poisons(1, 20), Circuit(free_to=sequence_number(10), resumes=1))
    assert done == 12
    assert circuit.free_to is None


def holding(*entries: Entry, circuit: Circuit = CLOSED) -> ShardDriver:
    driver = ShardDriver(replace(row(owner=ME), circuit=circuit), Tuning(wall_offset_seconds=CREATED, breaker=SMALL))
    driver.answer(Open, "first")
    driver.answer(Read, page(*entries))
    return driver


def flooded() -> ShardDriver:
    """A driver whose shard has just halted behind record 3."""
    driver = holding(game(1), *poisons(2, 9))
    commit = driver.call(Commit)
    assert commit.unit.last == sequence_number(3)
    driver.deliver(commit, Committed())
    halt = driver.call(Halt)
    symptom = Symptom(Reason.SCORE_TYPE, "score is wrong", sequence_number(2))
    assert halt == Halt(driver.lease, sequence_number(3), 0, driver.now + CREATED, symptom)
    reported = driver.deliver(halt, Done())
    assert reported == [events.ShardHalted(driver.lease.shard, sequence_number(3), driver.machine.circuit)]
    assert driver.machine.circuit.symptom == symptom
    return driver


def test_a_flood_halts_the_shard_before_it_is_quarantined() -> None:
    driver = flooded()
    assert driver.machine.state is ShardState.HALTED
    driver.in_flight.clear()
    assert driver.wait(1000).start_due() == []
    lag = driver.machine.lag_seconds(CREATED + 5000.0)
    assert lag == CREATED + 5000.0 - poison(4).created, "the lag goes on"


def test_a_halt_that_lost_to_a_resume_is_not_written_again() -> None:
    driver = holding(*poisons(1, 9))
    driver.answer(Commit, Committed())
    halt = driver.call(Halt)
    driver.deliver(halt, Lost(replace(row(owner=ME, checkpoint=sequence_number(2)), circuit=Circuit(resumes=1))))
    assert driver.machine.circuit.resumes == 1, "an operator has resumed the shard already"
    assert driver.machine.state is ShardState.RUNNING


@pytest.mark.parametrize("free_to", [None, sequence_number(9)])
def test_an_operator_closes_the_circuit(free_to: str | None) -> None:
    driver = flooded()
    circuit = Circuit(free_to=free_to, resumes=1)
    driver.machine.resume(replace(row(owner=ME, checkpoint=sequence_number(3)), circuit=circuit))
    commit = driver.call(Commit)
    assert commit.unit.previous == sequence_number(3), "what was read is still there"
    assert commit.unit.last == sequence_number(5 if free_to is None else 9)
    driver.deliver(commit, Committed())
    assert driver.machine.circuit.free_to is None
    assert driver.has_call(Halt) is (free_to is None)


def test_a_halted_shard_starts_halted_and_is_handed_over_like_any_other() -> None:
    driver = ShardDriver(replace(row(owner=ME, created=CREATED), circuit=Circuit(recent=0b111, halted_at=CREATED)))
    assert driver.machine.state is ShardState.HALTED
    assert driver.start_due() == []
    driver.machine.drain()
    assert kinds(driver.start_due()) == ["Release"]
    assert driver.answer(Release, Done()) == [events.LeaseReleased(driver.lease)]


def test_a_halt_in_flight_does_not_delay_a_release() -> None:
    driver = holding(*poisons(1, 9))
    driver.answer(Commit, Committed())
    halt = driver.call(Halt)
    driver.machine.drain()
    driver.deliver(halt, Done())
    assert driver.has_call(Release)


def test_the_late_reply_of_a_halt_does_not_stop_a_shard_resumed_since() -> None:
    """The circuit is closed in the row, so nothing would resume the shard again."""
    driver = holding(*poisons(1, 9))
    driver.answer(Commit, Committed())
    halt = driver.call(Halt)
    driver.machine.resume(replace(row(owner=ME, checkpoint=sequence_number(2)), circuit=Circuit(resumes=1)))
    assert driver.deliver(halt, Done()) == []
    assert driver.machine.state is ShardState.RUNNING
    assert driver.answer(Commit, Committed()) != []

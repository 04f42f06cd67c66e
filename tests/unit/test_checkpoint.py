"""What `checkpoint set` would do, and when it does not."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.leases import Members, Pin, Vouch
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.outcomes import Ledger
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from consumer.operations import checkpoint
from consumer.operations.liveness import is_alive
from tests.builders import ARN, CREATED, ME, OTHER, finished, row, sequence_number, shard
from tests.fakes import FakeTables
from tests.fakes.overseers import FakePlacements

AT = sequence_number(5)
NOW = 1_769_900_000.0
PIN = Pin(ARN, None, ("shard-0",), complete=True)


def ledger(*rows: object, pin: Pin = PIN) -> Ledger:
    return Ledger(rows, (pin,))  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["", "latest", "12x", "-1", "1" * 41, "trim_horizon", "١٢"])
def test_what_is_no_position(position: str) -> None:
    with pytest.raises(UsageFault, match="TRIM_HORIZON, a sequence number or SHARD_END"):
        checkpoint.plan(ledger(row()), "shard-0", position, NOW)


def test_a_shard_that_nobody_knows() -> None:
    with pytest.raises(NotFound, match="shard-0"):
        checkpoint.plan(ledger(row()), "shard-9", AT, NOW)
    with pytest.raises(NotFound, match="shard-0"):
        checkpoint.find_row(ledger(row()), "shrad-0")


def test_a_row_that_is_missing_cannot_be_shown() -> None:
    with pytest.raises(NotFound, match="consumer checkpoint set"):
        checkpoint.find_row(ledger(), "shard-0")


def test_an_existing_row_moves_without_owner_above_all_epochs_with_a_closed_circuit() -> None:
    halted = Circuit(recent=7, halted_at=CREATED, free_to=AT, resumes=2)
    read = replace(row(owner=ME, checkpoint=AT, created=CREATED, parent=8), circuit=halted)
    planned = checkpoint.plan(ledger(read), "shard-0", sequence_number(9), NOW)
    assert planned.before == read
    assert planned.after == replace(
        read, owner=None, epoch=int(NOW), checkpoint=sequence_number(9), circuit=Circuit(resumes=3)
    )
    later = replace(read, epoch=int(NOW) + 5)
    assert checkpoint.plan(ledger(later), "shard-0", AT, NOW).after.epoch == int(NOW) + 6


@pytest.mark.parametrize(
    ("position", "told", "created"),
    [
        (sequence_number(4), "counted a second time", NOW - RETENTION_SECONDS),
        (TRIM_HORIZON, "counted a second time", NOW - RETENTION_SECONDS),
        ("9" * 40, "skipped for ever", CREATED),
        (AT, "does not move", CREATED),
    ],
)
def test_what_a_person_is_told(position: str, told: str, created: float) -> None:
    """Going back, nobody knows since when something is not committed."""
    planned = checkpoint.plan(ledger(row(checkpoint=AT, created=CREATED)), "shard-0", position, NOW)
    assert told in " ".join(planned.sentences)
    assert planned.after.created == created


def test_a_missing_root_and_a_missing_child() -> None:
    root = checkpoint.plan(ledger(), "shard-0", AT, NOW)
    assert root.before is None
    assert root.after == row(epoch=int(NOW), checkpoint=AT, created=NOW - RETENTION_SECONDS)
    assert "is missing" in root.sentences[0]
    child = checkpoint.plan(ledger(finished(0, 1, 2), row(2, parent=0)), f"{shard().label}/shard-1", AT, NOW)
    assert child.after == row(1, epoch=int(NOW), checkpoint=AT, created=NOW - RETENTION_SECONDS, parent=0)


def test_a_missing_row_whose_children_have_begun_can_be_set_to_its_end() -> None:
    planned = checkpoint.plan(ledger(row(1, parent=0), row(2, parent=0)), "shard-0", SHARD_END, NOW)
    assert planned.after.finished
    assert planned.after.children == ("shard-1", "shard-2")
    assert "skipped" in planned.sentences[1]


@pytest.mark.parametrize(
    ("known", "position", "why"),
    [
        (ledger(row()), SHARD_END, "SHARD_END"),
        (ledger(), SHARD_END, "SHARD_END"),
        (ledger(finished(0, 1), row(1)), AT, "its children have begun"),
        (ledger(pin=replace(PIN, complete=False)), AT, "no row yet"),
    ],
)
def test_what_would_break_the_lineage(known: Ledger, position: str, why: str) -> None:
    with pytest.raises(UnsafeRefused, match=why):
        checkpoint.plan(known, "shard-0", position, NOW)


def test_a_row_is_not_made_in_a_table_that_does_not_know_the_stream() -> None:
    with pytest.raises(UnsafeRefused, match="consumer init --adopt"):
        checkpoint.plan(Ledger((finished(0, 1),), ()), "shard-1", AT, NOW)


class Beats:
    """Looks at `members` in which a worker beats, or does not; waits are counted, not waited."""

    def __init__(self, *beats: int | None) -> None:
        self.beats = list(beats)
        self.waited: list[float] = []

    def look(self) -> Members:
        beat = self.beats.pop(0) if len(self.beats) > 1 else self.beats[0]
        return Members(0, {} if beat is None else {ME: Vouch(beat)})


@pytest.mark.parametrize(
    ("beats", "alive", "waits"),
    [
        ((None,), False, 0),
        ((7, 8), True, 1),
        ((7, 7, 7, 8), True, 3),
        ((7,), False, 4),
        ((7, None), False, 1),
        ((7, 3), True, 1),
    ],
    ids=["no member", "beats", "slow", "dead", "left", "came back"],
)
def test_a_beat_that_grows_is_alive(beats: tuple[int | None, ...], alive: bool, waits: int) -> None:
    told = Beats(*beats)
    assert is_alive(ME, told.look, 5, told.waited.append) is alive
    assert len(told.waited) == waits
    assert all(seconds > 5 / 4 for seconds in told.waited)
    if waits == 4:
        assert sum(told.waited) > 5, "a TTL"


def desk(*beats: int) -> tuple[FakeTables, FakePlacements]:
    tables = FakeTables()
    tables.pins[ARN] = PIN
    tables.rows[shard()] = row(owner=ME, checkpoint=AT, created=CREATED)
    placements = FakePlacements(tables, lambda: NOW)
    left = list(beats)

    def look() -> tuple[Members, float]:
        return Members(0, {ME: Vouch(left.pop(0) if len(left) > 1 else left[0])} if left else {}), NOW

    placements.look = look  # type: ignore[method-assign]
    return tables, placements


def test_a_living_owner_is_not_robbed() -> None:
    tables, placements = desk(1, 2)
    planned = checkpoint.plan(tables.load(), "shard-0", AT, NOW)
    with pytest.raises(UnsafeRefused, match=f"worker {ME} is alive"):
        checkpoint.refuse_alive(planned, placements, 5, lambda _: None)


def test_a_dead_owners_row_is_placed_and_audited() -> None:
    tables, placements = desk(1)
    planned = checkpoint.plan(tables.load(), "shard-0", sequence_number(3), NOW)
    checkpoint.refuse_alive(planned, placements, 5, lambda _: None)
    checkpoint.carry_out(planned, placements, "foo@host", NOW)
    assert tables.rows[shard()] == planned.after
    (trace,) = placements.trail
    assert (trace.who, trace.act, trace.target) == ("foo@host", "checkpoint set", str(shard()))
    assert trace.detail == {"from": AT, "to": sequence_number(3), "leaseEpoch": str(int(NOW))}
    checkpoint.carry_out(planned, placements, "foo@host", NOW)  # its answer was lost: it is there already
    assert len(placements.trail) == 1


def test_somebody_who_was_faster_is_not_overwritten() -> None:
    tables, placements = desk()
    planned = checkpoint.plan(tables.load(), "shard-0", sequence_number(3), NOW)
    tables.rows[shard()] = claimed = replace(tables.rows[shard()], owner=OTHER, epoch=8)
    with pytest.raises(UnsafeRefused, match="somebody was faster"):
        checkpoint.carry_out(planned, placements, "foo@host", NOW)
    assert tables.rows[shard()] == claimed
    assert placements.trail == []

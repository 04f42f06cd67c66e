"""What `checkpoint set` does, and when it refuses."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Ledger, StreamStart
from consumer.domain.lineage import RETENTION_SECONDS
from consumer.domain.membership import HeartbeatReport, Members
from consumer.operations import checkpoint
from consumer.operations.checkpoint import CheckpointChange, watch_heartbeat
from consumer.operations.steps import Command, find_row
from tests.support.builders import ARN, CREATED, HAD_GAME, ME, OTHER, SYMPTOM, finished, row, sequence_number, shard
from tests.support.commands import finish, make_twice
from tests.support.fakes import FakeTables
from tests.support.fakes.operators import FakeLeaseAdmin

AT = sequence_number(5)
NOW = 1_769_900_000.0
STREAM_START = StreamStart(ARN, None, ("shard-0",), complete=True)


def ledger(*rows: object, stream_start: StreamStart = STREAM_START) -> Ledger:
    return Ledger(rows, (stream_start,))  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["", "latest", "12x", "-1", "1" * 41, "trim_horizon", "١٢"])
def test_texts_that_are_not_positions(position: str) -> None:
    with pytest.raises(UsageFault, match="TRIM_HORIZON, a sequence number or SHARD_END"):
        checkpoint.plan(ledger(row()), "shard-0", position, NOW)


def test_an_unknown_shard() -> None:
    with pytest.raises(NotFound, match="shard-0"):
        checkpoint.plan(ledger(row()), "shard-9", AT, NOW)
    with pytest.raises(NotFound, match="shard-0"):
        find_row(ledger(row()), "shrad-0")


def test_a_row_that_is_missing_cannot_be_shown() -> None:
    with pytest.raises(NotFound, match="consumer checkpoint set"):
        find_row(ledger(), "shard-0")


def test_an_existing_row_moves_without_owner_above_all_epochs_with_a_closed_circuit() -> None:
    halted = Circuit(recent=7, halted_at=CREATED, free_to=AT, resumes=2, had_game=True, symptom=SYMPTOM)
    read = replace(row(owner=ME, checkpoint=AT, created=CREATED, parent=8), circuit=halted)
    planned = checkpoint.plan(ledger(read), "shard-0", sequence_number(9), NOW)
    assert planned.before == read
    assert planned.after == replace(
        read, owner=None, epoch=int(NOW), checkpoint=sequence_number(9), circuit=Circuit(resumes=3, had_game=True)
    )
    later = replace(read, epoch=int(NOW) + 5)
    assert checkpoint.plan(ledger(later), "shard-0", AT, NOW).after.epoch == int(NOW) + 6


@pytest.mark.parametrize(
    ("position", "sentence", "created"),
    [
        (sequence_number(4), "counted a second time", NOW - RETENTION_SECONDS),
        (TRIM_HORIZON, "counted a second time", NOW - RETENTION_SECONDS),
        ("9" * 40, "skipped for ever", CREATED),
        (AT, "does not move", CREATED),
    ],
)
def test_the_operator_reads_what_will_happen(position: str, sentence: str, created: float) -> None:
    """After a step back it is not known since when records are not committed."""
    planned = checkpoint.plan(ledger(row(checkpoint=AT, created=CREATED)), "shard-0", position, NOW)
    assert sentence in " ".join(planned.sentences)
    assert planned.after.created == created


KEYED = replace(STREAM_START, keyed=True)
NOT_AGAIN = "Games that the mark of their player's row covers are not counted again. Counted again are those of"


@pytest.mark.parametrize(
    ("position", "sentences"),
    [
        (sequence_number(4), ("That is a step back: the games in between are read again.", NOT_AGAIN)),
        ("9" * 40, ("skipped for ever.", "A step back later does not count those of players who have played again")),
        (AT, ("does not move",)),
    ],
)
def test_the_operator_reads_what_marks_make_safe(position: str, sentences: tuple[str, ...]) -> None:
    planned = checkpoint.plan(ledger(row(checkpoint=AT), stream_start=KEYED), "shard-0", position, NOW)
    said = " ".join(planned.sentences)
    assert all(sentence in said for sentence in sentences), said
    assert "second time" not in said


def test_the_operator_reads_what_marks_make_safe_in_a_missing_row() -> None:
    said = " ".join(checkpoint.plan(ledger(stream_start=KEYED), "shard-0", AT, NOW).sentences)
    assert "Earlier games that are not counted are skipped." in said
    assert NOT_AGAIN in said


NOT_KNOWN = replace(HAD_GAME, ignored=True)


def test_a_missing_root_and_a_missing_child() -> None:
    root = checkpoint.plan(ledger(), "shard-0", AT, NOW)
    assert root.before is None
    made = row(epoch=int(NOW), checkpoint=AT, created=NOW - RETENTION_SECONDS)
    assert root.after == replace(made, circuit=NOT_KNOWN), "not known: it is not halted early"
    assert "is missing" in root.sentences[0]
    child = checkpoint.plan(ledger(finished(0, 1, 2), row(2, parent=0)), f"{shard().label}/shard-1", AT, NOW)
    made = row(1, epoch=int(NOW), checkpoint=AT, created=NOW - RETENTION_SECONDS, parent=0)
    assert child.after == replace(made, circuit=NOT_KNOWN)


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
        (ledger(finished(0, 1), row(1)), AT, "its children are read"),
        (ledger(stream_start=replace(STREAM_START, complete=False)), AT, "no row yet"),
    ],
)
def test_positions_that_would_break_the_lineage(known: Ledger, position: str, why: str) -> None:
    with pytest.raises(UnsafeRefused, match=why):
        checkpoint.plan(known, "shard-0", position, NOW)


def test_a_row_is_not_written_in_a_table_that_does_not_know_the_stream() -> None:
    with pytest.raises(UnsafeRefused, match="consumer init --adopt"):
        checkpoint.plan(Ledger((finished(0, 1),), ()), "shard-1", AT, NOW)


class Heartbeats(FakeLeaseAdmin):
    """Reads of the members in which a worker has these numbers (None: it is no member)."""

    def __init__(self, *numbers: int | None, tables: FakeTables | None = None) -> None:
        super().__init__(tables or FakeTables(), lambda: NOW)
        self.numbers = list(numbers)

    def read_members(self) -> tuple[Members, float]:
        number = self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]
        return Members(0, {} if number is None else {ME: HeartbeatReport(number)}), NOW


@pytest.mark.parametrize(
    ("numbers", "alive", "waits"),
    [
        ((None,), False, 0),
        ((7, 8), True, 1),
        ((7, 7, 7, 8), True, 3),
        ((7,), False, 4),
        ((7, None), False, 1),
        ((7, 3), True, 1),
    ],
    ids=["no member", "alive", "slow", "dead", "left", "came back"],
)
def test_a_worker_whose_number_changes_is_alive(numbers: tuple[int | None, ...], alive: bool, waits: int) -> None:
    waited: list[float] = []
    assert finish(watch_heartbeat(ME, Heartbeats(*numbers), 5), wait=waited.append) is alive
    assert len(waited) == waits
    assert all(seconds > 5 / 4 for seconds in waited)
    if waits == 4:
        assert sum(waited) > 5, "a TTL"


def owned_shard(*numbers: int) -> tuple[FakeTables, Heartbeats]:
    tables = FakeTables()
    tables.stream_starts[ARN] = STREAM_START
    tables.rows[shard()] = row(owner=ME, checkpoint=AT, created=CREATED)
    return tables, Heartbeats(*numbers or (None,), tables=tables)


def carry_out(change: CheckpointChange, lease_admin: FakeLeaseAdmin, *asked: list[str]) -> Command[None]:
    def agree(sentences: tuple[str, ...]) -> None:
        for seen in asked:
            seen += sentences

    return checkpoint.carry_out(change, lease_admin, 5, agree, lambda: "foo@host", lambda: NOW)


def test_a_living_owner_keeps_its_shard() -> None:
    tables, lease_admin = owned_shard(1, 2)
    planned = checkpoint.plan(tables.load(), "shard-0", AT, NOW)
    asked: list[str] = []
    with pytest.raises(UnsafeRefused, match=f"worker {ME} is alive"):
        finish(carry_out(planned, lease_admin, asked))
    assert (asked, lease_admin.trail) == ([], [])


def test_a_dead_owners_row_is_changed_and_audited() -> None:
    tables, lease_admin = owned_shard(1)
    planned = checkpoint.plan(tables.load(), "shard-0", sequence_number(3), NOW)
    asked: list[str] = []
    finish(carry_out(planned, lease_admin, asked))
    assert asked == list(planned.sentences)
    assert tables.rows[shard()] == planned.after
    (audit_entry,) = lease_admin.trail
    assert (audit_entry.who, audit_entry.action, audit_entry.target) == ("foo@host", "checkpoint set", str(shard()))
    assert audit_entry.detail == {"from": AT, "to": sequence_number(3), "leaseEpoch": str(int(NOW))}


def test_after_a_lost_reply_the_row_is_there_already() -> None:
    tables, lease_admin = owned_shard()
    planned = checkpoint.plan(tables.load(), "shard-0", sequence_number(3), NOW)
    finish(carry_out(planned, lease_admin), make_twice)
    assert tables.rows[shard()] == planned.after
    assert len(lease_admin.trail) == 1


def test_a_concurrent_change_is_not_overwritten() -> None:
    tables, lease_admin = owned_shard()
    planned = checkpoint.plan(tables.load(), "shard-0", sequence_number(3), NOW)
    tables.rows[shard()] = claimed = replace(tables.rows[shard()], owner=OTHER, epoch=8)
    with pytest.raises(UnsafeRefused, match="changed concurrently"):
        finish(carry_out(planned, lease_admin))
    assert tables.rows[shard()] == claimed
    assert lease_admin.trail == []

"""A shard's row as a person places it: only as it was read, with its trace, and so that workers look."""

from dataclasses import replace

import pytest

from consumer.domain.audit import Trace
from consumer.domain.breaker import Circuit
from consumer.domain.leases import LeaseRow, Pin, Vouch
from consumer.domain.outcomes import Done, Lost
from consumer.domain.position import SHARD_END, TRIM_HORIZON
from tests.builders import ARN, CREATED, ME, OTHER, finished, lease, row, sequence_number, shard
from tests.contract.operators import desk_of
from tests.contract.subject import Subject

AT = sequence_number(5)
TRACE = Trace("arn:aws:iam::1:user/foo", CREATED, "checkpoint set", str(shard()), {"from": AT, "to": TRIM_HORIZON})
READ = row(owner=OTHER, epoch=7, checkpoint=AT, created=CREATED, parent=8)
AFTER = replace(READ, owner=None, epoch=1_769_860_800, checkpoint=sequence_number(3), circuit=Circuit(resumes=1))


def test_a_row_is_placed_with_its_trace_and_the_workers_are_told(subject: Subject) -> None:
    desk = desk_of(subject)
    subject.plant(READ, row(1, owner=ME))
    changes = subject.membership.look().changes
    assert desk.placements.place(READ, AFTER, TRACE) == Done()
    assert subject.row(shard()) == AFTER
    assert subject.row(shard(1)) == row(1, owner=ME)
    assert subject.membership.look().changes == changes + 1
    assert desk.trail() == [
        {"at": "2026-01-31T12:00:00.000Z", "who": TRACE.who, "act": TRACE.act, "target": TRACE.target, **TRACE.detail}
    ]


def test_the_circuit_is_closed(subject: Subject) -> None:
    desk = desk_of(subject)
    subject.plant(row(owner=ME, checkpoint=AT))
    assert subject.commits.halt(lease(), AT, 0, CREATED) == Done()
    read = subject.row(shard())
    assert read is not None
    assert read.circuit.halted_at == CREATED
    after = replace(read, owner=None, epoch=9, created=CREATED, circuit=Circuit(resumes=1))
    assert desk.placements.place(read, after, TRACE) == Done()
    assert subject.row(shard()) == after
    assert subject.commits.halt(lease(), AT, 0, CREATED) == Lost(after), "a late halt of before"


def test_a_released_row_is_placed(subject: Subject) -> None:
    desk = desk_of(subject)
    read = replace(READ, owner=None)
    subject.plant(read)
    assert desk.placements.place(read, AFTER, TRACE) == Done()
    assert subject.row(shard()) == AFTER


@pytest.mark.parametrize(
    "stored",
    [
        replace(READ, owner=ME),
        replace(READ, owner=None),
        replace(READ, epoch=8),
        replace(READ, checkpoint=sequence_number(6)),
        None,
    ],
    ids=["owner", "released", "epoch", "checkpoint", "gone"],
)
def test_nothing_is_placed_over_what_was_not_read(subject: Subject, stored: LeaseRow | None) -> None:
    desk = desk_of(subject)
    subject.plant(row(1), *([stored] if stored else []))
    before = subject.everything()
    assert desk.placements.place(READ, AFTER, TRACE) == Lost(stored)
    assert subject.everything() == before
    assert desk.trail() == []


def test_a_row_that_was_claimed_meanwhile_is_left_alone(subject: Subject) -> None:
    desk = desk_of(subject)
    read = replace(READ, owner=None)
    subject.plant(read)
    taken = subject.ledgers.claim(read, lease(epoch=8))
    assert desk.placements.place(read, AFTER, TRACE) == Lost(taken if isinstance(taken, LeaseRow) else None)
    assert subject.row(shard()) == taken


@pytest.mark.parametrize(
    "made",
    [
        row(epoch=1_769_860_800, checkpoint=AT, created=CREATED, parent=8),
        row(epoch=1_769_860_800, checkpoint=TRIM_HORIZON, created=CREATED),
        replace(finished(0, 1, 2), created=CREATED),
    ],
    ids=["position", "horizon", "end"],
)
def test_a_missing_row_is_made_again(subject: Subject, made: LeaseRow) -> None:
    desk = desk_of(subject)
    subject.plant(row(1))
    assert desk.placements.place(None, made, TRACE) == Done()
    assert subject.row(shard()) == made
    assert (made.checkpoint == SHARD_END) is made.finished
    assert len(desk.trail()) == 1


def test_a_row_that_is_there_again_is_not_made(subject: Subject) -> None:
    desk = desk_of(subject)
    subject.plant(READ)
    before = subject.everything()
    assert desk.placements.place(None, replace(AFTER, circuit=Circuit()), TRACE) == Lost(READ)
    assert subject.everything() == before


def test_no_row_is_made_in_a_table_that_does_not_know_the_stream(subject: Subject) -> None:
    """It was emptied since: a late repetition would begin it with this row alone."""
    desk = desk_of(subject)
    subject.ledgers.pin(Pin(ARN.replace("2026-01-01", "2026-02-02"), None, (), complete=True), None, CREATED)
    before = subject.everything()
    assert desk.placements.place(None, replace(AFTER, circuit=Circuit()), TRACE) == Lost(None)
    assert subject.everything() == before
    assert desk.trail() == []


def test_members_and_the_servers_time(subject: Subject) -> None:
    desk = desk_of(subject)
    members, now = desk.placements.look()
    assert members.workers == {}
    vouch = Vouch(3, 2, 1, 12.5, CREATED)
    subject.membership.beat(ME, vouch, joining=True, bump=True)
    members, later = desk.placements.look()
    assert members.workers == {ME: vouch}
    assert members.changes == 1
    assert 1_700_000_000 < now <= later

"""Claiming, releasing and reading the shards' rows."""

import pytest

from consumer.domain.accepted_rules import UNNUMBERED
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Lease, LeaseRow, StreamStart
from consumer.domain.replies import Committed, Done, Lost
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Subject, unit
from tests.support.builders import (
    ARN,
    CREATED,
    ME,
    OTHER,
    commit_plain,
    game,
    lease,
    plain_rows,
    row,
    sequence_number,
    shard,
)


@pytest.mark.parametrize("owner", [None, OTHER, ME])
@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_a_claim_raises_the_epoch_and_changes_nothing_else(
    subject: Subject, owner: str | None, checkpoint: str
) -> None:
    seen = LeaseRow(shard(), owner, 7, checkpoint, parent="shard-8", children=())
    subject.create_root_rows(seen, row(1, owner=OTHER))
    claimed = LeaseRow(shard(), ME, 8, checkpoint, parent="shard-8", children=())
    assert subject.ledgers.claim(seen, lease(epoch=8), UNNUMBERED) == claimed
    assert subject.row(shard()) == claimed
    assert subject.row(shard(1)) == row(1, owner=OTHER)


def test_a_claim_returns_the_row_as_it_is_then(subject: Subject) -> None:
    """Its owner may have committed since the row was read: only owner and epoch are compared."""
    subject.create_root_rows(row(owner=OTHER))
    commit_plain(subject.commits, lease(owner=OTHER), unit(game(5)))
    reply = subject.ledgers.claim(row(owner=OTHER), lease(epoch=8), UNNUMBERED)
    assert reply == row(owner=ME, epoch=8, checkpoint=sequence_number(5), created=CREATED + 5, had_game=True)
    late = unit(game(6), previous=sequence_number(5))
    assert subject.commits.commit(lease(owner=OTHER), late, plain_rows(late), fills_gap=False) == Lost(reply)
    assert subject.commits.commit(lease(epoch=8), late, plain_rows(late), fills_gap=False) == Committed()


@pytest.mark.parametrize(
    ("stored", "seen"),
    [
        (row(owner=OTHER), row(owner=None)),
        (row(owner=OTHER), row(owner="w3/c")),
        (row(owner=None), row(owner=OTHER)),
        (row(owner=OTHER, epoch=8), row(owner=OTHER)),
        (row(owner=OTHER, epoch=6), row(owner=OTHER)),
        (row(owner=None, epoch=8), row(owner=None)),
        (None, row(owner=None)),
        (None, row(owner=OTHER)),
    ],
)
def test_a_late_claim_gets_nothing(subject: Subject, stored: LeaseRow | None, seen: LeaseRow) -> None:
    subject.create_root_rows(row(9))
    if stored is not None:
        subject.create_root_rows(stored)
    before = subject.everything()
    assert subject.ledgers.claim(seen, lease(epoch=9), UNNUMBERED) == Lost(stored)
    assert subject.everything() == before


def test_of_two_claims_one_succeeds(subject: Subject) -> None:
    subject.create_root_rows(row())
    assert subject.ledgers.claim(row(), lease(epoch=8), UNNUMBERED) == row(owner=ME, epoch=8)
    assert subject.ledgers.claim(row(), lease(owner=OTHER, epoch=8), UNNUMBERED) == Lost(row(owner=ME, epoch=8))
    assert subject.ledgers.claim(row(), lease(epoch=8), UNNUMBERED) == Lost(row(owner=ME, epoch=8)), (
        "a repetition does not succeed either"
    )


def test_only_the_owner_releases(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=sequence_number(5)), row(1, owner=ME))
    before = subject.everything()
    for other in (lease(owner=OTHER), lease(epoch=6), lease(epoch=8), lease(owner="w1")):
        assert subject.ledgers.release(other) == Done()
    assert subject.everything() == before
    assert subject.ledgers.release(lease()) == Done()
    assert subject.row(shard()) == row(owner=None, checkpoint=sequence_number(5))
    assert subject.row(shard(1)) == row(1, owner=ME)
    after = subject.everything()
    assert subject.ledgers.release(lease()) == Done()
    assert subject.everything() == after


def test_a_late_release_takes_nothing_from_the_next_owner(subject: Subject) -> None:
    """Also when the next holder is the same worker."""
    subject.create_root_rows(row(owner=ME))
    assert subject.ledgers.release(lease()) == Done()
    subject.ledgers.claim(row(), lease(epoch=8), UNNUMBERED)
    assert subject.ledgers.release(lease()) == Done()
    assert subject.row(shard()) == row(owner=ME, epoch=8)


def test_a_release_makes_no_row(subject: Subject) -> None:
    subject.create_root_rows(row(1))
    before = subject.everything()
    assert subject.ledgers.release(lease()) == Done()
    assert subject.everything() == before


def test_every_row_of_shards_and_streams(subject: Subject) -> None:
    """More than one page of them."""
    stream_starts = {
        StreamStart(ARN, None, ("shard-0",), complete=False),
        StreamStart(ARN.rpartition("/")[0] + "/2026-01-02", 17.5, (), complete=False),
    }
    for stream_start in stream_starts:
        subject.ledgers.record_stream_start(stream_start, None, CREATED)
    rows = [
        LeaseRow(shard(number), ME if number % 2 else None, number, TRIM_HORIZON, parent="p" * 6000)
        for number in range(198)
    ]
    rows.append(row(198, owner=OTHER, epoch=2**53, checkpoint=SHARD_END, children=("shard-199", "shard-200")))
    rows.append(row(199, checkpoint="0" * 40))
    for at in range(0, len(rows), 50):
        assert subject.ledgers.create_root_rows(ARN, tuple(rows[at : at + 50])) == Done()
    if isinstance(subject, DynamoSubject):
        page = subject.clients.dynamodb.scan(TableName=subject.names.leases)
        assert page.get("LastEvaluatedKey"), "one page holds it all: this test shows nothing"
    ledger = subject.ledgers.load()
    assert len(ledger.rows) == len(rows)
    assert set(ledger.rows) == set(rows)
    assert len(ledger.stream_starts) == len(stream_starts)
    assert set(ledger.stream_starts) == stream_starts


def test_an_empty_ledger(subject: Subject) -> None:
    ledger = subject.ledgers.load()
    assert (ledger.rows, ledger.stream_starts) == ((), ())


def test_what_a_row_may_hold_comes_back(subject: Subject) -> None:
    odd = LeaseRow(
        shard()._replace(shard_id="shardId-00000001769860800000-0#a/b"), "w/1/é", 2**40, "9" * 40, "", ("c",)
    )
    subject.create_root_rows(odd)
    assert subject.ledgers.load().rows == (odd,)
    mine = Lease(odd.shard, ME, 2**40 + 1)
    assert subject.ledgers.claim(odd, mine, UNNUMBERED) == LeaseRow(odd.shard, ME, 2**40 + 1, "9" * 40, "", ("c",))

"""A gap has one row; the first unit that is committed after it says where it ends."""

import pytest

from consumer.domain.leases import LeaseRow
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.replies import Committed, Lost
from tests.contract.subject import Subject, unit
from tests.support.builders import CREATED, ME, OTHER, game, ignored, lease, row, sequence_number, shard

NO_PLAYERS: frozenset[str] = frozenset()


def test_a_gap_is_recorded_once(subject: Subject) -> None:
    assert subject.commits.record_gap(shard(), sequence_number(5), CREATED) is True
    before = subject.everything()
    assert subject.commits.record_gap(shard(), sequence_number(5), CREATED + 100) is False
    assert subject.everything() == before
    assert subject.commits.record_gap(shard(), sequence_number(9), CREATED) is True
    assert subject.commits.record_gap(shard(1), sequence_number(5), CREATED) is True
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED) is True
    assert subject.gaps() == {
        (shard(), sequence_number(5)): None,
        (shard(), sequence_number(9)): None,
        (shard(1), sequence_number(5)): None,
        (shard(), TRIM_HORIZON): None,
    }


@pytest.mark.parametrize("checkpoint", [TRIM_HORIZON, sequence_number(5)])
def test_the_first_unit_after_a_gap_fills_it_once(subject: Subject, checkpoint: str) -> None:
    subject.create_root_rows(row(owner=ME, checkpoint=checkpoint))
    subject.commits.record_gap(shard(), checkpoint, CREATED)
    subject.commits.record_gap(shard(1), checkpoint, CREATED)
    games = unit(ignored(700), game(701), previous=checkpoint)
    assert subject.commits.commit(lease(), games, NO_PLAYERS, fills_gap=True) == Committed()
    filled = {(shard(), checkpoint): sequence_number(700), (shard(1), checkpoint): None}
    assert subject.gaps() == filled

    subject.delete_row(shard())
    subject.create_root_rows(row(owner=ME, checkpoint=checkpoint))
    later = unit(game(800), previous=checkpoint)
    assert subject.commits.commit(lease(), later, NO_PLAYERS, fills_gap=True) == Committed()
    assert subject.gaps() == filled
    assert subject.commits.record_gap(shard(), checkpoint, CREATED) is False
    assert subject.gaps() == filled


def test_a_unit_that_fills_none_leaves_it_open(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED)
    assert subject.commits.commit(lease(), unit(game(1)), NO_PLAYERS, fills_gap=False) == Committed()
    assert subject.gaps() == {(shard(), TRIM_HORIZON): None}


def test_a_gap_row_that_was_deleted_is_made_whole_again(subject: Subject) -> None:
    """Never a row that says where a gap ends, but not where it begins."""
    subject.create_root_rows(row(owner=ME))
    subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED)
    subject.delete_gap(shard(), TRIM_HORIZON)
    assert subject.commits.commit(lease(), unit(game(1)), NO_PLAYERS, fills_gap=True) == Committed()
    assert subject.gaps() == {(shard(), TRIM_HORIZON): sequence_number(1)}


@pytest.mark.parametrize(
    "stored",
    [
        None,
        row(owner=None),
        row(owner=OTHER, epoch=8),
        row(owner=ME, epoch=8),
        row(owner=ME, checkpoint=sequence_number(5)),
    ],
)
def test_only_the_owner_records_a_gap_after_its_checkpoint(subject: Subject, stored: LeaseRow | None) -> None:
    """A worker that was paused may find trimmed what another one has long committed."""
    subject.create_root_rows(row(9))
    if stored is not None:
        subject.create_root_rows(stored)
    before = subject.everything()
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED, lease()) == Lost(stored)
    assert subject.everything() == before


def test_the_owner_records_a_gap_once(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED, lease()) is True
    assert subject.commits.record_gap(shard(), TRIM_HORIZON, CREATED + 1, lease()) is False
    assert subject.gaps() == {(shard(), TRIM_HORIZON): None}

"""A unit goes in whole, once, and only where the one before it ended."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.aws import transact
from consumer.domain.errors import CallFailed
from consumer.domain.leases import Lease, LeaseRow
from consumer.domain.records import Outcome
from consumer.domain.replies import CommitReply, Committed, Lost
from tests.contract.differences import FORGETS_TOKENS
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Score, Subject, unit
from tests.support.builders import (
    CREATED,
    ME,
    OTHER,
    commit_plain,
    game,
    ignored,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
)

_token_of = transact.token_of


def test_it_advances_the_row_and_adds(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME), row(1, owner=OTHER))
    games = unit(game(1, "foo", 150), game(2, "foo", 220), game(3, "bar", "-0.5", "2026-02-01"), ignored(4))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
    stands = row(owner=ME, checkpoint=sequence_number(4), created=CREATED + 4, had_game=True, ignored=True)
    assert subject.row(shard()) == stands
    assert subject.row(shard(1)) == row(1, owner=OTHER)
    assert subject.board() == {
        "foo": Score(Decimal(2), Decimal(370), "2026-01-31"),
        "bar": Score(Decimal(1), Decimal("-0.5"), "2026-02-01"),
    }
    more = unit(game(999, "foo", 1, "2026-02-02"), game(1000, "baz", 2), previous=sequence_number(4))
    assert subject.commits.commit(lease(), more, plain_rows(more), fills_gap=False) == Committed()
    assert subject.row(shard()) == row(
        owner=ME, checkpoint=sequence_number(1000), created=CREATED + 1000, had_game=True, ignored=True
    ), "an ignored correction is never forgotten"
    assert subject.board() == {
        "foo": Score(Decimal(3), Decimal(371), "2026-02-02"),
        "bar": Score(Decimal(1), Decimal("-0.5"), "2026-02-01"),
        "baz": Score(Decimal(1), Decimal(2), "2026-01-31"),
    }
    assert subject.quarantine_rows() == {}
    assert subject.gaps() == {}


def test_a_second_attempt_finds_the_checkpoint_moved(subject: Subject) -> None:
    """A retry after a lost reply, when DynamoDB does not remember the token any more."""
    subject.create_root_rows(row(owner=ME))
    subject.commits.record_gap(shard(), "TRIM_HORIZON", CREATED)
    games = unit(game(1), poison(2))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=True) == Committed()
    before = subject.everything()
    stored = row(owner=ME, checkpoint=sequence_number(2), created=CREATED + 2)
    expected = Lost(replace(stored, circuit=games.circuit))
    for _ in range(2):
        assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=True) == expected
    assert subject.everything() == before


def test_the_same_token_twice_counts_once(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transact, "token_of", _token_of)
    subject.create_root_rows(row(owner=ME))
    games = unit(game(1))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
    again = subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    if subject.has(FORGETS_TOKENS):
        assert again == Lost(row(owner=ME, checkpoint=sequence_number(1), created=CREATED + 1, had_game=True))
    else:
        assert again == Committed()
    assert subject.board() == {"foo": Score(Decimal(1), Decimal(150), "2026-01-31")}


HELD = row(owner=ME, checkpoint=sequence_number(5))


@pytest.mark.parametrize(
    ("stored", "mine", "previous"),
    [
        (HELD, lease(owner=OTHER), 5),
        (HELD, lease(owner="w1"), 5),
        (HELD, lease(epoch=6), 5),
        (HELD, lease(epoch=8), 5),
        (HELD, lease(), 4),
        (HELD, lease(), None),
        (row(owner=ME), lease(), 5),
        (row(owner=None, checkpoint=sequence_number(5)), lease(), 5),
        (row(owner=ME, checkpoint="SHARD_END", children=("shard-1",)), lease(), 5),
        (None, lease(), 5),
        (None, lease(), None),
    ],
)
def test_a_lost_lease_writes_nothing_at_all(
    subject: Subject, stored: LeaseRow | None, mine: Lease, previous: int | None
) -> None:
    """Whatever else the unit holds: scores, poison, a gap's end."""
    subject.create_root_rows(row(9, owner=ME))
    if stored is not None:
        subject.create_root_rows(stored)
    subject.commits.commit(
        lease(9),
        unit(game(1, "foo", 1, "2026-03-01")),
        plain_rows(unit(game(1, "foo", 1, "2026-03-01"))),
        fills_gap=False,
    )
    before = sequence_number(previous) if previous is not None else "TRIM_HORIZON"
    subject.commits.record_gap(shard(), before, CREATED)
    snapshot = subject.everything()
    games = unit(game(6, "foo"), game(7, "bar"), poison(8), previous=before)
    assert subject.commits.commit(mine, games, plain_rows(games), fills_gap=True) == Lost(stored)
    assert subject.commits.commit(mine, games, plain_rows(games, {"foo", "bar"}), fills_gap=True) == Lost(stored)
    assert subject.everything() == snapshot


@pytest.mark.parametrize("players", [97, 98])
def test_as_many_players_as_a_transaction_takes(subject: Subject, players: int) -> None:
    subject.create_root_rows(row(owner=ME))
    subject.commits.record_gap(shard(), "TRIM_HORIZON", CREATED)
    games = unit(*(game(seq, f"player-{seq % players}", seq) for seq in range(2 * players)))
    assert len(games.deltas) == players
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=True) == Committed()
    board = subject.board()
    assert len(board) == players
    assert {score.games for score in board.values()} == {Decimal(2)}
    assert sum(Decimal(score.total or 0) for score in board.values()) == sum(range(2 * players))
    assert subject.gaps() == {(shard(), "TRIM_HORIZON"): sequence_number(0)}


def test_a_unit_of_ignored_records_moves_the_checkpoint_alone(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    passed = unit(ignored(1), ignored(2, Outcome.BEFORE_START))
    assert subject.commits.commit(lease(), passed, plain_rows(passed), fills_gap=False) == Committed()
    stands = row(owner=ME, checkpoint=sequence_number(2), created=CREATED + 2, ignored=True)
    assert subject.row(shard()) == stands
    assert subject.board() == {}
    assert subject.quarantine_rows() == {}
    expected = Lost(stands)
    assert subject.commits.commit(lease(), passed, plain_rows(passed), fills_gap=False) == expected


def test_what_came_before_the_start_is_no_ignored_correction(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    passed = unit(ignored(1, Outcome.BEFORE_START))
    assert subject.commits.commit(lease(), passed, plain_rows(passed), fills_gap=False) == Committed()
    assert subject.row(shard()) == row(owner=ME, checkpoint=sequence_number(1), created=CREATED + 1)


def test_shards_of_one_player_add_up(subject: Subject) -> None:
    subject.create_root_rows(*(row(number, owner=ME) for number in range(3)))
    for number in range(3):
        games = unit(game(1, "foo", number + 1, f"2026-01-0{number + 1}"))
        assert subject.commits.commit(lease(number), games, plain_rows(games), fills_gap=False) == Committed()
    assert subject.board() == {"foo": Score(Decimal(3), Decimal(6), "2026-01-03")}


@pytest.mark.parametrize(
    "player", ["日本語", "a#b/c:d", " ", "x" * 2048, "é" * 1024, "\x00\x7f", "🎲🏆", "#birth", "members"]
)
def test_a_players_name_is_taken_as_it_is(subject: Subject, player: str) -> None:
    subject.create_root_rows(row(owner=ME))
    assert commit_plain(subject.commits, lease(), unit(game(1, player))) == Committed()
    assert list(subject.board()) == [player]


def test_of_many_commits_at_once_one_takes_effect(dynamo: DynamoSubject) -> None:
    """The same unit on several threads, every attempt with its own token. (The fakes are for one thread.)"""
    dynamo.create_root_rows(row(owner=ME))
    games = unit(game(1), game(2))
    start = threading.Barrier(4)

    def attempt(_: int) -> CommitReply | CallFailed:
        start.wait()
        try:
            return dynamo.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
        except CallFailed as failure:
            return failure

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(attempt, range(4)))
    assert replies.count(Committed()) == 1, replies
    assert dynamo.board() == {"foo": Score(Decimal(2), Decimal(300), "2026-01-31")}

"""What the database refuses although the lease is held: later dates, and what can never be applied."""

from decimal import Decimal

import pytest

from consumer.aws.commits import DynamoCommits
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.records import Reason
from consumer.domain.replies import Committed, Lost, Refused
from tests.contract.differences import IGNORES_LATE_INDEXES, NAMES_NO_SUSPECT, TAKES_LONG_KEYS
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import Score, Subject, unit
from tests.support.builders import (
    CREATED,
    ME,
    OTHER,
    commit_plain,
    game,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
)


def _begin(subject: Subject, *players: str, date: str = "2026-02-01") -> None:
    """Every player has one game of that day, 10 points; the shard stands at record 100."""
    subject.create_root_rows(row(owner=ME, checkpoint=sequence_number(99)))
    games = unit(*(game(100, player, 10, date) for player in players), previous=sequence_number(99))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()


def test_later_dates_are_named_and_nothing_is_written(subject: Subject) -> None:
    _begin(subject, "a", "b", "c")
    subject.commits.record_gap(shard(), sequence_number(100), CREATED)
    before = subject.everything()
    games = unit(
        game(101, "a", date="2026-01-31"),
        game(102, "b", date="2026-02-01"),
        game(103, "new", date="2026-01-01"),
        game(104, "c", date="2025-12-31"),
        poison(105),
        previous=sequence_number(100),
    )
    expected = Refused(later={"a": "2026-02-01", "c": "2026-02-01"})
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=True) == expected
    assert subject.commits.commit(lease(), games, plain_rows(games, {"b"}), fills_gap=True) == expected
    assert subject.commits.commit(lease(), games, plain_rows(games, {"a"}), fills_gap=True) == Refused(
        later={"c": "2026-02-01"}
    )
    assert subject.everything() == before

    assert subject.commits.commit(lease(), games, plain_rows(games, expected.later), fills_gap=True) == Committed()
    assert subject.board() == {
        "a": Score(Decimal(2), Decimal(160), "2026-02-01"),
        "b": Score(Decimal(2), Decimal(160), "2026-02-01"),
        "c": Score(Decimal(2), Decimal(160), "2026-02-01"),
        "new": Score(Decimal(1), Decimal(150), "2026-01-01"),
    }


@pytest.mark.parametrize(
    ("stored", "date", "kept"),
    [
        ("2026-02-01", "2026-02-01", "2026-02-01"),
        ("2026-02-01", "2026-02-02", "2026-02-02"),
        ("0001-01-01", "9999-12-31", "9999-12-31"),
        ("2025-12-31", "2026-01-01", "2026-01-01"),
        ("", "2026-01-01", "2026-01-01"),
        ("2026-01", "2026-01-01", "2026-01-01"),
        (None, "2026-01-01", "2026-01-01"),
    ],
)
def test_a_date_grows(subject: Subject, stored: str | None, date: str, kept: str) -> None:
    """A text that sorts before the date, whatever it is, gives way."""
    _begin(subject, "a")
    if stored is not None:
        subject.spoil("a", "lastPlayedDate", stored)
    else:
        subject.delete_attribute("a", "lastPlayedDate")
    games = unit(game(101, "a", 1, date), previous=sequence_number(100))
    assert subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
    assert subject.board() == {"a": Score(Decimal(2), Decimal(11), kept)}


@pytest.mark.parametrize(
    "stored", ["someday", "2026-02-30", "2026-2-1", "2026-12-31T00:00", "99999", Decimal(20260201)]
)
def test_a_stored_date_that_is_none_makes_its_player_suspect(subject: Subject, stored: str | Decimal) -> None:
    _begin(subject, "a", "b")
    subject.spoil("a", "lastPlayedDate", stored)
    before = subject.everything()
    games = unit(game(101, "a"), game(102, "b", date="2026-02-02"), game(103, "c"), previous=sequence_number(100))
    reply = subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert (reply.later, reply.conflict, reply.suspects) == ({}, False, frozenset({"a"}))
    assert subject.everything() == before
    assert _reason(subject, "a") is Reason.DATE_TYPE
    assert _reason(subject, "b") is None
    assert _reason(subject, "c") is None


def test_later_dates_and_bad_ones_are_distinguished(subject: Subject) -> None:
    _begin(subject, "a", "b")
    subject.spoil("a", "lastPlayedDate", "someday")
    games = unit(game(101, "a"), game(102, "b"), previous=sequence_number(100))
    reply = subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    assert isinstance(reply, Refused)
    assert (set(reply.later), set(reply.suspects)) == ({"b"}, {"a"})
    assert reply.invalid


@pytest.mark.parametrize("attribute", ["totalScore", "gamesPlayed"])
def test_a_stored_number_of_another_type(subject: Subject, attribute: str) -> None:
    _begin(subject, "a", "b", date="2026-01-01")
    subject.spoil("a", attribute, "many")
    before = subject.everything()
    games = unit(game(101, "b"), game(102, "a"), game(103, "c"), previous=sequence_number(100))
    reply = subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert (reply.later, reply.conflict) == ({}, False)
    assert reply.suspects == (frozenset() if subject.has(NAMES_NO_SUSPECT) else frozenset({"a"}))
    assert subject.everything() == before
    assert _reason(subject, "a") is Reason.TOTAL_TYPE
    assert _reason(subject, "b") is None
    assert _reason(subject, "c") is None


def test_a_lost_lease_comes_before_anything_else(subject: Subject) -> None:
    _begin(subject, "late", "bad", "worse")
    subject.spoil("bad", "totalScore", "many")
    subject.spoil("worse", "lastPlayedDate", "someday")
    before = subject.everything()
    stored = row(owner=ME, checkpoint=sequence_number(100), created=CREATED + 100, had_game=True)
    for players in (("late",), ("worse",), ("late", "worse"), ("bad", "late", "worse"), ("bad",)):
        games = unit(*(game(101, player) for player in players), previous=sequence_number(100))
        for mine in (lease(owner=OTHER), lease(epoch=8)):
            assert subject.commits.commit(mine, games, plain_rows(games), fills_gap=False) == Lost(stored), players
    assert subject.everything() == before


def test_a_later_date_beside_what_can_never_be_applied(subject: Subject) -> None:
    """Which of the two comes first is open; in the end both are expected."""
    _begin(subject, "late", "bad")
    subject.spoil("bad", "totalScore", "many")
    before = subject.everything()
    games = unit(game(101, "late"), game(102, "bad", date="2026-02-02"), previous=sequence_number(100))
    reply = subject.commits.commit(lease(), games, plain_rows(games), fills_gap=False)
    assert isinstance(reply, Refused)
    assert reply.later.keys() == {"late"} or (reply.invalid and not reply.later)
    assert subject.everything() == before
    reply = subject.commits.commit(lease(), games, plain_rows(games, {"late"}), fills_gap=False)
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert not reply.later
    assert subject.everything() == before


def test_a_key_too_long_is_refused_with_its_player(subject: Subject) -> None:
    """Decoding lets none through; if one came, it would be found."""
    subject.create_root_rows(row(owner=ME))
    before = subject.everything()
    long = "x" * 2049
    reply = commit_plain(subject.commits, lease(), unit(game(1), game(2, long)))
    if subject.has(TAKES_LONG_KEYS):
        assert reply == Committed()
        return
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert reply.suspects == frozenset({long})
    assert subject.everything() == before


@pytest.mark.parametrize("number", ["9" * 39, "1E+126", "1E-131"])
def test_a_number_past_the_range_is_refused(dynamo: DynamoSubject, number: str) -> None:
    """The fold makes none; if it did, nothing would be rounded. (The fakes take what the fold can make.)"""
    dynamo.create_root_rows(row(owner=ME))
    before = dynamo.everything()
    reply = commit_plain(dynamo.commits, lease(), unit(game(1, score=number)))
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert dynamo.everything() == before


def test_a_table_of_another_key_is_a_failed_call(dynamo: DynamoSubject) -> None:
    """No record is to blame when the leaderboard is another table now."""
    other = DynamoCommits(dynamo.clients.dynamodb, dynamo.names._replace(leaderboard=dynamo.names.quarantine))
    with pytest.raises(CallFailed) as raised:
        other.examine(game(1))
    assert raised.value.kind is FailureKind.REJECTED
    gone = DynamoCommits(dynamo.clients.dynamodb, dynamo.names._replace(leaderboard="no-such-table"))
    with pytest.raises(CallFailed) as raised:
        gone.examine(game(1))
    assert raised.value.kind is FailureKind.MISSING


def test_an_empty_board_does_not_show_who_is_to_blame(subject: Subject) -> None:
    """There is no row to try whether the table takes any game."""
    with pytest.raises(CallFailed) as raised:
        subject.commits.examine(game(1, "a"))
    assert raised.value.kind is FailureKind.REJECTED
    _begin(subject, "a", "b")
    subject.spoil("b", "totalScore", "many")
    before = subject.everything()
    for player in ("a", "c"):
        assert subject.commits.examine(game(1, player)) is None
    assert subject.everything() == before, "what was tried changes nothing"


@pytest.mark.parametrize("attribute", ["totalScore", "lastPlayedDate"])
def test_a_table_that_refuses_every_game_is_a_failed_call(dynamo: DynamoSubject, attribute: str) -> None:
    if dynamo.has(IGNORES_LATE_INDEXES):
        pytest.skip(IGNORES_LATE_INDEXES.reason)
    _begin(dynamo, "a", "b")
    assert dynamo.commits.examine(game(1, "c")) is None
    kinds = {"playerId": "S", attribute: "N" if attribute == "lastPlayedDate" else "S"}
    index = {"IndexName": "new", "Projection": {"ProjectionType": "ALL"}}
    dynamo.clients.dynamodb.update_table(
        TableName=dynamo.names.leaderboard,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()],
        GlobalSecondaryIndexUpdates=[
            {"Create": {**index, "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}]}}
        ],
    )
    with pytest.raises(CallFailed) as raised:
        dynamo.commits.examine(game(1, "c"))
    assert raised.value.kind is FailureKind.REJECTED
    assert "refuses the games of all players" in raised.value.detail


def _reason(subject: Subject, player: str) -> Reason | None:
    verdict = subject.commits.examine(game(110, player))
    return verdict[0] if verdict else None

"""A replay counts a batch once, where the one before ended, with the states it relies on; or not at all (design: 6)."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.aws.operator_writes import DynamoReplays
from consumer.domain.audit import AuditEntry
from consumer.domain.cut import cut
from consumer.domain.fold import Delta, Limits
from consumer.domain.leases import SHARD_END, TRIM_HORIZON
from consumer.domain.marks import Mark, Route, RowWrite, StoredRow
from consumer.domain.operator_ports import Replays
from consumer.domain.records import Entry
from consumer.domain.replay import Batch, Changed, Mode, Overtaken, Progress, Range
from consumer.domain.replies import Committed, Done, Refused
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.fake_subject import FakeSubject
from tests.contract.subject import Score, Subject, unit
from tests.support.builders import CREATED, ME, game, ignored, lease, plain_rows, poison, row, sequence_number, shard
from tests.support.fakes import FakeReplays

NO_PLAYERS: frozenset[str] = frozenset()
AUDIT_ENTRY = AuditEntry("me", CREATED + 9, "replay", "somewhere", {"outcome": "started"})
DAY = "2026-01-31"


@pytest.fixture
def replays(subject: Subject) -> Replays:
    if isinstance(subject, DynamoSubject):
        return DynamoReplays(subject.clients.dynamodb, subject.names, threading.Event())
    assert isinstance(subject, FakeSubject)
    return FakeReplays(subject._tables)


def progress(subject: Subject, **changes: object) -> Progress:
    made = Progress(
        shard=shard(),
        target=subject.names.leaderboard,
        mode=Mode.RECOUNT,
        range=Range(TRIM_HORIZON, SHARD_END),
        requested_last="LATEST",
        position=TRIM_HORIZON,
        replay_id="replay",
        runner="mine",
        who="me",
        started_at=CREATED,
        done=(Range(sequence_number(1), sequence_number(5)), Range(TRIM_HORIZON, SHARD_END)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def begun(subject: Subject, replays: Replays, **changes: object) -> Progress:
    made = progress(subject, **changes)
    assert replays.put(None, made, AUDIT_ENTRY) == Done()
    return made


def batch(*entries: Entry, states: dict[str, str] | None = None, skipped: dict[str, str] | None = None) -> Batch:
    return Batch(cut(entries, TRIM_HORIZON, Limits(), CREATED), states or {}, skipped or {})


def quarantined(subject: Subject, *numbers: int) -> None:
    subject.create_root_rows(row(owner=ME))
    poisons = unit(*(poison(number) for number in numbers))
    assert subject.commits.commit(lease(), poisons, plain_rows(poisons), fills_gap=False) == Committed()


def test_the_row_is_put_once_and_read(subject: Subject, replays: Replays) -> None:
    assert replays.progress(shard(), subject.names.leaderboard) is None
    made = begun(subject, replays)
    assert replays.progress(shard(), subject.names.leaderboard) == made
    assert replays.progress(shard(1), subject.names.leaderboard) is None
    assert replays.progress(shard(), "another-board") is None
    assert replays.put(None, made, AUDIT_ENTRY) == Done(), "its reply was lost"
    assert replays.put(None, replace(made, runner="yours"), AUDIT_ENTRY) == Overtaken(made), (
        "of two runs that begin, one does"
    )
    assert replays.progress(shard(), subject.names.leaderboard) == made


def test_a_batch_moves_the_row_and_counts(subject: Subject, replays: Replays) -> None:
    before = begun(subject, replays)
    counted = batch(game(1), game(2, "bar", "0.5"), ignored(3), game(4), skipped={sequence_number(3): "refused"})
    assert replays.count(before, counted, NO_PLAYERS) == Committed()
    assert subject.board() == {
        "foo": Score(Decimal(2), Decimal(300), DAY),
        "bar": Score(Decimal(1), Decimal("0.5"), DAY),
    }
    after = replace(before, position=sequence_number(4), games=3, skipped=1)
    assert before.after(counted) == after
    assert replays.progress(shard(), subject.names.leaderboard) == after


def test_a_repeated_batch_counts_nothing(subject: Subject, replays: Replays) -> None:
    before = begun(subject, replays)
    counted = batch(game(1))
    assert replays.count(before, counted, NO_PLAYERS) == Committed()
    board = subject.board()
    assert replays.count(before, counted, NO_PLAYERS) == Overtaken(before.after(counted))
    assert subject.board() == board


def test_a_run_that_was_overtaken_counts_nothing(subject: Subject, replays: Replays) -> None:
    mine = begun(subject, replays)
    yours = replace(mine, runner="yours")
    assert replays.put(mine, yours, AUDIT_ENTRY) == Done()
    assert replays.count(mine, batch(game(1)), NO_PLAYERS) == Overtaken(yours), "at the very same position"
    assert replays.put(mine, replace(mine, running=False), AUDIT_ENTRY) == Overtaken(yours)
    assert subject.board() == {}
    assert replays.count(yours, batch(game(1)), NO_PLAYERS) == Committed()


def test_a_row_that_has_moved_is_not_taken_over_as_it_was(subject: Subject, replays: Replays) -> None:
    seen = begun(subject, replays)
    assert replays.count(seen, batch(game(1)), NO_PLAYERS) == Committed()
    moved = replace(seen, position=sequence_number(1), games=1)
    assert replays.put(seen, replace(seen, runner="yours"), AUDIT_ENTRY) == Overtaken(moved)
    assert replays.progress(shard(), subject.names.leaderboard) == moved


def test_an_end_is_written_once(subject: Subject, replays: Replays) -> None:
    running = begun(subject, replays)
    ended = replace(running, running=False, position=SHARD_END)
    assert replays.put(running, ended, AUDIT_ENTRY) == Done()
    assert replays.put(running, ended, AUDIT_ENTRY) == Done(), "its reply was lost"
    assert replays.progress(shard(), subject.names.leaderboard) == ended
    assert replays.count(running, batch(game(1)), NO_PLAYERS) == Overtaken(ended)


def test_a_row_that_is_gone_counts_nothing(subject: Subject, replays: Replays) -> None:
    assert replays.count(progress(subject), batch(game(1)), NO_PLAYERS) == Overtaken(None)
    assert subject.board() == {}


@pytest.mark.parametrize("now", ["applied", "discarded"])
def test_a_quarantine_row_with_another_state_by_now(subject: Subject, replays: Replays, now: str) -> None:
    quarantined(subject, 2, 3)
    before = begun(subject, replays)
    two, three = sequence_number(2), sequence_number(3)
    counted = batch(game(1), ignored(2), ignored(3), states={two: "pending", three: "pending"})
    subject.mark("shard-0", three, now)
    assert replays.count(before, counted, NO_PLAYERS) == Changed(frozenset([three]))
    assert (subject.board(), replays.progress(shard(), subject.names.leaderboard)) == ({}, before)
    agreed = replace(counted, states={two: "pending", three: now})
    assert replays.count(before, agreed, NO_PLAYERS) == Committed()
    assert subject.board() == {"foo": Score(Decimal(1), Decimal(150), DAY)}


def test_a_quarantine_row_that_is_gone(subject: Subject, replays: Replays) -> None:
    before = begun(subject, replays)
    counted = batch(ignored(2), states={sequence_number(2): "pending"})
    assert replays.count(before, counted, NO_PLAYERS) == Changed(frozenset([sequence_number(2)]))


def test_a_date_never_goes_back(subject: Subject, replays: Replays) -> None:
    before = begun(subject, replays)
    assert replays.count(before, batch(game(1, date="2026-02-01"), game(1, "bar")), NO_PLAYERS) == Committed()
    now = before.after(batch(game(1), game(1, "bar")))
    earlier = batch(game(2), game(3, "bar"))
    assert replays.count(now, earlier, NO_PLAYERS) == Refused(later={"foo": "2026-02-01"})
    assert replays.count(now, earlier, frozenset(["foo"])) == Committed()
    assert subject.board()["foo"] == Score(Decimal(2), Decimal(300), "2026-02-01")


def test_what_the_database_refuses_is_reported(subject: Subject, replays: Replays) -> None:
    before = begun(subject, replays)
    assert replays.count(before, batch(game(1)), NO_PLAYERS) == Committed()
    subject.spoil("foo", "lastPlayedDate", "when")
    now = before.after(batch(game(1)))
    refused = replays.count(now, batch(game(2)), NO_PLAYERS)
    assert isinstance(refused, Refused)
    assert refused.invalid
    assert refused.suspects == {"foo"}
    assert replays.progress(shard(), subject.names.leaderboard) == now


def test_a_full_batch_fits_a_transaction(subject: Subject, replays: Replays) -> None:
    quarantined(subject, *range(1, 31))
    before = begun(subject, replays)
    states = {sequence_number(number): "pending" for number in range(1, 31)}
    entries = [ignored(number) for number in range(1, 31)] + [game(number, f"p{number}") for number in range(31, 100)]
    assert replays.count(before, batch(*entries, states=states), NO_PLAYERS) == Committed()
    assert len(subject.board()) == 69


def test_the_marks_of_the_rows_stay_as_they_are(subject: Subject, replays: Replays) -> None:
    """A marked row, also one whose mark covers the record, and a player without a row."""
    mark = Mark(str(shard()), sequence_number(9), CREATED)
    write = RowWrite("foo", Delta(1, Decimal("0.5"), DAY), Route.INSERT, mark=mark)
    assert subject.write_row(write) == Done()
    counted = batch(game(1, "foo"), game(2, "bar"))
    assert replays.count(begun(subject, replays), counted, NO_PLAYERS) == Committed()
    assert subject.circuits.read_row("foo") == StoredRow(mark=mark, date=DAY)
    assert subject.circuits.read_row("bar") == StoredRow(date=DAY)
    assert {player: row.games for player, row in subject.board().items()} == {"foo": 2, "bar": 1}

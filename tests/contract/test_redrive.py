"""A quarantined record is counted once, however often it is redriven, and stays as it came (design: 5)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.fold import Delta
from consumer.domain.marks import Mark, Route, RowWrite, StoredRow
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    OperatorAction,
    QuarantineEntry,
    Resolution,
    Unsettled,
)
from consumer.domain.records import Reason
from consumer.domain.replies import Committed, Done, Refused
from tests.contract.subject import Score, Subject, unit
from tests.support.builders import (
    ARN,
    CREATED,
    ME,
    commit_plain,
    game,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
    wire,
)

NOW = CREATED + 3600
NOW_ISO = "2026-01-31T13:00:00.000Z"
DAY = "2026-01-31"


def quarantined(subject: Subject, *numbers: int, at: int = 0) -> list[QuarantineEntry]:
    subject.create_root_rows(row(at, owner=ME))
    poisons = unit(*(poison(number) for number in numbers))
    assert subject.commits.commit(lease(at), poisons, plain_rows(poisons), fills_gap=False) == Committed()
    return sorted(subject.quarantine.entries(f"shard-{at}"), key=lambda entry: entry.order)


def application(
    entry: QuarantineEntry,
    *,
    token: str = "mine",
    score: int = 12,
    date: str = DAY,
    who: str = "me",
    player: str = "foo",
) -> Application:
    audit_entry = AuditEntry(who, NOW, "redrive", str(entry), {"outcome": "applied"})
    return Application(
        OperatorAction(entry, token, audit_entry), {player: Delta(1, Decimal(score), date)}, {"score": "12"}
    )


def test_entries_and_records_as_they_came(subject: Subject) -> None:
    one, two = quarantined(subject, 999, 1000)
    assert one == QuarantineEntry(
        "shard-0",
        sequence_number(999),
        "score_type",
        "pending",
        "foo",
        1,
        "score is wrong",
        "2026-01-31T12:01:00.000Z",
        CREATED + 999,
        ARN,
        None,
    )
    assert (one.shard, two.sequence_number) == (shard(), sequence_number(1000))
    assert subject.quarantine.records([two, one]) == [wire(1000, score=None), wire(999, score=None)]
    assert subject.quarantine.entry("shard-0", sequence_number(999)) == one
    assert subject.quarantine.entry("shard-0", sequence_number(5)) is None
    assert list(subject.quarantine.entries("shard-1")) == []


def test_other_rows_of_the_table_are_no_entries(subject: Subject) -> None:
    (entry,) = quarantined(subject, 1)
    assert subject.commits.record_gap(shard(), sequence_number(1), CREATED)
    assert subject.quarantine.apply([application(entry)]) == Done()
    assert [entry.sequence_number for entry in subject.quarantine.entries()] == [sequence_number(1)]


def test_it_is_counted_marked_and_audited_at_once(subject: Subject) -> None:
    (entry,) = quarantined(subject, 1)
    assert subject.quarantine.apply([application(entry)]) == Done()
    assert subject.board() == {"foo": Score(Decimal(1), Decimal(12), DAY)}
    applied = replace(entry, state="applied", resolution=Resolution("me", NOW_ISO, {"score": "12"}))
    assert subject.quarantine.entry(*head_key(entry)) == applied
    assert subject.quarantine.records([applied]) == [wire(1, score=None)], "what came stays"
    assert subject.audit() == [AuditEntry("me", NOW, "redrive", str(entry), {"outcome": "applied"})]
    assert subject.pending_records.count() == 0


def test_the_same_action_repeated_is_done_and_counts_once(subject: Subject) -> None:
    (entry,) = quarantined(subject, 1)
    assert subject.quarantine.apply([application(entry)]) == Done()
    before = subject.everything()
    assert subject.quarantine.apply([application(entry)]) == Done(), "its reply was lost"
    assert subject.everything() == before


@pytest.mark.parametrize("state", ["applied", "discarded"])
def test_another_action_is_refused_with_the_entry_as_it_is(subject: Subject, state: str) -> None:
    (entry,) = quarantined(subject, 1)
    if state == "applied":
        assert subject.quarantine.apply([application(entry)]) == Done()
    else:
        assert subject.quarantine.discard([application(entry).action], "no game") == Done()
    before = subject.everything()
    reply = subject.quarantine.apply([application(entry, token="other", who="you")])
    assert isinstance(reply, Unsettled)
    found = reply.replies[0]
    assert isinstance(found, AlreadyResolved)
    assert found.entry is not None
    assert found.entry.resolution is not None
    assert (found.entry.state, found.entry.resolution.by) == (state, "me")
    assert subject.everything() == before


def test_a_record_without_a_row_is_not_counted(subject: Subject) -> None:
    (entry,) = quarantined(subject, 1)
    before = subject.everything()
    gone = replace(entry, sequence_number=sequence_number(2))
    assert subject.quarantine.apply([application(gone)]) == Unsettled({0: AlreadyResolved(None)})
    assert subject.everything() == before


def test_it_adds_to_what_is_there_and_moves_the_date(subject: Subject) -> None:
    (entry,) = quarantined(subject, 1)
    subject.create_root_rows(row(1, owner=ME))
    assert commit_plain(subject.commits, lease(1), unit(game(5, score="0.5"))) == Committed()
    assert subject.quarantine.apply([application(entry, date="2026-02-01")]) == Done()
    assert subject.board() == {"foo": Score(Decimal(2), Decimal("12.5"), "2026-02-01")}


def test_a_later_date_is_kept(subject: Subject) -> None:
    (entry,) = quarantined(subject, 1)
    subject.create_root_rows(row(1, owner=ME))
    assert commit_plain(subject.commits, lease(1), unit(game(5))) == Committed()
    before = subject.everything()
    early = application(entry, date="2026-01-30")
    assert subject.quarantine.apply([early]) == Refused(later={"foo": DAY})
    assert subject.everything() == before
    assert subject.quarantine.apply([early.undated_for(["foo"])]) == Done()
    assert subject.board() == {"foo": Score(Decimal(2), Decimal(162), DAY)}


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("totalScore", "many", Reason.TOTAL_TYPE),
        ("lastPlayedDate", "when", Reason.DATE_TYPE),
        ("lastPlayedDate", Decimal(20260131), Reason.DATE_TYPE),
    ],
)
def test_what_the_database_refuses_stays(
    subject: Subject, attribute: str, value: Decimal | str, reason: Reason
) -> None:
    (entry,) = quarantined(subject, 1)
    subject.create_root_rows(row(1, owner=ME))
    assert commit_plain(subject.commits, lease(1), unit(game(5))) == Committed()
    subject.spoil("foo", attribute, value)
    before = subject.everything()
    refused = subject.quarantine.apply([application(entry)])
    assert isinstance(refused, Refused)
    assert refused.invalid
    assert not refused.later
    assert refused.suspects == {"foo"}
    verdict = subject.commits.examine(game(1))
    assert verdict is not None
    assert verdict[0] is reason
    assert subject.everything() == before


@pytest.mark.parametrize("stored", [Mark(str(shard(1)), sequence_number(7), CREATED), None], ids=["marked", "absent"])
def test_the_mark_of_the_row_stays_as_it_is(subject: Subject, stored: Mark | None) -> None:
    """What is in the row without being behind its mark is what the owner of its shard does not have to know."""
    (entry,) = quarantined(subject, 1)
    if stored is not None:
        write = RowWrite("foo", Delta(1, Decimal("0.5"), DAY), Route.INSERT, mark=stored)
        assert subject.write_row(write) == Done()
    assert subject.quarantine.apply([application(entry)]) == Done()
    assert subject.circuits.read_row("foo") == StoredRow(mark=stored, date=DAY)
    assert subject.board()["foo"].games == (1 if stored is None else 2)


def head_key(entry: QuarantineEntry) -> tuple[str, str]:
    return entry.shard_id, entry.sequence_number


def test_several_records_are_one_transaction(subject: Subject) -> None:
    one, two, three = quarantined(subject, 1, 2, 3)
    other = application(three, score=5, player="bar")
    assert subject.quarantine.apply([application(one), application(two, score=30), other]) == Done()
    assert subject.board() == {
        "foo": Score(Decimal(2), Decimal(42), DAY),
        "bar": Score(Decimal(1), Decimal(5), DAY),
    }
    assert len(subject.audit()) == 3
    assert subject.pending_records.count() == 0


def test_one_that_is_resolved_holds_the_batch_and_is_named(subject: Subject) -> None:
    one, two, three = quarantined(subject, 1, 2, 3)
    assert subject.quarantine.apply([application(one, token="first")]) == Done()
    assert subject.quarantine.apply([application(two, token="you", who="you")]) == Done()
    before = subject.everything()
    reply = subject.quarantine.apply([application(one, token="first"), application(two), application(three)])
    assert isinstance(reply, Unsettled)
    assert reply.replies.keys() == {0, 1}
    assert reply.replies[0] == Done(), "its own attempt, whose reply was lost"
    assert isinstance(reply.replies[1], AlreadyResolved)
    assert subject.everything() == before


def test_later_dates_and_a_refusal_hold_the_batch(subject: Subject) -> None:
    one, two = quarantined(subject, 1, 2)
    subject.create_root_rows(row(1, owner=ME))
    assert commit_plain(subject.commits, lease(1), unit(game(5))) == Committed()
    before = subject.everything()
    batch = [application(one, date="2026-01-30"), application(two, player="bar")]
    assert subject.quarantine.apply(batch) == Refused(later={"foo": DAY})
    assert subject.everything() == before
    subject.spoil("foo", "totalScore", "many")
    before = subject.everything()
    refused = subject.quarantine.apply([batch[0].undated_for(["foo"]), batch[1]])
    assert isinstance(refused, Refused)
    assert refused.invalid
    assert subject.everything() == before

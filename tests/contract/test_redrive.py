"""A quarantined record is counted once, whoever asks how often; and what it was stays as it came (design: 5)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Delta
from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.quarantine import Act, Application, Head, Settled, Taken
from consumer.domain.records import Reason
from tests.builders import ARN, CREATED, ME, game, lease, poison, row, sequence_number, shard, wire
from tests.contract.subject import Score, Subject, unit

NOBODY: frozenset[str] = frozenset()
NOW = CREATED + 3600
NOW_ISO = "2026-01-31T13:00:00.000Z"
DAY = "2026-01-31"


def quarantined(subject: Subject, *numbers: int, at: int = 0) -> list[Head]:
    subject.plant(row(at, owner=ME))
    poisons = unit(*(poison(number) for number in numbers))
    assert subject.commits.commit(lease(at), poisons, NOBODY, fills_gap=False) == Committed()
    return sorted(subject.ward.heads(f"shard-{at}"), key=lambda head: head.order)


def application(head: Head, *, token: str = "mine", score: int = 12, date: str = DAY, who: str = "me") -> Application:
    trace = Trace(who, NOW, "redrive", str(head), {"outcome": "applied"})
    return Application(Act(head, token, trace), "foo", Delta(1, Decimal(score), date), {"score": "12"})


def test_heads_and_records_as_they_came(subject: Subject) -> None:
    one, two = quarantined(subject, 999, 1000)
    assert one == Head(
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
    assert subject.ward.record(one) == wire(999, score=None)
    assert subject.ward.head("shard-0", sequence_number(999)) == one
    assert subject.ward.head("shard-0", sequence_number(5)) is None
    assert list(subject.ward.heads("shard-1")) == []


def test_other_rows_of_the_table_are_no_heads(subject: Subject) -> None:
    (head,) = quarantined(subject, 1)
    assert subject.commits.record_gap(shard(), sequence_number(1), CREATED)
    assert subject.ward.apply(application(head)) == Done()
    assert [head.sequence_number for head in subject.ward.heads()] == [sequence_number(1)]


def test_it_is_counted_marked_and_traced_at_once(subject: Subject) -> None:
    (head,) = quarantined(subject, 1)
    assert subject.ward.apply(application(head)) == Done()
    assert subject.board() == {"foo": Score(Decimal(1), Decimal(12), DAY)}
    applied = replace(head, state="applied", settled=Settled("me", NOW_ISO, {"score": "12"}))
    assert subject.ward.head(*head_key(head)) == applied
    assert subject.ward.record(applied) == wire(1, score=None), "what came stays"
    assert subject.audit() == [Trace("me", NOW, "redrive", str(head), {"outcome": "applied"})]
    assert subject.commits.pending() == 0


def test_the_same_act_asked_again_is_done_and_counts_once(subject: Subject) -> None:
    (head,) = quarantined(subject, 1)
    assert subject.ward.apply(application(head)) == Done()
    before = subject.everything()
    assert subject.ward.apply(application(head)) == Done(), "its reply was lost"
    assert subject.everything() == before


@pytest.mark.parametrize("state", ["applied", "discarded"])
def test_another_one_is_told_who_was_faster(subject: Subject, state: str) -> None:
    (head,) = quarantined(subject, 1)
    if state == "applied":
        assert subject.ward.apply(application(head)) == Done()
    else:
        assert subject.ward.discard(application(head).act, "no game") == Done()
    before = subject.everything()
    told = subject.ward.apply(application(head, token="other", who="you"))
    assert isinstance(told, Taken)
    assert told.head is not None
    assert told.head.settled is not None
    assert (told.head.state, told.head.settled.by) == (state, "me")
    assert subject.everything() == before


def test_a_record_without_a_row_is_not_counted(subject: Subject) -> None:
    (head,) = quarantined(subject, 1)
    before = subject.everything()
    gone = replace(head, sequence_number=sequence_number(2))
    assert subject.ward.apply(application(gone)) == Taken(None)
    assert subject.everything() == before


def test_it_adds_to_what_is_there_and_moves_the_date(subject: Subject) -> None:
    (head,) = quarantined(subject, 1)
    subject.plant(row(1, owner=ME))
    assert subject.commits.commit(lease(1), unit(game(5, score="0.5")), NOBODY, fills_gap=False) == Committed()
    assert subject.ward.apply(application(head, date="2026-02-01")) == Done()
    assert subject.board() == {"foo": Score(Decimal(2), Decimal("12.5"), "2026-02-01")}


def test_a_later_date_is_kept(subject: Subject) -> None:
    (head,) = quarantined(subject, 1)
    subject.plant(row(1, owner=ME))
    assert subject.commits.commit(lease(1), unit(game(5)), NOBODY, fills_gap=False) == Committed()
    before = subject.everything()
    early = application(head, date="2026-01-30")
    assert subject.ward.apply(early) == Refused(later={"foo": DAY})
    assert subject.everything() == before
    assert subject.ward.apply(replace(early, dated=False)) == Done()
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
    (head,) = quarantined(subject, 1)
    subject.plant(row(1, owner=ME))
    assert subject.commits.commit(lease(1), unit(game(5)), NOBODY, fills_gap=False) == Committed()
    subject.spoil("foo", attribute, value)
    before = subject.everything()
    refused = subject.ward.apply(application(head))
    assert isinstance(refused, Refused)
    assert refused.invalid
    assert not refused.later
    assert refused.suspects == {"foo"}
    verdict = subject.commits.examine(game(1))
    assert verdict is not None
    assert verdict[0] is reason
    assert subject.everything() == before


def head_key(head: Head) -> tuple[str, str]:
    return head.shard_id, head.sequence_number

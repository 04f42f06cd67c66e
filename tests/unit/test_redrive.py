"""The redrive machine: what it asks, what it makes of each answer, and that it asks the same again."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.audit import Trace
from consumer.domain.leaderboard import Delta, Limits, cut
from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Act, Application, Head, Settled, Taken
from consumer.domain.records import Entry, Poison, Reason, Rules, decode
from consumer.operations.acts import Apply, Call, Drop, Examine, Examined, Fetch, Fetched, Reply, drive, perform
from consumer.operations.discard import Discard, Discarded
from consumer.operations.redrive import NO_REPAIR, Applied, Faster, Redrive, Repair, Stayed
from consumer.operations.ward import folded
from tests.builders import ARN, CREATED, ME, game, lease, row, sequence_number, wire
from tests.fakes import FakeOperators, FakeTables

HEAD = Head("shard-0", sequence_number(1), "score_type", "pending", "foo", 1, stream_arn=ARN)
NOW = CREATED + 60


def machine(repair: Repair = NO_REPAIR) -> Redrive:
    return Redrive(HEAD, repair, Rules(), "me", NOW, "mine")


def counted(date: str = "2026-01-31", **details: str) -> Application:
    trace = Trace("me", NOW, "redrive", str(HEAD), {"outcome": "applied", "player": "foo", **details})
    repairs = {"score": "12"} if "repairs" in details else {}
    score = Decimal(12) if repairs else Decimal(150)
    return Application(Act(HEAD, "mine", trace), "foo", Delta(1, score, date), repairs)


def test_it_fetches_and_applies() -> None:
    redrive = machine()
    assert redrive.due() == redrive.due() == Fetch(HEAD)
    redrive.take(Fetched(wire(1)))
    apply = redrive.due()
    assert apply == Apply(counted(reason="score_type"))
    assert redrive.due() == apply, "an open answer is asked again unchanged"
    redrive.take(Done())
    assert redrive.due() is None
    assert isinstance(redrive.result, Applied)
    assert redrive.result.game == decode(wire(1), Rules(), None)


def test_a_repair_is_written_and_told() -> None:
    redrive = machine(Repair({"score": "12"}, only_wrong=True))
    redrive.take(Fetched(wire(1, score={"S": "12"})))
    assert redrive.due() == Apply(counted(reason="score_type", repairs="score=12"))


@pytest.mark.parametrize(
    ("fetched", "reason"),
    [
        (Fetched(wire(1, score={"S": "12"})), "score_type"),
        (Fetched(wire(1, event="REMOVE")), "ignored"),
        (Fetched(None, "part 1 is missing"), "damaged"),
    ],
)
def test_what_cannot_count_stays(fetched: Fetched, reason: str) -> None:
    redrive = machine()
    redrive.take(fetched)
    assert redrive.due() is None
    assert isinstance(redrive.result, Stayed)
    assert redrive.result.reason == reason


def test_a_later_date_is_left_alone() -> None:
    redrive = machine()
    redrive.take(Fetched(wire(1)))
    redrive.take(Refused(later={"foo": "2026-02-01"}))
    assert redrive.due() == Apply(replace(counted(reason="score_type"), dated=False))


@pytest.mark.parametrize(
    ("verdict", "reason"), [((Reason.TOTAL_TYPE, "it is a string"), "total_type"), (None, "refused")]
)
def test_what_the_database_refuses_is_examined(verdict: tuple[Reason, str] | None, reason: str) -> None:
    redrive = machine()
    redrive.take(Fetched(wire(1)))
    redrive.take(Refused(invalid="wrong type"))
    assert isinstance(redrive.due(), Examine)
    redrive.take(Examined(verdict))
    assert isinstance(redrive.result, Stayed)
    assert redrive.result.reason == reason


def test_somebody_was_faster() -> None:
    redrive = machine()
    redrive.take(Fetched(wire(1)))
    now = replace(HEAD, state="applied", settled=Settled("you", "then"))
    redrive.take(Taken(now))
    assert redrive.result == Faster(HEAD, now)


def test_a_discard_is_one_call() -> None:
    discard = Discard(HEAD, "no game", "me", NOW, "mine")
    call = discard.due()
    assert isinstance(call, Drop)
    assert call.act.trace.detail == {
        "outcome": "discarded",
        "why": "no game",
        "reason": "score_type",
        "player": "foo",
    }
    assert discard.due() is call
    discard.take(Done())
    assert (discard.due(), discard.result) == (None, Discarded(HEAD))


def test_what_each_player_would_get_is_exact() -> None:
    games = [game(1, "b", "1E+125"), game(2, "a", "0.5"), game(3, "b", "1E-130", "2026-02-01")]
    rows = folded(games)
    assert list(rows) == ["a", "b"]
    assert (rows["b"].games, rows["b"].date) == (2, "2026-02-01")
    assert f"{rows['b'].total:f}" == "1" + "0" * 125 + "." + "0" * 129 + "1"


# --- on the fakes: lost replies, two operators, and what a guard is for ---


def stocked(*off: str) -> tuple[FakeTables, FakeOperators]:
    tables = FakeTables(off=off)
    tables.rows[lease().shard] = row(owner=ME)
    entries: list[Entry] = [decode(wire(seq, score={"S": "12"}), Rules(), None) for seq in range(1, 9)]
    assert all(isinstance(entry, Poison) for entry in entries)
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED)
    assert tables.commit(lease(), unit, frozenset(), fills_gap=False) == Committed()
    return tables, FakeOperators(tables)


def redrive_all(operators: FakeOperators, who: str, ask: Callable[[Call], Reply]) -> list[object]:
    heads = sorted(operators.heads(), key=lambda head: head.order)
    machines = [
        Redrive(head, Repair({"score": "12"}, only_wrong=True), Rules(), who, NOW, f"{who}-{head.sequence_number}")
        for head in heads
    ]
    for each in machines:
        drive(each, ask)
    return [type(each.result) for each in machines]


def twice(tables: FakeTables, operators: FakeOperators) -> Callable[[Call], Reply]:
    """Every call takes effect, its reply is lost, and it is asked again."""

    def ask(call: Call) -> Reply:
        perform(call, operators, tables)
        return perform(call, operators, tables)

    return ask


def test_lost_replies_count_nothing_twice() -> None:
    tables, operators = stocked()
    assert redrive_all(operators, "me", twice(tables, operators)) == [Applied] * 8
    assert (tables.board["foo"].games, tables.board["foo"].total) == (8, Decimal(96))
    assert len(operators.audit) == 8


def test_two_operators_between_each_other_count_once() -> None:
    tables, operators = stocked()

    def ask(call: Call) -> Reply:
        if isinstance(call, Apply):
            redrive_all(operators, "you", lambda call: perform(call, operators, tables))
        return perform(call, operators, tables)

    assert redrive_all(operators, "me", ask) == [Faster] * 8
    assert (tables.board["foo"].games, tables.board["foo"].total) == (8, Decimal(96))


def test_without_the_guard_of_the_pending_state_it_would_count_twice() -> None:
    tables, operators = stocked("apply_pending")
    redrive_all(operators, "me", twice(tables, operators))
    assert tables.board["foo"].games == 16

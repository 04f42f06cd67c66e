"""The redrive and discard machines: their calls, what each reply leads to, and that a retry sends the same call."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.fold import Delta, Limits, cut
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import AlreadyResolved, Application, OperatorAction, QuarantineEntry, Resolution
from consumer.domain.records import Entry, Poison, Reason, Rules, decode
from consumer.domain.replies import Committed, Done, Refused
from consumer.operations.quarantine import (
    NO_REPAIR,
    Applied,
    Apply,
    Call,
    ChangedConcurrently,
    Discard,
    Discarded,
    Drop,
    Examine,
    Examined,
    Fetch,
    Fetched,
    Redrive,
    Repair,
    Reply,
    StillPoison,
    drive,
    execute,
    folded,
)
from tests.support.builders import ARN, CREATED, ME, game, lease, row, sequence_number, wire
from tests.support.fakes import FakeQuarantine, FakeTables

ENTRY = QuarantineEntry("shard-0", sequence_number(1), "score_type", "pending", "foo", 1, stream_arn=ARN)
NOW = CREATED + 60


def machine(repair: Repair = NO_REPAIR) -> Redrive:
    return Redrive(ENTRY, repair, Rules(), "me", NOW, "mine")


def counted(date: str = "2026-01-31", **details: str) -> Application:
    audit_entry = AuditEntry("me", NOW, "redrive", str(ENTRY), {"outcome": "applied", "player": "foo", **details})
    repairs = {"score": "12"} if "repairs" in details else {}
    score = Decimal(12) if repairs else Decimal(150)
    return Application(OperatorAction(ENTRY, "mine", audit_entry), "foo", Delta(1, score, date), repairs)


def test_it_fetches_and_applies() -> None:
    redrive = machine()
    assert redrive.due() == redrive.due() == Fetch(ENTRY)
    redrive.take(Fetched(wire(1)))
    apply = redrive.due()
    assert apply == Apply(counted(reason="score_type"))
    assert redrive.due() == apply, "a retry is the same call"
    redrive.take(Done())
    assert redrive.due() is None
    assert isinstance(redrive.result, Applied)
    assert redrive.result.game == decode(wire(1), Rules(), None)


def test_a_repair_is_written_and_audited() -> None:
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
def test_a_record_that_cannot_count_stays(fetched: Fetched, reason: str) -> None:
    redrive = machine()
    redrive.take(fetched)
    assert redrive.due() is None
    assert isinstance(redrive.result, StillPoison)
    assert redrive.result.reason == reason


def test_a_later_date_is_left_alone() -> None:
    redrive = machine()
    redrive.take(Fetched(wire(1)))
    redrive.take(Refused(later={"foo": "2026-02-01"}))
    assert redrive.due() == Apply(replace(counted(reason="score_type"), dated=False))


@pytest.mark.parametrize(
    ("verdict", "reason"), [((Reason.TOTAL_TYPE, "it is a string"), "total_type"), (None, "refused")]
)
def test_a_game_that_dynamodb_refuses_is_examined(verdict: tuple[Reason, str] | None, reason: str) -> None:
    redrive = machine()
    redrive.take(Fetched(wire(1)))
    redrive.take(Refused(invalid="wrong type"))
    assert isinstance(redrive.due(), Examine)
    redrive.take(Examined(verdict))
    assert isinstance(redrive.result, StillPoison)
    assert redrive.result.reason == reason


def test_a_record_that_another_operator_resolved_first() -> None:
    redrive = machine()
    redrive.take(Fetched(wire(1)))
    now = replace(ENTRY, state="applied", resolution=Resolution("you", "then"))
    redrive.take(AlreadyResolved(now))
    assert redrive.result == ChangedConcurrently(ENTRY, now)


def test_a_discard_is_one_call() -> None:
    discard = Discard(ENTRY, "no game", "me", NOW, "mine")
    call = discard.due()
    assert isinstance(call, Drop)
    assert call.action.audit_entry.detail == {
        "outcome": "discarded",
        "why": "no game",
        "reason": "score_type",
        "player": "foo",
    }
    assert discard.due() is call
    discard.take(Done())
    assert (discard.due(), discard.result) == (None, Discarded(ENTRY))


def test_sums_of_games_are_exact() -> None:
    games = [game(1, "b", "1E+125"), game(2, "a", "0.5"), game(3, "b", "1E-130", "2026-02-01")]
    rows = folded(games)
    assert list(rows) == ["a", "b"]
    assert (rows["b"].games, rows["b"].date) == (2, "2026-02-01")
    assert f"{rows['b'].total:f}" == "1" + "0" * 125 + "." + "0" * 129 + "1"


# --- on the fakes: lost replies, two quarantine, and what a guard is for ---


def with_poison(*off: str) -> tuple[FakeTables, FakeQuarantine]:
    tables = FakeTables(off=off)
    tables.rows[lease().shard] = row(owner=ME)
    entries: list[Entry] = [decode(wire(seq, score={"S": "12"}), Rules(), None) for seq in range(1, 9)]
    assert all(isinstance(entry, Poison) for entry in entries)
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED)
    assert tables.commit(lease(), unit, frozenset(), fills_gap=False) == Committed()
    return tables, FakeQuarantine(tables)


def redrive_all(quarantine: FakeQuarantine, who: str, ask: Callable[[Call], Reply]) -> list[object]:
    entries = sorted(quarantine.entries(), key=lambda entry: entry.order)
    machines = [
        Redrive(entry, Repair({"score": "12"}, only_wrong=True), Rules(), who, NOW, f"{who}-{entry.sequence_number}")
        for entry in entries
    ]
    for machine in machines:
        drive(machine, ask)
    return [type(machine.result) for machine in machines]


def twice(tables: FakeTables, quarantine: FakeQuarantine) -> Callable[[Call], Reply]:
    """Every call takes effect, its reply is lost, and it is retried."""

    def ask(call: Call) -> Reply:
        execute(call, quarantine, tables)
        return execute(call, quarantine, tables)

    return ask


def test_lost_replies_count_nothing_twice() -> None:
    tables, quarantine = with_poison()
    assert redrive_all(quarantine, "me", twice(tables, quarantine)) == [Applied] * 8
    assert (tables.board["foo"].games, tables.board["foo"].total) == (8, Decimal(96))
    assert len(quarantine.audit) == 8


def test_two_operators_at_once_count_once() -> None:
    tables, quarantine = with_poison()

    def ask(call: Call) -> Reply:
        if isinstance(call, Apply):
            redrive_all(quarantine, "you", lambda call: execute(call, quarantine, tables))
        return execute(call, quarantine, tables)

    assert redrive_all(quarantine, "me", ask) == [ChangedConcurrently] * 8
    assert (tables.board["foo"].games, tables.board["foo"].total) == (8, Decimal(96))


def test_without_the_guard_of_the_pending_state_it_would_count_twice() -> None:
    tables, quarantine = with_poison("apply_pending")
    redrive_all(quarantine, "me", twice(tables, quarantine))
    assert tables.board["foo"].games == 16

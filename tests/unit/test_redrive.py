"""Redrive and discard: their calls, what each reply leads to, and that a repeated call counts nothing twice."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from consumer.domain.audit import AuditEntry
from consumer.domain.cut import cut
from consumer.domain.fold import Delta, Limits
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.quarantine import (
    AlreadyResolved,
    Application,
    OperatorAction,
    QuarantineEntry,
    Resolution,
    Unsettled,
)
from consumer.domain.records import Entry, Game, Poison, Reason, Rules, decode
from consumer.domain.replies import Committed, Done, Refused
from consumer.operations.quarantine import (
    NO_REPAIR,
    Applied,
    ChangedConcurrently,
    Countable,
    Discarded,
    QuarantineService,
    Repair,
    Result,
    StillPoison,
    add_game,
)
from consumer.operations.steps import OperatorCall, Step
from tests.support.builders import ARN, CREATED, ME, game, lease, plain_rows, row, sequence_number, wire
from tests.support.commands import CommandDriver, finish, make, make_twice
from tests.support.fakes import FakeQuarantine, FakeTables

ENTRY = QuarantineEntry("shard-0", sequence_number(1), "score_type", "pending", "foo", 1, stream_arn=ARN)
NOW = CREATED + 60


def service_of(
    tables: FakeTables, quarantine: FakeQuarantine, who: str = "me", token: str = "mine"
) -> QuarantineService:
    return QuarantineService(
        quarantine, tables, tables.rows.keys, lambda: who, lambda: NOW, lambda: token, board="board"
    )


def redrive(repair: Repair = NO_REPAIR) -> CommandDriver[Result]:
    tables = FakeTables()
    return CommandDriver(service_of(tables, FakeQuarantine(tables)).redrive(ENTRY, repair))


def application_of(driver: CommandDriver[Result]) -> Application:
    """What is to be applied now."""
    assert driver.due is OperatorCall.APPLY
    assert driver.step is not None
    assert isinstance(driver.step.effect, partial)
    (application,) = driver.step.effect.args[0]
    assert isinstance(application, Application)
    return application


def counted(date: str = "2026-01-31", **details: str) -> Application:
    audit_entry = AuditEntry(
        "me",
        NOW,
        "redrive",
        str(ENTRY),
        {"outcome": "applied", "player": "foo", "leaderboardTable": "board", **details},
    )
    repairs = {"score": "12"} if "repairs" in details else {}
    score = Decimal(12) if repairs else Decimal(150)
    return Application(OperatorAction(ENTRY, "mine", audit_entry), {"foo": Delta(1, score, date)}, repairs)


def test_it_fetches_and_applies() -> None:
    driver = redrive()
    assert driver.due is OperatorCall.READ_RECORD
    driver.answer([wire(1)])
    assert application_of(driver) == counted(reason="score_type")
    driver.answer(Done())
    assert isinstance(driver.result, Applied)
    decoded = decode(wire(1), Rules(), None)
    assert isinstance(decoded, Game)
    assert driver.result.change == decoded._replace(wire={})


def test_a_repair_is_written_and_audited() -> None:
    driver = redrive(Repair({"score": "12"}, only_wrong=True)).answer([wire(1, score={"S": "12"})])
    assert application_of(driver) == counted(reason="score_type", repairs="score=12")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (wire(1, score={"S": "12"}), "score_type"),
        (wire(1, event="REMOVE"), "ignored"),
        (ValueError("part 1 is missing"), "damaged"),
    ],
)
def test_a_record_that_cannot_count_stays(reply: object, reason: str) -> None:
    result = redrive().answer([reply]).result
    assert isinstance(result, StillPoison)
    assert result.reason == reason


def test_a_later_date_is_left_alone() -> None:
    driver = redrive().answer([wire(1)]).answer(Refused(later={"foo": "2026-02-01"}))
    assert application_of(driver) == counted(reason="score_type").undated_for(["foo"])


@pytest.mark.parametrize(
    ("verdict", "reason"), [((Reason.TOTAL_TYPE, "it is a string"), "total_type"), (None, "refused")]
)
def test_a_game_that_dynamodb_refuses_is_examined(verdict: tuple[Reason, str] | None, reason: str) -> None:
    driver = redrive().answer([wire(1)]).answer(Refused(invalid="wrong type"))
    assert driver.due is OperatorCall.EXAMINE
    result = driver.answer(verdict).result
    assert isinstance(result, StillPoison)
    assert result.reason == reason


def test_a_record_that_another_operator_resolved_first() -> None:
    now = replace(ENTRY, state="applied", resolution=Resolution("you", "then"))
    unsettled = Unsettled({0: AlreadyResolved(now)})
    assert redrive().answer([wire(1)]).answer(unsettled).result == ChangedConcurrently(ENTRY, now)


@pytest.mark.parametrize(
    ("reason", "verdict", "calls"),
    [("score_type", None, 1), ("total_type", None, 2), ("total_type", (Reason.TOTAL_TYPE, "it is a string"), 2)],
)
def test_a_dry_run_asks_dynamodb_only_what_decoding_does_not_find(
    reason: str, verdict: tuple[Reason, str] | None, calls: int
) -> None:
    tables = FakeTables()
    driver = CommandDriver(
        service_of(tables, FakeQuarantine(tables)).dry_run([replace(ENTRY, reason=reason)], NO_REPAIR)
    ).answer([wire(1)])
    if calls == 2:
        assert driver.due is OperatorCall.EXAMINE
        driver.answer(verdict)
    assert driver.result is not None
    assert isinstance(driver.result[0], StillPoison if verdict else Countable)


def test_a_discard_is_one_call() -> None:
    tables = FakeTables()
    driver = CommandDriver(service_of(tables, FakeQuarantine(tables)).discard([ENTRY], "no game"))
    assert driver.due is OperatorCall.DISCARD
    assert driver.step is not None
    assert isinstance(driver.step.effect, partial)
    (action,) = driver.step.effect.args[0]
    assert action.audit_entry.detail == {
        "outcome": "discarded",
        "why": "no game",
        "reason": "score_type",
        "player": "foo",
    }
    assert driver.answer(Done()).result == [Discarded(ENTRY)]


def test_sums_of_games_are_exact() -> None:
    games = [game(1, "b", "1E+125"), game(2, "a", "0.5"), game(3, "b", "1E-130", "2026-02-01")]
    rows: dict[str, Delta] = {}
    for each in games:
        add_game(rows, each)
    assert (rows["b"].games, rows["b"].date) == (2, "2026-02-01")
    assert f"{rows['b'].total:f}" == "1" + "0" * 125 + "." + "0" * 129 + "1"


# --- on the fakes: lost replies, two operators, and what a guard is for ---


def with_poison(*off: str) -> tuple[FakeTables, FakeQuarantine]:
    tables = FakeTables(off=off)
    tables.rows[lease().shard] = row(owner=ME)
    entries: list[Entry] = [decode(wire(seq, score={"S": "12"}), Rules(), None) for seq in range(1, 9)]
    assert all(isinstance(entry, Poison) for entry in entries)
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED)
    assert tables.commit(lease(), unit, plain_rows(unit), fills_gap=False) == Committed()
    return tables, FakeQuarantine(tables)


def redrive_all(
    tables: FakeTables, quarantine: FakeQuarantine, make: Callable[[Step], object], who: str = "me"
) -> list[object]:
    repair = Repair({"score": "12"}, only_wrong=True)
    entries = sorted(quarantine.entries(), key=lambda entry: entry.order)
    return [
        type(finish(service_of(tables, quarantine, who, f"{who}-{entry}").redrive(entry, repair), make))
        for entry in entries
    ]


def test_lost_replies_count_nothing_twice() -> None:
    tables, quarantine = with_poison()
    assert redrive_all(tables, quarantine, make_twice) == [Applied] * 8
    assert (tables.board["foo"].games, tables.board["foo"].total) == (8, Decimal(96))
    assert len(quarantine.audit) == 8


def test_two_operators_at_once_count_once() -> None:
    tables, quarantine = with_poison()

    def overtaken(step: Step) -> object:
        if step.call is OperatorCall.APPLY:
            redrive_all(tables, quarantine, make, who="you")
        return step.effect()

    assert redrive_all(tables, quarantine, overtaken) == [ChangedConcurrently] * 8
    assert (tables.board["foo"].games, tables.board["foo"].total) == (8, Decimal(96))


def test_without_the_guard_of_the_pending_state_it_would_count_twice() -> None:
    tables, quarantine = with_poison("apply_pending")
    redrive_all(tables, quarantine, make_twice)
    assert tables.board["foo"].games == 16

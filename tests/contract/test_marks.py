"""Single writes of rows with marks: each takes effect once, where the row is as it was read."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.commits import size_of
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.numbers import EXACT
from consumer.domain.replies import Done, Refused, RowRefused, RowReply
from tests.contract.differences import ROUNDS_SUMS
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.row_writes import DATE, DELTA, HERE, STORED, follow, insert, mark
from tests.contract.subject import Score, Subject
from tests.support.builders import CREATED, sequence_number, shard

ELSEWHERE = str(shard(1))
MOST_MARK_BYTES = 200
BESIDE = RowWrite("nobody", DELTA, Route.FOLLOW, mark(1), mark(2))
"""Makes a call one of several writes, and changes nothing: no such row is there."""
WriteRow = Callable[[RowWrite], RowReply]


@pytest.fixture(params=["update", "statement"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def write_row(request: pytest.FixtureRequest, form: str) -> WriteRow:
    """A single write, in a call of its own or by a statement beside another one: the reply is the same."""
    subject: Subject = request.getfixturevalue("dynamo" if "dynamo" in request.fixturenames else "subject")
    if form == "update":
        return subject.write_row
    assert subject.commits.probe_statements() is None

    def write_beside(write: RowWrite) -> RowReply:
        reply, other = subject.commits.write_rows([write, BESIDE])
        assert other == RowRefused(ABSENT)
        return reply

    return write_beside


# --- reading ---


def test_rows_as_they_are_read(subject: Subject) -> None:
    subject.put_player("bare", Score(Decimal(1), Decimal(1), None))
    subject.put_player("dated", STORED)
    subject.put_player("marked", STORED, mark(5))
    assert subject.commits.read_rows(["absent", "bare", "dated", "marked"]) == {
        "absent": ABSENT,
        "bare": StoredRow(),
        "dated": StoredRow(date="2026-01-30"),
        "marked": StoredRow(mark=mark(5), date="2026-01-30"),
    }
    assert set(subject.board()) == {"bare", "dated", "marked"}, "reading makes no row"


@pytest.mark.parametrize("stored", ["someday", "2026-02-30", "", Decimal(20260130)])
def test_a_stored_date_that_is_none_is_not_known(subject: Subject, stored: str | Decimal) -> None:
    subject.put_player("foo", STORED, mark(5))
    subject.spoil("foo", "lastPlayedDate", stored)
    assert subject.commits.read_rows(["foo"]) == {"foo": StoredRow(mark=mark(5))}


def test_a_hundred_rows_are_read_at_once(subject: Subject) -> None:
    for number in range(0, 100, 2):
        subject.put_player(f"player-{number}", STORED, mark(number))
    rows = subject.commits.read_rows([f"player-{number}" for number in range(100)])
    assert len(rows) == 100
    for number in range(100):
        expected = ABSENT if number % 2 else StoredRow(mark=mark(number), date="2026-01-30")
        assert rows[f"player-{number}"] == expected


@pytest.mark.parametrize("player", ["日本語", "a#b/c:d", " ", "x" * 2048, "\x00\x7f", "🎲🏆"])
def test_a_players_name_is_read_and_written_as_it_is(subject: Subject, write_row: WriteRow, player: str) -> None:
    assert write_row(insert(player)) == Done()
    assert subject.commits.read_rows([player]) == {player: StoredRow(mark=mark(9), date=DATE)}


@contextmanager
def unprocessed(dynamo: DynamoSubject, players: set[str]) -> Iterator[None]:
    """DynamoDB leaves these keys out, as when a partition is throttled."""

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        table, reply = dynamo.names.leaderboard, json.loads(parsed["Body"])
        items = reply["Responses"][table]
        reply["Responses"][table] = [item for item in items if item["playerId"]["S"] not in players]
        reply["UnprocessedKeys"] = {table: {"Keys": [{"playerId": {"S": player}} for player in sorted(players)]}}
        parsed["Body"] = json.dumps(reply).encode()

    bus = dynamo.clients.dynamodb.meta.events
    bus.register("after-call.dynamodb.BatchGetItem", leave_out)
    try:
        yield
    finally:
        bus.unregister("after-call.dynamodb.BatchGetItem", leave_out)


def test_rows_that_were_not_read_are_left_out_and_not_called_absent(dynamo: DynamoSubject) -> None:
    dynamo.put_player("a", STORED, mark(5))
    dynamo.put_player("b", STORED, mark(6))
    with unprocessed(dynamo, {"b"}):
        rows = dynamo.commits.read_rows(["a", "b", "c"])
    assert rows == {"a": StoredRow(mark=mark(5), date="2026-01-30"), "c": ABSENT}


def test_when_no_row_was_read_the_call_failed(dynamo: DynamoSubject) -> None:
    dynamo.put_player("a", STORED, mark(5))
    with unprocessed(dynamo, {"a", "b"}), pytest.raises(CallFailed) as raised:
        dynamo.commits.read_rows(["a", "b"])
    assert raised.value.kind is FailureKind.THROTTLED


# --- making a row ---


def test_a_row_is_made_once(subject: Subject, write_row: WriteRow) -> None:
    assert write_row(insert()) == Done()
    assert subject.board() == {"foo": Score(Decimal(2), Decimal("370.5"), DATE)}
    assert subject.marks() == {"foo": mark(9)}
    before = subject.everything()
    assert write_row(insert()) == RowRefused(StoredRow(mark=mark(9), date=DATE))
    assert subject.everything() == before


@pytest.mark.parametrize("stored", [None, mark(5), mark(9), mark(5, ELSEWHERE)], ids=str)
def test_a_row_that_is_there_is_not_made(subject: Subject, write_row: WriteRow, stored: Mark | None) -> None:
    subject.put_player("foo", STORED, stored)
    before = subject.everything()
    assert write_row(insert()) == RowRefused(StoredRow(mark=stored, date="2026-01-30"))
    assert subject.everything() == before


def test_a_row_without_any_attribute_is_there(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", Score(Decimal(0), Decimal(0), None))
    assert write_row(insert()) == RowRefused(StoredRow())


# --- following on ---


def test_a_row_follows_on_once(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", STORED, mark(5))
    subject.put_player("other", STORED, mark(5))
    assert write_row(follow()) == Done()
    assert subject.board() == {"foo": Score(Decimal(3), Decimal("380.5"), DATE), "other": STORED}
    assert subject.marks() == {"foo": mark(9), "other": mark(5)}
    before = subject.everything()
    for _ in range(2):
        assert write_row(follow()) == RowRefused(StoredRow(mark=mark(9), date=DATE))
    assert subject.everything() == before


def test_a_row_follows_on_an_ancestors_mark(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", STORED, mark(7, ELSEWHERE))
    assert write_row(follow(found=mark(7, ELSEWHERE))) == Done()
    assert subject.marks() == {"foo": mark(9)}


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(None, id="no mark"),
        pytest.param(mark(4), id="a lower number"),
        pytest.param(mark(6), id="a higher number"),
        pytest.param(mark(9), id="the write's own mark"),
        pytest.param(mark(5, ELSEWHERE), id="another shard"),
        pytest.param(Mark(HERE, "0" + sequence_number(5), CREATED), id="the same number written otherwise"),
    ],
)
def test_a_row_with_another_mark_stays_as_it_is(subject: Subject, write_row: WriteRow, stored: Mark | None) -> None:
    subject.put_player("foo", STORED, stored)
    before = subject.everything()
    assert write_row(follow()) == RowRefused(StoredRow(mark=stored, date="2026-01-30"))
    assert subject.everything() == before


def test_the_creation_time_of_a_mark_is_not_compared(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", STORED, mark(5)._replace(created=1.0))
    assert write_row(follow()) == Done()


def test_a_row_that_was_deleted_meanwhile_is_not_made_again(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", STORED, mark(5))
    subject.delete_player("foo")
    assert write_row(follow()) == RowRefused(ABSENT)
    assert subject.board() == {}


def test_other_attributes_of_a_row_stay(dynamo: DynamoSubject, write_row: WriteRow) -> None:
    dynamo.put_player("foo", STORED, mark(5))
    dynamo.spoil("foo", "nickname", "Foo")
    assert write_row(follow()) == Done()
    (item,) = dynamo.items(dynamo.names.leaderboard)
    assert item["nickname"] == {"S": "Foo"}


# --- dates ---


@pytest.mark.parametrize("date", ["2026-02-01", "9999-12-31"])
def test_a_later_date_is_named_and_then_left_alone(subject: Subject, write_row: WriteRow, date: str) -> None:
    subject.put_player("foo", STORED._replace(date=date), mark(5))
    before = subject.everything()
    assert write_row(follow()) == RowRefused(StoredRow(mark=mark(5), date=date))
    assert subject.everything() == before
    assert write_row(follow(dated=False)) == Done()
    assert subject.board() == {"foo": Score(Decimal(3), Decimal("380.5"), date)}
    assert subject.marks() == {"foo": mark(9)}


@pytest.mark.parametrize("date", [None, DATE, "2025-12-31"])
def test_a_date_that_is_not_later_grows(subject: Subject, write_row: WriteRow, date: str | None) -> None:
    subject.put_player("foo", STORED._replace(date=date), mark(5))
    assert write_row(follow()) == Done()
    assert subject.board()["foo"].date == DATE


@pytest.mark.parametrize("stored", ["someday", "2026-02-30", Decimal(20260130)])
def test_a_stored_date_that_is_none_refuses_the_write_for_good(
    subject: Subject, write_row: WriteRow, stored: str | Decimal
) -> None:
    subject.put_player("foo", STORED, mark(5))
    subject.spoil("foo", "lastPlayedDate", stored)
    before = subject.everything()
    reply = write_row(follow())
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert reply.suspects == {"foo"}
    assert subject.everything() == before


def test_another_mark_counts_before_a_date_that_is_none(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", STORED, mark(6))
    subject.spoil("foo", "lastPlayedDate", "someday")
    assert write_row(follow()) == RowRefused(StoredRow(mark=mark(6)))


# --- what can never be added ---


@pytest.mark.parametrize("attribute", ["totalScore", "gamesPlayed"])
def test_a_stored_number_of_another_type_refuses_the_write_for_good(
    subject: Subject, write_row: WriteRow, attribute: str
) -> None:
    subject.put_player("foo", STORED, mark(5))
    subject.spoil("foo", attribute, "many")
    before = subject.everything()
    for dated in (True, False):
        reply = write_row(follow(dated=dated))
        assert isinstance(reply, Refused)
        assert reply.invalid
        assert (reply.later, reply.rows, reply.conflict) == ({}, {}, False)
    assert subject.everything() == before


@pytest.mark.parametrize(
    ("stored", "added"),
    [("9" * 38, "0.1"), ("9.9E+125", "9.9E+125"), ("1E+37", "1E-2"), ("1E+125", "1")],
)
def test_a_sum_that_no_number_can_hold_refuses_the_write_for_good(
    subject: Subject, write_row: WriteRow, form: str, stored: str, added: str
) -> None:
    with pytest.raises(ArithmeticError):
        EXACT.add(Decimal(stored), Decimal(added))
    subject.put_player("foo", STORED._replace(total=Decimal(stored)), mark(5))
    before = subject.everything()
    reply = write_row(follow(delta=Delta(1, Decimal(added), DATE)))
    if subject.has(ROUNDS_SUMS) and (form == "statement" or Decimal(stored) != Decimal(added)):
        assert reply == Done()
        return
    assert isinstance(reply, Refused)
    assert reply.invalid
    assert subject.everything() == before


def test_another_mark_counts_before_what_can_never_be_added(subject: Subject, write_row: WriteRow) -> None:
    """A condition is checked before the update: a repetition of what took effect is never poison."""
    subject.put_player("foo", STORED, mark(9))
    subject.spoil("foo", "totalScore", "many")
    assert write_row(follow()) == RowRefused(StoredRow(mark=mark(9), date="2026-01-30"))


def test_every_digit_is_kept(subject: Subject, write_row: WriteRow) -> None:
    subject.put_player("foo", STORED._replace(total=Decimal("0." + "0" * 36 + "1")), mark(5))
    assert write_row(follow(delta=Delta(1, Decimal(9), DATE))) == Done()
    assert (subject.board()["foo"].total == Decimal("9." + "0" * 36 + "1")) is not subject.has(ROUNDS_SUMS)


# --- a refusal that does not show the row ---


@contextmanager
def rows_not_shown(dynamo: DynamoSubject, then: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A failed condition comes without the row; `then` happens before it can be read."""

    def hide(parsed: dict[str, Any], **_: object) -> None:
        if parsed.pop("Item", None) is not None:
            then()

    def hide_all(parsed: dict[str, Any], **_: object) -> None:
        answers = json.loads(parsed["Body"])["Responses"]
        for answer in answers:
            answer.get("Error", {}).pop("Item", None)
        parsed["Body"] = json.dumps({"Responses": answers}).encode()

    bus = dynamo.clients.dynamodb.meta.events
    bus.register("after-call.dynamodb.UpdateItem", hide)
    bus.register("after-call.dynamodb.BatchExecuteStatement", hide_all)
    try:
        yield
    finally:
        bus.unregister("after-call.dynamodb.UpdateItem", hide)
        bus.unregister("after-call.dynamodb.BatchExecuteStatement", hide_all)


@pytest.mark.parametrize("write", [insert(), follow()], ids=["insert", "follow"])
def test_a_row_that_a_refusal_does_not_show_is_read(
    dynamo: DynamoSubject, write_row: WriteRow, write: RowWrite
) -> None:
    dynamo.put_player("foo", STORED, mark(6))
    with rows_not_shown(dynamo):
        assert write_row(write) == RowRefused(StoredRow(mark=mark(6), date="2026-01-30"))


@pytest.mark.parametrize("write", [insert(), follow()], ids=["insert", "follow"])
def test_a_row_that_is_deleted_before_it_is_read_is_absent(
    dynamo: DynamoSubject, write_row: WriteRow, write: RowWrite
) -> None:
    """Nothing refuses the write for good: it is tried again as on any row that is not there."""
    dynamo.put_player("foo", STORED, mark(6))
    with rows_not_shown(dynamo, lambda: dynamo.delete_player("foo")):
        assert write_row(write) == RowRefused(ABSENT)


# --- what a mark is in the table ---


def test_the_attributes_of_a_mark(dynamo: DynamoSubject, write_row: WriteRow) -> None:
    made = Mark(HERE, sequence_number(9), CREATED + 0.25)
    assert write_row(RowWrite("foo", DELTA, Route.INSERT, None, made)) == Done()
    (item,) = dynamo.items(dynamo.names.leaderboard)
    assert item == {
        "playerId": {"S": "foo"},
        "gamesPlayed": {"N": "2"},
        "totalScore": {"N": "370.5"},
        "lastPlayedDate": {"S": DATE},
        "appliedShard": {"S": "2026-01-01T00:00:00.000/shard-0"},
        "appliedTo": {"S": sequence_number(9)},
        "appliedAt": {"N": "1769860800.25"},
    }
    assert dynamo.commits.read_rows(["foo"])["foo"].mark == made


def test_a_mark_takes_less_than_two_hundred_bytes(dynamo: DynamoSubject, write_row: WriteRow) -> None:
    """With names and numbers as long as AWS makes them: a shard id of 65 characters, 40 digits, milliseconds."""
    longest = Mark(f"2026-01-01T00:00:00.000/shardId-{'9' * 20}-{'f' * 8}", "9" * 40, 9_999_999_999.999)
    assert write_row(RowWrite("foo", DELTA, Route.INSERT, None, longest)) == Done()
    (item,) = dynamo.items(dynamo.names.leaderboard)
    mark_bytes = size_of({name: value for name, value in item.items() if name.startswith("applied")})
    assert 100 < mark_bytes < MOST_MARK_BYTES
    wider = longest._replace(shard=f"2026-01-01T00:00:00.000/{'s' * 65}")
    assert mark_bytes + len(wider.shard) - len(longest.shard) < MOST_MARK_BYTES


@pytest.mark.parametrize(
    "attributes",
    [
        {"appliedShard": {"N": "7"}, "appliedTo": {"S": sequence_number(5)}, "appliedAt": {"N": "1"}},
        {"appliedShard": {"S": HERE}, "appliedAt": {"N": "1"}},
        {"appliedShard": {"S": HERE}, "appliedTo": {"N": "5"}, "appliedAt": {"N": "1"}},
        {"appliedShard": {"S": HERE}, "appliedTo": {"S": "five"}, "appliedAt": {"N": "1"}},
        {"appliedShard": {"S": HERE}, "appliedTo": {"S": sequence_number(5)}},
        {"appliedShard": {"S": HERE}, "appliedTo": {"S": sequence_number(5)}, "appliedAt": {"S": "then"}},
    ],
)
def test_a_damaged_mark_is_that_of_no_shard(
    dynamo: DynamoSubject, write_row: WriteRow, attributes: dict[str, Any]
) -> None:
    """Nothing is believed of it, and nothing is written over it: the shard halts before that player."""
    item = {"playerId": {"S": "foo"}, "gamesPlayed": {"N": "1"}, "totalScore": {"N": "10"}, **attributes}
    dynamo.clients.dynamodb.put_item(TableName=dynamo.names.leaderboard, Item=item)
    row = dynamo.commits.read_rows(["foo"])["foo"]
    assert row.exists
    assert row.mark is not None
    assert row.mark.shard not in (HERE, ELSEWHERE)
    before = dynamo.everything()
    for write in (insert(), follow(found=mark(6))):
        assert write_row(write) == RowRefused(row)
    assert dynamo.everything() == before

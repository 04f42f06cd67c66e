"""Replies to statements over the wire: each write has its own, and no unclear one is believed.

Nothing is sent.
"""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.statements import Statements
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta, WindowSum
from consumer.domain.marks import ABSENT, Mark, Route, RowWrite, StoredRow
from consumer.domain.replies import Done, Refused, RowRefused
from tests.support.canned import Request, answer_calls, make_client

FOUND, MARK = Mark("label/shard-0", "5", 1.0), Mark("label/shard-0", "9", 2.0)
OTHER = {"appliedShard": {"S": "label/shard-0"}, "appliedTo": {"S": "7"}, "appliedAt": {"N": "1"}}
EXPECTED = OTHER | {"appliedTo": {"S": "5"}}
DONE = {"TableName": "board"}
REFUSED = {"Error": {"Code": "ConditionalCheckFailed", "Item": OTHER}}


def follow(player: str) -> RowWrite:
    return RowWrite(player, Delta(1, Decimal("0.5"), "2026-01-31"), Route.FOLLOW, FOUND, MARK)


WRITES = [follow("a"), follow("b")]


class Wire:
    """A client's HTTP: replies to statements with `answers` (None: as `status` and `body` say), and to an update 200.

    `next_answers`, if any, are those from the second call on. `sent` has operation and body of each request.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.status = 200
        self.body: Any = {}
        self.answers: list[Any] | None = None
        self.next_answers: list[Any] | None = None
        self.update: tuple[int, Any] = 200, {}
        self.sent: list[tuple[str, Any]] = []

    def __call__(self, request: Request) -> tuple[int, Any]:
        self.sent.append((request.operation, json.loads(request.body)))
        if request.operation == "BatchExecuteStatement":
            answers, self.answers = self.answers, self.next_answers or self.answers
            return (self.status, self.body) if answers is None else (200, {"Responses": answers})
        return (200, {}) if request.operation == "GetItem" else self.update

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.sent]


@pytest.fixture(scope="module")
def wire_of_module() -> Wire:
    return Wire()


@pytest.fixture(scope="module", params=["directly", "by botocore"])
def client(request: pytest.FixtureRequest, wire_of_module: Wire) -> Iterator[Any]:
    made = make_client("dynamodb")
    answer_calls(made, wire_of_module, direct=request.param == "directly")
    yield made
    made.close()


@pytest.fixture
def wire(wire_of_module: Wire) -> Wire:
    wire_of_module.reset()
    return wire_of_module


@pytest.fixture
def statements(client: Any, wire: Wire) -> Statements:
    """Those of a table that takes them."""
    made = Statements(client, "board")
    wire.answers = [{"Error": {"Code": "ConditionalCheckFailed"}}]
    assert made.probe() is None
    wire.sent.clear()
    return made


def failed(act: Callable[[], object]) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        act()
    return raised.value


# --- what is written ---


def test_each_write_has_its_own_reply(statements: Statements, wire: Wire) -> None:
    wire.answers = [DONE, REFUSED, {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}, {"Item": {}}]
    done, refused, throttled, last = statements.write([follow(player) for player in "abcd"])
    assert done == last == Done()
    assert refused == RowRefused(StoredRow(mark=FOUND._replace(to="7")))
    assert isinstance(throttled, CallFailed)
    assert throttled.detail == "BatchExecuteStatement: ThrottlingError: slow down"
    assert wire.operations == ["BatchExecuteStatement"]
    (_, body), players = wire.sent[0], []
    for statement in body["Statements"]:
        assert statement["Statement"].startswith('UPDATE "board" SET gamesPlayed = gamesPlayed + ?')
        assert statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
        players += [value["S"] for value in statement["Parameters"] if value.get("S") in list("abcd")]
    assert players == list("abcd")


def test_one_write_is_an_update(statements: Statements, wire: Wire) -> None:
    assert statements.write(WRITES[:1]) == [Done()]
    assert statements.write([]) == []
    assert wire.operations == ["UpdateItem"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InternalServerError", FailureKind.SERVER),
        ("ItemCollectionSizeLimitExceeded", FailureKind.REJECTED),
        ("ProvisionedThroughputExceeded", FailureKind.THROTTLED),
        ("RequestLimitExceeded", FailureKind.THROTTLED),
        ("ResourceNotFound", FailureKind.MISSING),
        ("ThrottlingError", FailureKind.THROTTLED),
        ("TransactionConflict", FailureKind.CONFLICT),
        ("ANewOne", FailureKind.SERVER),
    ],
)
def test_a_statement_that_failed_fails_alone(statements: Statements, wire: Wire, code: str, kind: FailureKind) -> None:
    """Every code of BatchStatementError that no update decides."""
    wire.answers = [DONE, {"Error": {"Code": code}}]
    done, failure = statements.write(WRITES)
    assert done == Done()
    assert isinstance(failure, CallFailed)
    assert failure.kind is kind
    assert wire.operations == ["BatchExecuteStatement"]


# --- what an update decides ---


@pytest.mark.parametrize(
    "error",
    [
        pytest.param({"Code": "ValidationError", "Message": "no such attribute"}, id="invalid"),
        pytest.param({"Code": "DuplicateItem"}, id="the row is there"),
        pytest.param({"Code": "AccessDenied"}, id="denied"),
        pytest.param({"Code": "ConditionalCheckFailed"}, id="no row is shown"),
        pytest.param({"Code": "ConditionalCheckFailed", "Item": EXPECTED}, id="the row is as expected"),
    ],
)
def test_what_a_statement_leaves_open_an_update_decides(
    statements: Statements, wire: Wire, error: dict[str, Any]
) -> None:
    wire.answers = [{"Error": error}, DONE]
    assert statements.write(WRITES) == [Done(), Done()]
    assert wire.operations == ["BatchExecuteStatement", "UpdateItem"]
    assert wire.sent[1][1]["Key"] == {"playerId": {"S": "a"}}
    wire.update = 400, {"__type": "x#ConditionalCheckFailedException"}
    assert statements.write(WRITES) == [RowRefused(ABSENT), Done()]
    wire.update = 400, {"__type": "x#ValidationException", "message": "never"}
    assert statements.write(WRITES) == [Refused(invalid="never"), Done()]
    wire.update = 400, {"__type": "x#AccessDeniedException"}
    failure, done = statements.write(WRITES)
    assert isinstance(failure, CallFailed)
    assert (failure.kind, done) == (FailureKind.DENIED, Done())


def test_a_later_date_is_a_refusal(statements: Statements, wire: Wire) -> None:
    later = EXPECTED | {"lastPlayedDate": {"S": "2026-02-01"}}
    wire.answers = [{"Error": {"Code": "ConditionalCheckFailed", "Item": later}}, DONE]
    assert statements.write(WRITES) == [RowRefused(StoredRow(mark=FOUND, date="2026-02-01")), Done()]
    assert wire.operations == ["BatchExecuteStatement"]


def test_a_call_that_is_invalid_as_a_whole_says_nothing_of_its_writes(statements: Statements, wire: Wire) -> None:
    """As one with a number of too many digits, on DynamoDB Local."""
    wire.answers, wire.status, wire.body = None, 400, {"__type": "x#ValidationException", "message": "no"}
    assert statements.write(WRITES) == [Done(), Done()]
    assert wire.operations == ["BatchExecuteStatement", "UpdateItem", "UpdateItem"]


# --- what is no reply ---


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ThrottlingException", FailureKind.THROTTLED),
        (400, "AccessDeniedException", FailureKind.DENIED),
        (400, "ResourceNotFoundException", FailureKind.MISSING),
        (500, "InternalServerError", FailureKind.SERVER),
    ],
)
def test_a_call_that_failed(statements: Statements, wire: Wire, status: int, code: str, kind: FailureKind) -> None:
    wire.answers, wire.status, wire.body = None, status, {"__type": f"x#{code}"}
    assert failed(lambda: statements.write(WRITES)).kind is kind


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Responses": None},
        {"Responses": []},
        {"Responses": [DONE]},
        {"Responses": [DONE, DONE, DONE]},
        {"Responses": [DONE, None]},
        {"Responses": [DONE, "done"]},
        {"Responses": {"a": DONE, "b": DONE}},
        {"Responses": [DONE, {"Error": "ConditionalCheckFailed"}]},
        {"Responses": [DONE, {"Error": {"Code": ["ConditionalCheckFailed"]}}]},
        {"Responses": [DONE, {"Error": {"Code": "ConditionalCheckFailed", "Item": []}}]},
    ],
    ids=json.dumps,
)
def test_a_reply_of_another_shape_is_a_failed_call(statements: Statements, wire: Wire, body: dict[str, Any]) -> None:
    """No write is taken for done, and none for refused."""
    wire.answers, wire.body = None, body
    assert failed(lambda: statements.write(WRITES)).kind is FailureKind.MALFORMED
    assert wire.operations == ["BatchExecuteStatement"]


def test_an_error_without_a_code_is_no_success(statements: Statements, wire: Wire) -> None:
    wire.answers = [{"Error": {}}, DONE]
    failure, done = statements.write(WRITES)
    assert isinstance(failure, CallFailed)
    assert (failure.kind, done) == (FailureKind.SERVER, Done())


# --- the probe ---


def test_the_probe_names_no_player(client: Any, wire: Wire) -> None:
    """It is refused on every board: no shard has such a name, and no mark such a number."""
    wire.answers = [REFUSED]
    assert Statements(client, "board").probe() is None
    ((_, body),) = wire.sent
    (statement,) = body["Statements"]
    assert "AND appliedShard = ? AND appliedTo = ?" in statement["Statement"]
    assert statement["Parameters"].count({"S": "-"}) == 5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"__type": "x#AccessDeniedException", "Message": "why"}),
        (400, {"__type": "x#ValidationException", "message": "why"}),
        (400, {"__type": "x#UnknownOperationException", "message": "why"}),
        (200, {"Responses": [{"Error": {"Code": "AccessDenied", "Message": "why"}}]}),
        (200, {"Responses": [{"Error": {"Code": "ValidationError", "Message": "why"}}]}),
        (200, {"Responses": [DONE]}),
    ],
    ids=json.dumps,
)
def test_where_statements_are_not_usable_every_write_is_an_update(
    client: Any, wire: Wire, status: int, body: dict[str, Any]
) -> None:
    statements = Statements(client, "board")
    wire.status, wire.body = status, body
    reason = statements.probe()
    assert reason is not None
    assert reason.startswith("BatchExecuteStatement: ")
    assert ("why" in reason) is ("why" in str(body))
    wire.sent.clear()
    assert statements.write(WRITES) == [Done(), Done()]
    assert wire.operations == ["UpdateItem"] * 2


def test_rows_with_windows_have_a_form_of_their_own_that_is_tried_too(client: Any, wire: Wire) -> None:
    """Windows that the row has, windows that it has not, and those that it loses."""
    wire.answers = [REFUSED]
    assert Statements(client, "board").probe(windows=True) is None
    assert len(wire.sent) == 2
    text = wire.sent[1][1]["Statements"][0]["Statement"]
    assert "SET day_19700101_games = day_19700101_games + ? " in text
    assert "SET day_19700102_games = ? " in text
    assert text.endswith("AND day_19700102_games IS MISSING AND day_19700102_score IS MISSING")
    assert "REMOVE day_19691231_games REMOVE day_19691231_score WHERE" in text


def test_where_only_the_form_of_windows_is_not_usable_rows_without_windows_go_by_statements(
    client: Any, wire: Wire
) -> None:
    statements = Statements(client, "board")
    wire.answers = [REFUSED]
    assert statements.probe() is None
    wire.answers = [{"Error": {"Code": "ValidationError", "Message": "IS MISSING"}}]
    assert statements._probe(windows=True) == "BatchExecuteStatement: ValidationError: IS MISSING"
    wire.answers = [DONE, DONE]
    wire.sent.clear()
    windows = (WindowSum("day_20260131", 1, Decimal("0.5")),)
    kept = follow("c")._replace(delta=Delta(1, Decimal("0.5"), "2026-01-31", windows), had=frozenset())
    assert statements.write([*WRITES, kept]) == [Done()] * 3
    assert wire.operations == ["BatchExecuteStatement", "UpdateItem"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"__type": "x#ThrottlingException"}, FailureKind.THROTTLED),
        (500, {"__type": "x#InternalServerError"}, FailureKind.SERVER),
        (400, {"__type": "x#ExpiredTokenException"}, FailureKind.CREDENTIALS),
        (200, {"Responses": [{"Error": {"Code": "ThrottlingError"}}]}, FailureKind.THROTTLED),
        (200, {"Responses": [{"Error": {"Code": "TransactionConflict"}}]}, FailureKind.CONFLICT),
        (200, {"Responses": []}, FailureKind.MALFORMED),
        (200, {"Responses": ["-"]}, FailureKind.MALFORMED),
    ],
    ids=str,
)
def test_a_failure_that_may_pass_is_no_result_of_the_probe(
    client: Any, wire: Wire, status: int, body: dict[str, Any], kind: FailureKind
) -> None:
    """A worker that took it for one would write slowly for as long as it runs."""
    statements = Statements(client, "board")
    wire.status, wire.body = status, body
    assert failed(statements.probe).kind is kind

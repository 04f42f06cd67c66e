from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from consumer.aws.items import Action
from consumer.aws.transact import Cancelled, token_of, transact
from consumer.domain.errors import CallFailed, FailureKind

PUT: Action = {"Put": {"TableName": "t", "Item": {"k": {"S": "1"}, "b": {"B": b"\x00\xff"}}}}


class Failing:
    """A client whose one operation raises an exception, or succeeds."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.sent: list[dict[str, Any]] = []

    def transact_write_items(self, **request: Any) -> None:
        self.sent.append(request)
        if self.error is not None:
            raise self.error


def refusal(code: str, reasons: list[dict[str, Any]] | None = None, message: str = "no") -> ClientError:
    reply: dict[str, Any] = {"Error": {"Code": code, "Message": message}}
    if reasons is not None:
        reply["CancellationReasons"] = reasons
    return ClientError(reply, "TransactWriteItems")


def cancelled(*codes: str | dict[str, Any]) -> Cancelled:
    reasons = [{"Code": code} if isinstance(code, str) else code for code in codes]
    reply = transact(Failing(refusal("TransactionCanceledException", reasons)), [PUT])
    assert reply is not None
    return reply


def test_the_token_depends_on_the_content_alone() -> None:
    same: Action = {"Put": {"Item": {"b": {"B": b"\x00\xff"}, "k": {"S": "1"}}, "TableName": "t"}}
    assert token_of([PUT]) == token_of([same])
    others = [[], [PUT, PUT], [{"Put": PUT["Put"] | {"TableName": "u"}}]]
    others += [[{"Put": {"TableName": "t", "Item": {"k": {"S": "1"}, "b": {"B": b"\x00\xfe"}}}}]]
    others += [[{"Update": PUT["Put"]}]]
    assert len({token_of(actions) for actions in [[PUT], *others]}) == 6


def test_the_token_fits_and_goes_with_the_transaction() -> None:
    client = Failing(None)
    assert transact(client, [PUT]) is None
    (sent,) = client.sent
    assert sent == {"TransactItems": [PUT], "ClientRequestToken": token_of([PUT])}
    assert 1 <= len(sent["ClientRequestToken"]) <= 36


def test_a_token_of_ones_own_makes_it_another_request() -> None:
    """What was sent within ten minutes is answered without being checked again."""
    client = Failing(None)
    assert transact(client, [PUT], "mine") is None
    assert client.sent == [{"TransactItems": [PUT], "ClientRequestToken": "mine"}]


def test_failed_conditions_come_by_index_with_the_item_as_it_is() -> None:
    item = {"k": {"S": "1"}}
    reply = cancelled({"Code": "ConditionalCheckFailed", "Item": item}, "None", "ConditionalCheckFailed")
    assert reply == Cancelled({0: item, 2: None}, conflict=False, invalid=None)
    reply.require_failed_condition()


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("None", "TransactionConflict"), Cancelled({}, conflict=True, invalid=None)),
        (("ConditionalCheckFailed", "TransactionConflict"), Cancelled({0: None}, conflict=True, invalid=None)),
        (("ConditionalCheckFailed", "ThrottlingError"), Cancelled({0: None}, conflict=False, invalid=None)),
        (
            ("None", "ValidationError"),
            Cancelled({}, conflict=False, invalid="ValidationError", invalid_at=frozenset({1})),
        ),
        (
            ({"Code": "ValidationError", "Message": "too big"}, "None", "ValidationError"),
            Cancelled({}, conflict=False, invalid="too big", invalid_at=frozenset({0, 2})),
        ),
        (("ThrottlingError", "TransactionConflict"), Cancelled({}, conflict=True, invalid=None)),
    ],
)
def test_what_a_cancellation_means(codes: tuple[str | dict[str, Any], ...], expected: Cancelled) -> None:
    assert cancelled(*codes) == expected


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("None", "ThrottlingError"), FailureKind.THROTTLED),
        (("ProvisionedThroughputExceeded",), FailureKind.THROTTLED),
        (("AccessDenied",), FailureKind.DENIED),
        (("SomethingNew",), FailureKind.SERVER),
        ((), FailureKind.SERVER),
    ],
)
def test_a_cancellation_for_no_fault_of_the_content_is_a_failed_call(codes: tuple[str, ...], kind: FailureKind) -> None:
    with pytest.raises(CallFailed) as raised:
        cancelled(*codes)
    assert raised.value.kind is kind


def test_a_plain_refusal_of_the_whole_call_is_a_reply() -> None:
    reply = transact(Failing(refusal("ValidationException", message="one digit too many")), [PUT])
    assert reply == Cancelled({}, conflict=False, invalid="one digit too many")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("ThrottlingException"), FailureKind.THROTTLED),
        (refusal("TransactionInProgressException"), FailureKind.CONFLICT),
        (refusal("IdempotentParameterMismatchException"), FailureKind.REJECTED),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), FailureKind.NETWORK),
        (ResponseParserError("truncated"), FailureKind.MALFORMED),
    ],
)
def test_an_unknown_outcome_is_a_failed_call(error: Exception, kind: FailureKind) -> None:
    with pytest.raises(CallFailed) as raised:
        transact(Failing(error), [PUT])
    assert raised.value.kind is kind


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Cancelled({}, conflict=True, invalid=None), FailureKind.CONFLICT),
        (Cancelled({}, conflict=False, invalid="no"), FailureKind.REJECTED),
    ],
)
def test_a_cancellation_without_a_failed_condition_is_a_failed_call(reply: Cancelled, kind: FailureKind) -> None:
    with pytest.raises(CallFailed) as raised:
        reply.require_failed_condition()
    assert raised.value.kind is kind

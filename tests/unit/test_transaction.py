from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from consumer.aws.transaction import Action, Cancelled, token_of, transact
from consumer.domain.errors import Trouble, TroubleKind

PUT: Action = {"Put": {"TableName": "t", "Item": {"k": {"S": "1"}, "b": {"B": b"\x00\xff"}}}}


class Answering:
    """A client whose one operation ends in an exception, or in nothing."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.sent: list[dict[str, Any]] = []

    def transact_write_items(self, **request: Any) -> None:
        self.sent.append(request)
        if self.error is not None:
            raise self.error


def refusal(code: str, reasons: list[dict[str, Any]] | None = None, message: str = "no") -> ClientError:
    answer: dict[str, Any] = {"Error": {"Code": code, "Message": message}}
    if reasons is not None:
        answer["CancellationReasons"] = reasons
    return ClientError(answer, "TransactWriteItems")


def cancelled(*codes: str | dict[str, Any]) -> Cancelled:
    reasons = [{"Code": code} if isinstance(code, str) else code for code in codes]
    answer = transact(Answering(refusal("TransactionCanceledException", reasons)), [PUT])
    assert answer is not None
    return answer


def test_the_token_depends_on_the_content_alone() -> None:
    same: Action = {"Put": {"Item": {"b": {"B": b"\x00\xff"}, "k": {"S": "1"}}, "TableName": "t"}}
    assert token_of([PUT]) == token_of([same])
    others = [[], [PUT, PUT], [{"Put": PUT["Put"] | {"TableName": "u"}}]]
    others += [[{"Put": {"TableName": "t", "Item": {"k": {"S": "1"}, "b": {"B": b"\x00\xfe"}}}}]]
    others += [[{"Update": PUT["Put"]}]]
    assert len({token_of(actions) for actions in [[PUT], *others]}) == 6


def test_the_token_fits_and_goes_with_the_transaction() -> None:
    client = Answering(None)
    assert transact(client, [PUT]) is None
    (sent,) = client.sent
    assert sent == {"TransactItems": [PUT], "ClientRequestToken": token_of([PUT])}
    assert 1 <= len(sent["ClientRequestToken"]) <= 36


def test_failed_conditions_come_by_index_with_the_item_as_it_is() -> None:
    item = {"k": {"S": "1"}}
    answer = cancelled({"Code": "ConditionalCheckFailed", "Item": item}, "None", "ConditionalCheckFailed")
    assert answer == Cancelled({0: item, 2: None}, conflict=False, invalid=None)
    answer.only_conditions()


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
        (("None", "ThrottlingError"), TroubleKind.THROTTLED),
        (("ProvisionedThroughputExceeded",), TroubleKind.THROTTLED),
        (("AccessDenied",), TroubleKind.DENIED),
        (("SomethingNew",), TroubleKind.SERVER),
        ((), TroubleKind.SERVER),
    ],
)
def test_a_cancellation_for_no_fault_of_the_content_is_trouble(codes: tuple[str, ...], kind: TroubleKind) -> None:
    with pytest.raises(Trouble) as raised:
        cancelled(*codes)
    assert raised.value.kind is kind


def test_a_plain_refusal_of_the_whole_call_is_no_trouble() -> None:
    answer = transact(Answering(refusal("ValidationException", message="one digit too many")), [PUT])
    assert answer == Cancelled({}, conflict=False, invalid="one digit too many")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("ThrottlingException"), TroubleKind.THROTTLED),
        (refusal("TransactionInProgressException"), TroubleKind.CONFLICT),
        (refusal("IdempotentParameterMismatchException"), TroubleKind.REJECTED),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), TroubleKind.NETWORK),
        (ResponseParserError("truncated"), TroubleKind.MALFORMED),
    ],
)
def test_what_leaves_it_open_is_trouble(error: Exception, kind: TroubleKind) -> None:
    with pytest.raises(Trouble) as raised:
        transact(Answering(error), [PUT])
    assert raised.value.kind is kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Cancelled({}, conflict=True, invalid=None), TroubleKind.CONFLICT),
        (Cancelled({}, conflict=False, invalid="no"), TroubleKind.REJECTED),
    ],
)
def test_what_only_conditions_can_refuse(answer: Cancelled, kind: TroubleKind) -> None:
    with pytest.raises(Trouble) as raised:
        answer.only_conditions()
    assert raised.value.kind is kind

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from consumer.aws.errors import code_of, may_pass, refusal_of, translated, trouble_of
from consumer.domain.errors import DataTrimmed, IteratorExpired, Trouble, TroubleKind

THROTTLED, CONFLICT, DENIED = TroubleKind.THROTTLED, TroubleKind.CONFLICT, TroubleKind.DENIED
MISSING, REJECTED, SERVER = TroubleKind.MISSING, TroubleKind.REJECTED, TroubleKind.SERVER
NETWORK, MALFORMED = TroubleKind.NETWORK, TroubleKind.MALFORMED
URL = "http://127.0.0.1:1"


def refusal(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutItem")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, THROTTLED),
        ("ProvisionedThroughputExceededException", 400, THROTTLED),
        ("LimitExceededException", 400, THROTTLED),
        ("RequestLimitExceeded", 400, THROTTLED),
        ("TransactionConflictException", 400, CONFLICT),
        ("TransactionInProgressException", 400, CONFLICT),
        ("AccessDeniedException", 400, DENIED),
        ("ExpiredTokenException", 400, DENIED),
        ("UnrecognizedClientException", 400, DENIED),
        ("InvalidSignatureException", 400, DENIED),
        ("ResourceNotFoundException", 400, MISSING),
        ("ValidationException", 400, REJECTED),
        ("IdempotentParameterMismatchException", 400, REJECTED),
        ("SomethingNewException", 400, REJECTED),
        ("SomethingNewException", 500, SERVER),
        ("InternalServerError", 500, SERVER),
        ("ServiceUnavailable", 503, SERVER),
        ("502", 502, SERVER),
    ],
)
def test_a_code_has_its_kind(code: str, status: int, kind: TroubleKind) -> None:
    trouble = trouble_of(refusal(code, status))
    assert trouble.kind is kind
    assert trouble.detail == f"PutItem: {code}: no"


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (["None", "TransactionConflict"], CONFLICT),
        (["ThrottlingError", "None"], THROTTLED),
        (["ProvisionedThroughputExceeded", "None"], THROTTLED),
        (["ThrottlingError", "TransactionConflict"], CONFLICT),
        (["ValidationError", "TransactionConflict"], CONFLICT),
        (["ValidationError", "ThrottlingError"], THROTTLED),
        (["ValidationError", "None"], REJECTED),
        (["None", "None"], REJECTED),
        ([], REJECTED),
    ],
)
def test_a_cancelled_read_is_what_its_reasons_say(reasons: list[str], kind: TroubleKind) -> None:
    """TransactGetItems meets a writer: that passes, and is no fault of the request."""
    error = refusal("TransactionCanceledException")
    error.response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    assert trouble_of(error).kind is kind


def test_a_cancelled_read_without_reasons() -> None:
    assert trouble_of(refusal("TransactionCanceledException")).kind is REJECTED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoCredentialsError(), DENIED),
        (PartialCredentialsError(provider="env", cred_var="secret"), DENIED),
        (CredentialRetrievalError(provider="process", error_msg="no"), DENIED),
        (ResponseParserError("truncated"), MALFORMED),
        (EndpointConnectionError(endpoint_url=URL), NETWORK),
        (ConnectionClosedError(endpoint_url=URL), NETWORK),
        (ConnectTimeoutError(endpoint_url=URL), NETWORK),
        (ReadTimeoutError(endpoint_url=URL), NETWORK),
        (HTTPClientError(error="reset"), NETWORK),
        (ParamValidationError(report="no"), SERVER),
    ],
)
def test_what_never_got_an_answer_has_its_kind(error: BotoCoreError | ResponseParserError, kind: TroubleKind) -> None:
    assert trouble_of(error).kind is kind
    with pytest.raises(Trouble) as raised, translated():
        raise error
    assert raised.value.kind is kind


def test_an_answer_without_code_or_status_is_still_trouble() -> None:
    assert code_of(ClientError({}, "PutItem")) == ""
    assert trouble_of(ClientError({}, "PutItem")).kind is REJECTED


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("TrimmedDataAccessException", DataTrimmed),
        ("ThrottlingException", Trouble),
    ],
)
def test_exceptions_are_translated(code: str, raised: type[Exception]) -> None:
    with pytest.raises(raised), translated():
        raise refusal(code)


def test_an_answer_of_another_shape_is_trouble() -> None:
    with pytest.raises(Trouble, match="could not be read"), translated():
        raise KeyError("StreamDescription")


def test_a_defect_is_not_trouble() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Trouble(THROTTLED, ""), True),
        (Trouble(NETWORK, ""), True),
        (Trouble(SERVER, ""), True),
        (Trouble(CONFLICT, ""), True),
        (Trouble(DENIED, ""), False),
        (Trouble(MISSING, ""), False),
        (KeyError(), False),
    ],
)
def test_what_a_persons_command_waits_out(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


@pytest.mark.parametrize("kind", TroubleKind)
def test_what_a_person_is_told_is_right_in_the_middle_of_a_command_too(kind: TroubleKind) -> None:
    refusal = refusal_of(Trouble(kind, "Scan: Code: message"))
    assert refusal.exit_code == 3
    assert str(refusal).endswith("(Scan: Code: message)")
    assert "start" not in str(refusal)

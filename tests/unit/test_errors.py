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

from consumer.aws.errors import call_failed_of, code_of, may_pass, refusal_of, translated
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired

THROTTLED, CONFLICT, DENIED = FailureKind.THROTTLED, FailureKind.CONFLICT, FailureKind.DENIED
MISSING, REJECTED, SERVER = FailureKind.MISSING, FailureKind.REJECTED, FailureKind.SERVER
NETWORK, MALFORMED = FailureKind.NETWORK, FailureKind.MALFORMED
URL = "http://127.0.0.1:1"


def refusal(code: str, status: int = 400) -> ClientError:
    reply = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "PutItem")


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
def test_a_code_has_its_kind(code: str, status: int, kind: FailureKind) -> None:
    failure = call_failed_of(refusal(code, status))
    assert failure.kind is kind
    assert failure.detail == f"PutItem: {code}: no"


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
def test_a_cancelled_read_is_what_its_reasons_say(reasons: list[str], kind: FailureKind) -> None:
    """TransactGetItems met a writer: that passes, and is no fault of the request."""
    error = refusal("TransactionCanceledException")
    error.response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    assert call_failed_of(error).kind is kind


def test_a_cancelled_read_without_reasons() -> None:
    assert call_failed_of(refusal("TransactionCanceledException")).kind is REJECTED


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
def test_a_call_without_a_reply_has_its_kind(error: BotoCoreError | ResponseParserError, kind: FailureKind) -> None:
    assert call_failed_of(error).kind is kind
    with pytest.raises(CallFailed) as raised, translated():
        raise error
    assert raised.value.kind is kind


def test_an_error_without_code_or_status_is_a_failed_call() -> None:
    assert code_of(ClientError({}, "PutItem")) == ""
    assert call_failed_of(ClientError({}, "PutItem")).kind is REJECTED


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("TrimmedDataAccessException", DataTrimmed),
        ("ThrottlingException", CallFailed),
    ],
)
def test_exceptions_are_translated(code: str, raised: type[Exception]) -> None:
    with pytest.raises(raised), translated():
        raise refusal(code)


def test_a_reply_of_another_shape_is_a_failed_call() -> None:
    with pytest.raises(CallFailed, match="could not be read"), translated():
        raise KeyError("StreamDescription")


def test_a_defect_is_no_failed_call() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (CallFailed(THROTTLED, ""), True),
        (CallFailed(NETWORK, ""), True),
        (CallFailed(SERVER, ""), True),
        (CallFailed(CONFLICT, ""), True),
        (CallFailed(DENIED, ""), False),
        (CallFailed(MISSING, ""), False),
        (KeyError(), False),
    ],
)
def test_which_failures_a_command_retries(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


@pytest.mark.parametrize("kind", FailureKind)
def test_a_refusal_is_right_at_any_point_of_a_command(kind: FailureKind) -> None:
    refusal = refusal_of(CallFailed(kind, "Scan: Code: message"))
    assert refusal.exit_code == 3
    assert str(refusal).endswith("(Scan: Code: message)")
    assert "start" not in str(refusal)

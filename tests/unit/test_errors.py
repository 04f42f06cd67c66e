import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from consumer.aws.wire import call_failed_of, code_of, may_pass, refusal_of, translated
from consumer.domain.errors import CallFailed, DataTrimmed, FailureKind, IteratorExpired, StartRefused

THROTTLED, CONFLICT, DENIED = FailureKind.THROTTLED, FailureKind.CONFLICT, FailureKind.DENIED
MISSING, REJECTED, SERVER = FailureKind.MISSING, FailureKind.REJECTED, FailureKind.SERVER
NETWORK, MALFORMED = FailureKind.NETWORK, FailureKind.MALFORMED
CREDENTIALS, CORRUPTED = FailureKind.CREDENTIALS, FailureKind.CORRUPTED
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
        ("ExpiredTokenException", 400, CREDENTIALS),
        ("UnrecognizedClientException", 400, CREDENTIALS),
        ("InvalidSignatureException", 400, CREDENTIALS),
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
        (NoCredentialsError(), CREDENTIALS),
        (PartialCredentialsError(provider="env", cred_var="secret"), CREDENTIALS),
        (CredentialRetrievalError(provider="process", error_msg="no"), CREDENTIALS),
        (ResponseParserError("truncated"), MALFORMED),
        (EndpointConnectionError(endpoint_url=URL), NETWORK),
        (ConnectionClosedError(endpoint_url=URL), NETWORK),
        (ConnectTimeoutError(endpoint_url=URL), NETWORK),
        (ReadTimeoutError(endpoint_url=URL), NETWORK),
        (HTTPClientError(error="reset"), NETWORK),
        (ParamValidationError(report="no"), SERVER),
        (InvalidRegionError(region_name="no"), SERVER),
        (FileNotFoundError("credentials"), NETWORK),
        (TimeoutError(), NETWORK),
        (ValueError("no JSON"), MALFORMED),
        (RuntimeError("can't start new thread"), SERVER),
        (ZeroDivisionError(), SERVER),
    ],
)
def test_a_call_without_a_reply_has_its_kind(error: Exception, kind: FailureKind) -> None:
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


@pytest.mark.parametrize(
    "error", [MemoryError(), CallFailed(NETWORK, ""), IteratorExpired(), DataTrimmed(), StartRefused("no")], ids=repr
)
def test_what_the_domain_knows_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, translated():
        raise error
    assert raised.value is error


def test_a_detail_holds_nothing_of_the_reply() -> None:
    """It may hold credentials, or a player."""
    failure = call_failed_of(UnicodeDecodeError("utf-8", b"secret\xff", 6, 7, "invalid start byte"))
    assert failure.kind is MALFORMED
    assert "secret" not in failure.detail


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (CallFailed(THROTTLED, ""), True),
        (CallFailed(NETWORK, ""), True),
        (CallFailed(SERVER, ""), True),
        (CallFailed(CONFLICT, ""), True),
        (CallFailed(CORRUPTED, ""), True),
        (CallFailed(DENIED, ""), False),
        (CallFailed(CREDENTIALS, ""), False),
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

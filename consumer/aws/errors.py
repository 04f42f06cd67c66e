"""botocore's exceptions become the domain's, once, by code and never by text; and which of them are worth a retry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Final, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from consumer import retries
from consumer.domain.errors import CallFailed, ConsumerError, DataTrimmed, FailureKind, IteratorExpired, StartRefused

_KINDS: Final = {
    FailureKind.THROTTLED: (
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
    ),
    FailureKind.CONFLICT: (
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    ),
    FailureKind.DENIED: (
        "AccessDenied",
        "AccessDeniedException",
        "NotAuthorized",
        "OptInRequired",
        "UnauthorizedException",
    ),
    FailureKind.CREDENTIALS: (
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ),
    FailureKind.MISSING: ("ResourceNotFound", "ResourceNotFoundException", "TableNotFoundException"),
    FailureKind.REJECTED: (
        "IdempotentParameterMismatchException",
        "ItemCollectionSizeLimitExceeded",
        "ItemCollectionSizeLimitExceededException",
        "SerializationException",
        "ValidationException",
    ),
}
KIND_OF_CODE: Final = {code: kind for kind, codes in _KINDS.items() for code in codes}
"""What an error code means for a retry. Source: DynamoDB's "Error handling" and the API references."""


RETRY_SECONDS: Final = 10.0
"""For how long an operator's call that fails is retried, where the failure may pass."""

UNREADABLE: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""So botocore's parser, and our reading, fail on a reply of another shape than documented."""

T = TypeVar("T")


@contextmanager
def translated() -> Iterator[None]:
    """Whatever a call raises, from botocore or from below it, leaves as the domain's: the call failed.

    Put only a call and the reading of its reply into it.
    """
    try:
        yield
    except ClientError as error:
        match code_of(error):
            case "ExpiredIteratorException":
                raise IteratorExpired from error
            case "TrimmedDataAccessException":
                raise DataTrimmed from error
        raise call_failed_of(error) from error
    except (CallFailed, ConsumerError, DataTrimmed, IteratorExpired, MemoryError):
        raise
    except Exception as error:
        raise call_failed_of(error) from error


def call_with_retries(call: Callable[[], T], stop: Event) -> T:
    """The call's result. Failures that may pass are retried for RETRY_SECONDS; raises CallFailed for the others.

    It waits between attempts on `stop`.
    """

    def attempt() -> T:
        with translated():
            return call()

    return retries.persist(attempt, seconds=RETRY_SECONDS, stop=stop, retry_on=may_pass)


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed soon, so that an operator's command retries it for a while."""
    return isinstance(error, CallFailed) and error.kind in (
        FailureKind.THROTTLED,
        FailureKind.NETWORK,
        FailureKind.SERVER,
        FailureKind.CONFLICT,
        FailureKind.CORRUPTED,
    )


def refusal_of(failure: CallFailed) -> StartRefused:
    """Why an operator's command, or a worker's start, ends here, and what the operator can do about it."""
    advice = {
        FailureKind.THROTTLED: "AWS throttles the requests: try again later, or give the tables more capacity",
        FailureKind.CONFLICT: "other transactions keep writing to the same rows: try again",
        FailureKind.MISSING: "a table or stream that was there is gone: check whether it was deleted",
        FailureKind.DENIED: "AWS denies access: check the credentials and the permissions of this role",
        FailureKind.CREDENTIALS: "there are no AWS credentials that work: check their source, and whether they expired",
        FailureKind.CORRUPTED: "replies arrive damaged: check what is between this machine and AWS",
        FailureKind.NETWORK: "AWS cannot be reached: check the region, the network and the AWS_ENDPOINT_URL variables",
        FailureKind.MALFORMED: "the reply does not come from DynamoDB: check the AWS_ENDPOINT_URL variables",
    }.get(failure.kind, "AWS rejects the request")
    return StartRefused(f"{advice} ({failure.detail})")


def code_of(error: ClientError) -> str:
    """The error's code, empty when the reply had none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def reasons_of(error: ClientError) -> list[str]:
    """The codes by which a transaction was cancelled, by the index of its action; "None" where nothing was wrong."""
    return [str((reason or {}).get("Code", "None")) for reason in error.response.get("CancellationReasons", ())]


def call_failed_of(error: Exception) -> CallFailed:
    """The domain's error for what a call, or a provider of credentials, raised."""
    if isinstance(error, ClientError):
        code = code_of(error)
        kind = _kind_of_cancellation(reasons_of(error)) or KIND_OF_CODE.get(code)
        if kind is None:
            kind = FailureKind.SERVER if _status(error) >= 500 else FailureKind.REJECTED
        message = error.response.get("Error", {}).get("Message", "")
        return CallFailed(kind, f"{error.operation_name}: {code}: {message}")
    if isinstance(error, NoCredentialsError):
        return CallFailed(
            FailureKind.CREDENTIALS,
            "no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
            "the task a role",
        )
    if isinstance(error, PartialCredentialsError | CredentialRetrievalError):
        return CallFailed(FailureKind.CREDENTIALS, str(error))
    named = f"{type(error).__name__}: {error}"
    if isinstance(error, HTTPClientError | BotoConnectionError | OSError):
        return CallFailed(FailureKind.NETWORK, named)
    if isinstance(error, (ResponseParserError, *UNREADABLE)) and not isinstance(error, BotoCoreError):
        return CallFailed(FailureKind.MALFORMED, f"the reply could not be read: {named}")
    return CallFailed(FailureKind.SERVER, named)


def _kind_of_cancellation(reasons: list[str]) -> FailureKind | None:
    """The reason that passes comes first: once it has passed, a retry shows what else is wrong with the request."""
    kinds = {KIND_OF_CODE.get(reason) for reason in reasons}
    return next((kind for kind in (FailureKind.CONFLICT, FailureKind.THROTTLED) if kind in kinds), None)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))

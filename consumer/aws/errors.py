"""botocore's exceptions become the domain's, once, by code and never by text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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

from consumer.domain.errors import DataTrimmed, IteratorExpired, StartRefused, Trouble, TroubleKind

_KINDS: Final = {
    TroubleKind.THROTTLED: (
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
    TroubleKind.CONFLICT: (
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    ),
    TroubleKind.DENIED: (
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedException",
        "UnrecognizedClientException",
    ),
    TroubleKind.MISSING: ("ResourceNotFoundException", "TableNotFoundException"),
    TroubleKind.REJECTED: ("ValidationException", "SerializationException", "IdempotentParameterMismatchException"),
}
KIND_OF_CODE: Final = {code: kind for kind, codes in _KINDS.items() for code in codes}
"""What an error code means for a retry. Source: DynamoDB's "Error handling" and the API references."""


def code_of(error: ClientError) -> str:
    """The error's code, empty when the answer had none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def reasons_of(error: ClientError) -> list[str]:
    """The codes by which a transaction was cancelled, by the index of its action; "None" where nothing was wrong."""
    return [str((reason or {}).get("Code", "None")) for reason in error.response.get("CancellationReasons", ())]


def trouble_of(error: ClientError | BotoCoreError | ResponseParserError) -> Trouble:
    """The domain's word for what botocore raised."""
    if isinstance(error, ClientError):
        code = code_of(error)
        kind = _cancelled_by(reasons_of(error)) or KIND_OF_CODE.get(code)
        if kind is None:
            kind = TroubleKind.SERVER if _status(error) >= 500 else TroubleKind.REJECTED
        message = error.response.get("Error", {}).get("Message", "")
        return Trouble(kind, f"{error.operation_name}: {code}: {message}")
    if isinstance(error, NoCredentialsError):
        return Trouble(
            TroubleKind.DENIED,
            "no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
            "the task a role",
        )
    if isinstance(error, PartialCredentialsError | CredentialRetrievalError):
        return Trouble(TroubleKind.DENIED, str(error))
    if isinstance(error, ResponseParserError):
        return Trouble(TroubleKind.MALFORMED, f"the answer could not be read: {type(error).__name__}")
    if isinstance(error, HTTPClientError | BotoConnectionError):
        return Trouble(TroubleKind.NETWORK, str(error))
    return Trouble(TroubleKind.SERVER, f"{type(error).__name__}: {error}")


def may_pass(error: BaseException) -> bool:
    """Whether it is trouble that a person's command should wait out for a while, and not tell at once."""
    return isinstance(error, Trouble) and error.kind in (
        TroubleKind.THROTTLED,
        TroubleKind.NETWORK,
        TroubleKind.SERVER,
        TroubleKind.CONFLICT,
    )


def refusal_of(trouble: Trouble) -> StartRefused:
    """Why a person's command, or a worker's start, ends here, and what that person can do."""
    advice = {
        TroubleKind.THROTTLED: "AWS throttles this: try again later, or give the tables more capacity",
        TroubleKind.CONFLICT: "others write to the same rows all the time: try again",
        TroubleKind.MISSING: "a table or stream that was there is gone: check whether it was deleted",
        TroubleKind.DENIED: "AWS refuses: check the credentials and the permissions of this role",
        TroubleKind.NETWORK: "AWS cannot be reached: check the region, the network and the AWS_ENDPOINT_URL variables",
        TroubleKind.MALFORMED: "what answers does not speak DynamoDB: check the AWS_ENDPOINT_URL variables",
    }.get(trouble.kind, "AWS does not do what it is asked")
    return StartRefused(f"{advice} ({trouble.detail})")


def _cancelled_by(reasons: list[str]) -> TroubleKind | None:
    """What passes is told first: once it has, the same request shows what else is wrong with it."""
    kinds = {KIND_OF_CODE.get(reason) for reason in reasons}
    return next((kind for kind in (TroubleKind.CONFLICT, TroubleKind.THROTTLED) if kind in kinds), None)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def translated() -> Iterator[None]:
    """Inside it botocore's exceptions leave as the domain's. Put into it a call and the reading of its answer only."""
    try:
        yield
    except ClientError as error:
        match code_of(error):
            case "ExpiredIteratorException":
                raise IteratorExpired from error
            case "TrimmedDataAccessException":
                raise DataTrimmed from error
        raise trouble_of(error) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise trouble_of(error) from error
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # An answer of another shape than promised makes botocore's parser, or our reading of it, stumble.
        raise Trouble(TroubleKind.MALFORMED, f"the answer could not be read: {error!r}") from error

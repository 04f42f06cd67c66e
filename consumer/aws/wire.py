"""What goes over the wire: JSON, the handlers of botocore's events, and what a call raises, as the domain's errors.

The handlers keep a reply's body as it came, and reject damaged replies.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from threading import Event
from typing import Any, Final, TypeVar
from zlib import crc32

import msgspec
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
        "ValidationError",
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


def encode_json(value: object, *, sort_keys: bool = False) -> bytes:
    """Binary values become base64 text, as in DynamoDB's own JSON."""
    try:
        return (_SORTED if sort_keys else _UNSORTED).encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which the database has to refuse
        return encode_json_plainly(value, sort_keys=sort_keys)


def encode_json_plainly(value: object, *, sort_keys: bool = False) -> bytes:
    """The same by the standard library, for all types that botocore takes and gives: times become unix seconds."""
    return json.dumps(value, sort_keys=sort_keys, default=_encodable).encode()


def decode_json(body: bytes) -> Any:
    """The value of a body. Raises ValueError, or RecursionError for endless nesting."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:  # half a surrogate pair in one record must not hide the others
        return json.loads(body)


_UNSORTED: Final = msgspec.json.Encoder()
_SORTED: Final = msgspec.json.Encoder(order="sorted")


def _encodable(value: object) -> str | float:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"a request cannot hold a {type(value).__name__}")


def keep_bodies(client: Any, operation: str) -> None:
    """Replies of `operation` carry their bytes under "Body", unparsed: records stay in wire form.

    botocore's own parser takes 15 times as long as json for a page of records. A second registration changes nothing.
    """
    event = f"before-parse.{service_of(client)}.{operation}"
    client.meta.events.register_first(event, _keep_body, unique_id=f"keep-body.{operation}")


def body_of_reply(reply: Mapping[str, Any]) -> bytes:
    """The body that `keep_bodies` kept; else the fields that botocore knows, encoded again."""
    if "Body" in reply:
        body: bytes = reply["Body"]
        return body
    return encode_json_plainly({name: value for name, value in reply.items() if name != "ResponseMetadata"})


def check_replies(client: Any) -> None:
    """A reply whose checksum does not fit, or that is no JSON object, raises CallFailed, whatever its status says."""
    client.meta.events.register(f"before-parse.{service_of(client)}", _check_reply)


def service_of(client: Any) -> str:
    """The name of the client's service in botocore's events."""
    return str(client.meta.service_model.service_id.hyphenize())


def _keep_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:
        customized_response_dict["Body"] = response_dict["body"]
        response_dict["body"] = b"{}"


def _check_reply(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """`x-amz-crc32` is of the body as sent. botocore compares it in its own retries alone, and engines may omit it."""
    body, status = response_dict["body"], response_dict["status_code"]
    sent = response_dict["headers"].get("x-amz-crc32")
    if sent is not None and sent != str(crc32(customized_response_dict.get("Body", body))):
        raise CallFailed(FailureKind.CORRUPTED, f"the body of an HTTP {status} reply does not fit its checksum")
    try:
        is_object = isinstance(decode_json(body), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise CallFailed(FailureKind.MALFORMED, f"the body of an HTTP {status} reply is no JSON object")

"""The boto3 clients, and their credentials: the SDK's, renewed on a thread of their own.

botocore refreshes credentials inside a call and under a lock: while their source hangs, every call queues. And what has
no expiry (a shared file) it never reads again.
"""

import getpass
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import Event
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError, ProfileNotFound
from botocore.httpsession import get_cert_path
from botocore.session import Session as BotocoreSession
from botocore.session import get_session

from consumer import __version__, retries
from consumer.aws.direct import POLLS, READS, STATEMENTS, TRANSACTIONS, Connections, Post, send_directly
from consumer.aws.wire import (
    KIND_OF_CODE,
    call_failed_of,
    check_replies,
    refusal_of,
    translated,
)
from consumer.domain.errors import CallFailed, FailureKind, StartRefused
from consumer.domain.ports import CredentialObserver

EXPIRES_SOON_SECONDS: Final = 900
"""New credentials are looked for so long before the present ones expire, as botocore does."""
PAUSE_SECONDS: Final = 30.0
"""Between two attempts to find new credentials, while the present ones work."""
BROKEN_PAUSE_SECONDS: Final = 5.0
"""The same while there are none that work: they have expired, or AWS refuses them."""
HANGING_SECONDS: Final = 60.0
"""After so long an attempt counts as hanging: the next one does not wait for it, and a start gives up."""
MOST_ATTEMPTS: Final = 4
"""Attempts at once. HTTP sources have time-outs; a `credential_process` may hang for good."""
WAIT_SECONDS: Final = 2.0
"""How long a call waits for credentials when there are none that it could sign with."""
LONGEST_DETAIL: Final = 500
"""Of a failure's text, which may be all that a `credential_process` wrote."""
NO_REPLY: Final = "the source of the credentials does not reply"
LASTING_REFUSALS: Final = 3
"""Consecutive calls that AWS refuses before others are looked for."""


class _Held(NamedTuple):
    """`frozen` signs calls; `found` knows when it expires."""

    frozen: ReadOnlyCredentials
    found: Any


def _good_for(seconds: float, held: _Held | None) -> bool:
    """Whether there are credentials that do not expire so soon; what has no expiry never does."""
    if held is None:
        return False
    return not (isinstance(held.found, RefreshableCredentials) and held.found.refresh_needed(seconds))


def _find() -> Any:
    """What the SDK's chain of providers finds now. A new session reads variables, files and endpoints again."""
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None).get_credentials()


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="credentials", daemon=True).start()


class Credentials:
    """Credentials for botocore's signers, and the resolver that botocore's session asks for them."""

    method = "renewed"

    def __init__(
        self,
        observer: CredentialObserver | None = None,
        find: Callable[[], Any] = _find,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        self._observer = observer
        self._find = find
        self._clock = clock
        self._start = start
        self._changed = threading.Condition()
        self._held: _Held | None = None
        self._refusals = 0
        self._failure = ""
        self._attempts = self._running = self._succeeded = 0
        self._began_at = -inf

    def load_credentials(self) -> Self:
        """For botocore's session: the credentials that its clients sign with."""
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """For botocore's signers. Raises CallFailed when no credentials can be had within WAIT_SECONDS."""
        if self._is_due():
            self._begin()
        if not _good_for(0, self._held):
            with self._changed:
                self._changed.wait_for(lambda: _good_for(0, self._held) or not self._running, WAIT_SECONDS)
        held = self._held
        if held is None or not _good_for(0, held):
            raise CallFailed(FailureKind.CREDENTIALS, NO_REPLY if self._running else self._failure)
        return held.frozen

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """For botocore's endpoints, which may contain the account's id."""
        return lambda: getattr(self.get_frozen_credentials(), name, None)

    def require(self, stop: threading.Event) -> None:
        """Returns once there are credentials. Raises CallFailed when there are none, or none within HANGING_SECONDS."""

        def is_awaited(error: BaseException) -> bool:
            return isinstance(error, CallFailed) and self._running > 0

        retries.persist(self.get_frozen_credentials, seconds=HANGING_SECONDS, stop=stop, retry_on=is_awaited)

    def heed(self, parsed: dict[str, Any], **_: object) -> None:
        """A handler of botocore's event after-call: counts consecutive replies that refuse these credentials."""
        kind = KIND_OF_CODE.get(parsed.get("Error", {}).get("Code", ""))
        refused = kind in (FailureKind.CREDENTIALS, FailureKind.DENIED)
        self._refusals = self._refusals + 1 if refused else 0

    def _works(self) -> bool:
        """Whether calls may succeed with the credentials at hand."""
        return _good_for(0, self._held) and self._refusals < LASTING_REFUSALS

    def _is_due(self) -> bool:
        """Whether another attempt to find credentials begins now."""
        works = self._works()
        if works and _good_for(EXPIRES_SOON_SECONDS, self._held):
            return False
        pause_seconds = HANGING_SECONDS if self._running else PAUSE_SECONDS if works else BROKEN_PAUSE_SECONDS
        return self._clock() - self._began_at >= pause_seconds

    def _begin(self) -> None:
        with self._changed:
            if not self._is_due():  # another thread was faster
                return
            self._began_at = self._clock()
            hanging = self._running
            if hanging < MOST_ATTEMPTS:
                self._attempts += 1
                self._running += 1
                try:
                    self._start(partial(self._attempt, self._attempts))
                except RuntimeError as error:  # the system gives no thread
                    self._running -= 1
                    self._failure = str(error)
        if hanging:
            self._report_failure(NO_REPLY)

    def _attempt(self, number: int) -> None:
        """Finds credentials, on a thread of its own. Whatever a provider raises, the present ones stay."""
        held, failure = None, ""
        try:
            found = self._find()
            if found is None:
                raise NoCredentialsError
            held = _Held(found.get_frozen_credentials(), found)
        except Exception as error:  # noqa: BLE001 - a provider may raise anything: it runs commands and parses files
            failure = call_failed_of(error).detail[:LONGEST_DETAIL]
        with self._changed:
            before = self._held
            self._running -= 1
            if held is None:
                self._failure = failure
            elif number > self._succeeded:  # else a later attempt overtook this one
                self._held, self._succeeded, self._refusals = held, number, 0
            self._changed.notify_all()
        if held is None:
            self._report_failure(failure)
        elif before is not None and before.frozen != held.frozen and self._observer is not None:
            self._observer.credentials_renewed()

    def _report_failure(self, detail: str) -> None:
        """At a start the error itself says it."""
        if self._observer is not None and self._held is not None:
            self._observer.credentials_failed(detail, usable=self._works())


CONNECT_SECONDS: Final = 1
READ_SECONDS: Final = 5

_NO_CREDENTIALS: Final = {
    "aws_access_key_id": "probe",
    "aws_secret_access_key": "probe",
    "aws_account_id": "000000000000",
}
"""For a client that sends nothing: it must not search for the real credentials before they are needed."""

_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")


@dataclass(frozen=True, slots=True)
class Clients:
    """`dynamodb` is for the consumer's own tables; `streams` may be of another region, the source's.

    `session` makes clients of other services, with the same credentials.
    """

    dynamodb: Any
    streams: Any
    session: Any


def connect(
    threads: int,
    stream_arn: str | None = None,
    *,
    stop: Event | None = None,
    observer: CredentialObserver | None = None,
) -> Clients:
    """Clients with one pooled connection per thread. The streams' region is the ARN's, where that is a real one.

    Raises StartRefused when the SDK cannot be configured, or when there are no credentials; it waits on `stop`.
    """
    credentials = Credentials(observer)
    try:
        core = _core_of(credentials)
        clients = _make_clients(core, threads, _region_of(stream_arn))
    except NoRegionError:
        raise StartRefused(
            "no AWS region is set: set AWS_REGION, or AWS_DEFAULT_REGION, or a region in the profile"
        ) from None
    except ProfileNotFound as error:
        raise StartRefused(f"AWS_PROFILE: {error}") from None
    except (BotoCoreError, ValueError) as error:
        raise StartRefused(
            f"the AWS SDK cannot be set up: {str(error).rstrip('.')}. Check AWS_REGION, the AWS_ENDPOINT_URL variables "
            "and the other AWS_ variables, and the files that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name"
        ) from None
    for client in (clients.dynamodb, clients.streams):
        check_replies(client)
        client.meta.events.register("after-call", credentials.heed)
    try:
        credentials.require(stop or Event())
    except CallFailed as failure:
        raise refusal_of(failure) from failure
    send_directly(clients.dynamodb, (TRANSACTIONS, STATEMENTS, READS), _connections(core))
    send_directly(clients.streams, (POLLS,), _connections(core))
    return clients


def _core_of(credentials: Credentials) -> BotocoreSession:
    """A session of botocore, whose clients sign with these credentials."""
    # It warns, with a traceback, of what the observer and the error of a start say.
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
    core = get_session()
    core.register_component("credential_provider", credentials)
    return core


def _make_clients(core: BotocoreSession, threads: int, streams_region: str | None) -> Clients:
    """Their user agent is botocore's, built once: botocore builds it for every request, a tenth of a call's time."""
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None, botocore_session=core)
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=threads + 3,
        tcp_keepalive=True,
        user_agent_extra=f"leaderboard-consumer/{__version__}",
    )
    spare = session.client("dynamodb", config=config, **_NO_CREDENTIALS)
    config = config.merge(Config(user_agent=spare.meta.config.user_agent, user_agent_extra=""))
    return Clients(
        session.client("dynamodb", config=config),
        session.client("dynamodbstreams", config=config, region_name=streams_region),
        session,
    )


def _connections(core: BotocoreSession) -> Callable[[str], Post]:
    """Connections that trust what botocore's would trust."""
    trusted = core.get_config_variable("ca_bundle")
    trusted = trusted or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    certificates = get_cert_path(trusted or True)
    return lambda url: Connections(url, CONNECT_SECONDS, READ_SECONDS, certificates).post


def _region_of(stream_arn: str | None) -> str | None:
    """The ARN's region; None where it is no real one (DynamoDB Local always writes `ddblocal`)."""
    if stream_arn is None:
        return None
    region = stream_arn.split(":")[3]
    return region if _REGION.fullmatch(region) else None


def resolution_seconds(stream_arn: str) -> int:
    """The resolution of records' creation times: a second; with DynamoDB Local a minute, rounded down."""
    return 60 if ":ddblocal:" in stream_arn else 1


def endpoints(clients: Clients) -> tuple[str, ...]:
    """The endpoints that are not AWS's own regional ones, of tables first, then of streams if it is another one."""
    urls = dict.fromkeys(str(client.meta.endpoint_url) for client in (clients.dynamodb, clients.streams))
    return tuple(url for url in urls if ".vpce." in url or not _is_aws(url))


def _is_aws(url: object) -> bool:
    host = urlsplit(str(url)).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def caller(clients: Clients) -> str:
    """The caller's ARN; `user@host` where STS does not reply in time, or where the endpoint is not AWS."""
    meta = clients.dynamodb.meta
    if _is_aws(meta.endpoint_url) or os.environ.get("AWS_ENDPOINT_URL_STS"):
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=2)
        try:
            with translated():
                client = clients.session.client("sts", region_name=meta.region_name, config=config)
                return str(client.get_caller_identity()["Arn"])
        except CallFailed:
            pass
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"{os.getuid()}@{socket.gethostname()}"

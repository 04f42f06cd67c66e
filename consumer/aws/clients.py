"""boto3 sessions and clients. The SDK keeps credentials, endpoints, signing and pools; it does not retry."""

import getpass
import logging
import os
import re
import socket
from dataclasses import dataclass
from threading import Event
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound
from botocore.session import get_session

from consumer import __version__
from consumer.aws.credentials import Credentials
from consumer.aws.errors import refusal_of, translated
from consumer.aws.wire import check_replies, write_transaction_bodies
from consumer.domain.errors import CallFailed, StartRefused
from consumer.domain.ports import CredentialObserver

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

    The user agent is botocore's own, built once: botocore builds it for every request, a tenth of the call's time.
    Raises StartRefused when the SDK cannot be configured, or when there are no credentials; it waits on `stop`.
    """
    credentials = Credentials(observer)
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=threads + 3,
        tcp_keepalive=True,
        user_agent_extra=f"leaderboard-consumer/{__version__}",
    )
    try:
        session = _session(credentials)
        spare = session.client("dynamodb", config=config, **_NO_CREDENTIALS)
        config = config.merge(Config(user_agent=spare.meta.config.user_agent, user_agent_extra=""))
        clients = Clients(
            session.client("dynamodb", config=config),
            session.client("dynamodbstreams", config=config, region_name=_region_of(stream_arn)),
            session,
        )
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
    write_transaction_bodies(clients.dynamodb, spare)
    for client in (clients.dynamodb, clients.streams):
        check_replies(client)
        client.meta.events.register("after-call", credentials.heed)
    try:
        credentials.require(stop or Event())
    except CallFailed as failure:
        raise refusal_of(failure) from failure
    return clients


def _session(credentials: Credentials) -> boto3.Session:
    """A session whose clients sign with these credentials."""
    # It warns, with a traceback, of what the observer and the error of a start say.
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
    core = get_session()
    core.register_component("credential_provider", credentials)
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None, botocore_session=core)


def _region_of(stream_arn: str | None) -> str | None:
    """The ARN's region; None where it is no real one (DynamoDB Local always writes `ddblocal`)."""
    if stream_arn is None:
        return None
    region = stream_arn.split(":")[3]
    return region if _REGION.fullmatch(region) else None


def resolution_seconds(stream_arn: str) -> int:
    """The resolution of records' creation times: a second; with DynamoDB Local a minute, rounded down."""
    return 60 if ":ddblocal:" in stream_arn else 1


def caller(clients: Clients) -> str:
    """The caller's ARN; `user@host` where STS does not reply in time, or where the endpoint is not AWS."""
    meta = clients.dynamodb.meta
    host = urlsplit(str(meta.endpoint_url)).hostname or ""
    aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
    if aws or os.environ.get("AWS_ENDPOINT_URL_STS"):
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

"""boto3 sessions and clients. Credentials, endpoints, signing and pools are the SDK's own; retries are not."""

import os
import re
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

from consumer import __version__
from consumer.aws.bodies import write_bodies
from consumer.aws.wire import refuse_garbage
from consumer.domain.errors import StartRefused

CONNECT_SECONDS: Final = 1
READ_SECONDS: Final = 5

NOBODY: Final = {"aws_access_key_id": "probe", "aws_secret_access_key": "probe", "aws_account_id": "000000000000"}
"""Credentials of a client that sends nothing: a person's own are not looked for before they are needed."""

_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")


@dataclass(frozen=True, slots=True)
class Clients:
    """`dynamodb` writes the tables; `streams` may live in another region, the source's."""

    dynamodb: Any
    streams: Any


def connect(threads: int, stream_arn: str | None = None) -> Clients:
    """Clients with one pooled connection a thread. The streams' region is the ARN's where that is a real one.

    The user agent is botocore's own, put together once: for each request anew it takes a tenth of the call's time.
    Raises StartRefused when the SDK cannot be configured.
    """
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=threads + 3,
        tcp_keepalive=True,
        user_agent_extra=f"leaderboard-consumer/{__version__}",
    )
    try:
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        spare = session.client("dynamodb", config=config, **NOBODY)
        config = config.merge(Config(user_agent=spare.meta.config.user_agent, user_agent_extra=""))
        clients = Clients(
            session.client("dynamodb", config=config),
            session.client("dynamodbstreams", config=config, region_name=_region_of(stream_arn)),
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
    write_bodies(clients.dynamodb, spare)
    refuse_garbage(clients.dynamodb)
    refuse_garbage(clients.streams)
    return clients


def _region_of(stream_arn: str | None) -> str | None:
    """The ARN's region; None where it is no real one (DynamoDB Local says `ddblocal` whatever it is asked)."""
    if stream_arn is None:
        return None
    region = stream_arn.split(":")[3]
    return region if _REGION.fullmatch(region) else None


def resolution_seconds(stream_arn: str) -> int:
    """How finely creation times are told: whole seconds; by DynamoDB Local whole minutes, rounded down."""
    return 60 if ":ddblocal:" in stream_arn else 1

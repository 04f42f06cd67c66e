"""Who acts: the AWS caller's identity where it can be had, else the user of this machine."""

import getpass
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError


def caller(dynamodb: Any) -> str:
    """The caller's ARN; `user@host` where STS does not answer in time, or an engine of one's own is used."""
    host = urlsplit(str(dynamodb.meta.endpoint_url)).hostname or ""
    aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
    if aws or os.environ.get("AWS_ENDPOINT_URL_STS"):
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=2)
        try:
            client = boto3.client("sts", region_name=dynamodb.meta.region_name, config=config)
            return str(client.get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError, ResponseParserError, LookupError, ValueError):
            pass
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"{os.getuid()}@{socket.gethostname()}"

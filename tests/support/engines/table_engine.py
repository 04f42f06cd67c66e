"""What a test sees of a table engine: its name, where it is, and how a process or a client is pointed at it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from consumer.demo.engine import ENGINE_VARIABLE

REGION = "eu-west-1"
ENGINE_NAMES = ("ministack", "dynamodb-local")
_ENGINE_PYTHON = Path(__file__).parents[3] / ".venv-engine" / "bin" / "python"


def is_foreign(variable: str) -> bool:
    """Whether the developer's own shell may hold `variable` but no test may see it."""
    return variable.startswith(("AWS_", "CONSUMER_")) and variable != ENGINE_VARIABLE


def clean_environment() -> None:
    """Removes what is foreign from this process, and names the embedded engine of this checkout, if it is there."""
    for name in [name for name in os.environ if is_foreign(name)]:
        del os.environ[name]
    if _ENGINE_PYTHON.exists():
        os.environ.setdefault(ENGINE_VARIABLE, os.fspath(_ENGINE_PYTHON))


@dataclass(frozen=True)
class TableEngine:
    """A running engine."""

    name: str
    """`ministack` or `dynamodb-local`."""
    url: str

    def variables(self) -> dict[str, str]:
        """The AWS variables that point a process at this engine, and only those."""
        return {
            "AWS_ENDPOINT_URL_DYNAMODB": self.url,
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def environment(self) -> dict[str, str]:
        """A whole environment for a process: ours with nothing foreign, plus `variables`. Tests choose the terminal."""
        ours = {name: value for name, value in os.environ.items() if not is_foreign(name) and name != "TERM"}
        return ours | self.variables()

    def client(self, service: str) -> Any:
        """A boto3 client of `dynamodb` or `dynamodbstreams` without retries; close it."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=30),
        )


def make_old_quarantine_table(client: Any, name: str) -> None:
    """The quarantine table as version 0.1 made it: without an index."""
    keys = (("shardId", "HASH"), ("sequenceNumber", "RANGE"))
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
    )

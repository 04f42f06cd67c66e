"""The table engines of a run, each a process of its own: none is slower for what came before."""

from collections.abc import Iterator
from contextlib import contextmanager

from consumer.demo.engine import Engine
from consumer.demo.installation import ENGINE_VERSION
from tests.engines import TableEngine
from tests.engines.dynamodb_local import DynamoDBLocal, jar_folder, what_is_missing

MINISTACK = "ministack"
LOCAL = "dynamodb-local"


@contextmanager
def fresh(name: str) -> Iterator[TableEngine]:
    """An empty engine that is gone afterwards."""
    with Engine() if name == MINISTACK else DynamoDBLocal() as server:
        yield TableEngine(name, server.url)


def missing(name: str) -> str | None:
    """Why an engine cannot be had, or None."""
    return what_is_missing() if name == LOCAL else None


def version(name: str) -> str:
    """Its name as people write it, and its version."""
    if name == MINISTACK:
        return f"ministack {ENGINE_VERSION}"
    jars = [path.stem.partition("-")[2] for path in jar_folder().glob("DynamoDBLocal-*.jar")]
    return f"DynamoDB Local {jars[0] if jars else ''}".strip()

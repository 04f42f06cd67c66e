"""The table engines of a run, each a process of its own: none is slower for what came before."""

from collections.abc import Iterator
from contextlib import contextmanager

from consumer.demo.engine import Engine
from consumer.demo.installation import ENGINE_VERSION
from tests.engines import TableEngine
from tests.engines.dynamodb_local import DynamoDBLocal, jar_folder, what_is_missing

MINISTACK = "ministack"
LOCAL = "dynamodb-local"
ENGINES = (LOCAL, MINISTACK)


@contextmanager
def fresh(name: str) -> Iterator[TableEngine]:
    """An empty engine that is gone afterwards."""
    with Engine() if name == MINISTACK else DynamoDBLocal() as server:
        yield TableEngine(name, server.url)


def missing(name: str) -> str | None:
    """Why an engine cannot be had, or None."""
    return what_is_missing() if name == LOCAL else None


def title(name: str) -> str:
    """As people write it."""
    return {LOCAL: "DynamoDB Local"}.get(name, name)


def version(name: str) -> str:
    """Its name and version."""
    jars = [path.stem.partition("-")[2] for path in jar_folder().glob("DynamoDBLocal-*.jar")]
    return f"{title(name)} {ENGINE_VERSION if name == MINISTACK else ' '.join(jars)}"

"""Paged reads of whole tables, for people's commands; the worker never scans like this."""

from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import Any, Final, TypeVar

from consumer import retries
from consumer.aws.errors import may_pass, translated
from consumer.aws.items import Item
from consumer.aws.rows import partition_of

ANSWER_SECONDS: Final = 10.0
"""For how long a call that meets trouble which may pass is tried again."""

T = TypeVar("T")


def ask(call: Callable[[], T], stop: Event) -> T:
    """The call's answer. Trouble that may pass is waited out for some seconds; raises Trouble for what stays."""

    def attempt() -> T:
        with translated():
            return call()

    return retries.persist(attempt, seconds=ANSWER_SECONDS, stop=stop, retry_on=may_pass)


def scan(client: Any, stop: Event, **request: Any) -> Iterator[Item]:
    """All items, page by page, each page as it is when it is read (consistent reads). Raises Trouble."""
    return _pages(client.scan, stop, request)


def query(client: Any, stop: Event, **request: Any) -> Iterator[Item]:
    """The items of one partition, like scan. Raises Trouble."""
    return _pages(client.query, stop, request)


def partition(client: Any, stop: Event, quarantine: str, name: str, *, newest_first: bool = False) -> Iterator[Item]:
    """A partition of the quarantine table, by its sort key. Raises Trouble."""
    return query(client, stop, TableName=quarantine, ScanIndexForward=not newest_first, **partition_of(name))


def _pages(read: Callable[..., dict[str, Any]], stop: Event, request: Mapping[str, Any]) -> Iterator[Item]:
    start: dict[str, Any] = {}

    def page() -> tuple[list[Item], dict[str, Any]]:
        answer = read(**request, ConsistentRead=True, **start)
        return answer["Items"], answer.get("LastEvaluatedKey") or {}

    while True:
        items, last = ask(page, stop)
        yield from items
        if not last:
            return
        start = {"ExclusiveStartKey": last}

"""Writes to a table with a stream, as the stream's records."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.streams_server.refusal import invalid
from tests.streams_server.shard import Item
from tests.streams_server.stream import Stream
from tests.streams_server.streams import Streams

Document = Mapping[str, Any]


class Change(NamedTuple):
    """An item put, or (`new` None) deleted."""

    table: str
    key_or_item: Item
    new: Item | None


class Source:
    """Knows every item that was written through the server: a write that changes nothing makes no record."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._items: dict[tuple[str, str], Item] = {}

    def refuse_unknown(self, operation: str, asked: Document) -> None:
        """Raises Refusal for an update of a streamed table: it is not evaluated here."""
        updated = [str(asked.get("TableName"))] if operation == "UpdateItem" else []
        if operation == "TransactWriteItems":
            updated = [action["Update"]["TableName"] for action in asked.get("TransactItems", ()) if "Update" in action]
        for table in updated:
            if self._streams.latest(table) is not None:
                raise invalid(f"the streams server cannot tell what an update does to an item of {table}: put it")

    def follow(self, operation: str, asked: Document, answered: Document) -> None:
        """The engine did it: records in the shards that the keys hash to."""
        for change in _changes(operation, asked, answered):
            stream = self._streams.latest(change.table)
            if stream is not None:
                self._note(stream, change)

    def _note(self, stream: Stream, change: Change) -> None:
        key = {name: change.key_or_item[name] for name in stream.keys}
        place = (change.table, json.dumps(key, sort_keys=True))
        old = self._items.get(place)
        if old == change.new:
            return
        if change.new is None:
            del self._items[place]
        else:
            self._items[place] = change.new
        if stream.enabled:
            event = "REMOVE" if change.new is None else "INSERT" if old is None else "MODIFY"
            stream.append(stream.route(key), event, change.new, old)


def _changes(operation: str, asked: Document, answered: Document) -> Iterator[Change]:
    match operation:
        case "PutItem":
            yield _put(asked)
        case "DeleteItem":
            yield _delete(asked)
        case "BatchWriteItem":
            left = Counter(map(_text, _requests(answered.get("UnprocessedItems") or {})))
            for table, request in _requests(asked["RequestItems"]):
                if left[_text((table, request))]:
                    left[_text((table, request))] -= 1
                elif "PutRequest" in request:
                    yield _put({"TableName": table, **request["PutRequest"]})
                else:
                    yield _delete({"TableName": table, **request["DeleteRequest"]})
        case "TransactWriteItems":
            for action in asked["TransactItems"]:
                if "Put" in action:
                    yield _put(action["Put"])
                elif "Delete" in action:
                    yield _delete(action["Delete"])


def _requests(by_table: Mapping[str, Sequence[Document]]) -> Iterator[tuple[str, Document]]:
    return ((table, request) for table, requests in by_table.items() for request in requests)


def _text(request: tuple[str, Document]) -> str:
    return json.dumps(request, sort_keys=True)


def _put(asked: Document) -> Change:
    return Change(asked["TableName"], asked["Item"], asked["Item"])


def _delete(asked: Document) -> Change:
    return Change(asked["TableName"], asked["Key"], None)

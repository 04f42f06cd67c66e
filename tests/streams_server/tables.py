"""The table operations: the engine executes them; streams, conflicts, the log and the counts are the server's own."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tests.streams_server.counts import Counts
from tests.streams_server.engine import Engine, Response
from tests.streams_server.faults import SINGLE_WRITES
from tests.streams_server.options import Options
from tests.streams_server.refusal import invalid, not_found
from tests.streams_server.shard import Item
from tests.streams_server.statements import BATCH, Codes, player_of, table_of, with_errors, without
from tests.streams_server.stream import REGION, VIEW, Stream, Streams
from tests.streams_server.transactions import ItemLocks, Key, TransactionLog, item_key

Document = dict[str, Any]


class Change(NamedTuple):
    """An item that was put, or (`new` None) deleted."""

    table: str
    key_or_item: Item
    new: Item | None


class Source:
    """Makes records of writes to tables with a stream. It knows every item: a write without a change makes none."""

    def __init__(self, streams: Streams, options: Options) -> None:
        self._streams = streams
        self._options = options
        self._items: dict[tuple[str, str], Item] = {}

    def refuse_unknown(self, operation: str, request: Document) -> None:
        """Raises Refusal for an update of a table with a stream: updates are not evaluated here."""
        updated = [str(request.get("TableName"))] if operation == "UpdateItem" else []
        if operation == "TransactWriteItems":
            updated = [
                action["Update"]["TableName"] for action in request.get("TransactItems", ()) if "Update" in action
            ]
        if operation == BATCH:
            updated = [table_of(statement) for statement in request["Statements"]]
        for table in updated:
            if self._streams.latest(table) is not None:
                raise invalid(f"the streams server does not evaluate updates of {table}: put the item")

    def follow(self, operation: str, request: Document, replied: Document) -> None:
        """The engine has executed a write: makes its records."""
        for change in _changes(operation, request, replied):
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
            expired = event == "REMOVE" and self._options.deletes_expire
            stream.append(stream.route(key), event, change.new, old, expired=expired)


def _changes(operation: str, document: Document, replied: Document) -> Iterator[Change]:
    match operation:
        case "PutItem":
            yield _put(document)
        case "DeleteItem":
            yield _delete(document)
        case "BatchWriteItem":
            left = Counter(map(_text, _requests(replied.get("UnprocessedItems") or {})))
            for table, request in _requests(document["RequestItems"]):
                if left[_text((table, request))]:
                    left[_text((table, request))] -= 1
                elif "PutRequest" in request:
                    yield _put({"TableName": table, **request["PutRequest"]})
                else:
                    yield _delete({"TableName": table, **request["DeleteRequest"]})
        case "TransactWriteItems":
            for action in document["TransactItems"]:
                if "Put" in action:
                    yield _put(action["Put"])
                elif "Delete" in action:
                    yield _delete(action["Delete"])


def _requests(by_table: Mapping[str, Sequence[Document]]) -> Iterator[tuple[str, Document]]:
    return ((table, request) for table, requests in by_table.items() for request in requests)


def _text(request: tuple[str, Document]) -> str:
    return json.dumps(request, sort_keys=True)


def _put(request: Document) -> Change:
    return Change(request["TableName"], request["Item"], request["Item"])


def _delete(request: Document) -> Change:
    return Change(request["TableName"], request["Key"], None)


_OWN_HEADERS = {
    "content-type": "application/x-amz-json-1.0",
    "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "x-amz-date": "20260101T000000Z",
}


class TableRequest(NamedTuple):
    """A request for the engine. `counted`: whether its read units are counted."""

    operation: str
    headers: Mapping[str, str]
    document: Document
    body: bytes
    counted: bool = True


class Tables:
    """`execute` may be called again for the same request: then it has arrived twice."""

    def __init__(self, engine: Engine, streams: Streams, options: Options, counts: Counts) -> None:
        self.log = TransactionLog()
        self.locks = ItemLocks()
        self._engine = engine
        self._streams = streams
        self._options = options
        self._counts = counts
        self._source = Source(streams, options)
        self._keys: dict[str, tuple[str, ...]] = {}

    async def execute(self, request: TableRequest) -> Response | None:
        """The response; None: the engine gave none. Raises Refusal."""
        match request.operation:
            case "TransactWriteItems":
                return await self._transact(request)
            case "TransactGetItems" if self._options.hold_seconds is not None:
                self.locks.refuse_locked(await self._keys_of(request.document))
            case operation if operation == BATCH:
                return await self._write_by_statements(request)
            case operation if operation in SINGLE_WRITES or operation == "BatchWriteItem":
                return await self._write(request)
            case "CreateTable" | "DeleteTable" | "DescribeTable" | "UpdateTable":
                return await self._administer(request)
        response = await self._engine.send(request.headers, request.body)
        if (
            request.counted
            and response
            and response.status == 200
            and request.operation in ("GetItem", "Query", "Scan", "BatchGetItem")
        ):
            self._counts.read(request.operation, request.document, json.loads(response.body))
        return response

    async def keys(self, table: str) -> tuple[str, ...]:
        """The names of the key attributes, partition key first. Raises Refusal when there is no such table."""
        if table not in self._keys:
            body = json.dumps({"TableName": table}).encode()
            response = await self._engine.send(_OWN_HEADERS, body, target="DescribeTable")
            if response is None or response.status != 200:
                raise not_found(f"Requested resource not found: Table: {table} not found")
            self._learn_keys(table, json.loads(response.body)["Table"])
        return self._keys[table]

    # --- writing ---

    async def _write(self, request: TableRequest) -> Response | None:
        if self._options.hold_seconds is not None and request.operation in SINGLE_WRITES:
            for key in await self._keys_of({"TransactItems": [{request.operation: request.document}]}):
                self.locks.refuse_write(key)
        return await self._followed(request, request.body)

    async def _write_by_statements(self, request: TableRequest) -> Response | None:
        """The rows that a transaction has locked are not written; each statement says so itself."""
        statements = request.document["Statements"]
        keys = [item_key(table_of(statement), {"playerId": player_of(statement)}) for statement in statements]
        locked = {index: "TransactionConflict" for index, key in enumerate(keys) if self.locks.holds(key)}
        return await self.execute_some(request, locked)

    async def execute_some(self, request: TableRequest, codes: Codes) -> Response | None:
        """Executes the statements that have no code here; the others fail by it."""
        left = without(request.document, codes)
        if not left["Statements"]:
            return with_errors(Response(200, b'{"Responses": []}'), codes, executed=False)
        response = await self._followed(request._replace(document=left), json.dumps(left).encode())
        return with_errors(response, codes, executed=False)

    async def _transact(self, request: TableRequest) -> Response | None:
        token = request.document.get("ClientRequestToken")
        body = request.body
        if self._options.hide_tokens:
            request.document.pop("ClientRequestToken", None)
            body = json.dumps(request.document).encode()
        hold_seconds = self._options.hold_seconds
        if hold_seconds is None:
            return await self._followed(request, body)
        keys = await self._keys_of(request.document)
        self.locks.take(keys, token)
        try:
            await asyncio.sleep(hold_seconds)
            return await self._followed(request, body)
        finally:
            later = self._options.linger_seconds
            asyncio.get_running_loop().call_later(later, self.locks.release, keys, token)

    async def _followed(self, request: TableRequest, body: bytes) -> Response | None:
        capture = self._options.capture
        if capture:
            self._source.refuse_unknown(request.operation, request.document)
        response = await self._engine.send(request.headers, body)
        if response and response.status == 200:
            if request.operation == "TransactWriteItems":
                self.log.note(self._streams.clock(), request.document)
            elif request.operation == "UpdateItem" and ":last" in request.document.get("ExpressionAttributeValues", {}):
                self.log.note(self._streams.clock(), {"TransactItems": [{"Update": request.document}]})
            if capture:
                self._source.follow(request.operation, request.document, json.loads(response.body))
        return response

    async def _keys_of(self, document: Document) -> list[Key]:
        """The keys of a transaction's actions; none for a request that the engine will refuse."""
        keys: list[Key] = []
        with suppress(LookupError, TypeError, AttributeError):
            for action in document["TransactItems"]:
                ((_, what),) = action.items()
                names = await self.keys(what["TableName"])
                keys.append(
                    item_key(what["TableName"], what.get("Key") or {name: what["Item"][name] for name in names})
                )
            return keys
        return []

    # --- tables and their streams ---

    async def _administer(self, request: TableRequest) -> Response | None:
        table = str(request.document.get("TableName"))
        wanted = request.document.pop("StreamSpecification", None)
        body, target = json.dumps(request.document).encode(), None
        if request.operation == "UpdateTable" and wanted and len(request.document) == 1:
            target = "DescribeTable"  # nothing is left for the engine
        response = await self._engine.send(request.headers, body, target)
        if response is None or response.status != 200:
            return response
        document = json.loads(response.body)
        description: Document = document.get("TableDescription") or document["Table"]
        self._learn_keys(table, description)
        latest = self._streams.latest(table)
        if request.operation == "DeleteTable" or (wanted and not wanted["StreamEnabled"]):
            if latest is not None:
                latest.disable()
        elif wanted and not (request.operation == "CreateTable" and latest and latest.enabled):
            self._streams.add(table, self._keys[table], view=wanted.get("StreamViewType", VIEW))
        _merge(description, self._streams.latest(table))
        if request.operation == "DescribeTable":
            return Response(200, json.dumps({"Table": description}).encode())
        return Response(200, json.dumps({"TableDescription": description}).encode())

    def _learn_keys(self, table: str, description: Document) -> None:
        schema = sorted(description["KeySchema"], key=lambda key: str(key["KeyType"]))
        self._keys[table] = tuple(key["AttributeName"] for key in schema)


def _merge(description: Document, stream: Stream | None) -> None:
    """Shows the server's stream, never the engine's. A stream that is off stays the latest one."""
    for name in ("LatestStreamArn", "LatestStreamLabel", "StreamSpecification"):
        description.pop(name, None)
    if stream is not None:
        description |= {"LatestStreamArn": stream.arn, "LatestStreamLabel": stream.label}
        if stream.enabled:
            description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream.view}

"""The table operations: the engine does them; streams, conflicts, the log and the counts are ours."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from tests.streams_server.counts import Counts
from tests.streams_server.engine import Answer, Engine
from tests.streams_server.fault import SINGLE_WRITES
from tests.streams_server.holds import Holds, Key, key_of
from tests.streams_server.journal import Journal
from tests.streams_server.options import Options
from tests.streams_server.refusal import not_found
from tests.streams_server.source import Source
from tests.streams_server.stream import REGION, Stream
from tests.streams_server.streams import VIEW, Streams

Document = dict[str, Any]

_OF_NO_CALLER = {
    "content-type": "application/x-amz-json-1.0",
    "authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "x-amz-date": "20260101T000000Z",
}


class Asked(NamedTuple):
    """A request for the engine. `counted`: what it reads is."""

    operation: str
    headers: Mapping[str, str]
    document: Document
    body: bytes
    counted: bool = True


class Tables:
    """`do` may be called again for the same request: it is a request that arrived twice."""

    def __init__(self, engine: Engine, streams: Streams, options: Options, counts: Counts) -> None:
        self.journal = Journal()
        self.holds = Holds()
        self._engine = engine
        self._streams = streams
        self._options = options
        self._counts = counts
        self._source = Source(streams)
        self._keys: dict[str, tuple[str, ...]] = {}

    async def do(self, asked: Asked) -> Answer | None:
        """The answer; None: the engine gave none. Raises Refusal."""
        match asked.operation:
            case "TransactWriteItems":
                return await self._transact(asked)
            case "TransactGetItems" if self._options.hold_seconds is not None:
                self.holds.refuse_held(await self._keys_of(asked.document))
            case operation if operation in SINGLE_WRITES or operation == "BatchWriteItem":
                return await self._write(asked)
            case "CreateTable" | "DeleteTable" | "DescribeTable" | "UpdateTable":
                return await self._administer(asked)
        answer = await self._engine.ask(asked.headers, asked.body)
        if asked.counted and answer and answer.status == 200 and asked.operation in ("GetItem", "Query", "Scan"):
            self._counts.read(asked.operation, asked.document, json.loads(answer.body))
        return answer

    async def keys(self, table: str) -> tuple[str, ...]:
        """The names of the key attributes, partition key first. Raises Refusal for a table that is not there."""
        if table not in self._keys:
            body = json.dumps({"TableName": table}).encode()
            answer = await self._engine.ask(_OF_NO_CALLER, body, target="DescribeTable")
            if answer is None or answer.status != 200:
                raise not_found(f"Requested resource not found: Table: {table} not found")
            self._learn_keys(table, json.loads(answer.body)["Table"])
        return self._keys[table]

    # --- writing ---

    async def _write(self, asked: Asked) -> Answer | None:
        if self._options.hold_seconds is not None and asked.operation in SINGLE_WRITES:
            for key in await self._keys_of({"TransactItems": [{asked.operation: asked.document}]}):
                self.holds.refuse_write(key)
        return await self._followed(asked, asked.body)

    async def _transact(self, asked: Asked) -> Answer | None:
        token = asked.document.get("ClientRequestToken")
        body = asked.body
        if self._options.hide_tokens:
            asked.document.pop("ClientRequestToken", None)
            body = json.dumps(asked.document).encode()
        hold_seconds = self._options.hold_seconds
        if hold_seconds is None:
            return await self._followed(asked, body)
        keys = await self._keys_of(asked.document)
        self.holds.take(keys, token)
        try:
            await asyncio.sleep(hold_seconds)
            return await self._followed(asked, body)
        finally:
            later = self._options.linger_seconds
            asyncio.get_running_loop().call_later(later, self.holds.release, keys, token)

    async def _followed(self, asked: Asked, body: bytes) -> Answer | None:
        capture = self._options.capture
        if capture:
            self._source.refuse_unknown(asked.operation, asked.document)
        answer = await self._engine.ask(asked.headers, body)
        if answer and answer.status == 200:
            if asked.operation == "TransactWriteItems":
                self.journal.note(self._streams.clock(), asked.document)
            if capture:
                self._source.follow(asked.operation, asked.document, json.loads(answer.body))
        return answer

    async def _keys_of(self, document: Document) -> list[Key]:
        """Of a transaction's actions; none for a request that the engine will refuse."""
        keys: list[Key] = []
        with suppress(LookupError, TypeError, AttributeError):
            for action in document["TransactItems"]:
                ((_, what),) = action.items()
                names = await self.keys(what["TableName"])
                keys.append(key_of(what["TableName"], what.get("Key") or {name: what["Item"][name] for name in names}))
            return keys
        return []

    # --- tables and their streams ---

    async def _administer(self, asked: Asked) -> Answer | None:
        table = str(asked.document.get("TableName"))
        wanted = asked.document.pop("StreamSpecification", None)
        body, target = json.dumps(asked.document).encode(), None
        if asked.operation == "UpdateTable" and wanted and len(asked.document) == 1:
            target = "DescribeTable"  # the engine has nothing to do
        answer = await self._engine.ask(asked.headers, body, target)
        if answer is None or answer.status != 200:
            return answer
        document = json.loads(answer.body)
        description: Document = document.get("TableDescription") or document["Table"]
        self._learn_keys(table, description)
        latest = self._streams.latest(table)
        if asked.operation == "DeleteTable" or (wanted and not wanted["StreamEnabled"]):
            if latest is not None:
                latest.disable()
        elif wanted and not (asked.operation == "CreateTable" and latest and latest.enabled):
            self._streams.add(table, self._keys[table], view=wanted.get("StreamViewType", VIEW))
        _merge(description, self._streams.latest(table))
        if asked.operation == "DescribeTable":
            return Answer(200, json.dumps({"Table": description}).encode())
        return Answer(200, json.dumps({"TableDescription": description}).encode())

    def _learn_keys(self, table: str, description: Document) -> None:
        schema = sorted(description["KeySchema"], key=lambda each: str(each["KeyType"]))
        self._keys[table] = tuple(each["AttributeName"] for each in schema)


def _merge(description: Document, stream: Stream | None) -> None:
    """The table's stream is ours, never the engine's. A stream that is off stays the latest one."""
    for name in ("LatestStreamArn", "LatestStreamLabel", "StreamSpecification"):
        description.pop(name, None)
    if stream is not None:
        description |= {"LatestStreamArn": stream.arn, "LatestStreamLabel": stream.label}
        if stream.enabled:
            description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream.view}

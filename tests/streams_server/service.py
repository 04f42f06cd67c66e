"""What becomes of a request: an operation, a fault or a command of a test."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from random import Random
from typing import Any, NamedTuple

from tests.streams_server.control import Control
from tests.streams_server.counts import Counts, tables_of
from tests.streams_server.engine import Answer, Engine
from tests.streams_server.fault import Fault
from tests.streams_server.faults import Faults, Struck
from tests.streams_server.holds import conflict, write_conflict
from tests.streams_server.operations import Operations
from tests.streams_server.options import Options
from tests.streams_server.refusal import Refusal, failure
from tests.streams_server.streams import Streams
from tests.streams_server.tables import Asked, Tables

CALM = "/calm"
"""Calls to this path meet no fault and are not counted: for what a test itself writes and looks at."""

_CONTROL = "/control/"
_STREAMS = "DynamoDBStreams_"
_TABLE_THROTTLES = ("ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded")


class Request(NamedTuple):
    """As it came over the wire; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Service:
    """All of it lives in one event loop's thread: nothing needs a lock."""

    def __init__(self, engine_url: str, seed: int = 0) -> None:
        self._random = Random(seed)
        self._engine = Engine(engine_url)
        self._faults = Faults(self._random)
        self._counts = Counts()
        options = Options()
        streams = Streams(time.time, self._random)
        self._tables = Tables(self._engine, streams, options, self._counts)
        self._operations = Operations(streams, options, self._random, self._tables.journal.has_moved)
        self._control = Control(streams, options, self._operations, self._tables, self._faults, self._counts)
        self._later: set[asyncio.Task[None]] = set()

    def start(self, request: Request) -> Answer | Coroutine[Any, Any, Answer | None] | None:
        """The answer, or what will end in it; None: the connection is to be closed."""
        if request.path.startswith(_CONTROL):
            return self._command(request.path.removeprefix(_CONTROL), request.body)
        service, _, operation = request.headers.get("x-amz-target", "").rpartition(".")
        try:
            document = json.loads(request.body)
            tables = None if service.startswith(_STREAMS) else tables_of(document)
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
            return _refused(Refusal("SerializationException", "this is no request"))
        calm = request.path.startswith(CALM)
        if not calm:
            self._counts.call(operation, time.time())
        struck = None if calm else self._faults.strikes(operation, tables)
        if service.startswith(_STREAMS):
            if struck is None:
                return self._read_stream(operation, document, calm=calm)
            return self._befall(struck, operation, document, partial(self._read_stream_later, operation, document))
        if not calm:
            self._counts.write(operation, document)
        do = partial(self._ask_tables, Asked(operation, request.headers, document, request.body, counted=not calm))
        return do() if struck is None else self._befall(struck, operation, document, do)

    async def close(self) -> None:
        """What was to happen later does not."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._engine.close()

    def _read_stream(self, operation: str, document: dict[str, Any], *, calm: bool = False) -> Answer:
        perform = self._operations.by_name.get(operation)
        if perform is None:
            return _refused(Refusal("UnknownOperationException", f"no operation {operation}"))
        try:
            struck = None if calm else self._faults.strikes(operation, in_the_answer=True)
            answer = perform(document, struck)
        except Refusal as refusal:
            return _refused(refusal)
        return Answer(200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    async def _read_stream_later(self, operation: str, document: dict[str, Any]) -> Answer:
        return self._read_stream(operation, document)

    async def _ask_tables(self, asked: Asked) -> Answer | None:
        try:
            return await self._tables.do(asked)
        except Refusal as refusal:
            return _refused(refusal)

    async def _command(self, name: str, body: bytes) -> Answer:
        try:
            return Answer(200, json.dumps(await self._control.run(name, json.loads(body or b"{}"))).encode())
        except (ValueError, TypeError, LookupError, Refusal) as error:
            return Answer(400, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())

    # --- faults ---

    async def _befall(
        self, struck: Struck, operation: str, document: dict[str, Any], do: Callable[[], Awaitable[Answer | None]]
    ) -> Answer | None:
        match struck.fault:
            case Fault.THROTTLE:
                return _refused(self._throttle(operation, document))
            case Fault.CONFLICT:
                return _refused(self._conflict(document))
            case Fault.FAIL:
                return _refused(failure())
            case Fault.CUT:
                return None
            case Fault.LATE:
                self._do_later(struck.seconds, do)
                return None
            case Fault.LOSE_REPLY:
                await do()
                return None
            case Fault.FAIL_AFTER:
                await do()
                return _refused(failure())
            case Fault.DUPLICATE:
                answer = await do()
                self._do_later(struck.seconds, do)
                return answer
        before = self._random.random() < 0.5
        await asyncio.sleep(struck.seconds if before else 0)
        answer = await do()
        await asyncio.sleep(0 if before else struck.seconds)
        return answer

    def _throttle(self, operation: str, document: dict[str, Any]) -> Refusal:
        if operation in self._operations.by_name:
            return Refusal("LimitExceededException", "There are too many concurrent requests, or too many a second")
        codes = self._drawn_codes(document, "ThrottlingError")
        if operation == "TransactWriteItems" and codes and self._random.random() < 0.5:
            return conflict(codes)
        return Refusal(self._random.choice(_TABLE_THROTTLES), "Rate exceeded")

    def _conflict(self, document: dict[str, Any]) -> Refusal:
        codes = self._drawn_codes(document, "TransactionConflict")
        return conflict(codes) if codes else write_conflict()

    def _drawn_codes(self, document: dict[str, Any], code: str) -> list[str]:
        """One of the actions has it."""
        codes = ["None"] * len(document.get("TransactItems", ()))
        if codes:
            codes[self._random.randrange(len(codes))] = code
        return codes

    def _do_later(self, seconds: float, do: Callable[[], Awaitable[Answer | None]]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            await do()

        task = asyncio.get_running_loop().create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def _refused(refusal: Refusal) -> Answer:
    return Answer(refusal.status, refusal.body)

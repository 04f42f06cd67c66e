"""Dispatch of a request: to an operation, with a fault or without, or to a command of a test."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from tests.streams_server.control import Control
from tests.streams_server.counts import Counts, tables_of
from tests.streams_server.engine import Engine, Response
from tests.streams_server.faults import DrawnFault, Fault, Faults
from tests.streams_server.operations import Operations
from tests.streams_server.options import Options
from tests.streams_server.refusal import Refusal, failure
from tests.streams_server.statements import BATCH, Codes, with_errors
from tests.streams_server.stream import Streams
from tests.streams_server.tables import TableRequest, Tables
from tests.streams_server.transactions import conflict, write_conflict
from tests.support.damage import damaged

FAULTLESS = "/faultless"
"""Calls to this path have no faults and are not counted: for what a test itself writes and reads."""

_CONTROL = "/control/"
_STREAMS = "DynamoDBStreams_"
_TABLE_THROTTLES = ("ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded")
_STATEMENT_CODES = {
    Fault.THROTTLE: ("ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"),
    Fault.FAIL: ("InternalServerError",),
    Fault.FAIL_AFTER: ("InternalServerError",),
    Fault.CONFLICT: ("TransactionConflict",),
}


class Request(NamedTuple):
    """A request as it came over the wire; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Service:
    """The server's state. It is used by one event loop's thread only, so nothing needs a lock."""

    def __init__(self, engine_url: str, seed: int = 0) -> None:
        self._random = Random(seed)
        self._engine = Engine(engine_url)
        self._faults = Faults(self._random)
        self._counts = Counts()
        options = Options()
        streams = Streams(time.time, self._random)
        self._tables = Tables(self._engine, streams, options, self._counts)
        self._operations = Operations(streams, options, self._random, self._tables.log.has_moved)
        self._control = Control(streams, options, self._operations, self._tables, self._faults, self._counts)
        self._later: set[asyncio.Task[None]] = set()

    def start(self, request: Request) -> Response | Coroutine[Any, Any, Response | None] | None:
        """The response, or a coroutine that returns it; None: the connection is closed."""
        if request.path.startswith(_CONTROL):
            return self._command(request.path.removeprefix(_CONTROL), request.body)
        service, _, operation = request.headers.get("x-amz-target", "").rpartition(".")
        try:
            document = json.loads(request.body)
            tables = None if service.startswith(_STREAMS) else tables_of(document)
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
            return _refused(Refusal("SerializationException", "this is no request"))
        faultless = request.path.startswith(FAULTLESS)
        if not faultless:
            self._counts.call(operation, time.time())
        drawn = None if faultless else self._faults.draw(operation, tables)
        if service.startswith(_STREAMS):
            if drawn is None:
                return self._read_stream(operation, document, faultless=faultless)
            return self._with_fault(drawn, operation, document, partial(self._read_stream_later, operation, document))
        if not faultless:
            self._counts.write(operation, document)
        asked = TableRequest(operation, request.headers, document, request.body, counted=not faultless)
        do = partial(self._call_table, asked)
        if drawn is None:
            return do()
        if operation == BATCH and (codes := self._drawn_statements(drawn.fault, len(document["Statements"]))):
            return self._fail_some(asked, codes, executed=drawn.fault is Fault.FAIL_AFTER)
        return self._with_fault(drawn, operation, document, do)

    async def close(self) -> None:
        """Cancels what was to happen later."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._engine.close()

    def _read_stream(self, operation: str, document: dict[str, Any], *, faultless: bool = False) -> Response:
        execute = self._operations.by_name.get(operation)
        if execute is None:
            return _refused(Refusal("UnknownOperationException", f"no operation {operation}"))
        try:
            drawn = None if faultless else self._faults.draw(operation, in_the_reply=True)
            response = execute(document, drawn)
        except Refusal as refusal:
            return _refused(refusal)
        return Response(200, response if isinstance(response, bytes) else json.dumps(response).encode())

    async def _read_stream_later(self, operation: str, document: dict[str, Any]) -> Response:
        return self._read_stream(operation, document)

    async def _call_table(self, request: TableRequest) -> Response | None:
        try:
            return await self._tables.execute(request)
        except Refusal as refusal:
            return _refused(refusal)

    async def _command(self, name: str, body: bytes) -> Response:
        try:
            return Response(200, json.dumps(await self._control.run(name, json.loads(body or b"{}"))).encode())
        except (ValueError, TypeError, LookupError, Refusal) as error:
            return Response(400, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())

    # --- faults ---

    async def _with_fault(
        self, drawn: DrawnFault, operation: str, document: dict[str, Any], do: Callable[[], Awaitable[Response | None]]
    ) -> Response | None:
        match drawn.fault:
            case Fault.THROTTLE:
                return _refused(self._throttle(operation, document))
            case Fault.CONFLICT:
                return _refused(self._conflict(document))
            case Fault.FAIL:
                return _refused(failure())
            case Fault.CUT:
                return None
            case Fault.LATE:
                self._do_later(drawn.seconds, do)
                return None
            case Fault.LOSE_REPLY:
                await do()
                return None
            case Fault.FAIL_AFTER:
                await do()
                return _refused(failure())
            case Fault.CORRUPT:
                response = await do()
                return response and Response(response.status, damaged(response.body), crc32(response.body))
            case Fault.DUPLICATE:
                response = await do()
                self._do_later(drawn.seconds, do)
                return response
        before = self._random.random() < 0.5
        await asyncio.sleep(drawn.seconds if before else 0)
        response = await do()
        await asyncio.sleep(0 if before else drawn.seconds)
        return response

    def _throttle(self, operation: str, document: dict[str, Any]) -> Refusal:
        if operation in self._operations.by_name:
            return Refusal("LimitExceededException", "There are too many concurrent requests, or too many per second")
        codes = self._drawn_codes(document, "ThrottlingError")
        if operation == "TransactWriteItems" and codes and self._random.random() < 0.5:
            return conflict(codes)
        return Refusal(self._random.choice(_TABLE_THROTTLES), "Rate exceeded")

    def _conflict(self, document: dict[str, Any]) -> Refusal:
        codes = self._drawn_codes(document, "TransactionConflict")
        return conflict(codes) if codes else write_conflict()

    def _drawn_codes(self, document: dict[str, Any], code: str) -> list[str]:
        """The code for one of the actions, None for the others."""
        codes = ["None"] * len(document.get("TransactItems", ()))
        if codes:
            codes[self._random.randrange(len(codes))] = code
        return codes

    def _drawn_statements(self, fault: Fault, number: int) -> Codes:
        """The statements that fail alone, with one code, at least one; none: the whole call has the fault."""
        codes = _STATEMENT_CODES.get(fault, ())
        if not codes or (fault is not Fault.CONFLICT and self._random.random() < 0.5):
            return {}
        code = self._random.choice(codes)
        first = self._random.randrange(number)
        return {index: code for index in range(number) if index == first or self._random.random() < 0.5}

    async def _fail_some(self, request: TableRequest, codes: Codes, *, executed: bool) -> Response | None:
        """`executed`: what fails has taken effect all the same."""
        if executed:
            return with_errors(await self._call_table(request), codes, executed=True)
        return await self._tables.execute_some(request, codes)

    def _do_later(self, seconds: float, do: Callable[[], Awaitable[Response | None]]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            await do()

        task = asyncio.get_running_loop().create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def _refused(refusal: Refusal) -> Response:
    return Response(refusal.status, refusal.body)

"""What the proxy saw of a call, and what a test may do with one."""

import json
import re
import threading
import time
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

_ACCESS_KEY = re.compile(r"Credential=([^/]*)/")
_PARAMETER = re.compile(r"(\w+)'?\s*(?:=|<=|\+|:)\s*\?")
_REFUSED = ("ConditionalCheckFailed", "DuplicateItem")
_SEQUENCE_NUMBER = re.compile(rb'"SequenceNumber"\s*:\s*"(\d+)"')


class Fate(Enum):
    """What becomes of a call."""

    PASS = "pass"
    """Forwarded, and answered with the engine's reply."""
    TWICE = "pass twice"
    """Forwarded, and once more after the engine's first reply; answered with the second."""
    DROP_REPLY = "drop the reply"
    """Forwarded; the connection is closed instead of a reply."""
    FAIL_AFTER = "500 after it was applied"
    """Forwarded; answered with a 500."""
    DROP_CALL = "drop the call"
    """Never forwarded; the connection is closed."""
    DENY = "access denied"
    """Never forwarded; answered as AWS does when a permission is missing."""
    UNKNOWN_KEY = "unknown access key"
    """Never forwarded; answered as AWS does when the access key does not exist any more."""
    CORRUPT = "damage the reply"
    """Forwarded; one digit of a number in the reply is another one, and the checksum is that of the engine's reply."""


class Call:
    """One request, and the engine's reply to it. `status` is None while the engine has not replied.

    `entered_at` and `answered_at` are when the proxy had the request and the engine's reply, in unix seconds.
    """

    def __init__(self, number: int, operation: str, body: bytes, authorization: str = "") -> None:
        self.number = number
        self.operation = operation
        self.body = body
        self.authorization = authorization
        self.fate = Fate.PASS
        self.status: int | None = None
        self.answer = b""
        self.entered_at = time.time()
        self.answered_at: float | None = None

    @property
    def access_key(self) -> str:
        """The access key that signed it."""
        found = _ACCESS_KEY.search(self.authorization)
        return found[1] if found else ""

    @cached_property
    def request(self) -> dict[str, Any]:
        """The request's JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    def change(self, document: dict[str, Any]) -> None:
        """This is forwarded instead."""
        self.body = json.dumps(document).encode()

    @cached_property
    def reply(self) -> dict[str, Any]:
        """The reply's JSON."""
        document: dict[str, Any] = json.loads(self.answer)
        return document

    @property
    def moved_to(self) -> str:
        """The checkpoint of a commit."""
        update = self.request["TransactItems"][0]["Update"] if "TransactItems" in self.request else self.request
        return str(update["ExpressionAttributeValues"][":last"]["S"])

    @property
    def applied(self) -> bool:
        """Whether the engine executed it."""
        return self.status == 200

    @property
    def fenced_off(self) -> bool:
        """Whether the lease row's condition refused it: a transaction's first, or that of a checkpoint alone."""
        reasons = self.reply.get("CancellationReasons", ())
        return self.refused if not reasons else reasons[0]["Code"] == "ConditionalCheckFailed"

    @property
    def refused(self) -> bool:
        """Whether the condition of a single write refused it."""
        return str(self.reply.get("__type")).endswith("ConditionalCheckFailedException")

    @property
    def row_writes(self) -> list["RowWriting"]:
        """The single writes in it; none is refused before the engine's reply."""
        answers = self.reply if self.answer else {}
        if self.operation == "UpdateItem":
            to = self.request["ExpressionAttributeValues"][":to"]["S"]
            return [RowWriting(int(to), bool(answers) and self.refused)]
        written = [_parameters(statement)["appliedTo"]["S"] for statement in self.request["Statements"]]
        codes = [answer.get("Error", {}).get("Code") for answer in answers.get("Responses", ())]
        codes += [None] * (len(written) - len(codes))
        return [RowWriting(int(to), code in _REFUSED) for to, code in zip(written, codes, strict=True)]

    @property
    def sequence_numbers(self) -> list[int]:
        """The records' sequence numbers in a page of GetRecords."""
        return [int(number) for number in _SEQUENCE_NUMBER.findall(self.answer)]


def is_commit(call: Call) -> bool:
    """Whether the call moves a checkpoint: a unit's transaction, or the update that is left when all rows are written.

    Not one that starts a stream or writes a gap row.
    """
    moves = b":previous" in call.body and b":last" in call.body
    return moves and call.operation in ("TransactWriteItems", "UpdateItem")


def is_row_write(call: Call) -> bool:
    """Whether the call is a single write of a row of the leaderboard, or several; not whether statements are usable."""
    if call.operation == "BatchExecuteStatement":
        return len(call.request["Statements"]) > 1
    return call.operation == "UpdateItem" and b'"playerId"' in call.body


class RowWriting(NamedTuple):
    """A single write: up to which record the row is dealt with after it, and whether the row's condition refused it."""

    to: int
    refused: bool


def _parameters(statement: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The values that a statement writes by attribute: the first for each."""
    names = _PARAMETER.findall(statement["Statement"])
    return dict(reversed(list(zip(names, statement["Parameters"], strict=True))))


class Hold:
    """Stops the next call that matches, once. `applied`: after the engine executed it; else before it is forwarded.

    The caught call waits until `let_go`, which also decides its fate.
    """

    def __init__(self, matches: Callable[[Call], bool], *, applied: bool, skip: int) -> None:
        self.applied = applied
        self.call: Call | None = None
        self._matches = matches
        self._skip = skip
        self._caught, self._released, self._finished = threading.Event(), threading.Event(), threading.Event()
        self._fate = Fate.PASS

    def wants(self, call: Call) -> bool:
        """Whether this is the call to stop; called at most once per call and point."""
        if self.call is not None or not self._matches(call):
            return False
        self._skip -= 1
        if self._skip >= 0:
            return False
        self.call = call
        return True

    def stop_here(self) -> None:
        """For the proxy: the call has reached the point where it is held."""
        self._caught.set()
        self._released.wait()
        assert self.call is not None
        self.call.fate = self._fate

    def finish(self) -> None:
        """For the proxy: the call is finished."""
        self._finished.set()

    def cancel(self) -> bool:
        """Stops no call from now on. Whether it has stopped one."""
        self._skip = 1 << 60
        return self.call is not None

    def wait_caught(self, seconds: float = 30.0) -> Call:
        """Waits for the call."""
        assert self._caught.wait(seconds), f"no such call within {seconds:g} s"
        assert self.call is not None
        return self.call

    def let_go(self, fate: Fate = Fate.PASS, seconds: float = 30.0) -> None:
        """Lets the call go on, and waits until the proxy has finished it."""
        self._fate = fate
        self._released.set()
        if self._caught.is_set():
            assert self._finished.wait(seconds), f"the call did not end within {seconds:g} s"

"""Many single writes in one call: BatchExecuteStatement, each of whose statements is a write of its own.

A statement cannot say all that an update can, and engines refuse some for reasons of their own: whatever a reply
leaves open is decided by UpdateItem. Source: API reference of BatchExecuteStatement.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError

from consumer.aws.board import exact, fits, has_later_date, stored_row, write_row
from consumer.aws.items import number, seconds
from consumer.aws.wire import (
    KIND_OF_CODE,
    body_of_reply,
    call_failed_of,
    code_of,
    decode_json,
    keep_bodies,
    translated,
)
from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.fold import Delta
from consumer.domain.marks import Mark, Route, RowWrite
from consumer.domain.replies import Done, RowRefused, RowReply

WRITES_PER_CALL: Final = 25
"""Statements that one call may hold."""
_NOWHERE: Final = Mark("-", "-", 0.0)
_LEFT_OPEN: Final = ("AccessDenied", "DuplicateItem", "ValidationError")
"""Codes after which an update decides: it may be able to do what the statement is not."""
_NOT_REFUSED: Final = {"Code": "ValidationError", "Message": "a write that fits no row was not refused"}


class Statements:
    """The statements of one leaderboard. `usable`: whether the engine takes their form; see `probe`."""

    def __init__(self, client: Any, leaderboard: str) -> None:
        self.usable = False
        self._client = client
        self._leaderboard = leaderboard
        keep_bodies(client, "BatchExecuteStatement")
        follow = f'UPDATE "{leaderboard}" SET gamesPlayed = gamesPlayed + ? SET totalScore = totalScore + ?'
        where = "WHERE playerId = ? AND appliedShard = ? AND appliedTo = ?"
        marked = f"SET appliedShard = ? SET appliedTo = ? SET appliedAt = ? {where}"
        self._follow = f"{follow} {marked}"
        self._follow_dated = f"{follow} SET lastPlayedDate = ? {marked} AND lastPlayedDate <= ?"
        names = ("playerId", "gamesPlayed", "totalScore", "lastPlayedDate", "appliedShard", "appliedTo", "appliedAt")
        self._insert = f'INSERT INTO "{leaderboard}" VALUE {{' + ", ".join(f"'{name}': ?" for name in names) + "}"

    def probe(self) -> str | None:
        """Tries the form on a mark that no row has. Why it is not usable; None: it is. Raises CallFailed."""
        write = RowWrite("-", Delta(1, Decimal(1), "9999-12-31"), Route.FOLLOW, _NOWHERE, _NOWHERE)
        with translated():
            try:
                (answer,) = self._execute([write])
                error = answer.get("Error", _NOT_REFUSED)
                self.usable = error.get("Code") == "ConditionalCheckFailed"
                failure = _failure(error)
            except ClientError as refused:
                failure = call_failed_of(refused)
        if not self.usable and failure.kind not in (FailureKind.DENIED, FailureKind.REJECTED):
            raise failure
        return None if self.usable else failure.detail

    def write(self, writes: Sequence[RowWrite]) -> list[RowReply]:
        """The replies to single writes of different players, in their order. Raises CallFailed."""
        replies = self._batch(writes) if self.usable and len(writes) > 1 else {}
        return [replies.get(write.player) or self._alone(write) for write in writes]

    @translated()
    def _batch(self, writes: Sequence[RowWrite]) -> dict[str, RowReply]:
        """The replies that leave nothing open, by player."""
        try:
            answers = self._execute(writes)
        except ClientError as error:
            if code_of(error) != "ValidationException":
                raise
            return {}
        replies = ((write.player, _reply(write, answer)) for write, answer in zip(writes, answers, strict=True))
        return {player: reply for player, reply in replies if reply is not None}

    def _execute(self, writes: Sequence[RowWrite]) -> list[Mapping[str, Any]]:
        """One answer per write, in their order. Raises what botocore raises, and ValueError and the like."""
        reply = self._client.batch_execute_statement(Statements=[self._statement(write) for write in writes])
        answers: list[Mapping[str, Any]] = decode_json(body_of_reply(reply))["Responses"]
        if len(answers) != len(writes):
            raise ValueError(f"{len(answers)} answers to {len(writes)} statements")
        return answers

    def _alone(self, write: RowWrite) -> RowReply:
        try:
            return write_row(self._client, self._leaderboard, write)
        except CallFailed as failure:
            return failure

    def _statement(self, write: RowWrite) -> dict[str, Any]:
        player, delta, route, found, mark, dated = write
        assert mark is not None
        adds, date = [number(delta.games), exact(delta.total)], {"S": delta.date}
        marks = [{"S": mark.shard}, {"S": mark.to}, seconds(mark.created)]
        if route is Route.INSERT:
            return {"Statement": self._insert, "Parameters": [{"S": player}, *adds, date, *marks]}
        assert found is not None
        where = [{"S": player}, {"S": found.shard}, {"S": found.to}]
        if dated:
            text, parameters = self._follow_dated, [*adds, date, *marks, *where, date]
        else:
            text, parameters = self._follow, [*adds, *marks, *where]
        return {"Statement": text, "Parameters": parameters, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _reply(write: RowWrite, answer: Mapping[str, Any]) -> RowReply | None:
    """What an answer says of its write; None: it leaves that open."""
    error = answer.get("Error")
    if error is None:
        return Done()
    code = error.get("Code")
    if code in _LEFT_OPEN:
        return None
    if code != "ConditionalCheckFailed":
        return _failure(error)
    item = error.get("Item")
    if item is None or (fits(stored_row(item), write) and not has_later_date(item, write)):
        return None
    return RowRefused(stored_row(item))


def _failure(error: Mapping[str, Any]) -> CallFailed:
    code = error.get("Code", "")
    kind = KIND_OF_CODE.get(code, FailureKind.SERVER)
    return CallFailed(kind, f"BatchExecuteStatement: {code}: {error.get('Message', '')}")
